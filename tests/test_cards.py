from __future__ import annotations

import pandas as pd
import pytest

from pokewatch.cards import Resolver, merge, normal_alias, tidy
from pokewatch.errors import UsageError
from pokewatch.schema import CARD_COLUMNS, empty_cards


@pytest.fixture
def resolver() -> Resolver:
    rows = [
        {"card_id": "451396:Holofoil", "name": "Mew ex", "aliases": ["sv4pt5-232"]},
        {"card_id": "500:Normal", "name": "Pikachu", "aliases": ["sv1-25"]},
        {"card_id": "500:Reverse Holofoil", "name": "Pikachu", "aliases": ["sv1-25"]},
        {"card_id": "sv01|booster box|base set", "name": "Base Set", "aliases": []},
    ]
    return Resolver(tidy(pd.DataFrame(rows)))


@pytest.mark.parametrize(
    "text",
    ["451396:Holofoil", "451396:holofoil", "sv4pt5-232", "sv04.5-232", "SV4PT5-0232", "451396"],
)
def test_ids_and_every_spelling_of_an_alias_find_the_card(resolver, text):
    assert resolver(text) == "451396:Holofoil"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sv4pt5-1", "sv04.5-001"),
        ("swsh12pt5-160", "swsh12.5-160"),
        ("base1-4", "base1-04"),
        ("zsv10pt5-7", "sv10.5b-007"),
        ("sm35-1", "sm3.5-01"),
    ],
)
def test_spellings_of_one_alias_agree(one, other):
    assert normal_alias(one) == normal_alias(other)


@pytest.mark.parametrize(("one", "other"), [("sv1-10", "sv1-1"), ("sv10-1", "sv1-1")])
def test_different_cards_keep_different_aliases(one, other):
    assert normal_alias(one) != normal_alias(other)


def test_an_alias_with_several_printings_lists_them(resolver):
    with pytest.raises(UsageError, match=r"2 printings.*500:Normal, 500:Reverse Holofoil"):
        resolver("sv1-25")


@pytest.mark.parametrize("text", ["sv1-25:Reverse Holofoil", "sv01-025:reverse-holofoil"])
def test_an_alias_with_a_printing_is_one_card(resolver, text):
    assert resolver(text) == "500:Reverse Holofoil"
    with pytest.raises(UsageError, match="unknown card 'sv1-25:Holofoil'"):
        resolver("sv1-25:Holofoil")


def test_an_unknown_card_names_what_looks_like_it(resolver):
    with pytest.raises(UsageError, match=r"unknown card '451396:Normal'.*451396:Holofoil"):
        resolver("451396:Normal")
    with pytest.raises(UsageError, match="no card looks like it"):
        resolver("zzzzzz")


def test_searching_needs_every_word(resolver):
    assert resolver.search("mew EX")["card_id"].tolist() == ["451396:Holofoil"]
    assert resolver.search("mew pikachu").empty


def test_broken_encodings_are_repaired_and_parts_are_read_from_the_id():
    one = tidy(pd.DataFrame([{"card_id": "7:1st Edition", "name": "PokÃ©mon Center"}])).iloc[0]
    assert one["name"] == "Pokémon Center"
    assert (one["product_id"], one["printing"]) == (7, "1st Edition")


def test_late_names_fill_gaps_and_missing_values_overwrite_nothing():
    bare = tidy(pd.DataFrame([{"card_id": "7:Normal", "set_name": "Old"}]))
    named = tidy(pd.DataFrame([{"card_id": "7:Normal", "name": "Eevee", "aliases": ["sv1-7"]}]))
    for order in ((bare, named), (named, bare)):
        one = merge(*order).iloc[0]
        assert (one["name"], one["set_name"], one["aliases"]) == ("Eevee", "Old", ["sv1-7"])
    assert list(merge(bare, named).columns) == CARD_COLUMNS


def test_kinds_of_other_files_become_single_or_sealed():
    rows = [{"card_id": str(n), "product_kind": k} for n, k in enumerate(["Card", "Booster Box"])]
    assert tidy(pd.DataFrame(rows))["product_kind"].tolist() == ["single", "sealed"]


def test_a_store_without_cards_still_says_what_is_wrong():
    with pytest.raises(UsageError, match="unknown card 'sv1-1': no card looks like it"):
        Resolver(empty_cards())("sv1-1")
