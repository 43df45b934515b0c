"""A new user's first weeks: few days, few cards, gaps. All of it works and says what waits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import market
from cells import run_cells
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pokewatch.cli.main import build_app
from pokewatch.errors import PokewatchError
from pokewatch.evaluation.predictions import predict_all
from pokewatch.operations import night
from pokewatch.quality.ingest import ingest
from pokewatch.report import facts, sections
from pokewatch.schema import Delivery
from pokewatch.settings import PROJECT, Settings, get_settings, load_settings
from pokewatch.store.tables import Store

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
SECTIONS: list[Callable[..., Any]] = [
    sections.headline,
    sections.portfolio,
    sections.signals,
    sections.market,
    sections.movers,
    sections.sets,
    sections.model,
    sections.health,
    sections.quarantine,
    sections.every_card,
    sections.footer,
]


def young(
    days: int, cards: int = 12, sets: int = 2, kind: str = "single", cheap: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the observations and the cards of a market's first days."""
    rows = market(cards, max(days, 1)).head(cards * days)
    if cheap:
        rows["market_price"] = (rows["market_price"] / 1000).round(2).clip(lower=0.01)
    ids = [f"{number}:Normal" for number in range(cards)]
    known = pd.DataFrame(
        {
            "card_id": ids,
            "name": [f"Card {number}" for number in range(cards)],
            "set_name": [f"Set {number % sets}" for number in range(cards)],
            "product_kind": kind,
            "printing": "Normal",
        }
    )
    return rows, known


def gaps(days: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, known = young(days)
    return rows[np.random.default_rng(3).random(len(rows)) < 0.4], known


def nameless(days: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    return young(days)[0], pd.DataFrame()


MARKETS: dict[str, Callable[[int], tuple[pd.DataFrame, pd.DataFrame]]] = {
    "one card": lambda days: young(days, 1, 1),
    "one set, sealed": lambda days: young(days, 8, 1, "sealed"),
    "pennies": lambda days: young(days, cheap=True),
    "gaps": gaps,
    "without a name": nameless,
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Return the settings of an empty home, with cards on the watchlist that have no price."""
    watchlist = tmp_path / "watchlist.yaml"
    watchlist.write_text("- {card: base1-4, quantity: 2, cost: 3}\n- {card: '77:Normal'}\n")
    monkeypatch.setenv("POKEWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("POKEWATCH_WATCHLIST", str(watchlist))
    monkeypatch.setenv("POKEWATCH_TRACKING", "false")
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()


def fill(home: Settings, rows: pd.DataFrame, cards: pd.DataFrame) -> None:
    """Do what a night does, but for the report."""
    ingest(Store.from_settings(home), Delivery(rows, "file", cards), home)
    night.train(home)
    predict_all(home)


@pytest.mark.parametrize("days", [1, 2, 3, 9, 20])
def test_every_notebook_runs_from_the_first_day_on(home, days):
    fill(home, *young(days))
    for path in NOTEBOOKS:
        run_cells(path, largest=60)


@pytest.mark.parametrize("days", [1, 11])
@pytest.mark.parametrize("what", MARKETS)
def test_every_notebook_runs_on_odd_markets(home, what, days):
    fill(home, *MARKETS[what](days))
    for path in NOTEBOOKS:
        run_cells(path, largest=60)


COMMANDS = [
    "status",
    "cards",
    "cards base",
    "signals",
    "predict --all",
    "predict --all --json",
    "train",
    "backtest",
    "watch list",
    "quarantine list",
    "sources",
    "doctor",
    "runs",
    "export {home}/all.tar",
]


@pytest.mark.parametrize("days", [0, 1, 2])
def test_every_command_works_or_says_what_to_do_first(home, days, tmp_path):
    if days:
        fill(home, *young(days))
    for command in COMMANDS:
        done = CliRunner().invoke(build_app(), command.format(home=tmp_path).split())
        error = done.exception
        assert isinstance(error, PokewatchError | SystemExit | None), (command, error)
        code = error.exit_code if isinstance(error, PokewatchError) else done.exit_code
        if days == 0 and code == 2:
            assert "run 'pokewatch collect' first" in str(error), command
        elif command == "doctor":
            assert code in (0, 1), error
        else:
            assert code == (3 if command == "train" else 0), (command, error, done.output)


@hypothesis_settings(max_examples=25, phases=[Phase.explicit, Phase.generate])  # shrinks slowly
@given(data=st.data())
def test_the_report_has_words_for_every_small_store(tmp_path_factory, data):
    days, cards = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 6))
    rows, known = young(days, cards, data.draw(st.integers(1, 2)))
    keep = data.draw(st.lists(st.booleans(), min_size=1, max_size=8).filter(any))
    rows = rows[np.resize(keep, len(rows))]
    rows.loc[rows.index[:: data.draw(st.integers(2, 50))], "market_price"] = 0.0
    if (rows["market_price"] == 0).all():
        return
    folder = tmp_path_factory.mktemp("home")
    config = load_settings(home=folder, watchlist=folder / "watch.yaml", tracking=False)
    ingest(Store.from_settings(config), Delivery(rows, "file", known), config)
    found = facts.load(config)
    for section in SECTIONS:
        text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", section(found).data, flags=re.DOTALL)
        assert not re.search(r"\b(nan|NaT|inf)\b", text), section.__name__
