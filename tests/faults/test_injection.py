"""Texts that would be code, paths, predicates or formulas, from a file to every output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from pokewatch.analysis.market import list_cards
from pokewatch.cli.main import build_app
from pokewatch.errors import UsageError
from pokewatch.evaluation import predictions as predicting
from pokewatch.operations import exports
from pokewatch.quality import ingest, quarantine
from pokewatch.report import facts, sections
from pokewatch.report.script import table_script
from pokewatch.settings import Settings, get_settings, load_settings
from pokewatch.store.tables import Store

TEXTS = [
    "'; DROP TABLE prices; --",
    "' or '1'='1",
    "') or true --",
    "../../outside",
    "/etc/passwd",
    "..\\outside",
    "<script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "</title></style><b onclick=alert(1)>",
    "{{ 7 * 7 }} {0.__class__} %s %(x)s",
    "=cmd|'/c calc'!A0",
    "@SUM(A1)",
    "$(touch outside) `touch outside`; touch outside & touch outside | cat",
    "two\nlines\r\n=1+1",
    "$HOME %PATH% ~ *",
    "[bold red]markup[/]",
    "month=2025-01/x.parquet",
]
DAYS = pd.date_range("2025-01-01", periods=12)


@pytest.fixture(scope="module")
def night() -> pd.DataFrame:
    """Prices of cards with such ids, names and sets; of one also a price that is refused."""
    cards = pd.DataFrame(
        {
            "card_id": [f"{text}{number}" for number, text in enumerate(TEXTS)],
            "name": TEXTS,
            "set_name": TEXTS[::-1],
            "number": TEXTS,
            "tcgdex_id": TEXTS,
            "start": [5 + number for number in range(len(TEXTS))],
        }
    )
    rows = cards.merge(pd.DataFrame({"date": DAYS}), how="cross")
    steps = rows["date"].dt.day * (1 + rows["start"] % 3) / 100
    rows["market_price"] = (rows["start"] + steps).round(2)
    wrong = rows[rows["date"] == DAYS[-1]].tail(1).assign(market_price=0.0)
    return pd.concat([rows, wrong]).drop(columns="start")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, night: pd.DataFrame) -> Iterator[Settings]:
    """A home with these prices; nothing appears beside it."""
    folder = tmp_path_factory.mktemp("around")
    night.to_csv(folder / "night.csv", index=False)
    settings = load_settings(home=folder / "home", store="", tracking=False, watchlist="")
    for accepted in (len(night) - 1, 0):
        counts = ingest.collect(settings, "file", path=folder / "night.csv")
        assert counts.accepted == accepted
    yield settings
    assert {path.name for path in folder.iterdir()} == {"night.csv", "home"}
    assert not list(Path.cwd().glob("*outside*"))


def assert_intact(settings: Settings, night: pd.DataFrame) -> None:
    found = Store.from_settings(settings).prices(["card_id", "date", "market_price"])
    good = night[night["market_price"] > 0].sort_values(["card_id", "date"], ignore_index=True)
    pd.testing.assert_frame_equal(found, good[found.columns], check_dtype=False)


def test_every_text_is_stored_as_it_is_and_finds_its_own_card(settings, night):
    assert_intact(settings, night)
    store = Store.from_settings(settings)
    for text, card_id in zip(TEXTS, night["card_id"].unique(), strict=True):
        assert set(store.prices(card_ids=[card_id])["card_id"]) == {card_id}
        assert store.prices(card_ids=[text]).empty
        assert predicting.resolve(settings, [card_id]) == [card_id]
        assert card_id in set(list_cards(settings, text)["card_id"])


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_forecasts_are_written_with_every_id_and_no_formula(settings, night, ending):
    path = settings.home / f"out.{ending}"
    predictions = predicting.predict_all(settings, horizons=[7])
    exports.write_frame(predictions, path)
    if ending == "json":
        written = pd.DataFrame(json.loads(path.read_text("utf-8")))
    else:
        written = pd.read_csv(path) if ending == "csv" else pd.read_parquet(path)
    ids = [one.replace("\r", " ") if ending == "csv" else one for one in predictions["card_id"]]
    shown = [f"'{one}" if ending == "csv" and one[0] in "=@" else one for one in ids]
    assert written["card_id"].tolist() == shown
    assert len(written) == len(TEXTS)
    assert_intact(settings, night)


class Texts(HTMLParser):
    """Collects what a reader sees, and any tag or attribute that acts."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.acting: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.acting += [tag] if tag in ("script", "img", "b", "iframe", "style") else []
        self.acting += [name for name, _ in attrs if name.startswith("on")]
        self.seen += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.seen.append(data)


def test_no_section_of_the_report_runs_what_a_card_is_called(settings, monkeypatch):
    monkeypatch.setattr(sections, "get_settings", lambda: settings)
    night = sections.open_night()
    assert isinstance(night, facts.Night)
    reader = Texts()
    names = ("headline", "market", "signals", "movers", "sets", "every_card", "health")
    for name in (*names, "model", "quarantine", "footer"):
        section = getattr(sections, name)(night).data
        reader.feed(section.replace(table_script()[0], ""))
    assert reader.acting == []
    seen = "".join(reader.seen)
    for text in TEXTS:
        assert text.splitlines()[0] in seen


def test_a_quarantined_row_is_overruled_by_its_own_words_only(settings, night):
    store = Store.from_settings(settings)
    (card_id,) = quarantine.select(store)["card_id"]
    for text in TEXTS:
        with pytest.raises(UsageError, match="fits 0 rows"):
            quarantine.select(store, [text])
        with pytest.raises(UsageError, match="unknown reason"):
            quarantine.select(store, reason=text)
        assert quarantine.select(store, card_id=text).empty
    assert len(quarantine.select(store, card_id=card_id)) == 1
    assert_intact(settings, night)


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "--all", "--model", "TEXT"],
        ["predict", "--all", "--date", "TEXT"],
        ["predict", "nobody TEXT"],
        ["train", "--data-version", "TEXT"],
        ["train", "--as-of", "TEXT"],
        ["backfill", "--since", "TEXT"],
        ["collect", "--source", "TEXT"],
        ["collect", "--source", "file", "--path", "TEXT"],
        ["collect", "--source", "file", "--path", "night.csv", "--map", "date=TEXT"],
        ["collect", "--source", "file", "--path", "night.csv", "--id", "{card_id.__class__}"],
        ["notebook", "TEXT"],
        ["notebook", "04_nightly_report", "-p", "TEXT=1"],
        ["notebook", "04_nightly_report", "-p", "top=TEXT"],
        ["quarantine", "drop", "TEXT"],
    ],
    ids=" ".join,
)
def test_what_is_typed_is_a_value_and_never_a_path_or_code(settings, night, monkeypatch, command):
    folder = settings.home.parent
    monkeypatch.setenv("POKEWATCH_HOME", str(settings.home))
    monkeypatch.setenv("POKEWATCH_TRACKING", "false")
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    get_settings.cache_clear()
    try:
        for text in TEXTS:
            words = [word.replace("TEXT", text) for word in command]
            done = CliRunner().invoke(build_app(), words)
            assert getattr(done.exception, "exit_code", done.exit_code) == 2, text
    finally:
        get_settings.cache_clear()
    assert sorted(folder.rglob("*")) == before
    assert_intact(settings, night)
