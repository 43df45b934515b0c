"""Fixtures that several test modules share."""

from __future__ import annotations

from pathlib import Path

import pytest

from pokewatch.settings import PROJECT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real price data, beside the project; the test is skipped without it."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is missing")
    return folder


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a developer's own MLflow server out of the tests."""
    for name in ("URI", "USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
