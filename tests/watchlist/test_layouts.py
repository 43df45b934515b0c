"""Exports in the layouts of eight apps, one field damaged: never a wrong card or number."""

from __future__ import annotations

import csv
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pokewatch.cards.catalog import Catalog, listed
from pokewatch.cards.frames import tidy
from pokewatch.cards.matching import NUMBER, number_in
from pokewatch.errors import UsageError
from pokewatch.watchlist import importers

# Header -> what stands in its cells: a field of the row below, or a text.
LAYOUTS: dict[str, tuple[str, dict[str, str]]] = {
    "TCGplayer": (
        ",",
        {"Quantity": "{quantity}", "Name": "{name}", "Set": "{set}", "Card Number": "{number}"}
        | {"Set Code": "", "Printing": "{printing}", "Condition": "Near Mint"}
        | {"Language": "English", "Product ID": "{product}", "SKU": "77", "Price": "$9.99"},
    ),
    "Collectr": (
        ",",
        {"Portfolio Name": "Main", "Category": "Pokemon", "Set": "{set}", "Product Name": "{name}"}
        | {"Card Number": "{number}", "Variance": "{printing}", "Grade": "Ungraded"}
        | {"Card Condition": "Near Mint", "Average Cost Paid": "{cost}", "Quantity": "{quantity}"}
        | {"Market Price (As of 2026-06-30)": "9.99", "Watchlist": "false", "Notes": ""},
    ),
    "Cardmarket": (
        ";",
        {"idArticle": "1", "idProduct": "9", "English Name": "{name}", "Exp. Name": "{set}"}
        | {"Number": "{number}", "Price": "9,99", "Language": "English", "Condition": "NM"}
        | {"Foil?": "{printing}", "Comments": "", "Amount": "{quantity}"}
        | {"Purchase Price": "{comma}", "Currency": "USD"},
    ),
    "Dex": (
        "\t",
        {"Pokémon": "{name}", "Card ID": "{alias}", "Variant": "{printing}", "Count": "{quantity}"},
    ),
    "Dragon Shield": (
        ",",
        {"Folder Name": "Main", "Quantity": "{quantity}", "Trade Quantity": "0"}
        | {"Card Name": "{name}", "Set Code": "{code}", "Set Name": "{set}"}
        | {"Card Number": "{number}", "Condition": "NearMint", "Printing": "{printing}"}
        | {"Language": "English", "Price Bought": "{cost}", "MARKET": "9.99"},
    ),
    "ManaBox": (
        ",",
        {"Name": "{name}", "Set code": "{code}", "Set name": "{set}"}
        | {"Collector number": "{number}", "Foil": "{printing}", "Quantity": "{quantity}"}
        | {"ManaBox ID": "12", "Purchase price": "{cost}", "Condition": "near_mint"}
        | {"Language": "en", "Purchase price currency": "USD"},
    ),
    "Deckbox": (
        ",",
        {"Count": "{quantity}", "Tradelist Count": "0", "Name": "{name}", "Edition": "{set}"}
        | {"Card Number": "{number}", "Condition": "Near Mint", "Language": "English"}
        | {"Foil": "{printing}", "My Price": "9.99"},
    ),
    "PriceCharting": (
        ",",
        {"id": "123", "product-name": "{bare} #{first}", "console-name": "Pokemon {plain_set}"}
        | {"include-string": "Ungraded", "variant": "{printing}"}
        | {"quantity": "{quantity}", "price-in-pennies": "999"},
    ),
}
WORDS = {
    "quantity": ["0", "", "-1", "1.5", "two", "3x", "1,2,3", "9 9"],
    "cost": ["", "0", "5 €", "GBP 5", "12,34,5", "five", "-5", "(5)", "1e3", "=1+1", "5 6"],
}
WORDS |= {"comma": WORDS["cost"], "printing": ["", "Gold", "???"]}
# Of constant cells: what no row that is taken may say.
NEVER = {"English": "Japanese", "en": "ja", "Ungraded": "PSA 10", "Pokemon": "Magic"}
NEVER |= {"Near Mint": "PSA 10", "NM": "PSA 10", "NearMint": "PSA 10", "near_mint": "PSA 10"}
WORDS |= {usual: [never] for usual, never in NEVER.items()} | {"USD": ["EUR", "BRL"]}
IDENTITY = ("name", "set", "number", "printing", "product", "alias", "code", "bare", "plain_set")


def described(card: Any, rng: random.Random) -> dict[str, str]:
    alias = card.aliases[0] if listed(card.aliases) else ""
    cost = rng.randint(1, 99_999) / 100
    return {
        "name": card.name,
        "bare": NUMBER.sub("", card.name),
        "set": card.set_name,
        "plain_set": card.set_name.partition(": ")[2] or card.set_name,
        "number": card.number,
        "first": card.number.partition("/")[0],
        "printing": card.printing,
        "product": card.card_id.partition(":")[0],
        "alias": alias,
        "code": alias.rpartition("-")[0],
        "quantity": str(rng.randint(1, 12)),
        "cost": f"{cost:.2f}",
        "comma": f"{cost:.2f}".replace(".", ","),
    }


def damaged(
    cells: list[str], wells: list[list[str]], fields: list[str], rng: random.Random
) -> list[str]:
    """Return the cells of a row with one of them damaged; wells: other rows, to take it from."""
    at = rng.randrange(len(cells))
    out, field = list(cells), fields[at].strip("{}").partition("}")[0]
    kind = rng.randrange(6)
    if field in WORDS and kind < 3:
        out[at] = rng.choice(WORDS[field])
    elif field not in IDENTITY or kind == 0:
        out[at:at] = [rng.choice(["x", "7"])]  # a cell too many
    elif kind == 1:
        del out[at]
    elif kind == 2:
        out[at] = "".join(
            "?" if sign.isalnum() and rng.random() < 0.5 else sign for sign in cells[at]
        )
    elif kind == 3:
        out[at] = cells[at][: rng.randrange(len(cells[at]) + 1)]
    else:
        out[at] = rng.choice(wells)[at]
    return out


def counts_of(cards: pd.DataFrame, chosen: pd.DataFrame, layout: str, folder: Path) -> Counter[str]:
    """Import rows of a layout, a third damaged in one field; return how many came to what end."""
    rng = random.Random(layout)
    delimiter, cells = LAYOUTS[layout]
    facts = [described(card, rng) for card in chosen.itertuples()]
    whole = [[cell.format(**one) for cell in cells.values()] for one in facts]
    rows = [
        damaged(row, whole, list(cells.values()), rng) if at % 3 == 0 else row
        for at, row in enumerate(whole)
    ]
    file = folder / f"{layout}.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened, delimiter=delimiter).writerows([list(cells), *rows])
    counts: Counter[str] = Counter()
    try:
        columns = {"grade": "include-string"} if layout == "PriceCharting" else {}
        found = importers.load(file, Catalog(cards), columns)
    except UsageError:
        return Counter(refused=1)
    left = {line for line, _ in found.problems + found.skipped}
    taken = [at for at in range(len(rows)) if at + 2 not in left]
    assert len(taken) == len(found.entries)
    known = {card.card_id: card for card in cards.itertuples()}
    for at, entry in zip(taken, found.entries, strict=True):
        fact, right = facts[at], chosen["card_id"].iloc[at]
        if entry.card != right:  # what the row says has to be the other card, to the letter
            other = described(known[entry.card], rng) | {"quantity": fact["quantity"]}
            other |= {"cost": fact["cost"], "comma": fact["comma"]}
            said = [cell.format(**other) for cell in cells.values()]
            assert rows[at] == said, (layout, right, entry.card, rows[at])
            counts["another card, said to the letter"] += 1
        assert entry.quantity == int(fact["quantity"]), (layout, rows[at])
        assert entry.cost in (None, float(fact["cost"])), (layout, rows[at])
        assert entry.cost is None or not {"EUR", "BRL"} & set(rows[at]), (layout, rows[at])
        assert not {*NEVER.values()} & set(rows[at]), (layout, rows[at])
        counts["right"] += entry.card == right
    return counts + Counter(left_out=len(left))


def numbered(cards: pd.DataFrame) -> pd.DataFrame:
    """Return single cards with a number, from their names or aliases."""
    numbers = [
        number_in(name) or (names[0].rpartition("-")[2] if len(names) else "")
        for name, names in zip(cards["name"], cards["aliases"], strict=True)
    ]
    return cards.assign(number=numbers)


MARKET = [
    ("1:Normal", "Pikachu", "SV04: Paradox Rift", "012/182", "sv04-012"),
    ("1:Reverse Holofoil", "Pikachu", "SV04: Paradox Rift", "012/182", "sv04-012"),
    ("2:Holofoil", "Pikachu (Cosmos Holo)", "SV04: Paradox Rift", "012/182", "sv04-012"),
    ("3:Normal", "Pikachu", "SV08: Surging Sparks", "012/191", "sv08-012"),
    ("4:Holofoil", "Pikachu ex - 057/191", "SV08: Surging Sparks", "057/191", "sv08-057"),
    ("5:Holofoil", "Pikachu ex - 238/191", "SV08: Surging Sparks", "238/191", "sv08-238"),
    ("6:Holofoil", "Charizard", "Base Set", "004/102", "base1-4"),
    ("7:Unlimited Holofoil", "Charizard", "Base Set (Shadowless)", "004/102", "base1-4"),
    ("8:Holofoil", "Charizard", "Base Set 2", "004/130", "base4-4"),
    ("9:Holofoil", "Mew ex", "SV: Scarlet & Violet 151", "151/165", "sv03.5-151"),
    ("10:Normal", "Nidoran ♀", "Jungle", "57/64", "base2-57"),
    ("11:Normal", "Nidoran ♂", "Jungle", "55/64", "base2-55"),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_damaged_field_makes_no_wrong_card_and_no_wrong_number(tmp_path, layout):
    fields = ("card_id", "name", "set_name", "number", "aliases")
    rows = [dict(zip(fields, card, strict=True)) for card in MARKET]
    cards = tidy(pd.DataFrame([row | {"aliases": [row["aliases"]]} for row in rows]))
    many = pd.concat([cards] * 31, ignore_index=True).sample(frac=1, random_state=7)
    counts = counts_of(cards, many, layout, tmp_path)
    assert counts["right"] > 10


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_damage_every_card_is_the_right_one(tmp_path, layout, monkeypatch):
    fields = ("card_id", "name", "set_name", "number", "aliases")
    rows = [dict(zip(fields, card, strict=True)) for card in MARKET]
    cards = tidy(pd.DataFrame([row | {"aliases": [row["aliases"]]} for row in rows]))
    monkeypatch.setattr(sys.modules[__name__], "damaged", lambda cells, *_: cells)
    counts = counts_of(cards, cards, layout, tmp_path)
    assert counts == {"right": len(cards)}


@pytest.mark.real_data
def test_real_cards_in_every_layout(tmp_path, shared_data):
    names = pd.read_parquet(shared_data / "panels" / "card_names.parquet")
    panel = shared_data / "panels" / "market_daily.parquet"
    cards = tidy(
        pd.read_parquet(panel, columns=["card_id", "name", "set_name"]).drop_duplicates("card_id")
    )
    aliases = names.groupby("product_id")["tcgdex_id"].agg(lambda ids: sorted(set(ids))).to_dict()
    cards["aliases"] = [aliases.get(product, []) for product in cards["product_id"]]
    cards = numbered(cards[cards["name"].notna() & cards["set_name"].notna()])
    single = cards[cards["number"] != ""]
    for layout in LAYOUTS:
        counts = counts_of(cards, single.sample(999, random_state=7), layout, tmp_path)
        sys.stdout.write(f"{layout}: {dict(counts)}\n")
        assert counts["right"] > 100
