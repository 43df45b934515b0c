from __future__ import annotations

from datetime import date

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pokewatch.cards.catalog import Catalog
from pokewatch.cards.frames import differs, merge, tidy
from pokewatch.cards.spelling import normal_alias
from pokewatch.errors import UsageError
from pokewatch.schema import CARD_COLUMNS, empty_cards


@pytest.fixture
def catalog() -> Catalog:
    rows = [
        {"card_id": "451396:Holofoil", "name": "Mew ex", "aliases": ["sv4pt5-232"]},
        {"card_id": "500:Normal", "name": "Pikachu", "aliases": ["sv1-25"]},
        {"card_id": "500:Reverse Holofoil", "name": "Pikachu", "aliases": ["sv1-25"]},
        {"card_id": "sv01|booster box|base set", "name": "Base Set", "aliases": []},
    ]
    return Catalog(tidy(pd.DataFrame(rows)))


@pytest.fixture(scope="module")
def named() -> Catalog:
    rows = [
        ("600:Holofoil", "Charizard ex", "SV: Paldean Fates", "054/091", "sv04.5-054"),
        ("601:Holofoil", "Charizard VMAX", "SWSH: Shining Fates", "SV107/SV122", "swsh4.5-SV107"),
        ("602:Normal", "Pikachu", "SV01", "025/198", "sv01-025"),
        ("602:Reverse Holofoil", "Pikachu", "SV01", "025/198", "sv01-025"),
        ("603:Normal", "Pikachu", None, None, "base1-58"),
        ("604:Normal", "Pokémon Center", "Base Set", "85/102", "base1-85"),
    ]
    frame = pd.DataFrame(rows, columns=["card_id", "name", "set_name", "number", "aliases"])
    return Catalog(tidy(frame.assign(aliases=[[one] for one in frame["aliases"]])))


@pytest.mark.parametrize(
    "text",
    ["451396:Holofoil", "451396:holofoil", "sv4pt5-232", "sv04.5-232", "SV4PT5-0232", "451396"],
)
def test_ids_and_every_spelling_of_an_alias_find_the_card(catalog, text):
    assert catalog.resolve(text) == "451396:Holofoil"


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


def test_an_alias_with_several_printings_lists_them(catalog):
    with pytest.raises(UsageError, match=r"2 printings.*500:Normal .*500:Reverse Holofoil"):
        catalog.resolve("sv1-25")


@pytest.mark.parametrize("text", ["sv1-25:Reverse Holofoil", "sv01-025:reverse-holofoil"])
def test_an_alias_with_a_printing_is_one_card(catalog, text):
    assert catalog.resolve(text) == "500:Reverse Holofoil"
    with pytest.raises(UsageError, match="unknown card 'sv1-25:Holofoil'"):
        catalog.resolve("sv1-25:Holofoil")


def test_an_unknown_card_names_what_looks_like_it(catalog):
    with pytest.raises(UsageError, match=r"unknown card '451396:Normal'.*451396:Holofoil"):
        catalog.resolve("451396:Normal")
    with pytest.raises(UsageError, match="no card looks like it"):
        catalog.resolve("zzzzzz")


def test_searching_needs_every_word(catalog):
    assert catalog.search("mew EX")["card_id"].tolist() == ["451396:Holofoil"]
    assert catalog.search("SV04.5-232")["card_id"].tolist() == ["451396:Holofoil"]
    assert catalog.search("mew pikachu").empty


def test_the_words_of_a_name_find_its_card(named):
    assert named.resolve("charizard EX 54/091") == "600:Holofoil"
    assert named.resolve("Charizard ex #54 paldean fates") == "600:Holofoil"
    assert named.resolve("Pokemon Center") == "604:Normal"
    assert named.resolve("pikachu 25 reverse holo") == "602:Reverse Holofoil"
    assert named.resolve("pikachu base1") == "603:Normal"
    for text in ("54/091", "charizard ex 54/102", "paldean fates", "charizard ex reverse holo"):
        with pytest.raises(UsageError, match="unknown card"):
            named.resolve(text)


def test_a_name_of_several_cards_lists_what_tells_them_apart(named):
    with pytest.raises(UsageError) as caught:
        named.resolve("charizard")
    assert str(caught.value) == (
        "'charizard' fits 2 cards, name one of them: "
        "600:Holofoil (Charizard ex, SV: Paldean Fates, 054/091, Holofoil); "
        "601:Holofoil (Charizard VMAX, SWSH: Shining Fates, SV107/SV122, Holofoil)"
    )


def test_a_misspelt_name_finds_what_was_meant(named):
    with pytest.raises(UsageError, match=r"unknown card 'charzard ecks': 2 .*: 600:.*601:"):
        named.resolve("charzard ecks")
    with pytest.raises(UsageError, match=r"3 cards look like it: 602:Normal .*602:R.*603:Normal"):
        named.resolve("Picachu 999")


def test_ids_that_differ_in_case_only_are_two_cards():
    two = Catalog(tidy(pd.DataFrame([{"card_id": "a|mew"}, {"card_id": "A|mew"}])))
    assert (two.resolve("a|mew"), two.resolve("A|mew")) == ("a|mew", "A|mew")
    with pytest.raises(UsageError, match="fits 2 cards"):
        two.resolve("a|MEW")


def test_a_renamed_set_takes_its_later_name_and_keeps_its_aliases():
    old = tidy(
        pd.DataFrame(
            [{"card_id": "7:Normal", "name": "Mew", "set_name": "SV: Early", "aliases": ["sv1-7"]}]
        )
    )
    known = merge(old, pd.DataFrame([{"card_id": "7:Normal", "set_name": "SV01: Late"}]))
    catalog = Catalog(known)
    assert known["set_name"].tolist() == ["SV01: Late"]
    assert catalog.resolve("mew late") == catalog.resolve("sv01-007") == "7:Normal"
    with pytest.raises(UsageError, match=r"1 cards look like it: 7:Normal \(Mew, SV01: Late"):
        catalog.resolve("mew early")


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


def test_release_dates_are_read_in_each_form_and_never_guessed():
    days = ["2023-11-10", "2023-11-10T00:00:00", date(2023, 11, 10), pd.Timestamp("2023-11-10")]
    days += [None, "10/11/2023", "soon"]
    found = tidy(pd.DataFrame({"card_id": list("abcdefg"), "release_date": days}))
    assert found["release_date"].tolist() == [date(2023, 11, 10)] * 4 + [None] * 3


def test_kinds_of_other_files_become_single_or_sealed():
    rows = [{"card_id": str(n), "product_kind": k} for n, k in enumerate(["Card", "Booster Box"])]
    assert tidy(pd.DataFrame(rows))["product_kind"].tolist() == ["single", "sealed"]


def test_a_store_without_cards_still_says_what_is_wrong():
    with pytest.raises(UsageError, match="unknown card 'sv1-1': no card looks like it"):
        Catalog(empty_cards()).resolve("sv1-1")


# -- properties ----------------------------------------------------------------------------------

SETS = {"sv01": "sv1", "sv04.5": "sv4pt5", "sm3.5": "sm35", "base1": "base1", "sv10.5b": "zsv10pt5"}
PRINTINGS = ["Normal", "Holofoil", "Reverse Holofoil", "1st Edition Holofoil"]
NAMES = ["Mew", "Mew ex", "Mewtwo ex", "N", "Porygon2", "Pokémon Center", "Mew (Cosmos Holo)"]


@st.composite
def descriptions(draw: st.DrawFn) -> dict[str, object]:
    code, number = draw(st.sampled_from(list(SETS))), draw(st.integers(1, 12))
    product, printing = draw(st.integers(1, 12)), draw(st.sampled_from(PRINTINGS))
    return {
        "card_id": f"{product}:{printing}",
        "product_id": product,
        "printing": printing,
        "name": draw(st.none() | st.sampled_from(NAMES)),
        "set_name": draw(st.none() | st.sampled_from(["SV: 151", "Base Set", "Mew Holo Box"])),
        "number": draw(st.none() | st.just(f"{number:03}/091")),
        "aliases": draw(st.sampled_from([[], [f"{code}-{number:03}"], [f"{code}-TG{number:02}"]])),
    }


def spelt(alias: str) -> set[str]:
    """An alias as TCGdex, pokemontcg.io and people write it."""
    code, _, number = alias.partition("-")
    bare = number.replace("TG0", "TG").lstrip("0")
    return {
        alias,
        alias.upper(),
        f" {code}-{bare} ",
        f"{SETS[code]}-{bare}",
        f"{SETS[code]}-{number}",
    }


def outcome(catalog: Catalog, text: str) -> set[str]:
    """The cards that a text means, or is said to fit."""
    try:
        return {catalog.resolve(text)}
    except UsageError as error:
        said = str(error)
    listed = said.partition("name one of them: ")[2].split("; ") if "name one" in said else []
    return {one.split(" (")[0] for one in listed}


MANY = 3 * settings.default.max_examples
some_cards = st.lists(descriptions(), max_size=5, unique_by=lambda one: one["card_id"])


@given(some_cards)
def test_every_spelling_of_an_alias_means_its_own_cards(rows):
    cards = pd.DataFrame(rows, columns=CARD_COLUMNS)
    catalog = Catalog(cards)
    owners: dict[str, set[str]] = {}
    for card_id, aliases in zip(cards["card_id"], cards["aliases"], strict=True):
        for alias in aliases:
            owners.setdefault(alias, set()).add(card_id)
    for alias, own in owners.items():
        for spelling in spelt(alias):
            assert outcome(catalog, spelling) == own
            for printing in PRINTINGS:
                wanted = {one for one in own if one.endswith(f":{printing}")}
                assert outcome(catalog, f"{spelling}:{printing.upper()}") == wanted


texts = (
    st.sampled_from([*NAMES, "mew 151", "mew holo", "mew ex 3/91 holo", "Mew 3", "cosmos holo"])
    | st.builds("{}:{}".format, st.integers(1, 12), st.sampled_from(["normal", "HOLO", "Holofoil"]))
    | st.integers(1, 12).map(str)
    | st.builds("{}-{}".format, st.sampled_from([*SETS, *SETS.values()]), st.integers(1, 12))
    | st.lists(
        st.sampled_from(["mew", "ex", "n", "151", "3/91", "12", "base", "set", "holo", "reverse"]),
        min_size=1,
        max_size=4,
    ).map(" ".join)
)


@settings(max_examples=MANY)
@given(some_cards, some_cards, texts)
def test_later_cards_make_a_text_ambiguous_but_never_another_card(rows, later, text):
    before = outcome(Catalog(pd.DataFrame(rows, columns=CARD_COLUMNS)), text)
    known = {text, *(one["card_id"] for one in rows)}
    later = [one for one in later if one["card_id"] not in known]
    after = outcome(Catalog(pd.DataFrame(rows + later, columns=CARD_COLUMNS)), text)
    assert before <= after


@given(st.text() | st.text("sv4pt5-:|/#0123456789 %\n\u0661½²", max_size=12) | texts, some_cards)
def test_any_text_is_a_card_or_a_usage_error(text, rows):
    catalog = Catalog(pd.DataFrame(rows, columns=CARD_COLUMNS))
    if len(catalog.rows(text.strip())) == 1:
        assert catalog.resolve(text) in set(catalog.cards["card_id"])
    else:
        with pytest.raises(UsageError) as caught:
            catalog.resolve(text)
        assert str(caught.value).isprintable()
    assert set(catalog.search(text).columns) == set(CARD_COLUMNS)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, False),
        ({"name": None, "aliases": None}, False),
        ({"name": "Mew EX"}, True),
        ({"rarity": "Rare"}, True),
        ({"product_id": 2}, True),
        ({"product_id": None}, True),
        ({"printing": None}, True),
        ({"aliases": ["sv1-1"]}, True),
        ({"release_date": "2024-01-27"}, True),
        ({"card_id": "2:Normal"}, True),
    ],
)
def test_a_delivered_card_is_looked_at_again_where_it_may_say_more(told, expected):
    card = {"card_id": "1:Normal", "name": "Mew ex", "product_id": 1, "printing": "Normal"}
    other = card | {"card_id": "3:Normal", "product_id": 3}
    known = tidy(pd.DataFrame([card, other]))
    delivered = pd.DataFrame([card | told, other], dtype="object")
    assert differs(delivered, known).tolist() == [expected, False]
    # What is left out would not have changed a thing.
    pd.testing.assert_frame_equal(
        merge(known, delivered), merge(known, delivered[differs(delivered, known)])
    )


def test_cards_delivered_twice_are_all_looked_at():
    card = {"card_id": "1:Normal", "name": "Mew ex", "product_id": 1, "printing": "Normal"}
    twice = pd.DataFrame([card | {"name": "Mewtwo"}, card])
    assert differs(twice, tidy(pd.DataFrame([card]))).tolist() == [True, True]


def test_an_id_that_names_no_product_is_no_news_when_it_is_stored():
    card = tidy(pd.DataFrame([{"card_id": "0:Normal"}]))
    assert differs(card, card).tolist() == [False]
