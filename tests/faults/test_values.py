"""Values that are no prices, through every shape in which prices arrive."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fault_jobs import pack, price
from pytest_httpserver import HTTPServer
from test_services import cards
from web import Web

from pokewatch import sources
from pokewatch.quality.ingest import Counts, ingest
from pokewatch.schema import Delivery
from pokewatch.settings import Settings, load_settings
from pokewatch.sources import pokemontcg, tcgcsv
from pokewatch.store.tables import Store

DAY = date(2026, 7, 23)
NINES = int("9" * 400)
MISSING, TEXT, NEGATIVE = "price_missing", "price_not_numeric", "price_not_positive"
ABSURD = "price_absurd"
VALUES: list[tuple[Any, str]] = [
    (None, MISSING),
    (" ", MISSING),
    ("7,50", TEXT),
    ("n/a", TEXT),
    ([7.5], TEXT),
    ({"usd": 7.5}, TEXT),
    (True, TEXT),
    (False, TEXT),
    (float("nan"), TEXT),  # json.dumps writes NaN and Infinity, as careless services do
    (float("inf"), TEXT),
    (float("-inf"), TEXT),
    (NINES, TEXT),
    (-NINES, TEXT),
    (0, NEGATIVE),
    (-0.0, NEGATIVE),
    (-1, NEGATIVE),
    (22_376_779.59, ABSURD),
    (1e308, ABSURD),
]
# Every value once as the market price of a card, once as the low price of another card.
MARKET = {number: value for number, (value, _) in enumerate(VALUES, start=1)}
LOW = {number: value for number, (value, _) in enumerate(VALUES, start=101)}
ROWS = [price(number, value) for number, value in MARKET.items()]
ROWS += [price(number, 5 + number / 10, low=value) for number, value in LOW.items()]


def good(number: int) -> float:
    return 5 + number / 10


def live(web: Web, folder: Path) -> None:
    def answer(*rows: dict) -> dict:
        return {"success": True, "errors": [], "results": rows}

    web.pages["/last-updated.txt"] = f"{DAY}T20:05:33+0000".encode()
    web.pages["/tcgplayer/3/groups"] = answer({"groupId": 604, "name": "Base Set"})
    web.pages["/tcgplayer/3/604/products"] = answer()
    web.pages["/tcgplayer/3/604/prices"] = answer(*ROWS)


def archive(web: Web, folder: Path) -> None:
    pack(folder, DAY, ROWS)


def tcgdex(web: Web, folder: Path) -> None:
    ids = [f"sv01-{row['productId']:03}" for row in ROWS]
    web.pages["/en/sets"] = [{"id": "sv01"}]
    web.pages["/en/sets/sv01"] = {"id": "sv01", "cards": [{"id": one} for one in ids]}
    for one, row in zip(ids, ROWS, strict=True):
        prices = {"unit": "USD", "updated": str(DAY), "normal": row}
        web.pages[f"/en/cards/{one}"] = {"id": one, "pricing": {"tcgplayer": prices}}


def pokemon_tcg(web: Web, folder: Path) -> None:
    found = [
        {
            "id": f"sv1-{row['productId']}",
            "tcgplayer": {
                "updatedAt": f"{DAY:%Y/%m/%d}",
                "prices": {"normal": {"market": row["marketPrice"], "low": row["lowPrice"]}},
            },
        }
        for row in ROWS
    ]
    count = {"count": len(found), "totalCount": len(found)}
    web.pages["/cards?set.id:sv1"] = {"data": found, "page": 1, "pageSize": 250, **count}


def tracker(web: Web, folder: Path) -> None:
    for row in ROWS:
        prices = {"market": row["marketPrice"], "low": row["lowPrice"], "lastUpdated": str(DAY)}
        card = {"tcgPlayerId": str(row["productId"]), "prices": prices}
        web.pages[f"/cards?{row['productId']}"] = {"data": [card]}


SERVED: dict[str, Callable[[Web, Path], None]] = {
    "tcgcsv": live,
    "archive": archive,
    "tcgdex": tcgdex,
    "pokemontcg": pokemon_tcg,
    "pokemonpricetracker": tracker,
}


def fetch(name: str, settings: Settings, folder: Path) -> Delivery:
    if name == "archive":
        ((_, delivery),) = tcgcsv.archives(settings, DAY, DAY, folder, skip=set())
        return delivery
    known = cards(*((f"{number}:Normal", None, [f"sv1-{number}"]) for number in MARKET | LOW))
    return sources.fetch(name, settings, known=None if name == "tcgcsv" else known)


def delivered_twice(store: Store, settings: Settings, fetched: Callable[[], Delivery]) -> Counts:
    """Ingest a delivery; the same once more must change nothing."""
    first = ingest(store, fetched(), settings)
    again = ingest(store, fetched(), settings)
    assert first.received == first.accepted + first.quarantined + first.unchanged
    assert (again.received, again.unchanged) == (first.received, first.received)
    assert again.data_version == first.data_version
    return first


@pytest.mark.parametrize("name", SERVED)
def test_a_bad_value_of_a_service_costs_its_own_row_only(
    httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(pokemontcg, "SLOWEST", 0.0)
    web = Web(httpserver)
    SERVED[name](web, tmp_path / "archives")
    settings = load_settings(
        home=tmp_path / "home",
        store="",
        request_interval=0,
        request_attempts=1,
        tcgcsv_categories=[3],
        pokemontcg_key="key",
        pokemonpricetracker_key="key",
        pokemonpricetracker_calls=1000,
        **{} if name == "archive" else {f"{name}_url": web.url},
    )
    store = Store.from_settings(settings)
    counts = delivered_twice(store, settings, lambda: fetch(name, settings, tmp_path / "archives"))
    assert (counts.received, counts.accepted, counts.quarantined) == (36, 18, 18)
    kept = store.quarantine(["refused"]).set_index("card_id")
    for number, (value, reason) in enumerate(VALUES, start=1):
        row = kept.loc[f"{number}:Normal"]
        assert row["reason"] == reason, value
        received = json.loads(row["raw"])["market_price"]
        shown = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
        assert value is None or received == shown.get(str(value), str(value))
    stored = store.prices().set_index("card_id")
    assert stored["market_price"].to_dict() == {f"{n}:Normal": good(n) for n in LOW}
    lows = {f"{n}:Normal": v for n, v in LOW.items() if type(v) in (int, float) and 0 <= v < NINES}
    assert stored["low_price"].dropna().to_dict() == {
        card: value for card, value in lows.items() if value != float("inf")
    }


def columns() -> dict[str, tuple[list[Any] | pa.Array, list[str]]]:
    """Return columns of a file's market prices with the reason for each value, "" for a good one.

    A list is the text of a CSV file, an array a column of a Parquet file.
    """
    inf, nan = float("inf"), float("nan")
    gaps = ["NULL", "n/a", "nan", "NaN"]  # which a CSV file has instead of nulls
    words = ["True", "7,50", "$7.50", "[7.5]", "Infinity", "1e999", "0x10", str(NINES)]
    text = ["", " ", *gaps, *words, "-1", "-0.0", "22376779.59", "1e308", " 7.50"]
    empty, ends = [MISSING] * 2, [NEGATIVE] * 2 + [ABSURD] * 2 + [""]
    floats = [None, nan, inf, -inf, -1.0, -0.0, 22_376_779.59, 1e308, 7.5]
    moments = pa.array([pd.Timestamp(DAY)])
    return {
        "csv": (text, empty + [MISSING] * 4 + [TEXT] * 8 + ends),
        "text": (pa.array([None, *text]), [MISSING, *empty] + [TEXT] * 12 + ends),
        "float": (pa.array(floats), empty + [TEXT] * 2 + ends),
        "half": (pa.array([nan, inf, -1.0, 7.5], pa.float16()), [MISSING, TEXT, NEGATIVE, ""]),
        "true": (pa.array([True, False, None]), [TEXT, TEXT, MISSING]),
        "whole": (pa.array([2**63 - 1, -1, 0, 7]), [ABSURD, NEGATIVE, NEGATIVE, ""]),
        "unsigned": (pa.array([2**64 - 1, 0], pa.uint64()), [ABSURD, NEGATIVE]),
        "decimal": (pa.array([Decimal(10**70), None], pa.decimal256(76)), [ABSURD, MISSING]),
        "nothing": (pa.nulls(2), empty),
        "bytes": (pa.array([b"7,5", b""]), [TEXT, MISSING]),
        "moment": (moments, [ABSURD]),
        "day": (moments.cast(pa.date32()), [TEXT]),
        "dictionary": (pa.array(["x", "-1", "7"]).dictionary_encode(), [TEXT, NEGATIVE, ""]),
    }


@pytest.mark.parametrize("kind", columns())
def test_a_bad_value_of_a_file_costs_its_own_row_only(tmp_path: Path, kind: str) -> None:
    values, reasons = columns()[kind]
    settings = load_settings(home=tmp_path / "home", store="")
    ids = [f"{number}:Normal" for number in range(len(reasons))]
    given = {"card_id": ids, "date": [str(DAY)] * len(ids), "market_price": values}
    if isinstance(values, list):
        path = tmp_path / "night.csv"
        pd.DataFrame(given).to_csv(path, index=False)
    else:
        path = tmp_path / "night.parquet"
        pq.write_table(pa.table(given), path)
    store = Store.from_settings(settings)
    counts = delivered_twice(store, settings, lambda: sources.fetch("file", settings, path=path))
    assert (counts.received, counts.accepted) == (len(ids), reasons.count(""))
    kept = store.quarantine(["refused"]).set_index("card_id")["reason"].to_dict()
    stored = dict.fromkeys(store.prices()["card_id"], "")
    assert kept | stored == dict(zip(ids, reasons, strict=True))
