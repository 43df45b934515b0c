"""Names and aliases from a file; every alias of real cards leads to its own cards only."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest
from builders import curve, delivery
from test_cli import run

from pokewatch.cards.catalog import Catalog
from pokewatch.cards.frames import tidy
from pokewatch.cards.import_names import add_names, remove_alias
from pokewatch.errors import UsageError
from pokewatch.quality.ingest import ingest
from pokewatch.settings import load_settings
from pokewatch.store.tables import Store


@pytest.fixture
def settings(tmp_path):
    settings = load_settings(home=tmp_path / "home", store="")
    cards = {"card_id": ["7:Normal", "7:Holofoil", "8:Normal"], "name": ["Mew", None, "Muk"]}
    rows = [curve(card_id, [1.0]) for card_id in cards["card_id"]]
    ingest(Store.from_settings(settings), delivery(*rows, **cards), settings)
    return settings


def put(folder: Path, text: str) -> Path:
    path = folder / "names.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_printing_gets_the_alias_and_known_names_stay(settings, tmp_path):
    path = put(tmp_path, "product_id,tcgdex_id,name,set\n7,sv01-001,Mew EX,Base\n99,x-1,No,No\n")
    assert add_names(settings, path) == {"rows": 2, "unknown": 1, "changed": 2}
    known = Store.from_settings(settings).cards().set_index("card_id")
    assert known["name"].to_dict() == {"7:Holofoil": "Mew EX", "7:Normal": "Mew", "8:Normal": "Muk"}
    assert known.loc["7:Holofoil", "set_name"] == "Base"
    assert [list(names) for names in known["aliases"]] == [["sv01-001"], ["sv01-001"], []]
    assert Catalog(known.reset_index()).resolve("sv1-1:holofoil") == "7:Holofoil"
    version = Store.from_settings(settings).snapshot("cards").version
    assert add_names(settings, path)["changed"] == 0
    assert Store.from_settings(settings).snapshot("cards").version == version


def test_a_file_by_card_id_describes_one_printing(settings, tmp_path):
    path = put(tmp_path, "card_id,alias\n7:Normal,sv1-1\n7:Normal,base9-1\n")
    assert add_names(settings, path)["changed"] == 1
    assert Catalog(Store.from_settings(settings).cards()).resolve("base9-1") == "7:Normal"


def test_an_alias_is_withdrawn_in_any_spelling(settings, tmp_path):
    path = put(tmp_path, "product_id,alias\n7,sv01-001\n7,base9-1\n8,sv01-001\n")
    add_names(settings, path)

    def aliases():
        known = Store.from_settings(settings).cards()
        return [list(names) for names in known.sort_values("card_id")["aliases"]]

    assert remove_alias(settings, "SV1-1", "8") == {"changed": 1}
    assert aliases() == [["base9-1", "sv01-001"]] * 2 + [[]]
    assert remove_alias(settings, "sv1-001") == {"changed": 2}
    assert aliases() == [["base9-1"]] * 2 + [[]]
    with pytest.raises(UsageError, match="no known card has the alias 'sv1-1'"):
        remove_alias(settings, "sv1-1")
    with pytest.raises(UsageError, match="no card '8' has the alias 'base9-1'"):
        remove_alias(settings, "base9-1", "8")
    add_names(settings, put(tmp_path, "product_id,alias\n8,x-1\n"))
    done = run(settings.home, "cards", "alias", "--remove", "x-1", "8:Normal")
    assert (done.returncode, done.stdout.split()) == (0, ["changed", "1"])
    assert run(settings.home, "cards", "mew", "--remove", "x-1").returncode == 2


def test_a_file_may_hold_names_only(settings, tmp_path):
    assert (
        add_names(settings, put(tmp_path, "product_id,name\n7,Mew EX\n8,Muk EX\n"))["changed"] == 1
    )


@pytest.mark.parametrize("cell", ["", "n/a", "seven"])
def test_a_row_without_a_product_id_describes_no_card(settings, tmp_path, cell):
    store = Store.from_settings(settings)
    ingest(store, delivery(curve("sv1-1", [1.0]), card_id=["sv1-1"], name=[None]), settings)
    path = put(tmp_path, f"product_id,alias,name\n{cell},base1-4,Charizard\n7,base1-5,\n")
    assert add_names(settings, path) == {"rows": 2, "unknown": 1, "changed": 2}
    known = store.cards().set_index("card_id")
    assert known.loc["sv1-1", "name"] is None
    assert list(known.loc["sv1-1", "aliases"]) == []


def test_a_file_without_ids_is_refused(settings, tmp_path):
    with pytest.raises(UsageError, match="neither card_id nor product_id among name, set_name"):
        add_names(settings, put(tmp_path, "name,set\nMew,Base\n"))


def spellings(alias: str) -> set[str]:
    """An alias as TCGdex and as pokemontcg.io write it."""
    name, _, number = alias.rpartition("-")
    elsewhere = name.replace(".5", "pt5")
    for zeros in ("sv0", "me0"):
        if elsewhere.startswith(zeros):
            elsewhere = elsewhere.replace(zeros, zeros[:-1], 1)
    return {alias, alias.upper(), f"{elsewhere}-{number.lstrip('0') or '0'}"}


@pytest.mark.real_data
def test_real_cards_are_found_by_every_id_and_name_and_none_is_wrong(shared_data):
    names = pd.read_parquet(shared_data / "panels" / "card_names.parquet")
    priced = pd.read_parquet(
        shared_data / "panels" / "market_daily.parquet", columns=["card_id", "name", "set_name"]
    )
    aliases = names.groupby("product_id")["tcgdex_id"].agg(lambda ids: sorted(set(ids)))
    cards = tidy(priced.drop_duplicates("card_id"))
    cards["aliases"] = cards["product_id"].map(aliases)
    cards["aliases"] = [one if isinstance(one, list) else [] for one in cards["aliases"]]
    catalog = Catalog(cards)
    owners: dict[str, set[int]] = defaultdict(set)  # the text -> the cards that it means
    asked: dict[str, dict[str, set[int]]] = defaultdict(dict)
    for row, card in enumerate(cards.itertuples(index=False)):
        texts = {
            "card_id": [card.card_id, card.card_id.lower()],
            "product id": [str(card.product_id)],
            "alias": [one for alias in card.aliases for one in spellings(alias)],
        }
        texts["alias and printing"] = [f"{one}:{card.printing}" for one in texts["alias"]]
        if card.name and card.aliases and row % 5 == 0:  # a fifth of them, for the time it takes
            number = card.aliases[0].rpartition("-")[2]
            texts["name, set, number, printing"] = [
                f"{card.name} {card.set_name} {number} {card.printing}"
            ]
        for kind, of_kind in texts.items():
            for text in of_kind:
                owners[text].add(row)
                asked[kind][text] = owners[text]
    for kind, of_kind in asked.items():
        resolved = ambiguous = 0
        for text, meant in of_kind.items():
            found = catalog.rows(text)
            if kind.startswith("name"):  # other cards may have all these words too
                assert meant <= found, text
            else:
                assert found == meant, text
            resolved += len(found) == 1
            ambiguous += len(found) > 1
        sys.stdout.write(
            f"{kind}: asked {len(of_kind):,}, resolved {resolved:,}, ambiguous {ambiguous:,}\n"
        )
        assert resolved + ambiguous == len(of_kind) > 5_000
        assert kind in ("product id", "alias") or resolved > 0.93 * len(of_kind), kind


@pytest.mark.parametrize("more", [["mew"], ["alias", "--remove", "x-1"]])
def test_names_beside_another_request_are_refused_rather_than_one_passed_over(tmp_path, more):
    done = run(tmp_path, "cards", *more, "--names", "names.csv")
    assert (done.returncode, "--names takes no words" in done.stderr) == (2, True)
