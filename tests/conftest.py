"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
from builders import small_models
from hypothesis import settings
from joblib.externals.loky import reusable_executor
from redis import Redis
from redis.exceptions import RedisError

from pokewatch.settings import PROJECT

# "ci" is what the suite runs; HYPOTHESIS_PROFILE=long looks for a few minutes a test.
settings.register_profile("ci", deadline=None, max_examples=60)
settings.register_profile("long", deadline=None, max_examples=1500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real price data, beside the project; the test is skipped without it."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is missing")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _small_models(request: pytest.FixtureRequest) -> Iterator[None]:
    """Make models small, save in a module that says ``FULL_MODELS = True``."""
    # Workers of the module before were started with its models.
    if reusable_executor._executor is not None:
        reusable_executor._executor.shutdown(kill_workers=True)
    if getattr(request.module, "FULL_MODELS", False):
        yield
        return
    with small_models(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PROJECT / "tests" / "small_models"))  # of processes as well
        yield


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own MLflow, Redis and Dask servers out of the tests."""
    monkeypatch.setenv("POKEWATCH_CACHE_URL", "")
    monkeypatch.setenv("POKEWATCH_DASK", "")
    for name in ("URI", "USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)


@dataclass(frozen=True)
class RedisServer:
    """A real redis-server of the tests' own, on a loopback port, with a password, in memory."""

    process: subprocess.Popen[str]
    port: int
    password: str

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}/0"

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{self.address}"

    @property
    def client(self) -> Redis:
        return Redis.from_url(self.url, socket_timeout=5)

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def launch_redis(program: str, folder: Path, password: str = "a-long.password") -> RedisServer:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The settings come by stdin: no process list shows the password.
    process = subprocess.Popen(
        [program, "-"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None
    process.stdin.write(
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\n"
        f'save ""\nappendonly no\ndir "{folder}"\nlogfile "{folder}/redis.log"\n'
    )
    process.stdin.close()
    server = RedisServer(process, port, password)
    deadline = monotonic() + 20
    while not server.answers():
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            if monotonic() < deadline:
                continue
        server.stop()
        pytest.fail(f"redis-server did not start: {(folder / 'redis.log').read_text('utf-8')}")
    return server


@pytest.fixture(scope="session")
def start_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RedisServer]]:
    """Function that starts a redis-server; all are stopped at the end."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed: install your system's package redis-server")
    started: list[RedisServer] = []

    def start() -> RedisServer:
        started.append(launch_redis(program, tmp_path_factory.mktemp("redis")))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def redis_server(start_redis: Callable[[], RedisServer]) -> RedisServer:
    """A running redis-server that the tests share; to be emptied by whoever uses it."""
    return start_redis()
