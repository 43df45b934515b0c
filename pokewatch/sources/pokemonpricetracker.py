"""PokemonPriceTracker: TCGplayer's near-mint prices of single cards, with a month of history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from pokewatch.cards.spelling import printing_of
from pokewatch.errors import SourceError, UsageError
from pokewatch.settings import Settings
from pokewatch.sources import About
from pokewatch.sources.delivery import DeliveryBuilder, parsed, text
from pokewatch.sources.http import Client
from pokewatch.sources.responses import NotFoundError

ABOUT = About(
    serves="TCGplayer's near-mint prices of single cards with a known product id",
    currency="USD",
    history="30 days, of products with one printing",
    limits="100 credits a day on the free plan (POKEWATCH_POKEMONPRICETRACKER_CALLS), 60 a minute",
    key_setting="POKEWATCH_POKEMONPRICETRACKER_KEY",
    key_needed=True,
    probe="/cards?limit=1",
)
DAYS = 30
SOLD_DAYS = 90  # of sales on eBay
FIELDS = {"market_price": "market", "low_price": "low", "mid_price": "mid", "high_price": "high"}
POINT = {"market_price": "market", "volume": "volume"}
NEAR_MINT = "Near Mint"


class _Card(BaseModel):
    tcgPlayerId: str | int  # noqa: N815
    name: Any = None
    cardNumber: Any = None  # noqa: N815
    rarity: Any = None
    setName: Any = None  # noqa: N815
    set: Any = None
    printing: Any = None
    updatedAt: Any = None  # noqa: N815
    prices: dict[str, Any] | None = None
    priceHistory: dict[str, Any] | list[Any] | None = None  # noqa: N815
    ebay: Any = None


class _Sold(BaseModel):
    medianPrice: float = Field(gt=0, allow_inf_nan=False)  # noqa: N815
    count: int = Field(ge=0)


class _Answer(BaseModel):
    data: _Card | list[_Card]


def client(settings: Settings) -> Client:
    """Return a client of the service; UsageError without a key."""
    key = settings.pokemonpricetracker_key.get_secret_value()
    if not key:
        raise UsageError(
            f"source 'pokemonpricetracker' needs a key: set {ABOUT.key_setting} in .env"
        )
    return Client(
        settings.pokemonpricetracker_url,
        settings,
        {"Authorization": f"Bearer {key}"},
        per_minute=60,
        per_day=settings.pokemonpricetracker_calls,
        costly=("includeHistory", "includeEbay"),
        key_setting=ABOUT.key_setting,
    )


def ask(client: Client, delivery: DeliveryBuilder) -> None:
    """Add prices of the products to ask for, and the failures.

    A price belongs to the printing that the service names, else to the product's only known one;
    history, which names none, to the only known one.
    """

    def ask_product(product: int) -> None:
        query: dict[str, str | int] = {"tcgPlayerId": product}
        if len(delivery.known.printings(product)) == 1:  # history costs a second credit
            query |= {"includeHistory": "true", "days": DAYS}
        answer = parsed(_Answer, client.get_json("/cards", query), f"product {product}")
        _add(delivery, answer, product)

    delivery.ask_each("product", delivery.products_to_ask(), ask_product)


def sold_by_grade(client: Client, product: int) -> dict[str, tuple[float, int]]:
    """Return the median price (USD) and number of a product's graded sales on eBay, by grade.

    Of the last ``SOLD_DAYS``; grades as ``psa10``, ``bgs9_5``. Asked of ``/cards`` with
    ``includeEbay``, which costs a second credit; a grade without a median is left out. Raises
    SourceError for an answer of another form.
    """
    query: dict[str, str | int] = {"tcgPlayerId": product, "includeEbay": "true"}
    answer = parsed(
        _Answer, client.get_json("/cards", query | {"days": SOLD_DAYS}), f"product {product}"
    )
    sold = _card_of(answer, product).ebay or {}
    sales = (sold.get("salesByGrade") or {}) if isinstance(sold, dict) else sold
    if not isinstance(sales, dict):
        raise SourceError(f"product {product}: its sales on eBay have another form than they had")
    found: dict[str, tuple[float, int]] = {}
    for grade, told in sales.items():
        try:
            one = _Sold.model_validate(told, strict=True)
        except ValidationError:
            continue
        found[str(grade)] = one.medianPrice, one.count
    return found


def _card_of(answer: _Answer, product: int) -> _Card:
    cards = answer.data if isinstance(answer.data, list) else [answer.data]
    card = next((one for one in cards if str(one.tcgPlayerId) == str(product)), None)
    if card is None:
        raise NotFoundError(f"pokemonpricetracker answers nothing about product {product}")
    return card


def _add(delivery: DeliveryBuilder, answer: _Answer, product: int) -> None:
    card = _card_of(answer, product)
    prices = card.prices or {}
    known = delivery.known.printings(product)
    named = prices.get("primaryPrinting") or card.printing
    printing = printing_of(named) if named else next(iter(known)) if len(known) == 1 else None
    if printing is None:
        problem = f"the printing {named!r} is unknown" if named else "no printing is named"
        delivery.notes.append(
            f"product {product}: {problem}, its known ones are {', '.join(sorted(known)) or 'none'}"
        )
    set_name = card.set.get("name") if isinstance(card.set, dict) else None
    facts: dict[str, Any] = {
        "name": text(card.name),
        "set_name": text(card.setName) or text(set_name),
        "number": text(card.cardNumber),
        "rarity": text(card.rarity),
        "printing": printing,
        "product_id": product,
    }
    card_id = f"{product}:{printing}" if printing else None
    # Without a date of its own the price is the one of now.
    day = prices.get("lastUpdated") or card.updatedAt or datetime.now(UTC).date().isoformat()
    if prices:
        delivery.add(card_id, day, prices, FIELDS, **facts)
    elif not card.priceHistory:
        delivery.add_unpriced(str(product), card.name)
    only = card_id if known | {printing} == {printing} else None
    for then, point in _points(card.priceHistory):
        same_day = str(then)[:10] == str(day)[:10]
        if not (
            same_day and isinstance(point, dict) and point.get("market") == prices.get("market")
        ):
            delivery.add(only, then, point, POINT, **facts)


def _points(history: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (date, {"market": price}) of a history, by date or by condition; nulls are nothing."""
    if isinstance(history, dict) and isinstance(history.get("conditions"), dict):
        history = history["conditions"].get(NEAR_MINT)
        history = history.get("history") if isinstance(history, dict) else history
    if isinstance(history, dict):
        for day, point in history.items():
            if point is not None:
                yield day, point if isinstance(point, dict) else {"market": point}
    elif isinstance(history, list):
        for point in history:
            yield (point.get("date"), point) if isinstance(point, dict) else (None, point)
