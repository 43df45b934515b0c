"""Measure the service against an empty FastAPI route of the same run, load from another process.

python scripts/bench_service.py [--cards 1000] [--days 120] [--seconds 5] [--connections 8]

Prints JSON: requests a second and p50, p99 (ms) of both, their ratios, a batch of 1,000 ids (ms),
seconds from start to ready and the service's memory. Aims: ratio of requests 0.6 or more, of p99 3
or less; at --cards 43000 --days 900 a batch in 50 ms, ready in 5 s, 1.2 GB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

WARM = 200  # requests of a connection before it counts


def empty(port: int) -> None:
    """Serve one route that does nothing."""
    app = FastAPI()

    @app.get("/")
    async def nothing() -> dict[str, str]:
        return {}

    uvicorn.run(app, port=port, log_level="error", access_log=False)


async def load(port: int, request: bytes, seconds: float, connections: int) -> dict[str, float]:
    """Send a request again and again over some connections; return rate (1/s), p50, p99 (ms)."""
    times: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        end, sent = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            begun = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"refused: {head.decode()}")
            size = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(size))
            sent += 1
            if sent > WARM:
                times.append(time.perf_counter() - begun)
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    took = time.perf_counter() - begun
    times.sort()
    return {
        "requests_per_second": len(times) / took,
        "p50_ms": 1000 * times[len(times) // 2],
        "p99_ms": 1000 * times[int(len(times) * 0.99)],
    }


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def started(mode: str, port: int, path: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start this script as a server and wait until it answers."""
    command = [sys.executable, __file__, mode, str(port)]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, text=True)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        while True:
            if server.poll() is not None:
                raise SystemExit(f"the {mode} server ended with {server.returncode}")
            with suppress(httpx.HTTPError):
                if client.get(path).status_code == 200:
                    return server
            time.sleep(0.05)


def memory(pid: int) -> float:
    """Return the largest memory a process has had, in MB; NaN where the system does not tell."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return float("nan")


def measure(home: Path, cards: int, days: int, seconds: float, connections: int) -> dict:
    """Return all figures over a simulated market, which is made where the home is empty."""
    from pokewatch.evaluation import predictions
    from pokewatch.quality import ingest
    from pokewatch.service.keys import Keys
    from pokewatch.settings import load_settings
    from pokewatch.sources.simulated import large
    from pokewatch.store.tables import Store

    settings = load_settings(home=home, tracking=False, source="file")
    if Store.from_settings(settings).data_version < 0:
        large.write(home / "files", cards, days)
        ingest.collect(settings, "file", path=home / "files")
        predictions.predict_all(settings)
    known = Store.from_settings(settings).cards()["card_id"].tolist()
    key = Keys(settings).create(f"bench {time.time()}", ["read"], days=1)
    environment = os.environ | {"POKEWATCH_HOME": str(home)}
    environment["POKEWATCH_SERVICE_RATE"] = "99999/second"
    out: dict = {"cards": len(known), "days": days, "connections": connections}
    port, other = free_port(), free_port()
    begun = time.perf_counter()
    service = started("serve", port, "/readyz", environment)
    out["ready_s"] = time.perf_counter() - begun
    plain = started("empty", other, "/", environment)
    try:
        body = json.dumps({"card_id": known[0]}).encode()
        head = f"Host: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        request = f"POST /fair_price HTTP/1.1\r\n{head}".encode() + body
        nothing = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        out["empty"] = asyncio.run(load(other, nothing, seconds, connections))
        out["fair_price"] = asyncio.run(load(port, request, seconds, connections))
        first, second = out["fair_price"], out["empty"]
        out["rate_ratio"] = first["requests_per_second"] / second["requests_per_second"]
        out["p99_ratio"] = first["p99_ms"] / second["p99_ms"]
        batch = []
        with httpx.Client(headers={"X-API-Key": key}) as client:
            for start in range(0, 10_000, 1000):
                ids = (known * 2)[start % len(known) :][:1000]
                begun = time.perf_counter()
                address = f"http://127.0.0.1:{port}/v1/forecasts"
                client.post(address, json={"cards": ids}).raise_for_status()
                batch.append(1000 * (time.perf_counter() - begun))
        out["batch_ms"] = sorted(batch)[len(batch) // 2]
        out["memory_mb"] = memory(service.pid)
    finally:
        for one in (service, plain):
            one.terminate()
            one.wait()
    return out


if __name__ == "__main__":
    if sys.argv[1:2] == ["empty"]:
        empty(int(sys.argv[2]))
    elif sys.argv[1:2] == ["serve"]:
        from pokewatch.cli.main import main as pokewatch

        sys.argv = ["pokewatch", "serve", "--port", sys.argv[2]]
        pokewatch()
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--home", type=Path, help="keep the market here for the next run")
        for name, value in (("cards", 1000), ("days", 120), ("connections", 8)):
            parser.add_argument(f"--{name}", type=int, default=value)
        parser.add_argument("--seconds", type=float, default=5.0)
        asked = parser.parse_args()
        with tempfile.TemporaryDirectory() as folder:
            place = asked.home or Path(folder) / "home"
            found = measure(place, asked.cards, asked.days, asked.seconds, asked.connections)
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
