"""Two and four writers at once on one home."""

from __future__ import annotations

from multiprocessing.synchronize import Barrier
from pathlib import Path

import pandas as pd
import pytest
from builders import curve, delivery
from fault_jobs import assert_same, assert_sound, config, content

from pokewatch.quality.ingest import ingest
from pokewatch.store.tables import COMPACT_ABOVE_FILES, Store

pytestmark = pytest.mark.slow

START = pd.Timestamp("2025-01-01")


def write(home: Path, kind: str, number: int) -> None:
    settings = config(home)
    for night in range(3):
        day = START + pd.Timedelta(days=night + (10 * number if kind == "other days" else 0))
        cards = [f"{card}:Normal" for card in range(3)]
        if kind == "same day":
            cards = [f"{number}{card}" for card in cards]
        rows = [curve(card, [5.0], start=str(day)) for card in cards]
        zero = curve(cards[0], [0.0], start=str(day))
        ingest(Store.from_settings(settings), delivery(*rows, zero), settings)


@pytest.mark.parametrize("writers", [2, 4])
@pytest.mark.parametrize("kind", ["other days", "same day", "same rows"])
def test_writers_at_once_end_as_one_after_the_other(forks, tmp_path, kind, writers):
    home, alone = tmp_path / "home", tmp_path / "alone"
    running = [forks.Process(target=write, args=(home, kind, one)) for one in range(writers)]
    for one in running:
        one.start()
    for number in range(writers):
        write(alone, kind, number)
    for one in running:
        one.join(120)
    assert [one.exitcode for one in running] == [0] * writers
    assert_sound(home, content(alone))
    assert_same(content(home), content(alone))


def compact(home: Path, ready: Barrier) -> None:
    store = Store.from_settings(config(home))
    ready.wait(120)
    store.maintain("quarantine")


def test_two_compactions_at_once_double_nothing(forks, tmp_path, monkeypatch):
    monkeypatch.setattr(Store, "maintain", lambda *_: None)
    settings = config(tmp_path)
    store = Store.from_settings(settings)
    for number in range(COMPACT_ABOVE_FILES + 1):
        day = f"2025-01-{number + 1:02}"  # a file each
        ingest(store, delivery(curve("1:Normal", [0.0], start=day)), settings)
    before, version = content(tmp_path), store.snapshot("quarantine").version
    ready = forks.Barrier(2)
    running = [forks.Process(target=compact, args=(tmp_path, ready)) for _ in range(2)]
    for one in running:
        one.start()
    for one in running:
        one.join(120)
    assert [one.exitcode for one in running] == [0, 0]
    assert store.snapshot("quarantine").version == version + 1
    assert_same(content(tmp_path), before)
