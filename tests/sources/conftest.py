"""Fixtures of the sources' tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give each test a data home of its own: requests are counted there."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("POKEWATCH_HOME", str(home))
    return home
