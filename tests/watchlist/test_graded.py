"""Graded copies: valued at the median of their grade's sales, or not at all."""

from __future__ import annotations

import json
import math
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from pytest_httpserver import HTTPServer
from web import Web
from werkzeug import Response

import pokewatch as pw
from pokewatch.evaluation.predictions import predict_all
from pokewatch.operations import graded as asking
from pokewatch.report import facts, sections
from pokewatch.settings import Settings, get_settings, load_settings
from pokewatch.watchlist import alerts, entries, graded

DAY = "2025-01-03T22:00Z"  # of the store's last prices
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


@pytest.fixture(autouse=True)
def _that_night():
    with time_machine.travel(DAY, tick=True):
        yield


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
    for _ in range(3):
        asking.refresh(mine)
    assert len(web.asked) == 2
    web.pages.clear()
    with time_machine.travel("2025-01-05T22:00Z", tick=False):
        for _ in range(3):
            asking.refresh(mine)
        assert len(web.asked) == 4
        assert "are not valued anew" in caplog.text
    assert worth(mine)["503:Normal", "PSA 9"] == 55.0


def test_a_service_that_wants_a_pause_holds_no_night(mine, web, monkeypatch):
    busy = Response("", 429, {"Retry-After": "600"})
    web.pages |= {"/cards?502": busy, "/cards?503": busy}
    asking.refresh(mine.model_copy(update={"request_attempts": 5}))
    assert len(web.asked) == 2  # once each: between two tries lies the pause
    web.asked.clear()
    monkeypatch.setattr(asking, "PATIENCE", -1.0)  # used up by the first card
    with time_machine.travel("2025-01-04T22:00Z", tick=True):
        asking.refresh(mine)
        assert len(web.asked) == 1


def test_a_damaged_file_is_no_file(mine):
    asking.refresh(mine)
    path = mine.home / graded.KEPT
    whole = path.read_text(encoding="utf-8")
    for damaged in ("", "[]", whole.replace("12", "1e999"), whole.replace("2025", "twenty")):
        path.write_text(damaged, encoding="utf-8")
        assert worth(mine)["503:Normal", "PSA 9"] is None


@pytest.mark.parametrize(
    ("day", "known"), [("2024-12-10", True), ("2024-11-20", False), ("2025-02-01", False)]
)
def test_a_median_counts_for_the_prices_of_its_month_only(mine, day, known):
    with time_machine.travel(f"{day}T22:00Z", tick=False):
        asking.refresh(mine)
    assert (worth(mine)["503:Normal", "PSA 9"] == 55.0) == known


def test_a_simulated_market_s_cards_are_nobody_s_products(mine, web, monkeypatch):
    monkeypatch.setattr(asking, "price_sources", lambda _: ["simulated"])
    asking.refresh(mine)
    assert web.asked == []


def test_targets_of_a_graded_copy_are_its_own(mine, path):
    path.write_text(
        "- {card: '502:Holofoil', target_above: 200}\n"
        "- {card: '502:Holofoil', grade: PSA 10, target_above: 200}\n",
        encoding="utf-8",
    )
    asking.refresh(mine)
    held, day = entries.valued(mine, entries.load(path))
    found, now = alerts.judge(held, set(), day, 3)
    assert [one.price for one in found] == [250.0, 1859.0]
    assert len(now) == 2
    told = alerts.message(found[1], "Charizard ex")
    assert told.startswith("Charizard ex, PSA 10, stood at $1,859.00")
    assert "near-mint" not in told


def test_a_report_tells_a_graded_copy_apart(mine):
    predict_all(mine)
    asking.refresh(mine)
    drawn = str(sections.portfolio(facts.load(mine)).data)
    assert drawn.count("PSA 10</span>") == 1
    assert "$3,718.00" in drawn
    assert drawn.count("median of its grade") == 2
    row = drawn.split("PSA 10</span>")[1].split("</tr>")[0]
    assert "<svg" not in row
    assert "HOLD" not in row
    assert ">stale<" not in row
    kept = graded.read(mine)
    old = {card: one._replace(day=one.day - timedelta(days=9)) for card, one in kept.items()}
    graded.write(mine, old)
    drawn = str(sections.portfolio(facts.load(mine)).data)
    assert ">stale<" in drawn.split("PSA 10</span>")[1].split("</tr>")[0]


def test_cards_with_copies_of_several_prices_have_no_one_price(here):
    cards = pw.portfolio(pw.market()).cards.set_index("card_id")
    assert math.isnan(cards.loc["502:Holofoil", "price"])
    assert cards.loc["502:Holofoil", "value"] == 2 * 1859 + 250
    assert cards.loc["503:Normal", "price"] == 55.0


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


@pytest.fixture
def here(mine: Settings, cli, monkeypatch: pytest.MonkeyPatch):
    """The command line in the home with the medians."""
    asking.refresh(mine)
    monkeypatch.setenv("POKEWATCH_HOME", str(mine.home))
    get_settings.cache_clear()
    return cli


def test_the_lists_agree(here):
    cli = here
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
