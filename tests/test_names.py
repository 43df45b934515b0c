"""Names and aliases from a file; every alias of real cards leads to its own cards only."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest
from builders import curve, delivery

from pokewatch.cards import Resolver
from pokewatch.collect import ingest
from pokewatch.errors import UsageError
from pokewatch.names import add_names
from pokewatch.settings import load_settings
from pokewatch.store import Store


@pytest.fixture
def settings(tmp_path):
    settings = load_settings(home=tmp_path / "home", store="")
    cards = {
        "card_id": ["7:Normal", "7:Holofoil", "8:Normal"],
        "name": ["Mew", None, "Muk"],
    }
    rows = [curve(card_id, [1.0]) for card_id in cards["card_id"]]
    ingest(Store.from_settings(settings), delivery(*rows, **cards), settings)
    return settings


def put(folder: Path, text: str) -> Path:
    path = folder / "names.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_printing_gets_the_alias_and_known_names_stay(settings, tmp_path):
    path = put(tmp_path, "product_id,tcgdex_id,name,set\n7,sv01-001,Mew EX,Base\n99,x-1,No,No\n")
    assert add_names(settings, path).as_dict() == {"rows": 2, "unknown": 1, "changed": 2}
    known = Store.from_settings(settings).cards().set_index("card_id")
    assert known["name"].to_dict() == {"7:Holofoil": "Mew EX", "7:Normal": "Mew", "8:Normal": "Muk"}
    assert known.loc["7:Holofoil", "set_name"] == "Base"
    assert [list(names) for names in known["aliases"]] == [["sv01-001"], ["sv01-001"], []]
    assert Resolver(known.reset_index())("sv1-1:holofoil") == "7:Holofoil"
    version = Store.from_settings(settings).snapshot("cards").version
    assert add_names(settings, path).changed == 0
    assert Store.from_settings(settings).snapshot("cards").version == version


def test_a_file_by_card_id_describes_one_printing(settings, tmp_path):
    path = put(tmp_path, "card_id,alias\n7:Normal,sv1-1\n7:Normal,base9-1\n")
    assert add_names(settings, path).changed == 1
    assert Resolver(Store.from_settings(settings).cards())("base9-1") == "7:Normal"


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
def test_real_aliases_lead_to_their_own_cards_and_no_other(shared_data):
    names = pd.read_parquet(shared_data / "panels" / "card_names.parquet")
    priced = pd.read_parquet(shared_data / "panels" / "market_daily.parquet", columns=["card_id"])
    cards = pd.DataFrame({"card_id": priced["card_id"].unique()})
    parts = cards["card_id"].str.extract(r"^(\d+):(.+)$")
    cards = cards.assign(product_id=parts[0].astype(int), printing=parts[1])
    aliases = names.groupby("product_id")["tcgdex_id"].agg(lambda ids: sorted(set(ids)))
    cards["aliases"] = cards["product_id"].map(aliases)
    cards["aliases"] = [one if isinstance(one, list) else [] for one in cards["aliases"]]
    cards = cards.assign(name=None, set_name=None, number=None)
    resolver = Resolver(cards)
    truth = defaultdict(set)
    for card_id, printing, of_card in cards[["card_id", "printing", "aliases"]].itertuples(
        index=False
    ):
        for alias in of_card:
            truth[alias].add((card_id, printing))
    asked = resolved = 0
    for alias, meant in truth.items():
        for spelling in spellings(alias):
            for card_id, printing in meant:
                same = {one for one, other in meant if other == printing}
                asked += 1
                if len(same) == 1:
                    assert resolver(f"{spelling}:{printing}") == card_id
                    resolved += 1
                    continue
                with pytest.raises(UsageError) as caught:  # two products of one alias: both listed
                    resolver(f"{spelling}:{printing}")
                assert set(str(caught.value).split(": ")[-1].split(", ")) == same
    assert asked > 50_000
    assert resolved / asked > 0.95, f"{resolved} of {asked}"
