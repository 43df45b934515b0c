"""Damaged tables: which files cannot be used, and how a table is made readable again.

Nothing is deleted: what is damaged moves to ``rescued/`` of the data home, and a table changes by
added commits only, so that no version number means two things.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pokewatch.errors import StoreError
from pokewatch.files import atomic_write
from pokewatch.store import log as delta_log
from pokewatch.store.tables import TABLES, Snapshot, Store

KEYS = {
    "prices": ["card_id", "date"],
    "cards": ["card_id"],
    "quarantine": ["quarantine_id"],
    "predictions": ["card_id", "date", "horizon", "made_at"],
}
LOOK_BACK = 200  # versions in which an older copy of a damaged file's rows is looked for


@dataclass(frozen=True)
class Damage:
    """A file of a table's version that cannot be used; ``denied``: only not by this user."""

    path: str
    month: str | None
    rows: int
    problem: str
    denied: bool


def damaged_files(folder: Path, handle: DeltaTable, deep: bool = False) -> list[Damage]:
    """Return the damaged files of a pinned version; deep: every value is read, not only footers."""
    out = []
    for file in Snapshot("", handle).facts():
        path, size = unquote(file["path"]), file["size_bytes"]
        problem, denied = "", False
        try:
            there = (folder / path).stat().st_size
            if there != size:
                problem = f"holds {there:,} of {size:,} bytes"
            else:
                with pq.ParquetFile(folder / path) as parquet:
                    for _ in parquet.iter_batches() if deep else ():
                        pass
        except FileNotFoundError:
            problem = "is missing"
        except PermissionError:
            problem, denied = "may not be read by this user", True
        except (OSError, pa.ArrowException) as error:
            problem = f"cannot be read ({' '.join(str(error).split())[:100]})"
        if problem:
            rows = file.get("num_records") or 0
            out.append(Damage(path, file.get("partition.month"), rows, problem, denied))
    return out


def readable_before(
    store: Store, name: str, before: int, months: Collection[str] = ()
) -> Iterator[Snapshot]:
    """Yield older versions that open with all their files, or all of these months; newest first."""
    folder = Path(store.location(name))
    for version in range(before - 1, max(before - 1 - LOOK_BACK, -1), -1):
        with suppress(DeltaError, OSError, ValueError):
            handle = DeltaTable(folder, version=version)
            damaged = damaged_files(folder, handle)
            if not any(not months or file.month in months for file in damaged):
                yield Snapshot(name, handle)


def last_readable(store: Store, name: str, before: int) -> int | None:
    """Return the newest version below ``before`` that has files and opens with all of them."""
    return next((one.version for one in readable_before(store, name, before) if one.facts()), None)


def restore_log(store: Store, name: str, rescued: Path) -> str:
    """Make a log readable again; return what was done, "" where nothing had to be.

    Damaged checkpoints are set aside. Where an entry is damaged or missing, the table becomes what
    it was before it, as a new version: entries after it go too, they could double rows without it.
    Raises StoreError where the first entry is damaged.
    """
    folder = Path(store.location(name))
    log = delta_log.examine(folder)
    done = ""
    if log.checkpoints:
        last = folder / "_delta_log" / "_last_checkpoint"
        for path in [*log.checkpoints, *([last] if last.exists() else [])]:
            set_aside(path, folder, rescued / name)
        done = f"damaged checkpoints of table '{name}' were moved to '{rescued}'"
        log = delta_log.examine(folder)
    if not log.entries:
        return done
    first = log.entries[0]
    if first == 0:
        raise StoreError(
            f"table '{name}' has no readable beginning: move its folder away and import a back-up"
        )
    # Delta opens no table with a damaged entry, and from an older version it would use the numbers
    # after it again. So commits that change nothing take their places, and restore adds the next.
    for version in range(first, log.newest + 1):
        path = delta_log.entry_path(folder, version)
        if path.exists():
            set_aside(path, folder, rescued / name, keep=True)
        info = {"timestamp": int(time.time() * 1000), "operation": "VOID"}
        with atomic_write(path) as draft:
            draft.write_text(json.dumps({"commitInfo": info}) + "\n", encoding="utf-8")
    DeltaTable(folder).restore(first - 1)
    return (
        f"table '{name}' is again what it was at version {first - 1}, as version "
        f"{log.newest + 1}; what was stored since must be collected again"
    )


def restore_files(store: Store, name: str, rescued: Path, deep: bool = False) -> str:
    """Replace what damaged files held by what is still readable; return what was done.

    Of each month with damage (of the table where it has no months) all intact files stay, and rows
    that only the damaged ones held come from the newest older version that still has them, in one
    commit: Delta's own ``repair`` sees only files that are gone.
    """
    snapshot, folder = store.snapshot(name), Path(store.location(name))
    if snapshot.handle is None:
        return ""
    damaged = [one for one in damaged_files(folder, snapshot.handle, deep) if not one.denied]
    if not damaged:
        return ""
    lost = {one.path for one in damaged}
    months = sorted({one.month for one in damaged if one.month is not None})
    present, older = _rows(snapshot, months, lost), TABLES[name].empty_table()
    for version in readable_before(store, name, snapshot.version, months):
        with suppress(OSError, ValueError, pa.ArrowException):
            older = _rows(version, months)
            break
    stored, found = (
        pd.MultiIndex.from_frame(rows.select(KEYS[name]).to_pandas()) for rows in (present, older)
    )
    back = older.filter(pa.array(~found.isin(stored)))
    listed = ", ".join(f"'{month}'" for month in months)
    rows = pa.concat_tables([present, back])
    store.replace(snapshot, rows, f"month in ({listed})" if months else None)
    for path in sorted(lost):
        if (folder / path).exists():
            set_aside(folder / path, folder, rescued / name)
    return (
        f"table '{name}' is readable again as version {store.snapshot(name).version}: "
        f"{back.num_rows:,} of {sum(one.rows for one in damaged):,} rows of {len(lost)} damaged "
        "files came from an older version"
        + (f"; days missing in {', '.join(months)} must be collected again" if months else "")
    )


def _rows(snapshot: Snapshot, months: list[str], without: Collection[str] = ()) -> pa.Table:
    """Return the rows of these months (all, where none is named) from files not left out."""
    schema, every = TABLES[snapshot.name], snapshot.dataset
    files = [file for file in every.get_fragments() if file.path not in without]
    dataset = ds.FileSystemDataset(files, every.schema, every.format, every.filesystem)
    where = ds.field("month").isin(months) if months else None
    return dataset.to_table(schema.names, filter=where).cast(schema)


def count_duplicates(store: Store, name: str) -> int:
    """Return how many rows of a table repeat another one's key."""
    return int(store.snapshot(name).read(KEYS[name]).to_pandas().duplicated().sum())


def drop_duplicates(store: Store, name: str) -> str:
    """Keep one of equal rows, in one added commit; return what was done.

    Raises StoreError for two rows of one key that are not the same: neither is dropped.
    """

    def attempt() -> int:
        snapshot = store.snapshot(name)
        order = [(column, "ascending") for column in reversed(KEYS[name])]
        table = snapshot.read(TABLES[name].names).sort_by(order)
        again = table.select(KEYS[name]).to_pandas().duplicated().to_numpy()
        place = np.flatnonzero(again)
        if not table.take(place).equals(table.take(place - 1)):
            raise StoreError(
                f"table '{name}' holds two different rows of one {' and '.join(KEYS[name])}: "
                "restore a back-up (docs/operations.md)"
            )
        store.replace(snapshot, table.filter(pa.array(~again)), None)
        return len(place)

    return (
        f"{store.retry(attempt):,} rows of table '{name}' that stood there twice are there once now"
    )


def set_aside(path: Path, root: Path, target: Path, keep: bool = False) -> Path:
    """Move (keep: copy) a file to ``target``, under the path it has in ``root``; return it."""
    place = target / path.relative_to(root)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    (shutil.copy2 if keep else shutil.move)(path, place)
    return place


def rescue_folder(home: Path) -> Path:
    """Return the path of a new folder for what is set aside now."""
    return home / "rescued" / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}"
