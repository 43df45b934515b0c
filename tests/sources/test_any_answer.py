"""Whatever stands at whatever place of a service's answer, the other card's price arrives."""

from __future__ import annotations

import copy
import json
import os
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_services import KNOWN, SERVICES

from pokewatch import sources
from pokewatch.cards import frames
from pokewatch.quality import quarantine, rules
from pokewatch.settings import load_settings
from pokewatch.sources import pokemonpricetracker, pokemontcg, tcgdex

MODULES = {"tcgdex": tcgdex, "pokemontcg": pokemontcg, "pokemonpricetracker": pokemonpricetracker}
WORDS = ["sv2-2", "2", "2026-07-23", "Holofoil", "EUR", "n/a", "", "normal", "marketPrice", "date"]
plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=10,
)
EXAMPLES = int(os.environ.get("POKEWATCH_FUZZ_EXAMPLES", "30"))


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the path to every value inside a JSON value, its own first."""
    found = [path]
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in inner:
            found += places(one, (*path, key))
    return found


def changed(value: Any, path: tuple, new: Any) -> Any:
    """Return a JSON value with another one at a place."""
    if not path:
        return new
    value = copy.copy(value)
    value[path[0]] = changed(value[path[0]], path[1:], new)
    return value


class Canned:
    """Stands in for the client: answers from pages, without the cost of a server."""

    def __init__(self, pages: dict[str, Any]):
        self.pages = pages

    def __enter__(self) -> Canned:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def get_json(self, path: str, params: dict | None = None) -> Any:
        given = params or {}
        query = given.get("q", given.get("tcgPlayerId", ""))
        return json.loads(json.dumps(self.pages[f"{path}?{query}" if query else path]))


@pytest.mark.parametrize("name", SERVICES)
def test_no_answer_breaks_a_source(name: str) -> None:
    web = SimpleNamespace(pages={})
    address = SERVICES[name](web)[1]
    good = web.pages[address]
    if name == "pokemonpricetracker":
        good["data"][0]["priceHistory"] = {"conditions": {"Near Mint": {"history": [{}]}}}
    chosen = load_settings(pokemonpricetracker_key="k", sets=[])

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.lists(st.tuples(st.integers(0, 10_000), values), min_size=1, max_size=3))
    def check(changes: list[tuple[int, Any]]) -> None:
        page = good
        for number, value in changes:
            there = places(page)
            page = changed(page, there[number % len(there)], value)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MODULES[name], "client", lambda _: Canned(web.pages | {address: page}))
            delivery = sources.fetch(name, chosen, known=KNOWN)
        now = pd.Timestamp.now(tz="UTC")
        rows = rules.normalise(delivery.observations, delivery.source, now)
        assert len(rows) == len(delivery.observations)
        first = rows[(rows["card_id"] == "1:Holofoil") & (rows["problem"] == "")]
        assert first["market_price"].tolist().count(7.5) >= 1
        assert (rows.loc[rows["problem"] == "", "market_price"] > 0).all()
        rows = rows.assign(quarantine_id=None, copy=quarantine.count_copies(rows))
        quarantine.shape(rules.refuse(rows, rows["problem"]), now)
        assert frames.tidy(delivery.cards)["card_id"].is_unique

    check()
