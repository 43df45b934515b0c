"""Pages over a small market whose names try to be HTML, and a browser to look at them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import small_models
from chromium import Browser
from evil_market import Served, fill

from pokewatch.settings import PROJECT, Settings, load_settings

START_SECONDS = 240.0  # on a busy machine the imports alone take a minute
WATCHED = """
- card: 1:Normal
  quantity: 3
  cost: 4.50
- card: 77:Holofoil
  quantity: 1
  cost: 2.00
"""


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a data home with a champion; to be read only."""
    with small_models():
        return fill(tmp_path_factory.mktemp("browse") / "home")


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
        end = time.monotonic() + START_SECONDS
        try:
            while "pages on" not in (text := (folder / "log").read_text(encoding="utf-8")):
                assert process.poll() is None, text
                assert time.monotonic() < end, text
                time.sleep(0.1)
            yield Served(f"http://127.0.0.1:{port}", settings, folder / "log")
        finally:
            process.terminate()
            process.wait()


def opened(folder: Path) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed: install your system's package chromium")
    window = Browser(program, folder)
    yield window
    window.close()


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser's window that reaches this machine only."""
    yield from opened(tmp_path_factory.mktemp("chromium"))


@pytest.fixture
def other_window(tmp_path: Path) -> Iterator[Browser]:
    """The window of another visitor."""
    yield from opened(tmp_path)
