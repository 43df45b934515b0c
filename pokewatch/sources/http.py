"""The one HTTP client of all price services: polite, bounded, patient, and clear when it fails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
import orjson
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from pokewatch import __version__
from pokewatch.errors import SourceError
from pokewatch.settings import Settings

JSON_LIMIT = 50 * 2**20
ARCHIVE_LIMIT = 200 * 2**20
BACKOFF_CAP = 60.0
RETRY_AFTER_CAP = 600.0
# The timeout bounds each read only: a trickle of bytes would keep one answer open for ever.
SLOWEST_ANSWER = 10

T = TypeVar("T")
_jitter = wait_random_exponential(multiplier=1, max=BACKOFF_CAP)


class NotFoundError(SourceError):
    """The service has nothing under this address (404)."""


class _PassingError(Exception):
    """A failure that may pass by itself; ``retry_after`` is the service's wish in seconds."""

    def __init__(self, message: str, retry_after: float | None = None):
        super().__init__(message)
        self.retry_after = retry_after


class Client:
    """Requests to one service; use it as a context manager.

    base_url: address that every path is appended to.
    settings: gives contact, interval, timeout and number of tries.
    headers: extra headers such as an API key. They never show in a message, and with any of them
        redirects are not followed, so that a key cannot reach another host.
    wait: called with the seconds of every pause (tests pass their own).
    clock: monotonic seconds.
    """

    def __init__(
        self,
        base_url: str,
        settings: Settings,
        headers: Mapping[str, str] | None = None,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._settings = settings
        self._wait = wait
        self._clock = clock
        self._free_at = clock()
        try:
            self._http = httpx.Client(
                base_url=base_url,
                headers={"User-Agent": user_agent(settings), **(headers or {})},
                timeout=settings.request_timeout,
                follow_redirects=not headers,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise SourceError(
                f"a client for '{_shown(base_url)}' cannot be made: its address or a header is "
                "not valid; mend the service's URL or key in .env"
            ) from error

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get_json(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """Return the parsed answer; a malformed one is asked for again.

        Raises SourceError (NotFoundError on 404) that names the address and the mend.
        """
        return self._request(path, params, _parse, JSON_LIMIT)

    def get_text(self, path: str, params: Mapping[str, str | int] | None = None) -> str:
        """Return the answer as text; raises as ``get_json``."""
        return self._request(
            path, params, lambda chunks: b"".join(chunks).decode("utf-8", "replace"), JSON_LIMIT
        )

    def download(self, path: str, target: Path) -> Path:
        """Stream an answer into ``target``, which appears only when it is complete.

        Raises as ``get_json``.
        """
        part = target.with_name(f"{target.name}.{os.getpid()}.part")

        def write(chunks: Iterable[bytes]) -> Path:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            return part.replace(target)

        try:
            return self._request(path, None, write, ARCHIVE_LIMIT)
        except OSError as error:
            raise SourceError(
                f"'{target}' cannot be written ({error.strerror}); check the disk"
            ) from error
        finally:
            with suppress(OSError):
                part.unlink()

    def _request(
        self,
        path: str,
        params: Mapping[str, str | int] | None,
        receive: Callable[[Iterable[bytes]], T],
        limit: int,
    ) -> T:
        attempts = self._settings.request_attempts
        retrying = Retrying(
            retry=retry_if_exception_type(_PassingError),
            stop=stop_after_attempt(attempts),
            wait=_pause,
            sleep=self._wait,
            reraise=True,
        )
        try:
            return retrying(self._attempt, path, params, receive, limit)
        except _PassingError as error:
            tries = f"{attempts} tries" if attempts > 1 else "1 try"
            raise SourceError(
                f"{self._address(path)}: {error} ({tries}); run again later, or raise "
                "POKEWATCH_REQUEST_ATTEMPTS or POKEWATCH_REQUEST_TIMEOUT"
            ) from error

    def _attempt(
        self,
        path: str,
        params: Mapping[str, str | int] | None,
        receive: Callable[[Iterable[bytes]], T],
        limit: int,
    ) -> T:
        address = self._address(path)
        if (pause := self._free_at - self._clock()) > 0:
            self._wait(pause)
        try:
            with self._http.stream("GET", path, params=params) as response:
                _check_status(response, address)
                return receive(self._bounded(response, address, limit))
        except httpx.TimeoutException as error:
            seconds = self._settings.request_timeout
            raise _PassingError(f"no answer within {seconds:g} s") from error
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
            raise SourceError(
                f"{address}: not a request that can be sent; mend the service's URL or key in .env"
            ) from error
        except httpx.RequestError as error:
            raise _PassingError(f"the connection failed ({type(error).__name__})") from error
        finally:
            self._free_at = self._clock() + self._settings.request_interval

    def _bounded(self, response: httpx.Response, address: str, limit: int) -> Iterator[bytes]:
        """Yield the decoded body, refusing one that is too large or takes too long."""
        received = 0
        deadline = self._clock() + SLOWEST_ANSWER * self._settings.request_timeout
        for chunk in response.iter_bytes():
            received += len(chunk)
            if received > limit:
                raise SourceError(
                    f"{address}: the answer is larger than {limit / 2**20:g} MB and was refused; "
                    "check that the address is the right one"
                )
            if self._clock() > deadline:
                raise _PassingError("the answer came too slowly")
            yield chunk

    def _address(self, path: str) -> str:
        return _shown(f"{self._http.base_url}".rstrip("/") + "/" + path.lstrip("/"))


def user_agent(settings: Settings) -> str:
    """Return ``PokeWatch/<version> (+contact)``; the contact is left out if there is none."""
    contact = "".join(c for c in settings.contact if c.isascii() and c.isprintable()).strip()
    return f"PokeWatch/{__version__}" + (f" (+{contact})" if contact else "")


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _PassingError) and error.retry_after is not None:
        return error.retry_after
    return _jitter(state)


def _check_status(response: httpx.Response, address: str) -> None:
    status = response.status_code
    if status in (408, 429) or status >= 500:
        wish = response.headers.get("Retry-After") if status in (429, 503) else None
        raise _PassingError(f"the service answered {status}", _retry_after(wish))
    if status == 404:
        raise NotFoundError(f"{address}: not found (404); check the id, the date and the URL")
    if status in (401, 403):
        raise SourceError(
            f"{address}: refused ({status}); check the service's key in .env and set "
            "POKEWATCH_CONTACT, or ask for less often"
        )
    if status != 200:
        raise SourceError(f"{address}: unusable answer ({status}); check the service's URL in .env")


def _retry_after(value: str | None) -> float | None:
    """Return the seconds a ``Retry-After`` header asks for, capped; None if it says nothing."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(float(value.strip()), RETRY_AFTER_CAP)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for a year beyond any
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(seconds, RETRY_AFTER_CAP) if seconds > 0 else None


def _parse(chunks: Iterable[bytes]) -> Any:
    body = b"".join(chunks)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if body.lstrip()[:1] == b"<":
            raise _PassingError("the answer is a web page instead of JSON") from error
        raise _PassingError(f"the answer is malformed or cut short ({error})") from error


def _shown(url: str) -> str:
    """Return an address without user, password and query, which may be secret."""
    head, separator, rest = url.split("?", 1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{separator}{host.rpartition('@')[2]}{slash}{path}"
