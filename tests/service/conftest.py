"""A small market with a champion, the service over it, and keys."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from builders import curve, delivery, market, small_models
from fastapi.testclient import TestClient

from pokewatch.evaluation import predictions
from pokewatch.operations import night
from pokewatch.quality.ingest import ingest
from pokewatch.service import market as markets
from pokewatch.service.app import create_app
from pokewatch.service.keys import Keys
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store

CARDS, DAYS = 30, 160
LAST = "2025-06-09"


def fill(home: Path) -> Settings:
    """Store the market, train, and forecast as a night does."""
    settings = load_settings(home=home, tracking=False, _env_file=None)
    prices = pd.concat([market(CARDS, DAYS, momentum=0.8), curve("two:Holofoil", [5.0] * DAYS)])
    ids = prices["card_id"].unique()
    known = {
        "card_id": [*ids, "two:Reverse Holofoil"],
        "name": [f"Card {one.split(':')[0]}" for one in [*ids, "two:R"]],
        "set_name": "Paldean Fates",
        "printing": [one.split(":")[1] for one in [*ids, "two:Reverse Holofoil"]],
        "aliases": [[f"sv4pt5-{one.split(':')[0]}"] for one in [*ids, "two:R"]],
    }
    ingest(Store.from_settings(settings), delivery(prices, **known), settings)
    assert night.train(settings).verdict.passed
    predictions.predict_all(settings)
    return settings


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data home with a champion; to be read only."""
    home = tmp_path_factory.mktemp("service") / "home"
    with small_models():
        fill(home)
    return home


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
        options = {"tracking": False, "_env_file": None, "service_failures": "1000/minute"} | options
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
