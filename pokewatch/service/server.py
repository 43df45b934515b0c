"""The server's process: uvicorn, its limits on slow and huge requests, and the logs."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from contextlib import ExitStack
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pokewatch.errors import UsageError
from pokewatch.service.keys import Keys
from pokewatch.settings import Settings, is_loopback

HEADER_BYTES = 32_000
HEADER_SECONDS = 10.0
SHUTDOWN_SECONDS = 15
WORKER_SECONDS = 60  # a worker that imports and reads its market answers late


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it; who sends headers too slowly or too long is cut off."""

    _timer: asyncio.TimerHandle | None = None
    _seen, _heading = 0, True  # bytes since a request began; are headers to come?

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Count what comes before the headers are complete, and do not wait for ever for more."""
        self._seen += len(data)
        super().data_received(data)
        idle = self.cycle is None or self.cycle.response_complete
        if self._heading and self._seen > HEADER_BYTES:
            self._refuse(431, "Request Header Fields Too Large")
        elif self._timer is None and (self._heading or idle):
            self._wait()

    def on_message_begin(self) -> None:
        """Begin to count a request's headers."""
        super().on_message_begin()
        self._heading, self._seen = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes behind a body is for nobody."""
        if self._heading:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Wait no more; headers that came in one piece are measured as well."""
        self._heading = False
        self._calm()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEADER_BYTES:
            self._refuse(431, "Request Header Fields Too Large")
            return
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Tell the app that the whole body has come."""
        self.scope["state"]["complete"] = True
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._calm()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if not self.transport.is_closing():
            self._timer = self.loop.call_later(HEADER_SECONDS, self._refuse, 408, "Request Timeout")

    def _calm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, phrase: str) -> None:
        self._calm()
        if not self.transport.is_closing():
            head = f"HTTP/1.1 {status} {phrase}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            self.transport.write(head.encode())
            self.transport.close()


def application() -> FastAPI:
    """Return the app of one worker, its logs set up."""
    from pokewatch.parallel import keep_freed_memory
    from pokewatch.service import metrics
    from pokewatch.service.app import create_app

    metrics.forget_dead()
    keep_freed_memory()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("pokewatch").setLevel(logging.INFO)
    # No line names them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    lines = logging.StreamHandler(sys.stderr)  # each line is one JSON object
    access = logging.getLogger("pokewatch.access")
    access.handlers, access.propagate = [lines], False
    return create_app()


def run(
    settings: Settings,
    host: str,
    port: int,
    workers: int = 1,
    metrics_port: int | None = None,
    proxies: list[str] | None = None,
) -> None:
    """Serve until interrupted.

    metrics_port: of /metrics on this machine; proxies: addresses whose X-Forwarded-For and -Proto
    are believed. Raises UsageError for an address that others reach while there is no key.
    """
    if not is_loopback(host) and not Keys(settings).any_active():
        raise UsageError(
            f"--host {host} is open to others and there is no key: make one with "
            "'pokewatch keys create NAME' first, or serve on 127.0.0.1"
        )
    if "*" in (proxies or []):
        raise UsageError("--proxy-headers '*' would believe anyone: name the proxy's address")
    with ExitStack() as stack:
        if workers > 1:
            # Where workers count together; to be set before prometheus_client is imported.
            counts = stack.enter_context(tempfile.TemporaryDirectory(prefix="pokewatch-"))
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", counts)
        if metrics_port is not None:
            from pokewatch.service import metrics

            metrics.serve(metrics_port)
        uvicorn.run(
            "pokewatch.service.server:application",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            http=BoundedProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies or [],
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            timeout_worker_healthcheck=WORKER_SECONDS,
        )
