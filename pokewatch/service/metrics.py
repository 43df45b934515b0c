"""What Prometheus counts; labels are route templates, so that their number is bounded."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY as OWN
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    start_http_server,
)

if TYPE_CHECKING:
    from pokewatch.service.market import Market

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # set where several workers count together
LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

requests = Counter("pokewatch_requests", "Requests answered", ["method", "endpoint", "status_code"])
latency = Histogram(
    "pokewatch_request_latency_seconds", "Time to answer", ["endpoint"], buckets=LATENCIES
)
counted, timed = cache(requests.labels), cache(latency.labels)
predictions = Counter("pokewatch_predictions", "Fair prices told", ["signal"])
told = {signal: predictions.labels(signal) for signal in ("BUY", "HOLD", "SELL")}
reloads = Counter("pokewatch_model_reloads", "Times the market was read", ["status"])
errors = Counter("pokewatch_errors", "Errors answered", ["error_type"])
model_info = Gauge(
    "pokewatch_model_info", "1 for the model that speaks", ["model"], multiprocess_mode="livemax"
)
data_version = Gauge(
    "pokewatch_data_version", "Version of the prices served", multiprocess_mode="livemin"
)
data_age = Gauge(
    "pokewatch_data_age_days", "Days since the last prices", multiprocess_mode="livemax"
)
cache_hits = Gauge(
    "pokewatch_cache_hits", "Fair prices from memory, this market", multiprocess_mode="livesum"
)
cache_misses = Gauge(
    "pokewatch_cache_misses", "Fair prices looked up, this market", multiprocess_mode="livesum"
)
_told: list[str] = []


def forget_dead() -> None:
    """Leave out what workers showed that live no more; what they counted stays."""
    folder = os.environ.get(SHARED)
    if folder and os.name == "posix":  # elsewhere this would end the process that is asked for
        for path in Path(folder).glob("gauge_live*_*.db"):
            try:
                os.kill(int(path.stem.rpartition("_")[2]), 0)
            except OSError:
                path.unlink(missing_ok=True)


def reloaded(status: str, market: Market | None = None) -> None:
    """Count an attempt to read the market, and show the one that is served now."""
    reloads.labels(status).inc()
    if market is not None:
        for model in _told:
            model_info.labels(model).set(0)
        _told[:] = [market.model]
        model_info.labels(market.model).set(1)
        observe(market)


def observe(market: Market) -> None:
    """Show age of data and use of the cache."""
    hits = market.fair_price.cache_info()
    data_version.set(market.version)
    data_age.set((datetime.now(tz=UTC).date() - market.last).days)
    cache_hits.set(hits.hits)
    cache_misses.set(hits.misses)


def _registry() -> Any:
    if not os.environ.get(SHARED):
        return OWN
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return registry


def text() -> bytes:
    """Return everything that was counted, by all workers, in Prometheus's format."""
    return generate_latest(_registry())


def serve(port: int) -> None:
    """Serve ``text`` on a port of this machine only, in a thread of its own."""
    start_http_server(port, "127.0.0.1", _registry())
