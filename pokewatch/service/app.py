"""The service as an ASGI app: the first system's routes, probes and documentation."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import jinja2
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import request_response

from pokewatch import __version__
from pokewatch.files import json_bytes
from pokewatch.service import forms, metrics, problems, v1
from pokewatch.service.guard import HEADER, Guard, scope_of
from pokewatch.service.keys import Keys
from pokewatch.service.market import Current
from pokewatch.service.problems import Problem
from pokewatch.service.rates import Rates
from pokewatch.service.replies import NotModified
from pokewatch.settings import Settings, get_settings

ABOUT = "Prices, fair values and signals of trading cards. Nothing here is financial advice."
ERRORS = {
    400: "a value that cannot be answered",
    401: "no key, or a wrong one",
    403: "a key without the scope",
    404: "an unknown card, or no data on that day",
    408: "the body came too slowly",
    409: "an alias of several cards, which are listed",
    413: "the body is too long",
    422: "a value of the wrong form",
    429: "too many requests; Retry-After says when to come again",
    503: "the prices cannot be read now",
}


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service over a data home.

    Its market is read before the first request is taken, so that a worker in place of one that died
    fails none; what cannot be read is looked for again, and answered with 503 until then.
    """
    settings = settings or get_settings()
    current, keys = Current(settings), Keys(settings)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(current.refresh)
        current.start(keys.note_used)
        yield
        current.stop()
        keys.note_used()

    app = FastAPI(
        title="PokeWatch",
        version=__version__,
        description=ABOUT,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.current = current
    problems.install(app, settings)

    async def not_modified(request: Request, error: Any) -> Response:
        return Response(status_code=304, headers=error.headers)

    app.add_exception_handler(NotModified, not_modified)
    _first_system(app, current)  # the most asked for: routes are tried in their order
    _probes(app, current, settings)
    app.router.routes.extend(v1.router.routes)  # include_router makes them anew a request
    app.openapi = lru_cache(maxsize=1)(lambda: document(app))  # type: ignore[method-assign]
    app.add_middleware(Guard, settings=settings, keys=keys, rates=Rates(settings))
    if settings.service_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.service_origins,
            allow_methods=["GET", "POST"],
            allow_headers=[HEADER, "Content-Type", "If-None-Match", "X-Request-ID"],
            expose_headers=["ETag", "Link", "X-Request-ID", "Retry-After"],
        )
    return app


class Direct(APIRoute):
    """A route whose function is given the request and returns the response: nothing to solve."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.app = request_response(self.endpoint)


def _json(value: Any, status: int = 200) -> Response:
    return Response(json_bytes(value), status, media_type="application/json")


def _probes(app: FastAPI, current: Current, settings: Settings) -> None:
    @app.get("/livez", tags=["probes"])
    async def livez() -> dict[str, str]:
        """Tell that the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", response_model=forms.Ready, tags=["probes"])
    async def readyz() -> Response:
        """Tell whether prices and champion can be read; 503 where not."""
        market = current.market
        about = {"model": market.model, "data_version": market.version} if market else {}
        if current.problem:
            raise Problem(503, current.problem, {"Retry-After": "5"}, ready=False, **about)
        return _json({"ready": True, **about})

    @app.get("/health", response_model=forms.Health, tags=["first system"])
    async def health() -> Response:
        """Tell whether a model is loaded; 503 where not."""
        market = current.market
        good = market is not None and not current.problem
        count = len(market.ids) if market else None
        answer = {"status": "ok" if good else "error", "model_loaded": market is not None}
        return _json({**answer, "cards_count": count}, 200 if good else 503)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        """Show every route, its values and answers; loads nothing, runs nothing."""
        page, policy = _page(app)
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": policy})

    if settings.service_metrics:

        @app.get("/metrics", include_in_schema=False)
        def numbers() -> Response:
            """Show what Prometheus reads."""
            return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _first_system(app: FastAPI, current: Current) -> None:
    async def fair_price(request: Request) -> Response:
        """Tell what a card is worth, what it will likely be worth, and BUY, HOLD or SELL."""
        message = await request.receive()  # the whole body, which the guard has read already
        asked = forms.price_request(message.get("body", b""))
        market = current.get()
        values = asked.card_id, asked.date, asked.horizon
        quick = asked.date in (None, market.last)
        if quick and asked.card_id in market.known:
            body, signal = market.fair_price(*values)
        else:
            body, signal = await run_in_threadpool(market.fair_price, *values)
        metrics.told[signal].inc()
        return Response(body, media_type="application/json")

    app.router.add_api_route(
        "/fair_price",
        fair_price,
        methods=["POST"],
        response_model=forms.FairPrice,
        tags=["first system"],
        openapi_extra={"requestBody": forms.PRICE_BODY},
        route_class_override=Direct,
    )

    @app.get("/cards", response_model=forms.CardIds, tags=["first system"])
    def cards() -> Response:
        """List the ids of all cards with a price."""
        ids = current.get().ids
        return _json({"cards": ids, "count": len(ids)})

    @app.post("/reload", response_model=forms.Reloaded, tags=["first system"])
    def reload() -> Response:
        """Read prices and champion again, now; needs the scope admin."""
        current.refresh(again=True)
        if current.problem:
            raise Problem(503, current.problem, {"Retry-After": "5"})
        market = current.get()
        told = f"data version {market.version}, model {market.model}"
        return _json({"status": "ok", "message": told, "cards_count": len(market.ids)})


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with keys and every error that a route may answer."""
    found = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    parts = found["components"]
    parts["securitySchemes"] = {"key": {"type": "apiKey", "in": "header", "name": HEADER}}
    schemas = parts["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for form in (forms.ProblemDetails, forms.PriceRequest):
        schemas[form.__name__] = form.model_json_schema()
    problem = {"$ref": "#/components/schemas/ProblemDetails"}
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            needed = scope_of(path)
            codes = {503} if path in ("/readyz", "/health") else set()
            codes |= set() if needed is None else set(ERRORS)
            for code in sorted(codes):
                media = {problems.MEDIA: {"schema": problem}}
                if path == "/health":
                    media = answers["200"]["content"]
                answers[str(code)] = {"description": ERRORS[code], "content": media}
            if needed:
                operation["security"] = [{"key": []}]
                operation["description"] += f"\n\nScope: {needed}."
                if method == "get" and path.startswith("/v1/") and path != "/v1/status":
                    answers["304"] = {"description": "the copy that If-None-Match names is good"}
            operation["responses"] = dict(sorted(answers.items()))
    return found


@lru_cache(maxsize=4)
def _page(app: FastAPI) -> tuple[str, str]:
    """Return the documentation page, and the policy that lets its own style in and no script."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pokewatch.service"), autoescape=True, trim_blocks=True
    )
    page = environment.get_template("docs.html").render(document=app.openapi(), header=HEADER)
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return page, f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
