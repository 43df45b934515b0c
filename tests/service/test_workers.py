"""Several workers behind one address: one may die, the others and its successor answer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

pytestmark = pytest.mark.slow


def workers(server: subprocess.Popen) -> list[psutil.Process]:
    """Return those that live; a process of multiprocessing keeps their books."""
    found = []
    for child in psutil.Process(server.pid).children():
        with suppress(psutil.Error):
            if "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child)
    return found


def ask(client: httpx.Client, path: str, body: dict | None = None) -> httpx.Response:
    """Ask as clients do: a connection that broke is tried again."""
    for _ in range(5):
        try:
            return client.post(path, json=body) if body else client.get(path)
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{path} was not answered in five tries")


def until(what, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_killed_worker_is_replaced_and_no_request_is_lost(filled: Path, tmp_path: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "from pokewatch.cli.main import main; main()"
    options = ["serve", "--port", str(port), "--workers", "2"]
    env = os.environ | {"POKEWATCH_HOME": str(filled), "TMPDIR": str(tmp_path)}
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen([sys.executable, "-c", code, *options], env=env, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

            def ready() -> bool:
                try:
                    return client.get("/readyz").status_code == 200
                except httpx.TransportError:
                    return False

            until(ready)
            until(lambda: len(workers(server)) == 2)
            before = {child.pid for child in workers(server)}
            killed = sorted(before)[0]
            for number in range(60):
                if number == 20:
                    os.kill(killed, signal.SIGKILL)
                assert ask(client, "/readyz").status_code == 200
            until(lambda: len({child.pid for child in workers(server)} - {killed}) == 2)
            assert ask(client, "/readyz").status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) in (0, -signal.SIGTERM)
        assert not list(tmp_path.glob("pokewatch-*"))
    finally:
        if server.poll() is None:
            left = workers(server)
            server.kill()  # first: it replaces whom it loses
            for child in left:
                child.kill()
        log.close()
