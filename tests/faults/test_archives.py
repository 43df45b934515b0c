"""Damaged archives in a folder that a backfill reads."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import py7zr
import pytest
from fault_jobs import DAYS, PPMD, assert_same, config, content, pack, price

from pokewatch.errors import SourceError
from pokewatch.quality import ingest

pytestmark = pytest.mark.slow

FIRST, BAD, LAST = DAYS[0].date(), DAYS[1].date(), DAYS[-1].date()


def flipped(whole: bytes) -> bytes:
    """Return the archive with every seventh byte of its packed part changed."""
    return whole[:40] + bytes(
        byte ^ 0xFF if place % 7 == 0 else byte for place, byte in enumerate(whole[40:])
    )


def packed(*names: str, size: int = 0) -> bytes:
    """Return an archive with these members, which says that the only one has ``size`` bytes."""
    out = BytesIO()
    with py7zr.SevenZipFile(out, "w", filters=PPMD) as archive:
        for name in names:
            archive.writestr(b"outside", "harmless")
            archive.header.files_info.files[-1]["filename"] = name
        if size:
            compressor = archive.header.main_streams.unpackinfo.folders[-1].get_compressor()
            compressor._unpacksizes[-1] = size
    return out.getvalue()


INSIDE = f"{BAD}/3/604/prices"
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut at its end": lambda whole: whole[:-20],
    "cut in the middle": lambda whole: whole[: len(whole) // 2],
    "empty": lambda _: b"",
    "a web page": lambda _: b"<html>Just a moment...</html>",
    "flipped bytes": flipped,
    "a bomb": lambda _: packed(INSIDE, size=2**40),
    "paths out of it": lambda _: packed(f"../{INSIDE}", f"{BAD}/3/604/../../../x", "/tmp/x"),
    "another day": lambda _: packed(INSIDE.replace(f"{BAD}", f"{LAST}")),
}


def backfill(home: Path, folder: Path) -> None:
    for _ in ingest.backfill(config(home, tcgcsv_categories=[3]), FIRST, LAST, path=folder):
        pass


def test_a_damaged_archive_costs_its_own_day_until_it_is_mended(tmp_path: Path) -> None:
    folder = tmp_path / "archives"
    for number, day in enumerate(DAYS):
        rows = [price(card, 5 + number / 10) for card in range(1, 20)]
        path = pack(folder, day.date(), rows)
        if day.date() == BAD:
            bad = path
    whole = bad.read_bytes()
    backfill(tmp_path / "undisturbed", folder)
    expected = content(tmp_path / "undisturbed")
    for damage, spoil in DAMAGES.items():
        bad.write_bytes(spoil(whole))
        with pytest.raises(SourceError, match=rf"{bad.name}.*run backfill again") as error:
            backfill(tmp_path / "home", folder)
        assert ("1,099,511,627,776 bytes" in str(error.value)) == (damage == "a bomb")
        stored = content(tmp_path / "home")["prices"]
        assert len(stored) == 19 * (len(DAYS) - 1), damage
        assert BAD not in set(stored["date"].dt.date), damage
    assert {path.name for path in tmp_path.iterdir()} == {"archives", "home", "undisturbed"}
    assert len(list(folder.iterdir())) == len(DAYS)
    bad.write_bytes(whole)
    backfill(tmp_path / "home", folder)
    assert_same(content(tmp_path / "home"), expected)
