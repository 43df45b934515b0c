"""What stands around every route: size, keys, limits, headers, the access log and metrics."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
import time
from contextlib import nullcontext

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pokewatch.errors import PokewatchError
from pokewatch.files import json_bytes
from pokewatch.service import metrics
from pokewatch.service.keys import Key, Keys, now
from pokewatch.service.problems import Problem, response
from pokewatch.service.rates import Rates
from pokewatch.settings import Settings

log = logging.getLogger(__name__)
access = logging.getLogger("pokewatch.access")

OPEN = {"/health", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json"}
BODY_SECONDS = 10.0
HEADER = "X-API-Key"
METHODS = {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"}
OWN, NUMBERS = secrets.token_hex(4).encode(), itertools.count()  # of ids that we give
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
CLOSED = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
HSTS = (b"strict-transport-security", b"max-age=31536000")


def scope_of(path: str) -> str | None:
    """Return the scope that a path needs; None where no key is."""
    if path in OPEN:
        return None
    if path == "/reload":
        return "admin"
    return "portfolio" if path.startswith("/v1/portfolio") else "read"


class Guard:
    """ASGI middleware: lets a request in by size, address, key and rate, in this order."""

    def __init__(self, app: ASGIApp, settings: Settings, keys: Keys, rates: Rates):
        self.app, self.keys, self.rates = app, keys, rates
        self.longest = settings.service_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whatever happens."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if REQUEST_ID.fullmatch(given) else b"%s%08x" % (OWN, next(NUMBERS))
        status = size = 0

        async def answer(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                took = f"{1000 * (time.perf_counter() - begun):.2f}ms".encode()
                own = [*HEADERS, (b"x-request-id", request_id), (b"x-response-time", took)]
                names = {name for name, _ in message["headers"]}
                if CLOSED[0] not in names:
                    own.append(CLOSED)
                if b"cache-control" not in names:
                    own.append((b"cache-control", b"no-store"))
                if scope["scheme"] == "https":
                    own.append(HSTS)
                message["headers"] = [*message["headers"], *own]
            else:
                size += len(message.get("body", b""))
            await send(message)

        key: Key | None = None
        problem: Problem | None = None
        try:
            if b"content-length" in headers or b"transfer-encoding" in headers:
                receive = await self._whole(scope, headers, receive)
            needed = scope_of(scope["path"])
            if needed:
                key = self._known(headers.get(b"x-api-key"), scope)
                await self._entitled(key, needed)
            await self.app(scope, receive, answer)
        except Problem as refused:
            problem = refused
        except ClientDisconnect:
            return
        except Exception:
            log.exception("request %s failed", request_id.decode())
            problem = Problem(500, "something failed; the service's log says what")
        if problem is not None and not status:
            metrics.errors.labels(str(problem.status)).inc()
            await response(problem)(scope, receive, answer)
        elif status >= 400:
            metrics.errors.labels(str(status)).inc()
        self._note(scope, request_id, status, size, time.perf_counter() - begun, key)

    async def _whole(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """Read the body, counting what comes rather than what is announced; return it again."""
        told = headers.get(b"content-length", b"0")
        if told.isdigit() and int(told) > self.longest:
            raise self._too_long()
        body, more = b"", True
        come = scope.get("state", {}).get("complete", False)  # as BoundedProtocol tells
        try:
            async with nullcontext() if come else asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self.longest:
                        raise self._too_long()
        except TimeoutError as error:
            raise Problem(
                408, f"the body did not come within {BODY_SECONDS:.0f} s", {"Connection": "close"}
            ) from error
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        return again

    def _too_long(self) -> Problem:
        detail = f"the body is longer than {self.longest:,} bytes: send less"
        return Problem(413, detail, {"Connection": "close"})

    def _known(self, text: bytes | None, scope: Scope) -> Key:
        """Return the key of a request; Problem 401, 429 or 503 else."""
        address = scope["client"][0] if scope.get("client") else "unknown"
        if closed := self.rates.closed_to(address):
            raise Problem(429, "too many wrong keys from this address: wait", closed)
        try:
            key = self.keys.check(text) if text else None
        except PokewatchError as error:
            log.error("%s; no key is let in", error)
            unread = "the keys cannot be read; the service's log says why"
            raise Problem(503, unread, {"Retry-After": "10"}) from error
        if key is None:
            if text:
                self.rates.failed(address)
            raise Problem(
                401,
                f"this key is unknown, expired or revoked: send one in {HEADER}"
                if text
                else f"a key is needed: send it in {HEADER}; 'pokewatch keys create' makes one",
                {"WWW-Authenticate": "ApiKey"},
            )
        return key

    async def _entitled(self, key: Key, needed: str) -> None:
        """Count a request of a key; Problem 403 or 429 where it may not go on."""
        if not await self.rates.allows(key.id):
            raise Problem(
                429,
                f"this key's limit is {self.rates.per_key}: wait",
                await self.rates.left(key.id),
            )
        if needed not in key.scopes:
            raise Problem(403, f"this key has no scope '{needed}': it has {', '.join(key.scopes)}")

    def _note(
        self, scope: Scope, request_id: bytes, status: int, size: int, took: float, key: Key | None
    ) -> None:
        """Count a request and log it in one line, without query and key."""
        route = scope.get("route")
        endpoint = getattr(route, "path_format", None) or "other"
        method = scope["method"] if scope["method"] in METHODS else "other"
        metrics.counted(method, endpoint, str(status)).inc()
        metrics.timed(endpoint).observe(took)
        if access.isEnabledFor(logging.INFO):
            line = {
                "time": now().replace("+00:00", "Z"),
                "request_id": request_id.decode(),
                "client": scope["client"][0] if scope.get("client") else None,
                "key": key and key.id,
                "method": scope["method"],
                "path": scope["path"][:500],
                "status": status,
                "bytes": size,
                "ms": round(1000 * took, 2),
            }
            # As access.info, which would look for the line of code that called it.
            text = json_bytes(line).decode()
            access.handle(access.makeRecord(access.name, logging.INFO, "", 0, text, (), None))
