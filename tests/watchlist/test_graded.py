"""Graded copies: valued at the median of their grade's sales, or not at all."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import time_machine
from pytest_httpserver import HTTPServer
from web import Web

from pokewatch.operations import graded as asking
from pokewatch.settings import Settings, load_settings
from pokewatch.watchlist import entries, graded

WATCHED = """
- {card: "502:Holofoil", quantity: 2, cost: 300, grade: PSA 10}
- {card: "502:Holofoil", quantity: 1, cost: 200}
- {card: "502:Holofoil", grade: "BGS 9.5"}
- {card: "501:Normal", grade: PSA 10}
- {card: "503:Normal", grade: PSA 9}
"""
SALES = {
    "psa10": {"count": 12, "medianPrice": 1859.0, "averagePrice": 1900.0},
    "psa9": {"count": 40, "medianPrice": 320.5},
    "bgs9_5": {"count": 2, "medianPrice": 700.0},  # too few
    "cgc10": {"count": 5, "medianPrice": None},
    "sgc10": "nothing",
}


@pytest.fixture
def web(httpserver: HTTPServer) -> Web:
    web = Web(httpserver)
    serve(web, 502, SALES)
    serve(web, 503, {"psa9": {"count": 3, "medianPrice": 55.0}})
    return web


def serve(web: Web, product: int, sales: Any) -> None:
    card = {"tcgPlayerId": str(product), "name": "A card", "ebay": {"salesByGrade": sales}}
    web.pages[f"/cards?{product}"] = {"data": [card], "metadata": {}}


@pytest.fixture
def mine(home: Path, tmp_path: Path, path: Path, web: Web) -> Settings:
    shutil.copytree(home, tmp_path / "home")
    path.write_text(WATCHED, encoding="utf-8")
    values = {"request_interval": 0, "request_attempts": 1, "request_timeout": 5}
    return load_settings(
        home=tmp_path / "home", store="", watchlist=path, tracking=False,
        pokemonpricetracker_url=web.url, pokemonpricetracker_key="k", **values,
    )  # fmt: skip


def worth(settings: Settings) -> dict[tuple[str, str], Any]:
    held, _ = entries.valued(settings, entries.load(settings.watchlist))
    rows = zip(held["card"], held["grade"], held["price"], strict=True)
    return {(card, grade): None if math.isnan(price) else price for card, grade, price in rows}


def test_a_graded_copy_is_worth_its_grade_s_median_and_never_the_ungraded_price(mine, web):
    unknown = {key: None for key in worth(mine) if key[1]}
    assert worth(mine) == {("502:Holofoil", ""): 250.0, **unknown}
    asking.refresh(mine)
    assert sorted(one for one in web.asked if "/cards" in one) == ["/cards?502", "/cards?503"]
    assert worth(mine) == {
        ("502:Holofoil", ""): 250.0,
        ("502:Holofoil", "PSA 10"): 1859.0,
        ("503:Normal", "PSA 9"): 55.0,
        ("502:Holofoil", "BGS 9.5"): None,  # of two sales
        ("501:Normal", "PSA 10"): None,  # sales of a product with two printings are nobody's
    }
    held, day = entries.valued(mine, entries.load(mine.watchlist))
    told = entries.totals(held, day)
    assert told["value"] == 2 * 1859 + 250 + 55
    assert (told["copies"], told["graded"]) == (4, 2)
    assert told["gain"] == 2 * (1859 - 300) + 50


def test_it_is_asked_once_a_day_and_what_was_told_stays_when_the_service_is_away(mine, web, caplog):
    with time_machine.travel("2026-08-01T22:00Z", tick=False):
        asking.refresh(mine)
        asking.refresh(mine)
        assert len(web.asked) == 2
    web.pages.clear()
    with time_machine.travel("2026-08-20T22:00Z", tick=False):
        asking.refresh(mine)
        assert "are not valued anew" in caplog.text
        assert worth(mine)["503:Normal", "PSA 9"] == 55.0
    with time_machine.travel("2026-09-02T22:00Z", tick=False):  # a month later nothing stands
        assert worth(mine)["503:Normal", "PSA 9"] is None


def test_without_a_key_or_a_graded_copy_nobody_is_asked(mine, web, path):
    asking.refresh(mine.model_copy(update={"pokemonpricetracker_key": type(mine.api_keys)("")}))
    path.write_text("- {card: '502:Holofoil'}", encoding="utf-8")
    asking.refresh(mine)
    path.write_text("- {card: [", encoding="utf-8")
    asking.refresh(mine)
    path.unlink()
    asking.refresh(mine)
    assert web.asked == []


@pytest.mark.parametrize("sales", [[1], {"psa9": {"count": 9, "medianPrice": "55"}}, None, "x"])
def test_what_is_not_understood_values_nothing(mine, web, sales):
    serve(web, 503, sales)
    asking.refresh(mine)
    assert worth(mine)["503:Normal", "PSA 9"] is None
    assert worth(mine)["502:Holofoil", "PSA 10"] == 1859.0


def test_the_lists_agree(mine, cli, monkeypatch, path):
    asking.refresh(mine)
    monkeypatch.setenv("POKEWATCH_HOME", str(mine.home))
    from pokewatch.settings import get_settings

    get_settings.cache_clear()
    path.write_text(WATCHED, encoding="utf-8")
    code, out, _ = cli("list", "--json")
    assert code == 0
    listed = json.loads(out)
    assert "median of their grade's sales on eBay" in listed["prices"]
    code, out, _ = cli("export", "--format", "insurance")
    rows = [line.split(",") for line in out.splitlines()[1:]]
    assert [row[-3:-1] for row in rows][:3] == [
        ["1859.0", "3718.0"],
        ["250.0", "250.0"],
        ["55.0", "55.0"],
    ]
    import pokewatch as pw

    totals = pw.portfolio().totals
    assert totals["value"] == listed["value"] == 4023.0
    assert totals["unpriced"] == listed["graded"] == 2


@pytest.mark.parametrize(
    ("written", "key"),
    [
        *[("PSA 10", "psa10"), ("psa10", "psa10"), ("BGS 9.5", "bgs9_5"), ("CGC_9_5", "cgc9_5")],
        *[("PSA 11", ""), ("PSA 9.7", ""), ("Graded", ""), ("CGC 10 Pristine", ""), ("PSA", "")],
    ],
)
def test_a_grade_is_the_service_s_or_none(written, key):
    assert graded.key(written) == key
