"""Limits: wrong keys an address may send, requests a key may send; in memory, or in Redis."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import deque
from functools import lru_cache
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter as SharedWindow

from pokewatch.models.prediction_cache import PAUSE, TIMEOUT
from pokewatch.settings import Settings

log = logging.getLogger(__name__)

PREFIX = "pokewatch:rate"


class Windows:
    """A moving window for each name, in memory; who sent nothing for as long is forgotten."""

    def __init__(self, limit: RateLimitItem):
        self.limit, self.seconds = limit, limit.get_expiry()
        self._seen: dict[str, deque[float]] = {}  # who came last stands last

    def full(self, name: str) -> bool:
        """Return whether the window of a name takes no more now."""
        seen = self._seen.get(name)
        if seen is None or len(seen) < self.limit.amount:
            return False
        return seen[0] > time.time() - self.seconds

    def hit(self, name: str) -> bool:
        """Count one more of a name; False, and nothing is counted, where its window is full."""
        if self.full(name):
            return False
        now = time.time()
        seen = self._seen.pop(name, None) or deque(maxlen=self.limit.amount)
        self._seen[name] = seen
        seen.append(now)
        while self._seen[oldest := next(iter(self._seen))][-1] <= now - self.seconds:
            del self._seen[oldest]
        return True

    def headers(self, name: str) -> dict[str, str]:
        """Return the headers that tell a name its limit, what is left of it and when more is."""
        now = time.time()
        inside = [one for one in self._seen.get(name, ()) if one > now - self.seconds] or [now]
        left = 0 if self.full(name) else self.limit.amount - len(inside)
        return _headers(self.limit, left, inside[0] + self.seconds)


class Rates:
    """Moving windows: a request counts for exactly as long as the window is; refused ones never.

    Keys share their windows through the Redis of POKEWATCH_CACHE_URL, if there is one. While it
    does not answer each process counts for itself, and it is tried again every minute. Wrong keys
    are counted by each process.
    """

    def __init__(self, settings: Settings):
        self.per_key = parse(settings.service_rate)
        self._own = Windows(self.per_key)
        self._wrong = Windows(parse(settings.service_failures))
        self._shared: SharedWindow | None = None
        self._retry_at = 0.0
        self._warned = False
        url = settings.cache_url.get_secret_value()
        if url:
            storage = RedisStorage(
                f"async+{url}",
                implementation="redispy",
                key_prefix=PREFIX,
                wrap_exceptions=True,
                socket_connect_timeout=TIMEOUT,
                socket_timeout=TIMEOUT,
            )
            self._shared = SharedWindow(storage)

    async def allows(self, key_id: str) -> bool:
        """Return whether a key may send one request more, and count it if so."""
        said = await self._redis("hit", key_id)
        return self._own.hit(key_id) if said is None else said

    async def left(self, key_id: str) -> dict[str, str]:
        """Return the headers that tell a key its limit, what is left of it and when more is."""
        said = await self._redis("get_window_stats", key_id)
        if said is None:
            return self._own.headers(key_id)
        return _headers(self.per_key, said.remaining, said.reset_time)

    def closed_to(self, address: str) -> dict[str, str] | None:
        """Return the headers of a refusal where an address sent too many wrong keys, else None."""
        name = _network(address)
        return self._wrong.headers(name) if self._wrong.full(name) else None

    def failed(self, address: str) -> None:
        """Count a wrong key of an address."""
        self._wrong.hit(_network(address))

    async def _redis(self, ask: str, key_id: str) -> Any:
        """Return what a method of the shared windows says, None where they are away."""
        if self._shared is None or time.monotonic() < self._retry_at:
            return None
        try:
            return await getattr(self._shared, ask)(self.per_key, key_id)
        except Exception as error:  # whatever the client raises, requests go on
            self._retry_at = time.monotonic() + PAUSE
            if not self._warned:
                self._warned = True
                log.warning(
                    "the Redis of POKEWATCH_CACHE_URL does not answer (%s): each process counts "
                    "requests for itself, and it is tried again every %.0f s",
                    type(error).__name__,
                    PAUSE,
                )
            return None


def _headers(limit: RateLimitItem, remaining: int, reset: float) -> dict[str, str]:
    return {
        "Retry-After": str(max(1, round(reset - time.time() + 0.5))),
        "X-RateLimit-Limit": str(limit.amount),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(round(reset + 0.5)),
    }


@lru_cache(maxsize=1024)
def _network(address: str) -> str:
    """Return an IPv4 address, or the /64 that one household has of IPv6."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        return address
