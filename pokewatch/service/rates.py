"""Limits: wrong keys an address may send, requests a key may send; in memory, or in Redis."""

from __future__ import annotations

import ipaddress
import logging
import time

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter as SharedWindow
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from pokewatch.models.prediction_cache import PAUSE, TIMEOUT
from pokewatch.settings import Settings

log = logging.getLogger(__name__)

PREFIX = "pokewatch:rate"


class Rates:
    """Moving windows: a request counts for exactly as long as the window is; refused ones never.

    Keys share their windows through the Redis of POKEWATCH_CACHE_URL, if there is one. While it
    does not answer each process counts for itself, and it is tried again every minute. Wrong keys
    are counted by each process.
    """

    def __init__(self, settings: Settings):
        self.per_key = parse(settings.service_rate)
        self._failures = parse(settings.service_failures)
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._quiet_from = 0.0  # when no wrong key lies in the window any more
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
        if self._shared is not None and time.monotonic() >= self._retry_at:
            try:
                return await self._shared.hit(self.per_key, key_id)
            except Exception as error:  # whatever the client raises, requests go on
                self._away(error)
        return self._own.hit(self.per_key, key_id)

    async def left(self, key_id: str) -> dict[str, str]:
        """Return the headers that tell a key its limit, what is left of it and when more is."""
        if self._shared is not None and time.monotonic() >= self._retry_at:
            try:
                found = await self._shared.get_window_stats(self.per_key, key_id)
            except Exception as error:
                self._away(error)
                found = self._own.get_window_stats(self.per_key, key_id)
        else:
            found = self._own.get_window_stats(self.per_key, key_id)
        return _headers(self.per_key, found.remaining, found.reset_time)

    def closed_to(self, address: str) -> dict[str, str] | None:
        """Return the headers of a refusal where an address sent too many wrong keys, else None."""
        if time.monotonic() > self._quiet_from:
            return None
        if self._own.test(self._failures, _network(address)):
            return None
        found = self._own.get_window_stats(self._failures, _network(address))
        return _headers(self._failures, found.remaining, found.reset_time)

    def failed(self, address: str) -> None:
        """Count a wrong key of an address."""
        self._quiet_from = time.monotonic() + self._failures.get_expiry() + 1
        self._own.hit(self._failures, _network(address))

    def _away(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + PAUSE
        if not self._warned:
            self._warned = True
            log.warning(
                "the Redis of POKEWATCH_CACHE_URL does not answer (%s): each process counts "
                "requests for itself, and it is tried again every %.0f s",
                type(error).__name__,
                PAUSE,
            )


def _headers(limit: RateLimitItem, remaining: int, reset: float) -> dict[str, str]:
    return {
        "Retry-After": str(max(1, round(reset - time.time() + 0.5))),
        "X-RateLimit-Limit": str(limit.amount),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(round(reset + 0.5)),
    }


def _network(address: str) -> str:
    """Return an IPv4 address, or the /64 that one household has of IPv6."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        return address
