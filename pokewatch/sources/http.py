"""The one HTTP client of all price services: polite, bounded, patient, and clear when it fails."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from pokewatch import __version__
from pokewatch.errors import PokewatchError, SourceError
from pokewatch.files import atomic_write, write_error
from pokewatch.settings import Settings
from pokewatch.sources.proxy import proxy_of
from pokewatch.sources.responses import (
    ASK_SLOWER,
    RUN_AGAIN,
    NotFoundError,
    RefusedError,
    StoppedError,
    TransientError,
    decoded,
    explained,
    json_body,
    retry_after,
    shown_address,
)

JSON_LIMIT = 16 * 2**20
ARCHIVE_LIMIT = 200 * 2**20
BACKOFF_CAP = 60.0
RETRY_AFTER_CAP = 600.0
# The timeout bounds each read only: a trickle of bytes would keep one answer open for ever.
SLOWEST_ANSWER = 10
# With the service down, every further request would only cost its full round of retries.
FAILURES_IN_A_ROW = 10
PATIENCE = 900.0  # seconds of failures only
A_MINUTE, A_DAY = 60.0, 86_400.0

T = TypeVar("T")
Query = Mapping[str, str | int]
_jitter = wait_random_exponential(multiplier=1, max=BACKOFF_CAP)


class Client:
    """Requests to one service; use it as a context manager.

    After ``FAILURES_IN_A_ROW`` failed requests, ``PATIENCE`` seconds of nothing else, or a wish for
    more than ``RETRY_AFTER_CAP`` seconds of peace (kept for all clients of a data home, a day at
    most) it asks no more, and ``stopped`` says why; "not found" is an answer and no failure.

    headers: extra ones such as an API key. They never show in a message, and with any of them
    redirects are not followed, so that a key cannot reach another host.
    timeout: seconds that an answer may take at least, whatever the settings say.
    per_minute, per_day: requests that the service allows, a day by all processes of a data home
    together; 0 is no limit. costly: parameters that each count as one more of the day.
    key_setting: the setting of the service's key, named where the service refuses.
    wait, clock: called with the seconds of every pause, and for monotonic seconds.
    """

    def __init__(
        self,
        base_url: str,
        settings: Settings,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = 0.0,
        per_minute: int = 0,
        per_day: int = 0,
        costly: Collection[str] = (),
        key_setting: str = "",
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.shown = shown_address(base_url).rstrip("/")
        self._settings = settings
        self._counts = settings.home / "requests" / re.sub(r"[^\w.-]+", "_", self.shown)
        self.stopped = self._rest()
        self._timeout = max(settings.request_timeout, timeout)
        self._per_minute, self._per_day, self._costly = per_minute, per_day, costly
        self._key = key_setting or "the service's URL"
        self._wait, self._clock = wait, clock
        self._free_at = self._answered_at = clock()
        self._last_minute: deque[float] = deque(maxlen=per_minute or None)
        self._failures = 0
        self._proxy = ""
        try:
            self._proxy, proxy = proxy_of(httpx.URL(base_url))
            transport = self._transport(proxy)
            self._http = httpx.Client(
                base_url=base_url,
                headers={"User-Agent": user_agent(settings), **(headers or {})},
                timeout=self._timeout,
                follow_redirects=not headers,
                transport=transport,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise SourceError(
                f"a client for '{self.shown}' cannot be made: its address or a header is not "
                "valid; correct the service's URL or key in .env"
            ) from error

    def _transport(self, proxy: str) -> httpx.HTTPTransport:
        """Return the connection, by a proxy or ("") without; httpx refuses many a NO_PROXY."""
        if not proxy:
            return httpx.HTTPTransport()
        named = f"{self._proxy}={shown_address(proxy)}"
        around = f"or name '{httpx.URL(self.shown).host}' in NO_PROXY to go without"
        try:
            return httpx.HTTPTransport(proxy=proxy)
        except ImportError as error:
            raise SourceError(
                f"{self.shown}: {named} is a SOCKS proxy, for which a package is missing: install "
                f"'httpx[socks]', {around}"
            ) from error
        except (httpx.InvalidURL, ValueError) as error:
            raise SourceError(
                f"{self.shown}: {named} is no proxy that can be used: write it as "
                f"http://host:port, {around}"
            ) from error

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self._http.close()

    def get_json(self, path: str, params: Query | None = None) -> Any:
        """Return the parsed answer; a malformed one is asked for again.

        Raises SourceError (NotFoundError on 404) that names the address and what to do.
        """
        return decoded(self.get_body(path, params))

    def get_body(self, path: str, params: Query | None = None, limit: int = 0) -> bytes:
        """Return a JSON answer as delivered; a malformed one is asked for again.

        limit: bytes that it may have, by default ``JSON_LIMIT``. Raises as ``get_json``.
        """
        return self._request(path, params, json_body, limit or JSON_LIMIT)

    def get_text(self, path: str) -> str:
        """Return the answer as text; raises as ``get_json``."""
        body = self._request(path, None, b"".join, JSON_LIMIT)
        return body.decode("utf-8", "replace")

    def download(self, path: str, target: Path) -> Path:
        """Stream an answer into ``target``, which appears only when it is complete.

        Raises as ``get_json``, and SourceError where ``target`` cannot be written.
        """
        try:
            with atomic_write(target) as part:

                def write(chunks: Iterable[bytes]) -> None:
                    with part.open("wb") as file:
                        file.writelines(chunks)

                self._request(path, None, write, ARCHIVE_LIMIT)
        except SourceError:
            raise
        except PokewatchError as error:
            raise SourceError(str(error)) from error
        return target

    def _request(
        self, path: str, params: Query | None, receive: Callable[[Iterable[bytes]], T], limit: int
    ) -> T:
        if self.stopped:
            raise StoppedError(self.stopped)
        address = shown_address(f"{self.shown}/{path.lstrip('/')}")
        address += f" (by the proxy in {self._proxy})" if self._proxy else ""
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(self._settings.request_attempts) | stop_after_delay(PATIENCE),
            wait=_pause,
            sleep=self._wait,
            reraise=True,
        )
        try:
            answer = retrying(self._attempt, path, address, params, receive, limit)
        except StoppedError as error:
            self.stopped = str(error)
            raise
        except NotFoundError:
            self._failures, self._answered_at = 0, self._clock()
            raise
        except SourceError as error:
            self._count_failure(error)
            raise
        except TransientError as error:
            made = retrying.statistics["attempt_number"]
            tries = f"{made} tries" if made > 1 else "1 try"
            failure = SourceError(f"{address}: {error} ({tries}); {error.advice}")
            self._count_failure(failure)
            raise failure from error
        self._failures, self._answered_at = 0, self._clock()
        return answer

    def _count_failure(self, error: SourceError) -> None:
        self._failures += 1
        silent = self._clock() - self._answered_at > PATIENCE + self._timeout
        if self._failures >= FAILURES_IN_A_ROW or silent:
            self.stopped = (
                f"{self._failures} requests in a row failed, no more are sent; the last: {error}"
            )

    def _attempt(
        self,
        path: str,
        address: str,
        params: Query | None,
        receive: Callable[[Iterable[bytes]], T],
        limit: int,
    ) -> T:
        self._wait_for_turn(address, 1 + sum(name in (params or {}) for name in self._costly))
        try:
            with self._http.stream("GET", path, params=params) as response:
                self._check_status(response, address)
                return receive(self._bounded(response, address, limit))
        except httpx.TimeoutException as error:
            raise TransientError(f"no answer within {self._timeout:g} s") from error
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
            raise SourceError(
                f"{address}: no request that can be sent; correct the service's URL or key in .env"
            ) from error
        except httpx.RequestError as error:
            raise explained(error, address) from error
        finally:
            self._free_at = self._clock() + self._settings.request_interval

    def _wait_for_turn(self, address: str, cost: int) -> None:
        if self._per_day and self._number_today(cost) > self._per_day:
            unit = "credits" if self._costly else "requests"
            raise StoppedError(
                f"{address}: not asked, because the {self._per_day:,} {unit} that the service "
                "allows in a day are used up; run it again tomorrow, or ask for fewer cards"
            )
        turn = self._free_at
        if self._per_minute and len(self._last_minute) == self._per_minute:
            turn = max(turn, self._last_minute[0] + A_MINUTE)
        if (pause := turn - self._clock()) > 0:
            self._wait(pause)
        self._last_minute.append(self._clock())

    def _number_today(self, cost: int) -> int:
        """Return which of the day's requests (UTC) this one is, other processes' counted too.

        Raises PokewatchError where the data home cannot be written: then nobody keeps count.
        """
        self._settings.make_home()
        path = self._note(f"{datetime.now(UTC):%Y-%m-%d}")
        try:
            path.parent.mkdir(exist_ok=True)
            # A byte a request: to append it, and to be told its place, needs no lock.
            with path.open("ab", buffering=0) as file:
                file.write(b"." * cost)
                number = file.tell()
            if number == cost:
                for other in path.parent.glob(self._note("????-??-??").name):
                    if other.name < path.name:  # of an earlier day
                        other.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(path, error) from error
        return number

    def _note(self, of: str) -> Path:
        return self._counts.with_name(f"{self._counts.name}-{of}")

    def _rest(self) -> str:
        """Return why the service is left alone for now, "" where it has not asked for it."""
        with suppress(OSError, ValueError):  # none, or a damaged one
            left = float(self._note("rest").read_text(encoding="ascii")) - time.time()
            if 0 < left <= A_DAY:
                why = (
                    f"not asked: it wants to be left alone for {left / A_MINUTE:,.0f} more minutes"
                )
                return f"{self.shown}: {why}; run it again after that"
        return ""

    def _check_status(self, response: httpx.Response, address: str) -> None:
        status = response.status_code
        if status in (408, 429) or status >= 500:
            wish = response.headers.get("Retry-After") if status in (429, 503) else None
            seconds = retry_after(wish)
            if seconds is not None and seconds > RETRY_AFTER_CAP:
                with suppress(PokewatchError):
                    self._settings.make_home()
                    with atomic_write(self._note("rest")) as draft:
                        draft.write_text(f"{time.time() + min(seconds, A_DAY)}", encoding="ascii")
                raise StoppedError(
                    f"{address}: the service answered {status} and asks to be left alone for "
                    f"{seconds / 60:,.0f} minutes; run it again after that"
                )
            advice = ASK_SLOWER if status == 429 else RUN_AGAIN
            raise TransientError(f"the service answered {status}", advice, seconds)
        if status == 404:
            raise NotFoundError(f"{address}: not found (404); check the id, the date and the URL")
        if status in (401, 403):
            refusal = StoppedError if status == 401 else RefusedError
            raise refusal(
                f"{address}: refused ({status}); check {self._key} in .env and set "
                "POKEWATCH_CONTACT, or ask for less often"
            )
        if status == 407:
            raise StoppedError(f"{address}: the proxy refuses (407); correct its user and password")
        if status != 200:
            raise SourceError(
                f"{address}: unusable answer ({status}); check the service's URL in .env"
            )

    def _bounded(self, response: httpx.Response, address: str, limit: int) -> Iterator[bytes]:
        """Yield the decoded body, refusing one that is too large or takes too long."""
        received = 0
        deadline = self._clock() + SLOWEST_ANSWER * self._timeout
        for chunk in response.iter_bytes():
            received += len(chunk)
            if received > limit:
                raise SourceError(
                    f"{address}: the answer is larger than {limit / 2**20:g} MB and was refused; "
                    "check that the address is the right one"
                )
            if self._clock() > deadline:
                raise TransientError("the answer came too slowly")
            yield chunk


def user_agent(settings: Settings) -> str:
    """Return ``PokeWatch/<version> (+contact)``; the contact is left out if there is none."""
    contact = "".join(c for c in settings.contact if c.isascii() and c.isprintable()).strip()
    return f"PokeWatch/{__version__}" + (f" (+{contact})" if contact else "")


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TransientError) and error.retry_after is not None:
        return error.retry_after
    return _jitter(state)
