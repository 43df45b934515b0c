"""Which card a row means: no id outranks name, set, number, total and language."""

from __future__ import annotations

import pandas as pd
import pytest

from pokewatch.cards.catalog import Catalog
from pokewatch.cards.frames import tidy
from pokewatch.cards.matching import RowMatcher, same_set
from pokewatch.errors import UsageError

CARDS = [
    ("1:Holofoil", "Pheromosa & Buzzwole GX", "SM: Unbroken Bonds", "001/214", "sm10-1"),
    ("2:Normal", "Venonat", "SM: Unbroken Bonds", "002/214", "sm10-2"),
    ("3:Holofoil", "Venusaur EX", "Generations", "1/83", "g1-1"),
    ("4:Holofoil", "Blaine's Moltres", "Gym Heroes", "1/132", "gym1-1"),
    ("5:Holofoil", "Charizard", "Base Set", "004/102", "base1-4"),
    ("6:Unlimited Holofoil", "Charizard", "Base Set (Shadowless)", "004/102", "base1-4"),
    ("7:Holofoil", "Mew ex", "SV: Scarlet & Violet 151", "151/165", "sv03.5-151"),
    ("8:Holofoil", "Pikachu", "SV: Scarlet & Violet Promo Cards", "027", "svp-27"),
    ("9:Holofoil", "Pikachu ex", "SV08: Surging Sparks", "057/191", "sv08-57"),
    ("10:Holofoil", "Pikachu", "SWSH: Sword & Shield Promo Cards", "SWSH020", "swshp-20"),
    ("11:Holofoil", "Pikachu (Cosmos Holo)", "SV: Scarlet & Violet Promo Cards", "027", "svp-27"),
]


@pytest.fixture(scope="module")
def find() -> RowMatcher:
    fields = ("card_id", "name", "set_name", "number", "aliases")
    rows = [dict(zip(fields, card, strict=True)) for card in CARDS]
    return RowMatcher(
        Catalog(tidy(pd.DataFrame([row | {"aliases": [row["aliases"]]} for row in rows])))
    )


@pytest.mark.parametrize(
    ("row", "card"),
    [
        ({"card": "sm10-1", "name": "Pheromosa & Buzzwole-GX"}, "1:Holofoil"),
        ({"set_code": "sm10", "number": "001/214", "language": "EN"}, "1:Holofoil"),
        # another market's code yields to name and set
        (
            {"name": "Blaine's Moltres", "set_code": "G1", "set": "Gym Heroes", "number": "1/132"},
            "4:Holofoil",
        ),
        ({"set_code": "g1", "number": "1", "name": "Venusaur EX"}, "3:Holofoil"),
        # what the row says besides tells the cards of one id apart
        ({"card": "base1-4", "set": "Base Set"}, "5:Holofoil"),
        ({"card": "base1-4", "set": "Base Set (Shadowless)"}, "6:Unlimited Holofoil"),
        ({"card": "base1-4", "set": "base1", "printing": "Holo"}, "5:Holofoil"),
        ({"name": "Mew ex", "set": "151", "number": "151/165"}, "7:Holofoil"),
        ({"set": "151", "number": "151"}, "7:Holofoil"),
        ({"name": "Mew ex", "set": "Scarlet & Violet 151"}, "7:Holofoil"),
        # a set of another spelling, where name and number agree
        ({"product_id": "7", "name": "Mew ex", "set": "MEW", "number": "151"}, "7:Holofoil"),
        ({"product_id": "11", "name": "Pikachu", "number": "27"}, "11:Holofoil"),
        ({"card": "svp-27", "name": "Pikachu"}, "8:Holofoil"),  # not the stamped one
        ({"card": "5:holofoil"}, "5:Holofoil"),
        ({"card": "Pikachu ex 57/191", "name": ""}, "9:Holofoil"),
    ],
)
def test_a_row_finds_its_card(find, row, card):
    assert find(row) == card


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"card": "SM10-001", "name": "Oddish", "language": "Japanese"}, "language 'Japanese'"),
        ({"card": "SM10-001", "name": "Oddish"}, "is 'Pheromosa & Buzzwole GX' here, and 'Oddish'"),
        ({"card": "SM10-002", "name": "ナゾノクサ"}, "is 'Venonat' here"),
        ({"product_id": "5", "language": "de"}, "language 'de'"),
        ({"card": "5:Holofoil", "language": "ja"}, "language 'ja'"),
        ({"set_code": "SM10", "number": "001/095"}, "is '001/214' here, and '001/095' in the row"),
        ({"name": "Venonat", "set_code": "sm10", "number": "002/095"}, "and '002/095'"),
        ({"product_id": "5", "number": "005/102"}, "product id '5' is '004/102' here"),
        ({"product_id": "5", "set": "Generations"}, "is 'Base Set' here, and 'Generations'"),
        ({"product_id": "5", "set": "Base"}, "is 'Base Set' here"),  # only name and number bear it
        (
            {"product_id": "5", "set": "Base Set (Limited)", "name": "Charizard", "number": "4"},
            "is 'Base Set' here",
        ),
        ({"card": "5:Holofoil", "name": "Blastoise"}, "is 'Charizard' here"),
        ({"product_id": "9", "name": "Pikachu"}, "is 'Pikachu ex' here"),
        ({"product_id": "8", "name": "Pikachu (Cosmos Holo)"}, "is 'Pikachu' here"),
        ({"product_id": "9", "name": "Pikachu ex - 238/191"}, "is '057/191' here"),
        ({"name": "Pikachu ex - 57/191", "number": "238/191"}, "its name says '57/191'"),
        ({"product_id": "9", "name": "???", "number": "57"}, "is 'Pikachu ex' here"),
        ({"set_code": "G1", "number": "1"}, "names no card"),
        ({"set_code": "sm10", "number": "2", "printing": "Holo", "name": "Venonat"}, "no printing"),
        ({"name": "Pikachu", "set": "Sun & Moon Promo Cards"}, "in the set 'Sun & Moon Promo"),
        ({"card": "base1-4"}, "2 cards fit"),
    ],
)
def test_a_row_that_contradicts_itself_finds_none(find, row, reason):
    with pytest.raises(UsageError) as caught:
        find(row)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("SV04: Paradox Rift", "sv4: paradox rift", True),
        ("SV: Scarlet & Violet 151", "Scarlet & Violet: 151", True),
        ("Holon Phantoms", "EX Holon Phantoms", True),
        ("SV: Promos", "SWSH: Promos", False),
        ("SV2a: Pokemon Card 151", "151", False),
        ("Base Set", "Base Set 2", False),
    ],
)
def test_names_of_one_set(ours, theirs, same):
    assert same_set(ours, theirs) is same
    assert same_set(theirs, ours) is same
