"""What requests and answers look like; the OpenAPI document is made from it."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError

from pokewatch.schema import HORIZONS, SIGNAL_HORIZON

BATCH = 1000
DISPLAY = (
    "with POKEWATCH_CURRENCY only: currency, rate for one of the stored amounts' and its date; "
    "each amount stands in this currency beside the stored one, as display_market_price"
)


def _iso(value: Any) -> Any:
    """Take YYYY-MM-DD alone for a day, no number of seconds."""
    if isinstance(value, str | int | float) and not re.fullmatch(
        r"\d{4}-\d{2}-\d{2}", str(value), re.ASCII
    ):
        raise ValueError("write a day as YYYY-MM-DD")
    return value


Day = Annotated[date, BeforeValidator(_iso)]
CardText = Annotated[str, StringConstraints(min_length=1, max_length=200)]

FORECAST: Any = {"enum": list(HORIZONS)}  # another horizon is answered with 400
Ahead = Annotated[int, Field(ge=1, le=365, description="days ahead", json_schema_extra=FORECAST)]


class PriceRequest(BaseModel):
    """Which card is asked for: an id or alias, and the day (default: the newest)."""

    card_id: CardText = Field(examples=["sv4pt5-1"])
    date: Day | None = None
    horizon: Ahead = SIGNAL_HORIZON


PRICE_BODY: dict[str, Any] = {  # what FastAPI would say of a body that it reads itself
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PriceRequest"}}},
}


def price_request(body: bytes) -> PriceRequest:
    """Return what a body asks for; RequestValidationError, as for every other route, if nothing."""
    try:
        return PriceRequest.model_validate_json(body)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in wrong]
        ) from None


class FairPrice(BaseModel):
    """A card's fair price; amounts in USD, ``deviation_pct`` is a fraction in spite of its name."""

    card_id: str
    date: date
    market_price: float
    fair_price: float
    deviation_pct: float
    signal: str
    canonical_id: str
    deviation_percent: float
    lower: float
    upper: float
    horizon: int
    reason: str
    thin: bool
    stale: bool
    model: str
    data_version: int
    track_record: dict[str, Any] | None
    display: dict[str, Any] | None = Field(None, description=DISPLAY)


class CardIds(BaseModel):
    """The ids of all cards with a price."""

    cards: list[str]
    count: int


class Health(BaseModel):
    """Whether prices can be told."""

    status: str
    model_loaded: bool
    cards_count: int | None


class Ready(BaseModel):
    """Whether requests can be answered, and from what."""

    ready: bool
    model: str | None = None
    data_version: int | None = None
    detail: str | None = None


class Reloaded(BaseModel):
    """What is served after a reload."""

    status: str
    message: str
    cards_count: int


class BatchRequest(BaseModel):
    """Up to 1,000 cards to forecast."""

    cards: list[CardText] = Field(min_length=1, max_length=BATCH)
    date: Day | None = None
    horizon: Ahead = SIGNAL_HORIZON


class Rows(BaseModel):
    """Rows, and what stands beside them."""

    count: int
    rows: list[dict[str, Any]]
    data_version: int
    next: str | None = None
    display: dict[str, Any] | None = Field(None, description=DISPLAY)


class ProblemDetails(BaseModel):
    """What is wrong, after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    cards: list[str] | None = Field(None, description="409: the cards that fit")
    errors: list[dict[str, Any]] | None = Field(None, description="422: each wrong value")
