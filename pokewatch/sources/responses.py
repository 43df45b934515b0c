"""What an answer means: usable, to be tried again, or to be corrected first."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson

from pokewatch.errors import SourceError

RUN_AGAIN = "run again later, or raise POKEWATCH_REQUEST_ATTEMPTS or POKEWATCH_REQUEST_TIMEOUT"
ASK_SLOWER = "run again later, and raise POKEWATCH_REQUEST_INTERVAL"


class NotFoundError(SourceError):
    """The service has nothing under this address (404)."""


class RefusedError(SourceError):
    """The service does not give this address to us (403)."""


class StoppedError(SourceError):
    """The service is not asked any more by this client; every further request raises this."""


class TransientError(Exception):
    """A failure that may pass by itself; ``retry_after`` is the service's wish in seconds."""

    def __init__(self, message: str, advice: str = RUN_AGAIN, retry_after: float | None = None):
        super().__init__(message)
        self.advice = advice
        self.retry_after = retry_after


def explained(error: httpx.RequestError, address: str) -> Exception:
    """Return what a broken connection means: to be tried again, or to be corrected first."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return StoppedError(
                f"{address}: its certificate is not trusted ({cause.verify_message}); check the "
                "clock and the service's URL, or name your proxy's authority in SSL_CERT_FILE"
            )
        if isinstance(cause, socket.gaierror):
            return TransientError(
                "its host name is not known here",
                "check the network, its name server and the service's URL in .env",
            )
        cause = cause.__cause__ or cause.__context__
    return TransientError(f"the connection failed ({type(error).__name__})")


def retry_after(value: str | None) -> float | None:
    """Return the seconds a ``Retry-After`` header asks for; None if it says nothing."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value.strip())
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for a year beyond any
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - datetime.now(UTC)).total_seconds()
    return seconds if seconds > 0 else None


def json_body(chunks: Iterable[bytes]) -> bytes:
    """Return a JSON answer; TransientError for anything else."""
    body = b"".join(chunks)
    try:
        decoded(body)
    except ValueError as error:
        if body.lstrip()[:1] == b"<":
            raise TransientError("the answer is a web page instead of JSON") from error
        raise TransientError(f"the answer is malformed or cut short ({error})") from error
    return body


def decoded(body: bytes) -> Any:
    """Return the value of a JSON text; a bare NaN or Infinity comes as that text.

    Raises ValueError for anything else.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # It refuses numbers that are no JSON or no float: they must not cost the rows beside them.
        try:
            value = json.loads(body.decode(), parse_constant=str)
            json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be stored
        except (ValueError, RecursionError):
            raise error from None
        return value


def shown_address(url: str) -> str:
    """Return an address without user, password and query, which may be secret."""
    head, separator, rest = url.split("?", 1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{separator}{host.rpartition('@')[2]}{slash}{path}"
