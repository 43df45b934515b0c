"""Pages over a small market whose names try to be HTML, and a browser to look at them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from builders import curve, delivery, market, small_models
from chromium import SECONDS, Browser
from markets import promote

from pokewatch.evaluation import predictions
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import open_panel
from pokewatch.quality.ingest import ingest
from pokewatch.settings import PROJECT, Settings, load_settings
from pokewatch.store.tables import Store

EVIL = '<img src=x onerror="document.title=`owned`"> Mew'
DAYS = 160
LAST = "2025-06-09"


def evil_cards() -> pd.DataFrame:
    """Two printings of a card with an evil name: one rises at the end, the other stands still."""
    rising = [5.0 + 0.01 * (day % 7) for day in range(DAYS - 7)] + [
        5.5 + 0.1 * day for day in range(7)
    ]
    return pd.concat([curve("77:Holofoil", rising), curve("77:Reverse Holofoil", [3.0] * DAYS)])


def fill(home: Path) -> Settings:
    """Store the market, train, and forecast as nights do."""
    settings = load_settings(home=home, tracking=False, _env_file=None)
    prices = pd.concat([market(30, DAYS, momentum=0.8), evil_cards()])
    ids = prices["card_id"].unique()
    evil = [one.startswith("77:") for one in ids]
    known = {
        "card_id": ids,
        "name": [EVIL if one.startswith("77:") else f"Card {one.split(':')[0]}" for one in ids],
        "set_name": ["<b>Evil</b> & Co" if bad else "Paldean Fates" for bad in evil],
        "number": [f"{one.split(':')[0]}/199" for one in ids],
        "printing": [one.split(":")[1] for one in ids],
        "product_kind": "single",
        "product_id": [int(one.split(":")[0]) + 1 for one in ids],
        "aliases": [[f"sv4pt5-{one.split(':')[0]}"] for one in ids],
    }
    ingest(Store.from_settings(settings), delivery(prices, **known), settings)
    panel, version = open_panel(settings)
    promote(
        settings,
        FairValueModel(seed=settings.seed).fit(panel.until(DAYS - 20)),
        version,
        "2025-05-20",
    )
    for day in (DAYS - 15, DAYS - 1):
        predictions.predict_all(settings, panel.dates[day].date())
    return settings


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a data home with a champion; to be read only."""
    with small_models():
        return fill(tmp_path_factory.mktemp("browse") / "home")


@dataclass(frozen=True)
class Served:
    """Pages that are served, and where their prices are stored."""

    address: str
    settings: Settings
    log: Path


@pytest.fixture(scope="session")
def served(filled: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The pages over a copy of the market, to which a test may add days."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(filled.home, folder / "home")
    settings = load_settings(home=folder / "home", tracking=False, _env_file=None)
    (folder / "watchlist.yaml").write_text(WATCHED, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "from pokewatch.cli.main import main; main()"
    env = os.environ | {"POKEWATCH_HOME": str(settings.home), "PYTHONPATH": str(PROJECT)}
    env |= {"POKEWATCH_WATCHLIST": str(folder / "watchlist.yaml"), "POKEWATCH_BROWSE_PASSWORD": ""}
    command = [sys.executable, "-c", code, "browse", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stderr=log, stdout=log)
        end = time.monotonic() + 2 * SECONDS
        while "pages on" not in (text := (folder / "log").read_text(encoding="utf-8")):
            assert process.poll() is None, text
            assert time.monotonic() < end, text
            time.sleep(0.1)
        yield Served(f"http://127.0.0.1:{port}", settings, folder / "log")
        process.terminate()
        process.wait()


WATCHED = """
- card: 1:Normal
  quantity: 3
  cost: 4.50
- card: 77:Holofoil
  quantity: 1
  cost: 2.00
"""


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser's window that reaches this machine only."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: install your system's package chromium")
    window = Browser(program, tmp_path_factory.mktemp("chromium"))
    yield window
    window.close()
