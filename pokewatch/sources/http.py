"""The one HTTP client of all price services: polite, bounded, patient, and clear when it fails."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
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
from pokewatch.errors import SourceError
from pokewatch.settings import Settings
from pokewatch.sources.responses import (
    ASK_SLOWER,
    RUN_AGAIN,
    NotFoundError,
    PassingError,
    StoppedError,
    explained,
    parse_json,
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
A_MINUTE = 60.0

T = TypeVar("T")
_jitter = wait_random_exponential(multiplier=1, max=BACKOFF_CAP)


@dataclass(frozen=True)
class Manners:
    """How one service wants to be asked; 0 leaves it to the settings, or without a limit.

    timeout: seconds that an answer may take at least. per_minute, per_day: requests allowed.
    key_setting: the setting of its key, named where the service refuses.
    """

    timeout: float = 0.0
    per_minute: int = 0
    per_day: int = 0
    key_setting: str = ""


class Client:
    """Requests to one service; use it as a context manager.

    After ``FAILURES_IN_A_ROW`` failed requests, or ``PATIENCE`` seconds of nothing else, it asks
    no more; "not found" is an answer and no failure.

    base_url: address that every path is appended to.
    settings: gives contact, interval, timeout and number of tries.
    headers: extra headers such as an API key. They never show in a message, and with any of them
        redirects are not followed, so that a key cannot reach another host.
    manners: what this service wants otherwise.
    wait: called with the seconds of every pause (tests pass their own).
    clock: monotonic seconds.
    """

    def __init__(
        self,
        base_url: str,
        settings: Settings,
        headers: Mapping[str, str] | None = None,
        manners: Manners = Manners(),
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._settings = settings
        self._manners = manners
        self._timeout = max(settings.request_timeout, manners.timeout)
        self._wait = wait
        self._clock = clock
        self._free_at = self._answered_at = clock()
        self._last_minute: deque[float] = deque(maxlen=manners.per_minute or None)
        self._sent = self._failures = 0
        self._stopped = ""
        try:
            self._http = httpx.Client(
                base_url=base_url,
                headers={"User-Agent": user_agent(settings), **(headers or {})},
                timeout=self._timeout,
                follow_redirects=not headers,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise SourceError(
                f"a client for '{shown_address(base_url)}' cannot be made: its address or a header "
                "is not valid; mend the service's URL or key in .env"
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

    @property
    def shown(self) -> str:
        """The service's address for messages, without user and password."""
        return self._address("")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def stopped(self) -> bool:
        """Whether the service is not asked any more."""
        return bool(self._stopped)

    def get_json(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """Return the parsed answer; a malformed one is asked for again.

        Raises SourceError (NotFoundError on 404) that names the address and the mend.
        """
        return self._request(path, params, parse_json, JSON_LIMIT)

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
        if self._stopped:
            raise StoppedError(self._stopped)
        attempts = self._settings.request_attempts
        retrying = Retrying(
            retry=retry_if_exception_type(PassingError),
            stop=stop_after_attempt(attempts) | stop_after_delay(PATIENCE),
            wait=_pause,
            sleep=self._wait,
            reraise=True,
        )
        try:
            answer = retrying(self._attempt, path, params, receive, limit)
        except NotFoundError:
            self._note_success()
            raise
        except StoppedError as error:
            self._stopped = str(error)
            raise
        except SourceError as error:
            self._note_failure(error)
            raise
        except PassingError as error:
            made = retrying.statistics["attempt_number"]
            tries = f"{made} tries" if made > 1 else "1 try"
            failure = SourceError(f"{self._address(path)}: {error} ({tries}); {error.mend}")
            self._note_failure(failure)
            raise failure from error
        self._note_success()
        return answer

    def _note_success(self) -> None:
        self._failures, self._answered_at = 0, self._clock()

    def _note_failure(self, error: SourceError) -> None:
        self._failures += 1
        if (
            self._failures >= FAILURES_IN_A_ROW
            or self._clock() - self._answered_at > PATIENCE + self._timeout
        ):
            self._stopped = (
                f"{self._failures} requests in a row failed, no more are sent; the last: {error}"
            )

    def _attempt(
        self,
        path: str,
        params: Mapping[str, str | int] | None,
        receive: Callable[[Iterable[bytes]], T],
        limit: int,
    ) -> T:
        address = self._address(path)
        self._wait_for_turn(address)
        try:
            with self._http.stream("GET", path, params=params) as response:
                self._check_status(response, address)
                return receive(self._bounded(response, address, limit))
        except httpx.TimeoutException as error:
            raise PassingError(f"no answer within {self._timeout:g} s") from error
        except (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL) as error:
            raise SourceError(
                f"{address}: not a request that can be sent; mend the service's URL or key in .env"
            ) from error
        except httpx.RequestError as error:
            raise explained(error, address) from error
        finally:
            self._free_at = self._clock() + self._settings.request_interval

    def _wait_for_turn(self, address: str) -> None:
        manners = self._manners
        if manners.per_day and self._sent >= manners.per_day:
            raise StoppedError(
                f"{address}: not asked, because the {manners.per_day:,} requests that the service "
                "allows in a day are used up; run it again tomorrow, or ask for fewer cards"
            )
        turn = self._free_at
        if manners.per_minute and len(self._last_minute) == manners.per_minute:
            turn = max(turn, self._last_minute[0] + A_MINUTE)
        if (pause := turn - self._clock()) > 0:
            self._wait(pause)
        self._last_minute.append(self._clock())
        self._sent += 1

    def _check_status(self, response: httpx.Response, address: str) -> None:
        status = response.status_code
        if status in (408, 429) or status >= 500:
            wish = response.headers.get("Retry-After") if status in (429, 503) else None
            seconds = retry_after(wish)
            if seconds is not None and seconds > RETRY_AFTER_CAP:
                raise StoppedError(
                    f"{address}: the service answered {status} and asks to be left alone for "
                    f"{seconds / 60:,.0f} minutes; run it again after that"
                )
            mend = ASK_SLOWER if status == 429 else RUN_AGAIN
            raise PassingError(f"the service answered {status}", mend, seconds)
        if status == 404:
            raise NotFoundError(f"{address}: not found (404); check the id, the date and the URL")
        if status in (401, 403):
            key = self._manners.key_setting
            refusal = StoppedError if status == 401 else SourceError
            raise refusal(
                f"{address}: refused ({status}); check {key or 'the key'} in .env and set "
                "POKEWATCH_CONTACT, or ask for less often"
            )
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
                raise PassingError("the answer came too slowly")
            yield chunk

    def _address(self, path: str) -> str:
        return shown_address(f"{self._http.base_url}".rstrip("/") + "/" + path.lstrip("/"))


def user_agent(settings: Settings) -> str:
    """Return ``PokeWatch/<version> (+contact)``; the contact is left out if there is none."""
    contact = "".join(c for c in settings.contact if c.isascii() and c.isprintable()).strip()
    return f"PokeWatch/{__version__}" + (f" (+{contact})" if contact else "")


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, PassingError) and error.retry_after is not None:
        return error.retry_after
    return _jitter(state)
