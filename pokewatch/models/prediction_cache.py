"""The prediction cache: in memory, with an optional Redis behind it that processes share."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pokewatch.errors import UsageError

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

CACHE_SIZE = 1000
KEY_FORMAT = "pokewatch:1"  # raise the number when keys or values are written differently
TTL = 24 * 3600  # seconds a shared value lives
TIMEOUT = 0.25  # seconds for connecting, and for each answer
PAUSE = 60.0  # seconds for which a server that failed is left alone
FIELD = "fair_price"
LONGEST_VALUE = 64  # bytes; what is longer was not written here
SETTING = "POKEWATCH_CACHE_URL"
REMEDY = (
    "write redis://[:password@]host:port/db (rediss:// for TLS; special characters of the password "
    "percent-encoded), or leave it empty to cache in memory only"
)


@dataclass(frozen=True)
class CacheStatistics:
    """What the prediction cache did since it was last cleared.

    ``hits`` and ``misses`` count the memory; ``shared_hits`` are the misses that Redis answered.
    """

    hits: int
    misses: int
    size: int
    maxsize: int
    shared_hits: int = 0

    @property
    def hit_rate(self) -> float:
        """Share of look-ups answered from memory, 0 before the first."""
        total = self.hits + self.misses
        return self.hits / total if total else 0.0

    def as_dict(self) -> dict[str, float]:
        """Return plain values, the hit rate included."""
        return {**asdict(self), "hit_rate": self.hit_rate}


class PredictionCache:
    """A true LRU cache around a prediction function.

    ``get`` is the C-implemented ``functools.lru_cache`` wrapper itself, so a hit costs what a bare
    one costs, and it is as thread-safe. Errors are not cached.
    """

    def __init__(self, compute: Callable[..., float], maxsize: int = CACHE_SIZE):
        """Cache at most ``maxsize`` results of ``compute``."""
        self.get = lru_cache(maxsize=maxsize)(compute)

    def clear(self) -> None:
        """Forget every result held in memory and start the statistics anew."""
        self.get.cache_clear()

    @property
    def statistics(self) -> CacheStatistics:
        """Hits, misses, size and hit rate since the last ``clear``."""
        info = self.get.cache_info()
        return CacheStatistics(info.hits, info.misses, info.currsize, info.maxsize or 0)


class SharedPredictionCache(PredictionCache):
    """The same cache with Redis behind it: what memory misses is asked there, then computed.

    A hit in memory is the very same ``lru_cache`` hit. ``clear`` leaves Redis alone: its keys are
    versioned, so outdated values are never asked for again and expire.
    """

    def __init__(
        self,
        locate: Callable[..., tuple[str, Callable[[], float]]],
        values: RedisValues,
        maxsize: int = CACHE_SIZE,
    ):
        """Cache predictions in memory and in ``values``.

        locate: takes what ``get`` takes; returns the prediction's key, in which everything is that
        changes the answer, and the function that computes it. Its errors reach the caller.
        """
        super().__init__(self._answer, maxsize)
        self._locate = locate
        self._values = values
        self._shared_hits = 0
        self._lock = Lock()

    def clear(self) -> None:
        """Forget every result held in memory and start the statistics anew."""
        super().clear()
        with self._lock:
            self._shared_hits = 0

    @property
    def statistics(self) -> CacheStatistics:
        """Hits, misses, size, hit rate and Redis's hits since the last ``clear``."""
        return replace(super().statistics, shared_hits=self._shared_hits)

    def _answer(self, *args: Any, **kwargs: Any) -> float:
        key, compute = self._locate(*args, **kwargs)
        value = self._values.read(key)
        if value is not None:
            with self._lock:
                self._shared_hits += 1
            return value
        value = compute()
        self._values.write(key, value)
        return value


class RedisValues:
    """Fair prices in a Redis, as small JSON texts that expire.

    The server may be away at any time: reading then finds nothing, writing does nothing, the first
    failure is one warning, and the server is left alone for ``PAUSE`` seconds after each failure,
    so that nobody waits for its time-out again and again.
    """

    def __init__(self, url: str):
        """Prepare the client; nothing is sent before the first look-up.

        Raises UsageError for a URL that is no Redis URL and where the package is missing.
        """
        self._client = _client(url)
        options = self._client.connection_pool.connection_kwargs
        self._password = options.get("password")
        place = options.get("path") or f"{options.get('host')}:{options.get('port', 6379)}"
        self.address = f"{place}/{options.get('db') or 0}"  # never with the password
        self._lock = Lock()
        self._retry_at: float | None = None  # on the monotonic clock; None while it answers
        self._warned = False

    def read(self, key: str) -> float | None:
        """Return the value under ``key``; None where there is none, or none that was written here.

        A damaged or foreign value counts as none, and is written over.
        """
        return parse(self._ask(lambda: self._client.get(key)))

    def write(self, key: str, value: float) -> None:
        """Keep ``value`` under ``key`` for ``TTL`` seconds."""
        text = json.dumps({FIELD: value})
        self._ask(lambda: self._client.set(key, text, ex=TTL))

    def _ask(self, command: Callable[[], object]) -> object:
        from redis.exceptions import RedisError

        if self._retry_at is not None and not self._may_try():
            return None
        try:
            answer = command()
        except (RedisError, OSError, UnicodeError) as error:
            if not str(error).startswith("WRONGTYPE"):  # else the key holds a foreign value
                self._failed(error)
            return None
        if self._retry_at is not None:
            self._retry_at = None
            log.info("the prediction cache at %s answers again", self.address)
        return answer

    def _may_try(self) -> bool:
        """Return whether the pause is over; one caller tries for all others."""
        with self._lock:
            if self._retry_at is not None and monotonic() < self._retry_at:
                return False
            self._retry_at = monotonic() + PAUSE
            return True

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self._retry_at = monotonic() + PAUSE
            first, self._warned = not self._warned, True
        if first:
            reason = f"{type(error).__name__}: {error}"
            if self._password:
                reason = reason.replace(self._password, "***")
            log.warning(
                "the prediction cache at %s does not answer (%s); predictions go on without it, "
                "and it is tried again every %.0f s: start it, or correct %s",
                self.address,
                reason,
                PAUSE,
                SETTING,
            )


def parse(raw: object) -> float | None:
    """Return the fair price (USD) that a stored text holds, None where it is not one of ours."""
    if not isinstance(raw, bytes | str) or len(raw) > LONGEST_VALUE:
        return None
    try:
        found = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.keys() != {FIELD}:
        return None
    value = found[FIELD]
    return value if isinstance(value, float) and math.isfinite(value) and value >= 0 else None


@lru_cache(maxsize=8)
def shared_values(url: str) -> RedisValues:
    """Return the process's one client of a Redis, so that all models share pool and warning."""
    return RedisValues(url)


def _client(url: str) -> Redis:
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import ConnectionError as RedisConnectionError
        from redis.retry import Retry
    except ImportError as error:
        raise UsageError(
            f"{SETTING} is set, but the package 'redis' is missing: install it with "
            "pip install 'pokewatch[redis]', or leave the setting empty to cache in memory only"
        ) from error
    scheme = re.match(r"([a-z][a-z0-9+.-]{0,15})://", url, re.IGNORECASE)
    if scheme is None:
        raise UsageError(f"{SETTING} is no URL: {REMEDY}")
    if scheme[1] not in ("redis", "rediss", "unix"):
        raise UsageError(f"{SETTING} begins with '{scheme[1]}://', which is no Redis: {REMEDY}")
    try:
        parts = urlsplit(url)
        # Redis's own parser takes an unknown database for 0 and a missing host for this machine.
        usual = parts.scheme == "unix" or (parts.hostname and re.fullmatch(r"/?\d*", parts.path))
        if not usual or parts.fragment:
            raise ValueError
        client = Redis.from_url(
            url,
            socket_connect_timeout=TIMEOUT,
            socket_timeout=TIMEOUT,
            # The client's own default waits seconds; one try more is for a connection gone stale.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        )
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # refuses unknown options; sends nothing
    except (ValueError, TypeError):
        # Without the cause: its text may hold a piece of the password.
        raise UsageError(f"{SETTING} cannot be read as a Redis URL: {REMEDY}") from None
    return client
