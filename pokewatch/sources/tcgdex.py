"""TCGdex: TCGplayer's prices of single cards, or Cardmarket's where TCGplayer has none."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, RootModel

from pokewatch.cards.spelling import normal_set, printing_of
from pokewatch.settings import Settings
from pokewatch.sources import About
from pokewatch.sources.delivery import DeliveryBuilder, parsed, text
from pokewatch.sources.http import Client
from pokewatch.sources.responses import NotFoundError
from pokewatch.sources.tcgcsv.frames import FIELDS, product_id

ABOUT = About(
    serves="TCGplayer's prices of single cards, every printing; Cardmarket's where it has none",
    currency="USD, or EUR of Cardmarket",
    history="none, today's price only",
    limits="none published",
    probe="/en/sets",
)
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


def ask(client: Client, delivery: DeliveryBuilder) -> None:
    """Add today's prices of the cards to ask for, and the failures.

    A card that TCGdex does not tie to a TCGplayer product is found among the known ones by alias
    and printing. Raises SourceError where the list of sets does not come.
    """
    if not (asked := delivery.sets_to_ask()):
        return
    sets = parsed(_Sets, client.get_json("/en/sets"), "the list of sets").root
    ids = {normal_set(one.id): one.id for one in sets}
    set_names: dict[str, str | None] = {}

    def ask_set(name: str) -> None:
        if name not in ids:
            raise NotFoundError(f"TCGdex has no set '{name}': check POKEWATCH_SETS and the aliases")
        answer = client.get_json(f"/en/sets/{quote(ids[name], safe='')}")
        found = parsed(_Set, answer, f"set {ids[name]}")
        cards = (card.id for card in found.cards if delivery.covers(card.id))
        set_names.update(dict.fromkeys(cards, text(found.name)))

    def ask_card(card_id: str) -> None:
        answer = client.get_json(f"/en/cards/{quote(card_id, safe='')}")
        _add(delivery, parsed(_Card, answer, f"card {card_id}"), set_names[card_id])

    delivery.ask_each("set", asked, ask_set, progress=False)
    delivery.ask_each("card", set_names, ask_card)


def _add(delivery: DeliveryBuilder, card: _Card, set_name: str | None) -> None:
    facts = delivery.facts(card.id, card.name, set_name, card.localId, card.rarity)
    european = (card.pricing and card.pricing.cardmarket) or {}
    if linked := product_id({"productId": european.get("idProduct")}):
        delivery.link(linked, facts)
    american = (card.pricing and card.pricing.tcgplayer) or {}
    day, currency = american.get("updated"), american.get("unit")
    found = False
    for name, block in american.items():
        printing = printing_of(name)
        if block is None or not (printing or isinstance(block, dict)):
            continue
        found = True
        product = product_id(block) if isinstance(block, dict) else None
        card_id = delivery.known.card_id(card.id, printing) if printing else None
        if printing and product is not None:
            card_id = f"{product}:{printing}"
        described = facts | {"printing": printing, "product_id": product}
        claim = f"TCGplayer's product {product}" if product else ""
        delivery.add(card_id, day, block, FIELDS, currency, claim, **described)
    if not (found or european):
        delivery.add_unpriced(card.id, card.name)
    if found or not european:
        return
    day, currency = european.get("updated"), european.get("unit") or "EUR"
    claim = f"Cardmarket's product {linked}" if linked else ""
    only = _only_printing(delivery, card)
    delivery.add(only, day, european, EU_FIELDS, currency, claim, **facts)
    if european.get("trend-holo"):  # 0 means no data; which printing the foil is, nobody says
        delivery.add(None, day, european, EU_FOIL_FIELDS, currency)


def _only_printing(delivery: DeliveryBuilder, card: _Card) -> str | None:
    """Return the id of a card that exists in one printing only: Cardmarket names none."""
    if not isinstance(card.variants, dict):
        return delivery.known.only_card(card.id)
    there = [name for name, exists in card.variants.items() if exists is True]
    if len(there) != 1 or there[0] not in VARIANTS:
        return None
    return delivery.known.card_id(card.id, VARIANTS[there[0]])
