"""Files for other apps: each reads back as what was written, as far as its columns can say it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokewatch.cards.catalog import Catalog
from pokewatch.models.panel import Panel
from pokewatch.operations.exports import no_formulas
from pokewatch.schema import CARD_COLUMNS
from pokewatch.watchlist import exporters, importers
from pokewatch.watchlist.entries import Entry, holdings

ROWS = [
    ("501:Normal", "Pikachu", "SV04: Paradox Rift", "012/182", "Normal", 501),
    ("501:Reverse Holofoil", "Pikachu", "SV04: Paradox Rift", "012/182", "Reverse Holofoil", 501),
    ("502:Holofoil", "Charizard ex - 223/197", "SV03: Flames, new", "223/197", "Holofoil", 502),
    ("504:1st Edition Holofoil", "Charizard", "Base Set", "004/102", "1st Edition Holofoil", 504),
    ("504:Unlimited Holofoil", "Charizard", "Base Set", "004/102", "Unlimited Holofoil", 504),
    ("505:Normal", "Nidoran ♀", "Jungle", "57/64", "Normal", 505),
    ("mine|x", '=HYPERLINK("x")', None, None, None, None),
]
CARDS = pd.DataFrame(
    ROWS, columns=["card_id", "name", "set_name", "number", "printing", "product_id"]
).reindex(columns=CARD_COLUMNS)
KNOWN = Catalog(CARDS)
DAY = pd.Timestamp("2025-01-03")
PANEL = Panel.from_prices(
    pd.DataFrame({"card_id": CARDS["card_id"], "date": DAY, "market_price": 5.0})
)
# What a format has no column for.
LOST = {
    "csv": set(),
    "tcgplayer": {"cost", "note", "target_above", "target_below", "bought", "buy_fees"},
    "collectr": {"target_above", "target_below", "bought", "buy_fees"},
    "cardmarket": {"target_above", "target_below", "bought", "buy_fees"},
}


def written(entries: list[Entry], style: str, file: Path) -> list[Entry]:
    """Export, and read it back."""
    held = holdings(entries, KNOWN, PANEL)
    table = no_formulas(exporters.exported(held, CARDS, style, DAY))
    table.to_csv(file, index=False, sep=exporters.DELIMITERS.get(style, ","))
    found = importers.load(file, KNOWN)
    assert found.problems == found.skipped == found.remarks == []
    return found.entries


amounts = st.none() | st.integers(0, 10**7).map(lambda cents: cents / 100)
some = st.builds(
    Entry,
    card=st.sampled_from([row[0] for row in ROWS]),
    quantity=st.integers(1, 2000),
    cost=amounts | st.sampled_from([0.335, 1.2345]),
    note=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=12)
    | st.sampled_from(["=1+1", "'=1", "-", "PSA 9 one day", "none", "+x, 'y'", "@a;b", "#1", '"']),
    condition=st.sampled_from(["NM", "LP", "MP", "HP", "DMG"]),
    grade=st.sampled_from(["", "", "PSA 10", "CGC 9.5", "house, 7"]),
    target_above=st.none() | st.just(900.0),
    target_below=st.none() | st.integers(1, 9000).map(lambda cents: cents / 100),
    bought=st.none() | st.dates(date(1999, 1, 1), date(2026, 1, 1)),
    buy_fees=amounts,
)


@pytest.mark.parametrize("style", exporters.FORMATS)
@given(entries=st.lists(some, min_size=1, max_size=6))
def test_a_round_trip_loses_nothing_that_the_format_can_say(style, entries, tmp_path_factory):
    file = tmp_path_factory.mktemp("export") / "cards.csv"
    if style in exporters.UNGRADED_ONLY:
        entries = [one for one in entries if not one.grade]
        if not entries:
            return
    kept = set(Entry.model_fields) - LOST[style]
    back = written(entries, style, file)
    assert [one.model_dump(include=kept) for one in back] == [
        one.model_dump(include=kept) for one in entries
    ]


def test_no_cell_is_run_by_a_spreadsheet(tmp_path: Path) -> None:
    entries = [Entry(card="mine|x", note="@SUM(A1)"), Entry(card="=cmd", note="-1")]
    for style in exporters.FORMATS:
        table = no_formulas(exporters.exported(holdings(entries, KNOWN, PANEL), CARDS, style, DAY))
        cells = [cell for cell in table.to_numpy().ravel() if cell]
        assert [cell for cell in cells if cell[0] in "=+-@"] == []


def test_a_graded_copy_never_passes_for_one_that_is_not() -> None:
    entries = [Entry(card="502", grade="PSA 10"), Entry(card="502:Holofoil")]
    for style in exporters.UNGRADED_ONLY:
        assert len(exporters.exported(holdings(entries, KNOWN, PANEL), CARDS, style, DAY)) == 1


def test_the_header_is_that_of_the_app() -> None:
    held = holdings([Entry(card="502:Holofoil", cost=2)], KNOWN, PANEL)
    collectr = exporters.exported(held, CARDS, "collectr", DAY).to_dict("records")[0]
    assert collectr["Market Price (As of 2025-01-03)"] == "5.00"
    assert (collectr["Average Cost Paid"], collectr["Variance"]) == ("2.00", "Holofoil")
    tcgplayer = exporters.exported(held, CARDS, "tcgplayer", DAY).to_dict("records")[0]
    assert (tcgplayer["Product ID"], tcgplayer["Quantity"]) == ("502", "1")


@pytest.mark.parametrize(
    ("card", "marks"),
    [
        ("504:1st Edition Holofoil", ["1", "", "1"]),
        ("504:Unlimited Holofoil", ["1", "", ""]),
        ("501:Reverse Holofoil", ["", "1", ""]),
        ("501:Normal", ["", "", ""]),
    ],
)
def test_cardmarket_is_told_every_mark_of_a_printing(card, marks, tmp_path):
    held = holdings([Entry(card=card, cost=2)], KNOWN, PANEL)
    row = exporters.exported(held, CARDS, "cardmarket", DAY, "EUR").iloc[0]
    assert row[["Foil?", "Reverse Holo?", "First Ed.?"]].tolist() == marks
    assert row["Currency"] == "EUR"
    assert [one.card for one in written([Entry(card=card)], "cardmarket", tmp_path / "a.csv")] == [
        card
    ]


def test_a_plain_file_says_its_currency_and_is_not_taken_for_another(tmp_path):
    held = holdings([Entry(card="501:Normal", cost=2, target_above=9)], KNOWN, PANEL)
    table = exporters.exported(held, CARDS, "csv", DAY, "EUR")
    table.to_csv(tmp_path / "euros.csv", index=False)
    assert table["currency"].tolist() == ["EUR"]
    (read,) = importers.load(tmp_path / "euros.csv", KNOWN, eur_usd=1.25).entries
    assert (read.cost, read.target_above) == (2.5, 11.25)
    (read,) = importers.load(tmp_path / "euros.csv", KNOWN).entries
    assert (read.cost, read.target_above) == (None, None)
    without = exporters.exported(
        holdings([Entry(card="501:Normal")], KNOWN, PANEL), CARDS, "csv", DAY
    )
    assert without["currency"].tolist() == [""]
