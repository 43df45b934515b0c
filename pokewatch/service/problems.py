"""Errors as problem details (RFC 9457): what is wrong, how to mend it, never where in our code."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from pokewatch.errors import PokewatchError, UsageError
from pokewatch.files import json_bytes
from pokewatch.settings import PROJECT, Settings

log = logging.getLogger(__name__)

MEDIA = "application/problem+json"
UNREADABLE = "the prices or the model cannot be read; the service's log says why"


class Problem(Exception):  # noqa: N818 (an answer)
    """An answer that is an error: status, ``detail`` and further members of the body."""

    def __init__(
        self, status: int, detail: str, headers: dict[str, str] | None = None, **members: Any
    ):
        super().__init__(detail)
        self.status, self.detail, self.headers, self.members = status, detail, headers, members


def response(problem: Problem) -> Response:
    """Return a problem as it is sent."""
    phrase = HTTPStatus(problem.status).phrase
    body = {"type": "about:blank", "title": phrase, "status": problem.status}
    body |= {"detail": problem.detail, **problem.members}
    return Response(json_bytes(body), problem.status, problem.headers, MEDIA)


def install(app: FastAPI, settings: Settings) -> None:
    """Let every error of a route be answered as a problem."""
    places = [str(settings.home), settings.store_root, str(PROJECT), str(settings.watchlist)]

    # Each is a coroutine: it needs no thread, and answers while all of those are busy.
    async def of_usage(request: Request, error: Any) -> Response:
        text = str(error)
        if any(place in text for place in places):
            return await of_package(request, error)
        return response(Problem(400, text))

    async def of_package(request: Request, error: Any) -> Response:
        log.error("%s %s: %s", request.method, request.url.path, error)
        return response(Problem(503, UNREADABLE, {"Retry-After": "10"}))

    async def of_validation(request: Request, error: Any) -> Response:
        errors = [{name: one[name] for name in ("loc", "msg", "type")} for one in error.errors()]
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in errors[:5])
        return response(Problem(422, told, errors=errors[:100]))

    async def of_http(request: Request, error: Any) -> Response:
        detail = error.detail
        if error.status_code == 404:
            detail = "there is no such page: /docs lists all"
        return response(Problem(error.status_code, detail, error.headers))

    async def of_problem(request: Request, error: Any) -> Response:
        return response(error)

    app.add_exception_handler(Problem, of_problem)
    app.add_exception_handler(UsageError, of_usage)
    app.add_exception_handler(PokewatchError, of_package)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(HTTPException, of_http)
