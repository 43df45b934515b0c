"""TCGdex: TCGplayer's prices of single cards, or Cardmarket's where TCGplayer has none."""

from __future__ import annotations

from datetime import date
from typing import Any
from urllib.parse import quote

import pandas as pd
from pydantic import BaseModel, RootModel

from pokewatch.cards.spelling import normal_set, printing_of
from pokewatch.errors import SourceError
from pokewatch.schema import Delivery, Wanted
from pokewatch.settings import Settings
from pokewatch.sources.about import About
from pokewatch.sources.delivery import Draft, parsed, text
from pokewatch.sources.http import Client
from pokewatch.sources.responses import NotFoundError
from pokewatch.sources.tcgcsv.frames import product_id

SOURCE = "tcgdex"
ABOUT = About(
    serves="TCGplayer's prices of single cards, every printing; Cardmarket's where it has none",
    currency="USD, or EUR of Cardmarket",
    history="none, today's price only",
    limits="none published",
    probe="/en/sets",
)
US_FIELDS = {
    "market_price": "marketPrice",
    "low_price": "lowPrice",
    "mid_price": "midPrice",
    "high_price": "highPrice",
}
EU_FIELDS = {"market_price": "trend", "low_price": "low"}
EU_FOIL_FIELDS = {"market_price": "trend-holo", "low_price": "low-holo"}
VARIANTS = {"normal": "Normal", "holo": "Holofoil", "reverse": "Reverse Holofoil"}


class _Brief(BaseModel):
    id: str


class _Sets(RootModel[list[_Brief]]):
    pass


class _Set(BaseModel):
    id: str
    name: Any = None
    cards: list[_Brief]


class _Pricing(BaseModel):
    tcgplayer: dict[str, Any] | None = None
    cardmarket: dict[str, Any] | None = None


class _Card(BaseModel):
    id: str
    name: Any = None
    localId: Any = None  # noqa: N815
    rarity: Any = None
    variants: Any = None
    pricing: _Pricing | None = None


def client(settings: Settings) -> Client:
    """Return a client of the service."""
    return Client(settings.tcgdex_url, settings)


def fetch(
    settings: Settings,
    on: date | None = None,
    progress: bool = False,
    wanted: Wanted | None = None,
    known: pd.DataFrame | None = None,
) -> Delivery:
    """Return today's prices of the wanted cards, else of POKEWATCH_SETS and all with an alias.

    Prices are as received, with their ``currency``; ``date`` is that of their last update. A card
    that TCGdex does not tie to a TCGplayer product is found among ``known`` by alias and printing.
    Raises as ``Draft.delivery`` and ``Draft.sets_to_ask``.
    """
    draft = Draft(SOURCE, settings, known, wanted)
    if not (asked := draft.sets_to_ask()):
        return draft.delivery(on)
    with client(settings) as opened:
        sets = parsed(_Sets, opened.get_json("/en/sets"), "the list of sets").root
        ids = {normal_set(one.id): one.id for one in sets}
        cards: list[tuple[str, str | None]] = []
        for name in asked:
            try:
                cards += _cards_of(opened, draft, name, ids.get(name))
            except SourceError as error:
                draft.fail(f"set {name}", error)
        for card_id, set_name in draft.each(cards, "cards", progress):
            try:
                answer = opened.get_json(f"/en/cards/{quote(card_id, safe='')}")
                _add(draft, parsed(_Card, answer, f"card {card_id}"), set_name)
            except SourceError as error:
                draft.fail(f"card {card_id}", error)
    return draft.delivery(on)


def _cards_of(
    opened: Client, draft: Draft, name: str, set_id: str | None
) -> list[tuple[str, str | None]]:
    """Return (id, set name) of the cards of a set that are asked for."""
    if set_id is None:
        raise NotFoundError(f"TCGdex has no set '{name}': check POKEWATCH_SETS and the aliases")
    answer = opened.get_json(f"/en/sets/{quote(set_id, safe='')}")
    found = parsed(_Set, answer, f"set {set_id}")
    return [(card.id, text(found.name)) for card in found.cards if draft.covers(card.id)]


def _add(draft: Draft, card: _Card, set_name: str | None) -> None:
    facts = {
        "name": text(card.name),
        "set_name": set_name,
        "number": text(card.localId),
        "rarity": text(card.rarity),
        "aliases": [card.id],
    }
    american = (card.pricing and card.pricing.tcgplayer) or {}
    blocks = {
        name: block
        for name, block in american.items()
        if block is not None and (isinstance(block, dict) or printing_of(name))
    }
    for name, block in blocks.items():
        printing = printing_of(name)
        product = product_id(block) if isinstance(block, dict) else None
        card_id = None
        if printing is not None and product is not None:
            card_id = f"{product}:{printing}"
        elif printing is not None:
            card_id = draft.known.card_id(card.id, printing)
        told = facts | {"printing": printing, "product_id": product}
        day, currency = american.get("updated"), american.get("unit")
        draft.add(card_id, day, block, US_FIELDS, currency, **told)
    european = (card.pricing and card.pricing.cardmarket) or {}
    if blocks or not european:
        return
    day, currency = european.get("updated"), european.get("unit") or "EUR"
    draft.add(_only_printing(draft, card), day, european, EU_FIELDS, currency, **facts)
    if european.get("trend-holo"):  # 0 means no data; which printing the foil is, is not told
        draft.add(None, day, european, EU_FOIL_FIELDS, currency)


def _only_printing(draft: Draft, card: _Card) -> str | None:
    """Return the id of a card that exists in one printing only: Cardmarket tells of none."""
    if not isinstance(card.variants, dict):
        return draft.known.only_card(card.id)
    there = [name for name, exists in card.variants.items() if exists is True]
    if len(there) != 1 or there[0] not in VARIANTS:
        return None
    return draft.known.card_id(card.id, VARIANTS[there[0]])
