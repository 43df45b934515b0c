"""Damaged files of the store: found, named, and the last good version still readable."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import curve, delivery
from fault_jobs import config

from pokewatch.errors import StoreError
from pokewatch.quality.ingest import ingest
from pokewatch.store import backup
from pokewatch.store.tables import Store

NIGHTS = 4


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    settings = config(home)
    for night in range(NIGHTS):
        collect_night(home, night)
    assert Store.from_settings(settings).data_version == NIGHTS
    return home


def collect_night(home: Path, night: int) -> None:
    settings = config(home)
    day = f"2025-01-{night + 1:02}"
    rows = [curve(f"{card}:Normal", [5 + card + night / 10], start=day) for card in range(20)]
    ingest(Store.from_settings(settings), delivery(*rows), settings)


@pytest.fixture
def broken(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home, tmp_path / "home"))


def damaged(path: Path, how: str) -> None:
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    if how == "missing":
        path.unlink()
        return
    path.write_bytes(
        {
            "empty": b"",
            "garbage": b"<html>\x00\xff",
            "zeros": b"\0" * len(whole),
            "cut in a line": whole[: len(whole) // 2],
            "cut after a line": b"".join(lines[:-1]),
        }[how]
    )


CUTS = ["empty", "garbage", "zeros", "cut in a line", "cut after a line"]


@pytest.mark.parametrize(
    ("entry", "how"), [*[(NIGHTS, how) for how in CUTS], *[(2, how) for how in [*CUTS, "missing"]]]
)
def test_a_damaged_log_entry_is_named_with_the_version_before_it(home, broken, entry, how):
    path = broken / "prices" / "_delta_log" / f"{entry:020}.json"
    damaged(path, how)
    store = Store(broken)
    with pytest.raises(StoreError) as error:
        store.prices()
    said = str(error.value)
    assert f"table 'prices': log entry '{path}'" in said
    assert f"--data-version {entry - 1}" in said
    assert "restore the entry from a back-up" in said
    expected = Store(home).prices(data_version=entry - 1)
    pd.testing.assert_frame_equal(store.prices(data_version=entry - 1), expected)
    with pytest.raises(StoreError):  # and nothing is written over it
        collect_night(broken, NIGHTS)
    if entry == NIGHTS:
        assert "move it away" in said
        if path.exists():
            path.unlink()
        collect_night(broken, NIGHTS - 1)
        pd.testing.assert_frame_equal(store.prices(), Store(home).prices())


@pytest.mark.parametrize("how", ["missing", "empty", "zeros", "cut in a line"])
def test_a_damaged_data_file_is_named_with_the_version_without_it(home, broken, how):
    newest = Store(broken).snapshot("prices").handle
    before = set(Store(broken).snapshot("prices", NIGHTS - 1).handle.file_uris())
    (file,) = set(newest.file_uris()) - before
    damaged(Path(file), how)
    with pytest.raises(StoreError) as error:
        Store(broken).prices()
    said = str(error.value)
    assert f"table 'prices' at version {NIGHTS} cannot be read" in said
    assert Path(file).name in said
    assert f"--data-version {NIGHTS - 1}" in said
    expected = Store(home).prices(data_version=NIGHTS - 1)
    pd.testing.assert_frame_equal(Store(broken).prices(data_version=NIGHTS - 1), expected)


def test_a_damaged_data_file_is_named_by_whatever_reads_it(home, broken, tmp_path):
    store = Store(broken)
    file = Path(store.snapshot("prices").handle.file_uris()[0])
    damaged(file, "zeros")
    for read in (
        store.snapshot("prices").simulated,
        lambda: backup.content_hash(store),
        lambda: backup.export(config(broken), tmp_path / "b.tar"),
    ):
        with pytest.raises(StoreError, match=f"{file.name}' is damaged or missing"):
            read()
    backup.export(config(home), tmp_path / "whole.tar")
    file = Path(store.snapshot("cards").handle.file_uris()[0])
    file.unlink()
    with pytest.raises(StoreError, match=f"{file.name}' is damaged or missing"):
        backup.restore(config(broken), tmp_path / "whole.tar")
    with pytest.raises(StoreError, match=f"{file.name}' is damaged or missing"):
        backup.export(config(broken), tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


def test_a_flipped_bit_never_becomes_another_price(home, broken):
    """Parquet has no checksum of its own here; the gzip pages have one."""
    store = Store(broken)
    expected = store.prices()
    file = Path(store.snapshot("prices").handle.file_uris()[0])
    whole = file.read_bytes()
    rng = np.random.default_rng(3)
    found = 0
    for place in rng.integers(4, len(whole), 60):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(flipped)
        try:
            pd.testing.assert_frame_equal(Store(broken).prices(), expected)
        except StoreError as error:
            assert file.name in str(error)  # noqa: PT017
            found += 1
    assert found > 20
