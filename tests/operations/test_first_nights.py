"""A new user's first 40 nights on a live source whose archive is closed (403), as it is today."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import time_machine
from cells import run_cells
from pytest_httpserver import HTTPServer
from test_tcgcsv import Service, answer, group, price, product

from pokewatch.operations import night
from pokewatch.report import page
from pokewatch.report.notebooks import NOTEBOOKS
from pokewatch.settings import Settings, get_settings, load_settings
from pokewatch.store.tables import Store

pytestmark = pytest.mark.slow

FIRST, NIGHTS = date(2026, 11, 1), 40
CARDS = range(1, 31)
MISSED = {5, 17, 18}  # nights on which nothing ran
WHOLE = {1, 2, 24}  # nights whose report papermill runs; of the others the cells run here


@pytest.fixture
def settings(httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    watchlist = tmp_path / "watchlist.yaml"
    watchlist.write_text("- {card: '1:Normal', quantity: 2, cost: 3}\n- {card: '999:Normal'}\n")
    given = {"HOME": tmp_path / "home", "WATCHLIST": watchlist, "TRACKING": "false"}
    given |= {"TCGCSV_URL": httpserver.url_for(""), "TCGCSV_CATEGORIES": "[3]", "SOURCE": "tcgcsv"}
    given |= {"REQUEST_INTERVAL": 0, "REQUEST_ATTEMPTS": 1}
    for name, value in given.items():
        monkeypatch.setenv(f"POKEWATCH_{name}", str(value))
    return load_settings()


def serve(service: Service, day: date, prices: np.ndarray) -> None:
    """Put the day's snapshot up."""
    service.pages["/last-updated.txt"] = f"{day}T20:05:33+0000"
    rows = [price(card, market=float(value)) for card, value in zip(CARDS, prices, strict=True)]
    service.pages["/tcgplayer/3/604/prices"] = answer(rows)


def test_the_first_forty_nights(
    httpserver: HTTPServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(httpserver)
    service.groups([group(604, "Base Set")])
    names = [product(card, f"Card {card}", Number=f"{card}/30") for card in CARDS]
    service.pages["/tcgplayer/3/604/products"] = answer(names)
    for past in range(NIGHTS):
        day = FIRST + timedelta(days=past)
        service.pages[f"/archive/tcgplayer/prices-{day}.ppmd.7z"] = 403
    papermill = page.execute

    def execute(config: Settings, name: str, given: dict[str, Any], target: Path, *_: Any) -> None:
        if number in WHOLE:
            papermill(config, name, given, target)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        get_settings.cache_clear()
        nbformat.write(run_cells(NOTEBOOKS / f"{name}.ipynb", **given), target)

    monkeypatch.setattr(page, "execute", execute)
    rng = np.random.default_rng(5)
    prices = rng.uniform(2, 80, len(CARDS))
    for number in range(1, NIGHTS + 1):
        day = FIRST + timedelta(days=number - 1)
        prices = prices * np.exp(np.where(rng.random(len(CARDS)) < 0.5, rng.normal(0, 0.02), 0))
        serve(service, day, prices.round(2))
        if number in MISSED:
            continue
        with time_machine.travel(f"{day}T21:00:00Z", tick=True):
            if number > 12 and number % 4:  # the longest weeks: only every fourth night is whole
                counts = night.collect_night(settings)
                assert counts.accepted == len(CARDS), number
                continue
            done = night.run(settings)
        assert done["collected"]["accepted"] == len(CARDS), number
        assert not done["incomplete"], number
        assert done["signals"] == {"HOLD": len(CARDS)} or done["champion"], number
        text = Path(done["report"]).read_text(encoding="utf-8")
        text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
        assert not re.search(r"\b(nan|NaT|inf)\b", text), number
        assert f"{day:%Y-%m-%d}" in text or f"{day.day} {day:%B %Y}" in text
        if number < 15:
            assert any("needs about 20" in reason for reason in done["reasons"]), number
    stored = Store.from_settings(settings).prices(["date"])
    assert stored["date"].nunique() == NIGHTS - len(MISSED)
    assert any("/archive/" in path for path in service.asked)  # in vain
