"""The routes under /v1: cards, prices, forecasts, signals, portfolio, model and status."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from pokewatch.files import json_bytes
from pokewatch.schema import SIGNAL_HORIZON
from pokewatch.service.forms import FORECAST, BatchRequest, CardText, Day, Rows
from pokewatch.service.market import Market
from pokewatch.service.problems import Problem
from pokewatch.service.replies import ARROW, CSV, Reply, shown_beside
from pokewatch.watchlist import graded
from pokewatch.watchlist.entries import read

router = APIRouter(prefix="/v1", tags=["v1"])

TABLES: Any = {200: {"model": Rows, "content": {CSV: {}, ARROW: {}}}}
Horizon = Annotated[int, Query(ge=1, le=365, description="days ahead", json_schema_extra=FORECAST)]
Listed = Annotated[int, Field(json_schema_extra=FORECAST)]
Moment = Annotated[Day | None, Query(description="YYYY-MM-DD; default: the newest")]


def _market(request: Request) -> Market:
    return request.app.state.current.get()


@router.get("/cards", responses=TABLES)
def cards(
    request: Request,
    q: Annotated[str, Query(max_length=200, description="words of an id, alias, name or set")] = "",
    cursor: Annotated[str, Query(max_length=400, description="as `next` told it")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Search cards, page by page; `Link` leads to the next one."""
    market = _market(request)
    reply = Reply(request, market)
    page, last = market.search(q, _after(cursor), limit)
    links, following = {}, None
    if last is not None:
        following = base64.urlsafe_b64encode(last.encode()).decode()
        # Relative: what a client calls this server is not known behind a proxy.
        address = request.url.include_query_params(cursor=following)
        links["Link"] = f'<{address.path}?{address.query}>; rel="next"'
    return reply.rows(page, links, next=following)


def _after(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, "-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise Problem(400, "cursor: send what `next` of the page before told") from error


@router.get("/cards/{card:path}/prices", responses=TABLES)
def prices(request: Request, card: CardText, since: Moment = None, until: Moment = None) -> Any:
    """Return a card's accepted prices in USD."""
    market = _market(request)
    return Reply(request, market).rows(market.prices(market.card(card), since, until))


@router.get("/cards/{card:path}/forecast", responses=TABLES)
def forecast(
    request: Request,
    card: CardText,
    horizon: Annotated[list[Listed] | None, Query(description="days ahead; default: all")] = None,
    date: Moment = None,
) -> Any:
    """Return fair value, 80 % interval and signal of a card, a row a horizon."""
    market = _market(request)
    return Reply(request, market).rows(market.every_horizon(card, horizon, date))


@router.get("/cards/{card:path}")
def card(request: Request, card: CardText) -> dict[str, Any]:
    """Return what is known of a card, with its last price in USD."""
    market = _market(request)
    reply = Reply(request, market, rows=False)
    found = market.cards[market.cards["card_id"] == market.card(card)]
    about = market.described(found).to_dict("records")[0]
    return reply.value(shown_beside(about, market.money))  # type: ignore[return-value]


@router.get("/signals", responses=TABLES)
def signals(request: Request, date: Moment = None, horizon: Horizon = SIGNAL_HORIZON) -> Any:
    """Return a day's BUY, then its SELL, each best first, with reasons."""
    market = _market(request)
    return Reply(request, market).rows(market.signals(horizon, date))


@router.post("/forecasts", responses=TABLES)
def forecasts(request: Request, asked: BatchRequest) -> Any:
    """Forecast up to 1,000 cards, a row each in their order; an unknown one has an `error`."""
    market = _market(request)
    return Reply(request, market).rows(market.batch(asked.cards, asked.horizon, asked.date))


@router.get("/portfolio", responses=TABLES)
def portfolio(request: Request) -> Any:
    """Return the watchlist's entries and their value in USD."""
    market = _market(request)
    also = f" {read(market.settings.watchlist)} {graded.read(market.settings)}"
    reply = Reply(request, market, also)
    held, totals = market.portfolio()
    return reply.rows(held, totals=shown_beside(totals, market.money))


@router.get("/model")
def model(request: Request) -> dict[str, Any]:
    """Return the champion, its out-of-sample scores, and its live record."""
    market = _market(request)
    reply = Reply(request, market, rows=False)
    return reply.value(market.about_model())  # type: ignore[return-value]


@router.get("/status")
def status(request: Request) -> dict[str, Any]:
    """Return coverage, freshness, quarantine counts, data version and the champion's score."""
    return Response(  # type: ignore[return-value]
        json_bytes(request.app.state.current.status()), media_type="application/json"
    )
