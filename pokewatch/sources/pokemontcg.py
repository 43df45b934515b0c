"""pokemontcg.io: TCGplayer's prices set by set, or Cardmarket's where TCGplayer has none."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel

from pokewatch.cards.spelling import SETS_ELSEWHERE, printing_of
from pokewatch.errors import SourceError
from pokewatch.settings import Settings
from pokewatch.sources import About
from pokewatch.sources.delivery import DeliveryBuilder, parsed
from pokewatch.sources.http import Client
from pokewatch.sources.responses import NotFoundError

ABOUT = About(
    serves="TCGplayer's prices of single cards, every printing; Cardmarket's where it has none",
    currency="USD, or EUR of Cardmarket",
    history="none, today's price only",
    limits="1,000 requests a day and 30 a minute without a key, 20,000 a day with one; slow",
    key_setting="POKEWATCH_POKEMONTCG_KEY",
    probe="/cards?pageSize=1",
    ends=date(2027, 3, 1),
)
SLOWEST = 90.0  # seconds; answers take up to a minute
PAGE = 250
PAGES = 20  # far more than the largest set has
US_FIELDS = {"market_price": "market", "low_price": "low", "mid_price": "mid", "high_price": "high"}
EU_FIELDS = {"market_price": "trendPrice", "low_price": "lowPrice"}
EU_REVERSE_FIELDS = {"market_price": "reverseHoloTrend", "low_price": "reverseHoloLow"}
_ids = {ours: theirs for theirs, ours in SETS_ELSEWHERE.items()}


class _Page(BaseModel):
    data: list[Any]
    totalCount: int | None = None  # noqa: N815


class _Prices(BaseModel):
    updatedAt: Any = None  # noqa: N815
    prices: dict[str, Any] | None = None


class _Card(BaseModel):
    id: str
    name: Any = None
    number: Any = None
    rarity: Any = None
    set: Any = None
    tcgplayer: _Prices | None = None
    cardmarket: _Prices | None = None


def client(settings: Settings) -> Client:
    """Return a client of the service."""
    key = settings.pokemontcg_key.get_secret_value()
    return Client(
        settings.pokemontcg_url,
        settings,
        {"X-Api-Key": key} if key else {},
        timeout=SLOWEST,
        per_minute=0 if key else 30,
        per_day=20_000 if key else 1_000,
        key_setting=ABOUT.key_setting,
    )


def ask(client: Client, delivery: DeliveryBuilder) -> None:
    """Add today's prices of the sets to ask for, and the failures.

    The service names no products: a card is found among the known ones by alias and printing, and
    is "{alias}:{printing}" where not exactly one is known.
    """
    asked = delivery.sets_to_ask()
    delivery.ask_each("set", asked, lambda name: _add_set(client, delivery, name))


def _add_set(client: Client, delivery: DeliveryBuilder, name: str) -> None:
    """Add a set's cards page by page; what came before a page that fails is kept."""
    set_id = _ids.get(name, name).replace(".", "pt")
    received = 0
    for number in range(1, PAGES + 1):
        query: dict[str, str | int] = {"q": f"set.id:{set_id}", "pageSize": PAGE, "page": number}
        answer = client.get_json("/cards", query)
        page = parsed(_Page, answer, f"page {number} of set {set_id}")
        for one in page.data:
            _add_card(delivery, one, set_id)
        received += len(page.data)
        if len(page.data) < PAGE or 0 < (page.totalCount or 0) <= received:
            break
    if not received:
        raise NotFoundError(
            f"pokemontcg.io has no set '{set_id}': check POKEWATCH_SETS and the aliases"
        )
    if received < (page.totalCount or 0):
        raise SourceError(f"only {received} of {page.totalCount} cards came; run it again later")


def _add_card(delivery: DeliveryBuilder, answer: Any, set_id: str) -> None:
    named = answer.get("id") if isinstance(answer, dict) else None
    if isinstance(named, str) and not delivery.covers(named):
        return
    try:
        card = parsed(_Card, answer, f"card {named or answer!r}"[:100])
    except SourceError as error:
        delivery.failures[f"card {named or 'of set ' + set_id}"] = error
        return
    set_name = card.set.get("name") if isinstance(card.set, dict) else None
    facts = delivery.facts(card.id, card.name, set_name, card.number, card.rarity)
    us_prices = (card.tcgplayer and card.tcgplayer.prices) or {}
    blocks = {name: block for name, block in us_prices.items() if block is not None}
    for name, block in blocks.items():
        printing = printing_of(name)
        card_id = delivery.known.card_id(card.id, printing) if printing else None
        day = card.tcgplayer.updatedAt if card.tcgplayer else None
        delivery.add(card_id, day, block, US_FIELDS, printing=printing, **facts)
    if blocks:
        return
    if card.cardmarket is None or not card.cardmarket.prices:
        delivery.add_unpriced(card.id, card.name)
        return
    day, prices = card.cardmarket.updatedAt, card.cardmarket.prices
    delivery.add(delivery.known.only_card(card.id), day, prices, EU_FIELDS, "EUR", **facts)
    if prices.get("reverseHoloTrend"):  # 0 means no data
        card_id = delivery.known.card_id(card.id, "Reverse Holofoil")
        described = facts | {"printing": "Reverse Holofoil"}
        delivery.add(card_id, day, prices, EU_REVERSE_FIELDS, "EUR", **described)
