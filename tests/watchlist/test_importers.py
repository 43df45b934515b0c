"""Imports of collections: columns that change what a card is worth, costs, counts, currencies."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pokewatch.cards.catalog import Catalog
from pokewatch.cards.frames import tidy
from pokewatch.errors import UsageError
from pokewatch.watchlist import importers
from pokewatch.watchlist.entries import Condition

CATALOG = Catalog(
    tidy(
        pd.DataFrame(
            [
                {"card_id": "5:Holofoil", "name": "Charizard", "number": "004/102"},
                {"card_id": "6:Normal", "name": "Bulbasaur", "number": "044/102"},
                {"card_id": "7:Normal", "name": "Booster Box", "product_kind": "sealed"},
            ]
        )
    )
)


@pytest.fixture
def load(tmp_path: Path):
    """Function that imports a text; keywords as of ``importers.load``."""

    def imported(text: str, **options) -> importers.Imported:
        file = tmp_path / "export.csv"
        file.write_text(text, encoding="utf-8", newline="")
        return importers.load(file, CATALOG, **options)

    return imported


def costs(found: importers.Imported) -> list[float | None]:
    return [one.cost for one in found.entries]


@pytest.mark.parametrize(
    ("header", "cell", "kind"),
    [
        ("Graded by", "PSA", "grade"),
        ("Slab", "yes", "grade"),
        ("Remark", "PSA 10", "grade"),
        ("Card language", "Japanese", "language"),
        ("Sprachen", "Deutsch", "language"),
        ("Währung", "EUR", "currency"),
        ("In stock", "0", "quantity"),
        ("Stückzahl", "3", "quantity"),
        ("Playset?", "true", "quantity"),
    ],
)
def test_a_column_that_changes_the_worth_and_is_not_understood_stops(load, header, cell, kind):
    text = f"Name,{header}\nCharizard,{cell}\nBulbasaur,\n"
    with pytest.raises(UsageError) as caught:
        load(text)
    assert f"column '{header}' of" in str(caught.value)
    assert f"says '{cell}', looks like {kind}" in str(caught.value)
    assert f"--map {kind}='{header}', or leave it out with --ignore" in str(caught.value)
    assert len(load(text, ignore=[header]).entries) == 2


@pytest.mark.parametrize(
    ("header", "cell"),
    [
        ("Slab", "no"),
        ("Card language", "en"),
        ("Währung", "USD"),
        ("In stock", "1"),
        ("PSA 10 price", "900"),
        ("Country", "Japan"),
    ],
)
def test_what_is_taken_for_granted_stops_nothing_and_is_listed(load, header, cell):
    found = load(f"Name,{header},Rarity\nCharizard,{cell},Rare\n")
    assert [one.card for one in found.entries] == ["5:Holofoil"]
    assert found.unused == [header, "Rarity"]


def test_an_unknown_column_to_ignore_is_named(load):
    with pytest.raises(UsageError, match="--ignore names Colour, which"):
        load("Name\nCharizard\n", ignore=["Colour"])


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Name,Grading", "Charizard,PSA 10"),
        ("Name,Grade,Grading Company", "Charizard,,PSA"),
        ("Name,Grade,Grading Company", "Charizard,10,"),
        ("Name,Graded,Grade", "Charizard,FALSE,BGS 9.5"),
        ("Name,Notes", "Charizard,my PSA 9"),
        ("Name,Number", "Charizard PSA 9,4/102"),
    ],
)
def test_a_graded_card_is_never_an_ungraded_one(load, header, row):
    found = load(f"{header}\n{row}\n")
    assert found.entries == []
    assert "ungraded cards" in found.problems[0][1] or "no card" in found.problems[0][1]


@pytest.mark.parametrize(
    ("header", "row", "copies"),
    [
        ("Name,NumberOwned,Collected", "Charizard,0,FALSE", None),
        ("Name,NumberOwned,Collected", "Charizard,3,TRUE", 3),
        ("Name,Collected", "Charizard,no", None),
        ("Name,Total Quantity,Add to Quantity", "Charizard,,2", 2),
        ("Name,Total Quantity,Add to Quantity", "Charizard,4,0", 4),
        ("Name,Total Quantity,Add to Quantity", "Charizard,,", None),
        ("Count,Tradelist Count,Name", "2,1,Charizard", 2),
        ("Quantity,Qty,Name", "2,2,Charizard", 2),
    ],
)
def test_copies_are_counted_from_what_says_how_many_are_owned(load, header, row, copies):
    found = load(f"{header}\n{row}\n")
    assert [one.quantity for one in found.entries] == ([copies] if copies else [])
    assert len(found.skipped) == (not copies)


def test_two_counts_that_differ_are_not_chosen_from(load):
    with pytest.raises(UsageError, match=r"column 'Qty' of .* looks like quantity"):
        load("Quantity,Qty,Name\n2,3,Charizard\n")
    found = load("Name,Total Quantity,Add to Quantity\nCharizard,4,1\n")
    assert "which are owned is not clear" in found.problems[0][1]


def test_the_decimal_mark_is_decided_over_the_file(load):
    found = load("Name;Cost;Qty;Market\nCharizard;352.068;2.000;538.64\nBulbasaur;1.125;4;3.01\n")
    assert [(one.cost, one.quantity) for one in found.entries] == [(352.068, 2), (1.125, 4)]
    found = load("Name;Cost;Qty;Market\nCharizard;1.352;2;538,64\n")
    assert costs(found) == [1352]
    for delimiter in ";,":
        found = load(f"Name{delimiter}Cost\nCharizard{delimiter}1.352\nBulbasaur{delimiter}2\n")
        assert costs(found) == [2]
        assert "'1.352' is unclear, 1.352 or 1352" in found.problems[0][1]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Name,Purchase Price (EUR)\nCharizard,12.50\n", {}),
        ("Name,price paid €\nCharizard,12.50\n", {}),
        ("# all prices in EUR\nName,Cost\nCharizard,12.50\n", {}),
        ("Name,Cost\nCharizard,12.50\n", {"currency": "eur"}),
        ("Name,Cost\nCharizard,12.50 €\n", {}),
        ("Name,Cost,Currency\nCharizard,12.50,EUR\n", {}),
        ("Name,Cost,Currency\nCharizard,12.50,€\n", {}),
    ],
)
def test_a_cost_in_another_currency_is_converted_or_left_out(load, text, options):
    found = load(text, **options)
    assert costs(found) == [None]
    assert "taken without its cost" in found.remarks[0][1]
    found = load(text, **options, eur_usd=1.2)
    assert costs(found) == [15.0]
    assert "converted at 1.2 USD" in found.remarks[0][1]


def test_a_currency_without_a_rate_is_never_taken_as_usd(load):
    for text in ("Name,cost_brl\nCharizard,9\n", "Name,Cost\nCharizard,9 kr\n"):
        assert costs(load(text, eur_usd=1.2)) == [None]
    with pytest.raises(UsageError, match="'money' is none: write one of ARS"):
        load("Name,Cost\nCharizard,9\n", currency="money")
    with pytest.raises(UsageError, match="are in BRL and EUR: one is wrong"):
        load("Name,cost_brl\nCharizard,9\n", currency="EUR")


def test_a_cost_of_zero_is_not_told_and_noise_is_no_note(load):
    found = load('Name,Cost,Notes\nCharizard,0,"; ; ;"\nBulbasaur,$0.00,x\n')
    assert (costs(found), [one.note for one in found.entries]) == ([None, None], ["", "x"])
    assert found.free == 2


def test_blanks_split_no_card(load):
    found = load("Name,Cost\nBooster Box ,1\nBooster  Box,1\nBooster\u00a0Box,1\n")
    assert [one.card for one in found.entries] == ["7:Normal"] * 3


def test_rows_that_cannot_be_told_apart_are_problems(load):
    found = load('Name,Qty,Notes\nCharizard,1,x,1\nBulbasaur,2\n"Mew,1,y\n')
    assert found.entries == []
    assert [line for line, _ in found.problems] == [2, 3, 4]


FEES = "Name,cost,currency,buy fees,target above,target below\nCharizard,10,{},5,100,50\n"


def test_fees_and_targets_are_in_the_currency_of_the_cost(load):
    found = load(FEES.format("EUR"), eur_usd=1.2)
    (one,) = found.entries
    assert (one.cost, one.buy_fees, one.target_above, one.target_below) == (12, 6, 120, 60)
    assert found.remarks[0][1].count("converted at 1.2 USD") == 4
    (one,) = load(FEES.format("USD"), eur_usd=1.2).entries
    assert (one.cost, one.buy_fees, one.target_above, one.target_below) == (10, 5, 100, 50)


def test_fees_and_targets_that_cannot_be_converted_are_left_out(load):
    found = load(FEES.format("JPY"), eur_usd=1.2)
    (one,) = found.entries
    assert (one.cost, one.buy_fees, one.target_above, one.target_below) == (None,) * 4
    for name in ("cost '10 JPY'", "buy fees '5 JPY'", "target above '100 JPY'"):
        assert f"taken without its {name}: " in found.remarks[0][1]
    found = load("Name,buy fees,target above\nCharizard,£2.50,9 €\n")
    assert (found.entries[0].buy_fees, found.entries[0].target_above) == (None, None)


@pytest.mark.parametrize("header", ["buy fees (EUR)", "target_above_eur", "Target below €"])
def test_the_currency_of_a_fee_or_target_may_stand_in_its_header(load, header):
    found = load(f"Name,{header}\nCharizard,10\n", eur_usd=1.2)
    assert "converted at 1.2 USD" in found.remarks[0][1]
    with pytest.raises(UsageError, match="are in EUR and USD: one is wrong"):
        load(f"Name,cost (USD),{header}\nCharizard,9,10\n", eur_usd=1.2)


LOG = "Name,date,price,fees,type\nCharizard,2025-01-13,20,{},{}\n"


@pytest.mark.parametrize("kind", ["sell", "buy"])
def test_a_trade_whose_fee_is_not_known_in_usd_is_left_out(load, kind):
    for fee in ("£2.50", "2,50 €", "2.50 kr", "much"):
        found = load(LOG.format(f'"{fee}"', kind), sales=True)
        assert found.entries == []
        assert f"'{fee}" in found.problems[0][1]
    found = load(LOG.format("2.50 €", kind), sales=True, eur_usd=1.2)
    (one,) = found.entries
    assert (one.sale_fees if kind == "sell" else one.buy_fees) == 3.0
    assert found.remarks[0][1] == "sale fees '2.50 €' converted at 1.2 USD"
    found = load(LOG.format("-", kind), sales=True)
    assert (found.problems, found.remarks) == ([], [])


def test_the_fee_of_a_buy_in_a_log_may_have_a_column_of_its_own(load):
    log = "Name,date,price,buy fees,type\nCharizard,2025-01-13,20,{},buy\n"
    assert load(log.format("1.50"), sales=True).entries[0].buy_fees == 1.5
    found = load(log.format("£1.50"), sales=True)
    assert found.entries == []
    assert "its buy fees '£1.50': " in found.problems[0][1]


def test_a_log_has_one_currency_in_its_headers(load):
    with pytest.raises(UsageError, match="are in EUR and USD: one is wrong"):
        load("Name,date,price (USD),fees (EUR)\nCharizard,2025-01-13,20,2.5\n", sales=True)
    found = load("Name,date,price,Fees (GBP)\nCharizard,2025-01-13,20,2.5\n", sales=True)
    assert found.entries == []
    assert "'20 GBP'" in found.problems[0][1]


def test_each_column_of_days_has_an_order_of_its_own(load):
    found = load("Name,bought\nCharizard,03/04/2025\nBulbasaur,13/04/2025\n")
    assert [f"{one.bought}" for one in found.entries] == ["2025-04-03", "2025-04-13"]
    log = "Name,date,price,bought\nCharizard,05/04/2025,9,03/04/2025\nBulbasaur,{},9,{}\n"
    found = load(log.format("05/13/2025", "13/04/2025"), sales=True)
    assert [(f"{one.bought}", f"{one.date}") for one in found.entries] == [
        ("2025-04-03", "2025-05-04"),
        ("2025-04-13", "2025-05-13"),
    ]
    found = load(log.format("05/13/2025", ""), sales=True)
    assert "unclear" in found.problems[0][1]


def test_a_mark_of_a_first_edition_beside_one_of_foil_means_both(load):
    found = load("Name,Foil?,First Ed.?\nCharizard,1,\nCharizard,1,1\n")
    assert [line for line, _ in found.problems] == [3]
    assert "1st Edition Holofoil" in found.problems[0][1]


def test_a_home_in_euros_keeps_euros_and_converts_dollars(load):
    for currency in ("EUR", ""):
        found = load(FEES.format(currency), stored="EUR", eur_usd=1.25)
        (one,) = found.entries
        assert (one.cost, one.buy_fees, one.target_above, one.target_below) == (10, 5, 100, 50)
        assert found.remarks == []
    found = load(FEES.format("USD"), stored="EUR", eur_usd=1.25)
    (one,) = found.entries
    assert (one.cost, one.buy_fees, one.target_above, one.target_below) == (8, 4, 80, 40)
    assert "cost '10' converted at 0.8 EUR" in found.remarks[0][1]
    found = load(FEES.format("USD"), stored="EUR")
    assert costs(found) == [None]
    assert "taken without its cost '10 USD': amounts are in EUR" in found.remarks[0][1]


def test_a_log_in_dollars_is_no_log_in_euros(load):
    found = load(LOG.format("$2.50", "sell").replace("20,", "$20,"), sales=True, stored="EUR")
    assert found.entries == []
    assert "'$20': amounts are in EUR" in found.problems[0][1]


def test_the_fee_of_a_buy_is_the_one_that_was_paid(load):
    log = "Name,date,price,fees,buy fees,type\nCharizard,2025-01-13,20,{},{},buy\n"
    for both in (("0.00", "3.50"), ("3.50", "0"), ("3.50", "3.50"), ("", "3.50")):
        assert load(log.format(*both), sales=True).entries[0].buy_fees == 3.5
    found = load(log.format("1.00", "3.50"), sales=True)
    assert found.entries == []
    assert "fees 3.50 and 1.00: one is meant" in found.problems[0][1]


def test_a_first_edition_that_is_neither_yes_nor_no_is_no_unlimited(load):
    found = load("Name,First Edition\nCharizard,maybe\n")
    assert found.entries == []
    assert "first edition 'maybe' is neither yes nor no" in found.problems[0][1]


def test_the_grades_of_deckbox_are_its_own(load):
    grades = ["Near Mint", "Good (Lightly Played)", "Played", "Heavily Played", "Poor"]
    rows = "".join(f"1,0,Bulbasaur,,{grade}\n" for grade in grades)
    found = load(f"Count,Tradelist Count,Name,Edition,Condition\n{rows}")
    assert not found.problems
    assert [one.condition for one in found.entries] == list(Condition)
