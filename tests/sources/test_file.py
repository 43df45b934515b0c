from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from pokewatch.errors import SourceError, UsageError
from pokewatch.quality.ingest import collect
from pokewatch.settings import load_settings
from pokewatch.sources import fetch
from pokewatch.sources.file import fetch as fetch_file
from pokewatch.store.tables import Store

ROWS = pd.DataFrame(
    {
        "card_id": ["1:Normal", "1:Normal"],
        "date": ["2025-01-01", "2025-01-02"],
        "market_price": [1.5, 2.5],
        "name": ["Eevee", "Eevee"],
        "colour": ["brown", "brown"],
    }
)


def written(tmp_path: Path, rows: pd.DataFrame, name: str = "prices.csv") -> Path:
    path = tmp_path / name
    rows.to_parquet(path) if name.endswith(".parquet") else rows.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["prices.csv", "prices.parquet"])
def test_csv_and_parquet_deliver_the_same(tmp_path, name):
    delivery = fetch_file(written(tmp_path, ROWS, name))
    assert delivery.observations["card_id"].tolist() == ["1:Normal", "1:Normal"]
    assert delivery.observations["market_price"].astype(float).tolist() == [1.5, 2.5]
    assert delivery.cards[["card_id", "name"]].to_numpy().tolist() == [["1:Normal", "Eevee"]]
    assert delivery.notes == ["columns not used: colour"]


def test_other_column_names_are_mapped_and_ids_built(tmp_path):
    rows = pd.DataFrame({"set": ["SV01"], "what": ["Mew"], "usd": [3.0], "day": ["2025-01-01"]})
    delivery = fetch_file(
        written(tmp_path, rows),
        columns={"market_price": "usd", "date": "day"},
        id_template="{set}|{what}",
    )
    assert delivery.observations["card_id"].tolist() == ["sv01|mew"]
    assert delivery.observations["market_price"].tolist() == ["3.0"]


def test_product_id_and_printing_make_the_canonical_id(tmp_path):
    rows = ROWS.drop(columns="card_id").assign(product_id=7, printing="Holofoil")
    assert set(fetch_file(written(tmp_path, rows)).observations["card_id"]) == {"7:Holofoil"}


def test_an_incomplete_product_makes_no_id(tmp_path):
    rows = pd.DataFrame(
        {
            "product_id": [7.0, None, 8.0],
            "printing": ["Holofoil", "Normal", None],
            "date": "2025-01-01",
            "market_price": 1.0,
        }
    )
    ids = fetch_file(written(tmp_path, rows, "p.parquet")).observations["card_id"]
    assert ids.tolist() == ["7:Holofoil", None, None]


def test_a_day_narrows_the_rows_or_dates_a_file_without_dates(tmp_path):
    path = written(tmp_path, ROWS)
    assert len(fetch_file(path, on=date(2025, 1, 2)).observations) == 1
    undated = written(tmp_path, ROWS.drop(columns="date"), "undated.csv")
    assert set(fetch_file(undated, on=date(2025, 1, 2)).observations["date"]) == {
        pd.Timestamp("2025-01-02")
    }


def test_an_id_of_an_incomplete_row_is_missing_not_invented(tmp_path):
    rows = pd.DataFrame({"a": ["x", None], "date": "2025-01-01", "market_price": 1.0})
    ids = fetch_file(written(tmp_path, rows), id_template="{a}|y").observations["card_id"]
    assert ids.tolist() == ["x|y", None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"price": "market_price"}}, "unknown column price: known are card_id"),
        ({"columns": {"volume": "sold"}}, "names sold, which .* does not have"),
        ({"id_template": "{set}"}, "names 'set'.* it has card_id, colour"),
        ({"id_template": "fixed"}, "names no column"),
        ({"id_template": "{card_id.__class__}"}, "names 'card_id.__class__'"),
        ({"id_template": "{card_id"}, "is no template"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_named(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        fetch_file(written(tmp_path, ROWS), **options)


def test_missing_columns_are_named_with_the_mend(tmp_path):
    path = written(tmp_path, ROWS.drop(columns=["date", "market_price"]))
    with pytest.raises(UsageError, match=r"no column for date, market_price .* --map OURS=THEIRS"):
        fetch_file(path)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        fetch_file(tmp_path / "none.csv")
    other = tmp_path / "prices.xlsx"
    other.write_bytes(b"PK")
    with pytest.raises(UsageError, match="no CSV or Parquet"):
        fetch_file(other)
    broken = tmp_path / "prices.parquet"
    broken.write_bytes(b"PAR1 garbage")
    with pytest.raises(SourceError, match=r"prices.parquet' cannot be read"):
        fetch_file(broken)


def test_sources_and_their_options_are_checked(tmp_path):
    from pokewatch.settings import load_settings

    config = load_settings(home=tmp_path)
    with pytest.raises(UsageError, match="unknown source 'ebay': choose one of simulated, file"):
        fetch("ebay", config)
    with pytest.raises(UsageError, match="needs the file"):
        fetch("file", config)
    with pytest.raises(UsageError, match="takes no --path"):
        fetch("simulated", config, path=tmp_path)


def test_dates_of_several_time_zones_are_picked_by_their_utc_day(tmp_path):
    days = ["2025-01-01T23:30-02:00", "2025-01-01T23:30Z", "2025-01-02T23:30+01:00", "soon"]
    rows = pd.DataFrame({"card_id": list("abcd"), "date": days, "market_price": 1.0})
    kept = fetch_file(written(tmp_path, rows), on=date(2025, 1, 2)).observations
    assert kept["card_id"].tolist() == ["a", "c", "d"]  # what cannot be read is for quality to name


@pytest.mark.parametrize("name", ["prices.csv", "prices.parquet"])
def test_dates_that_quality_does_not_read_stay_in_for_it_to_name(tmp_path, name):
    days = ["2026-07-01", "01/07/2026", "01.07.2026", "1 July 2026", "2026-06-30", "2026/07/01"]
    rows = pd.DataFrame({"card_id": list("abcdef"), "date": days, "market_price": 1.0})
    settings = load_settings(home=tmp_path / "home", store="")
    counts = collect(settings, "file", [], on=date(2026, 7, 1), path=written(tmp_path, rows, name))
    assert (counts.accepted, counts.reasons) == (2, {"date_unparsable": 3})


def test_bare_numbers_are_no_dates_of_1970(tmp_path):
    rows = ROWS.assign(date=[20260701, 20260702])
    path = written(tmp_path, rows, "p.parquet")
    assert len(fetch_file(path, on=date(2026, 7, 1)).observations) == 2


@pytest.mark.parametrize("template", [None, "{product_id}:{printing}"])
def test_a_product_is_the_card_that_services_know_whatever_its_printing_is_called(
    tmp_path, template
):
    names = ["Reverse Holo", "reverse holofoil", "1st Edition", "Stamped"]
    rows = pd.DataFrame({"product_id": 7, "printing": names, "date": "2025-01-01"})
    path = written(tmp_path, rows.assign(market_price=1.0))
    found = fetch_file(path, id_template=template)
    known = ["Reverse Holofoil", "Reverse Holofoil", "1st Edition", "Stamped"]
    assert found.observations["card_id"].tolist() == [f"7:{one}" for one in known]
    assert set(found.cards["printing"]) == set(known)


@pytest.mark.parametrize("product", ["7.5", "-7", "inf", "1e300", "7a", "0"])
def test_a_product_id_that_is_none_costs_its_own_row_only(tmp_path, product):
    path = tmp_path / "prices.csv"
    text = f"product_id,printing,date,market_price\n{product},Normal,2025-01-02,1\n"
    path.write_text(text + "8,Normal,2025-01-02,2\n")
    config = load_settings(home=tmp_path / "home", store="")
    counts = collect(config, "file", path=path)
    assert (counts.received, counts.accepted) == (2, 1)
    assert counts.reasons == {"card_id_missing": 1}
    path.write_text(f"card_id,product_id,date,market_price\n9:Normal,{product},2025-01-02,1\n")
    assert collect(config, "file", path=path).accepted == 1
    assert Store.from_settings(config).cards()["product_id"].tolist() == [8, 9]


def prices(tmp_path: Path, text: str, **options):
    """Return the observations that a CSV text delivers."""
    path = tmp_path / "prices.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return fetch_file(path, on=date(2025, 1, 2), **options).observations


MAPPED = {"columns": {"market_price": "paid"}, "id_template": "{what}"}


@pytest.mark.parametrize("options", [{}, MAPPED])
def test_a_blank_cell_after_the_last_shifts_nothing(tmp_path, options):
    header = "what,paid,low_price" if options else "card_id,market_price,low_price"
    found = prices(
        tmp_path, f"{header}\nmew|normal,10.00,8.00,\nmuk|normal,20.00,18.00,\n", **options
    )
    assert found["card_id"].tolist() == ["mew|normal", "muk|normal"]
    assert found["market_price"].tolist() == ["10.00", "20.00"]


@pytest.mark.parametrize("options", [{}, MAPPED])
@pytest.mark.parametrize("row", ["2:normal,1,8.00,10.00", "2:normal,8.00", '2:normal,8.00,"1'])
def test_a_row_of_another_width_refuses_the_file(tmp_path, options, row):
    header = "what,paid,low_price" if options else "card_id,market_price,low_price"
    with pytest.raises(SourceError, match=r"prices.csv', line 3: .* mend the line or export"):
        prices(tmp_path, f"{header}\n1:normal,10.00,8.00\n{row}\n", **options)


@pytest.mark.parametrize(
    ("text", "options", "currency"),
    [
        ("card_id,price_brl\n1,10\n", {"columns": {"market_price": "price_brl"}}, "BRL"),
        ("card_id,Price (EUR)\n1,10\n", {"columns": {"market_price": "Price (EUR)"}}, "EUR"),
        ("# Preise in €\ncard_id,market_price\n1,10\n", {}, "EUR"),
        ("card_id,market_price\n1,10\n", {"currency": "gbp"}, "GBP"),
        ("card_id,market_price,currency\n1,10,\n", {"currency": "EUR"}, "EUR"),
    ],
)
def test_prices_in_another_currency_say_so(tmp_path, text, options, currency):
    assert prices(tmp_path, text, **options)["currency"].tolist() == [currency]


def test_an_empty_column_currency_contradicts_nothing(tmp_path):
    path = written(tmp_path, ROWS.assign(currency=float("nan")), "p.parquet")
    assert set(fetch_file(path, currency="EUR").observations["currency"]) == {"EUR"}


def test_prices_of_two_currencies_at_once_are_refused(tmp_path):
    columns = {"market_price": "price_brl"}
    for text in ("card_id,price_brl,currency\n1,10,USD\n", "# USD\ncard_id,price_brl\n1,10\n"):
        with pytest.raises(UsageError, match="are in BRL and USD: one is wrong"):
            prices(tmp_path, text, columns=columns)
    with pytest.raises(UsageError, match="--currency 'x' is none"):
        prices(tmp_path, "card_id,market_price\n1,10\n", currency="x")
    with pytest.raises(UsageError, match="takes no --path, --map, --id or --currency"):
        fetch("simulated", load_settings(home=tmp_path), currency="EUR")


@pytest.mark.parametrize(
    ("column", "cell"), [("Grading", "PSA 10"), ("Language", "Japanese"), ("Währung", "EUR")]
)
def test_a_column_that_changes_what_prices_mean_is_not_passed_over(tmp_path, column, cell):
    with pytest.raises(UsageError, match=f"'{column}' of .* says '{cell}'"):
        prices(tmp_path, f"card_id,market_price,{column}\n1,10,{cell}\n")
    assert len(prices(tmp_path, f"card_id,market_price,{column}\n1,10,\n")) == 1


def test_decimal_commas_are_read_and_unclear_marks_refused(tmp_path):
    found = prices(tmp_path, "card_id;market_price;low_price\n1;1.234;0,5\n2;12,5;x\n")
    assert found["market_price"].astype(float).tolist() == [1234, 12.5]
    assert found["low_price"].tolist() == ["0.5", "x"]  # what is no number is for quality to name
    assert prices(tmp_path, "card_id,market_price\n1,1.234\n")["market_price"].tolist() == ["1.234"]
    for text in (
        "card_id;market_price\n1;1.234\n",
        'card_id,market_price\n1,1.234\n2,"1,5"\n3,2.5\n',
    ):
        with pytest.raises(UsageError, match="may be thousands or decimals"):
            prices(tmp_path, text)


@pytest.mark.parametrize("name", ["prices.csv", "prices.parquet"])
def test_blanks_at_the_end_split_no_card(tmp_path, name):
    rows = ROWS.assign(card_id=["1:Normal", "1:Normal "], name=["Eevee", "Eevee\u00a0"])
    found = fetch_file(written(tmp_path, rows, name))
    assert set(found.observations["card_id"]) == {"1:Normal"}
    assert len(found.cards) == 1
