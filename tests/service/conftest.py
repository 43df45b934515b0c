"""The service over a small market, and keys for it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from builders import small_models
from fastapi.testclient import TestClient
from markets import fill

from pokewatch.service import market as markets
from pokewatch.service.app import create_app
from pokewatch.service.keys import Keys
from pokewatch.settings import Settings, load_settings


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data home with a champion; to be read only."""
    home = tmp_path_factory.mktemp("service") / "home"
    with small_models():
        fill(home)
    return home


@contextmanager
def answering(app: Any, **options: Any) -> Iterator[int]:
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def running() -> Callable[..., AbstractContextManager[int]]:
    """Context that serves an app to real requests, and yields its port."""
    return answering


@dataclass
class Service:
    """A running app, and the keys of its data home by scope."""

    client: TestClient
    settings: Settings
    keys: dict[str, str]

    def get(self, path: str, scope: str = "read", **options: Any) -> Any:
        return self._ask("GET", path, scope, **options)

    def post(self, path: str, body: Any = None, scope: str = "read", **options: Any) -> Any:
        return self._ask("POST", path, scope, json=body, **options)

    def _ask(self, method: str, path: str, scope: str, **options: Any) -> Any:
        headers = options.pop("headers", {})
        if scope:
            headers = {"X-API-Key": self.keys[scope], **headers}
        return self.client.request(method, path, headers=headers, **options)

    @property
    def current(self) -> markets.Current:
        return self.client.app.state.current  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def serve(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Function that starts a service; ``copy``: over a data home of its own."""
    open_clients: list[TestClient] = []

    def start(copy: bool = False, **options: Any) -> Service:
        home = filled
        if copy:
            home = tmp_path_factory.mktemp("copy") / "home"
            shutil.copytree(filled, home)
        options = {
            "tracking": False,
            "_env_file": None,
            "service_failures": "1000/minute",
        } | options
        settings = load_settings(home=home, **options)
        keys = {}
        for scope in ("read", "portfolio", "admin"):
            name = f"{scope} {len(open_clients)}"
            keys[scope] = Keys(settings).create(name, [scope])
        client = TestClient(create_app(settings), raise_server_exceptions=False)
        client.__enter__()
        open_clients.append(client)
        service = Service(client, settings, keys)
        service.current.refresh()
        return service

    yield start
    for client in open_clients:
        client.__exit__(None, None, None)


@pytest.fixture(scope="session")
def service(serve: Callable[..., Service]) -> Service:
    """A service that the tests share."""
    return serve()
