"""Whether a Delta table's log and files are whole, and how it is brought back where not.

Nothing is deleted: what is damaged is moved to ``rescued/`` of the data home, and a table changes
by added commits only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from pokewatch.errors import StoreError
from pokewatch.store import log as delta_log
from pokewatch.store.tables import TABLES, Store

KEYS = {
    "prices": ["card_id", "date"],
    "cards": ["card_id"],
    "quarantine": ["quarantine_id"],
    "predictions": ["card_id", "date", "horizon"],
}
LOOK_BACK = 200  # versions in which an older copy of a damaged file's rows is looked for
_entry = re.compile(r"(\d{20})\.json")
_checkpoint = re.compile(r"(\d{20})\.checkpoint(\.\S+)?\.parquet")


@dataclass
class Log:
    """A table's log: versions of its entries, and what is wrong.

    entries: damaged or missing ones that the newest state needs; old: those that only older
    versions need; checkpoints: unreadable files; denied: files that we may not read.
    """

    newest: int = -1
    entries: list[int] = field(default_factory=list)
    old: list[int] = field(default_factory=list)
    checkpoints: list[Path] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Damage:
    """A file of a table's current version that cannot be used; ``denied``: only not by us."""

    path: str
    month: str | None
    rows: int
    problem: str
    denied: bool = False


def check_log(folder: Path) -> Log:
    """Look at every entry and checkpoint of a table's log."""
    out = Log()
    found: dict[int, Path] = {}
    covered = -1
    for path in sorted((folder / "_delta_log").glob("*")):
        if entry := _entry.fullmatch(path.name):
            found[int(entry[1])] = path
        elif (checkpoint := _checkpoint.fullmatch(path.name)) and _sound(path, out):
            covered = max(covered, int(checkpoint[1]))
    out.newest = max([*found, covered])
    first = min(found, default=0)
    for version in range(first if covered >= first - 1 else 0, out.newest + 1):
        damaged = version not in found or not _whole(found[version], out)
        if damaged and version > covered:
            out.entries.append(version)
        elif damaged and version != covered:
            out.old.append(version)
    return out


def _sound(path: Path, log: Log) -> bool:
    try:
        pq.read_metadata(path)
    except PermissionError:
        log.denied.append(path.name)
    except (OSError, pa.ArrowException):
        log.checkpoints.append(path)
    else:
        return True
    return False


def _whole(path: Path, log: Log) -> bool:
    try:
        return not delta_log.trouble_of(path)
    except PermissionError:
        log.denied.append(path.name)
        return True
    except OSError:
        return False


def check_files(folder: Path, handle: DeltaTable, deep: bool = False) -> list[Damage]:
    """Return the damaged files of a pinned version; deep: every value is read, not only footers."""
    files = pa.table(handle.get_add_actions(flatten=True)).to_pylist()
    judged = [
        (one, _problem(folder / unquote(one["path"]), one["size_bytes"], deep)) for one in files
    ]
    return [
        Damage(
            unquote(one["path"]), one.get("partition.month"), one.get("num_records") or 0, *problem
        )
        for one, problem in judged
        if problem
    ]


def _problem(path: Path, size: int, deep: bool) -> tuple[str, bool] | None:
    try:
        there = path.stat().st_size
        if there != size:
            return f"holds {there:,} of {size:,} bytes", False
        with pq.ParquetFile(path) as file:
            for _ in file.iter_batches() if deep else ():
                pass
    except FileNotFoundError:
        return "is missing", False
    except PermissionError:
        return "may not be read by this user", True
    except (OSError, pa.ArrowException) as error:
        return f"cannot be read ({' '.join(str(error).split())[:100]})", False
    return None


def last_readable(store: Store, name: str, before: int) -> int | None:
    """Return the newest version below ``before`` that opens with all its files, None if none."""
    folder = Path(store.location(name))
    for version in range(before - 1, max(before - 1 - LOOK_BACK, -1), -1):
        try:
            handle = DeltaTable(folder, version=version)
        except (DeltaError, OSError, ValueError):
            continue
        if handle.file_uris() and not check_files(folder, handle):
            return version
    return None


def mend_log(store: Store, name: str, rescued: Path) -> str:
    """Make a log readable again: damaged checkpoints aside, entries from the first damaged on void.

    Void entries change nothing, so that the table is what it was before them and no version number
    is used twice. Entries after a damaged one go too: without it they could double rows.
    """
    folder = Path(store.location(name))
    log = check_log(folder)
    said = ""
    if log.checkpoints:
        for path in log.checkpoints:
            set_aside(path, folder, rescued / name)
        said = f"damaged checkpoints of table '{name}' were moved to '{rescued}'"
        last = folder / "_delta_log" / "_last_checkpoint"
        if last.exists():
            set_aside(last, folder, rescued / name)
        log = check_log(folder)
    if not log.entries:
        return said
    first = log.entries[0]
    if first == 0:
        raise StoreError(
            f"table '{name}' has no readable beginning: move its folder away and import a back-up"
        )
    for version in range(first, log.newest + 1):
        path = folder / "_delta_log" / f"{version:020}.json"
        if path.exists():
            set_aside(path, folder, rescued / name, keep=True)
        _void(path)
    # One more, so that nothing cached for the newest version is taken for the present state.
    _void(folder / "_delta_log" / f"{log.newest + 1:020}.json")
    return (
        f"table '{name}' is again what it was at version {first - 1}, as version "
        f"{log.newest + 1}; what was stored since must be collected again"
    )


def _void(path: Path) -> None:
    info = {
        "timestamp": int(time.time() * 1000),
        "operation": "VOID",
        "operationParameters": {},
        "engineInfo": "pokewatch doctor",
    }
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.write_text(json.dumps({"commitInfo": info}) + "\n", encoding="utf-8")
    draft.replace(path)


def mend_files(store: Store, name: str, rescued: Path, deep: bool = False) -> str:
    """Replace what damaged files held by what is still readable, in one added commit.

    Of each month with damage (of the whole table where it has no months) all sound files stay, and
    rows that only the damaged ones held come from the newest older version that still has them.
    """
    snapshot, folder = store.snapshot(name), Path(store.location(name))
    if snapshot.handle is None:
        return ""
    damaged = [one for one in check_files(folder, snapshot.handle, deep) if not one.denied]
    if not damaged:
        return ""
    months = sorted({one.month for one in damaged if one.month is not None})
    lost = {one.path for one in damaged}
    present = _rows(name, folder, snapshot.handle, months, lost)
    older = _older_rows(store, name, snapshot.version, months)
    keys = KEYS[name]
    have = pd.MultiIndex.from_frame(present.select(keys).to_pandas())
    wanted = ~pd.MultiIndex.from_frame(older.select(keys).to_pandas()).isin(have)
    back = older.filter(pa.array(wanted))
    listed = ", ".join(f"'{month}'" for month in months)
    store.replace(
        snapshot,
        pa.concat_tables([present, back]),
        f"month in ({listed})" if months else None,
    )
    for path in sorted(lost):
        if (folder / path).exists():
            set_aside(folder / path, folder, rescued / name)
    return (
        f"table '{name}' is readable again as version {store.snapshot(name).version}: "
        f"{back.num_rows:,} of {sum(one.rows for one in damaged):,} rows of {len(lost)} damaged "
        "files came from an older version"
        + (f"; days missing in {', '.join(months)} must be collected again" if months else "")
    )


def doubled(store: Store, name: str) -> int:
    """Return how many rows of a table stand there twice."""
    snapshot = store.snapshot(name)
    if snapshot.handle is None:
        return 0
    return int(snapshot.read(KEYS[name]).to_pandas().duplicated().sum())


def undouble(store: Store, name: str) -> str:
    """Keep one of each row that stands there twice, in one added commit; say what was done.

    Raises StoreError for two rows of one key that are not the same: neither is dropped.
    """
    gone = 0

    def attempt() -> None:
        nonlocal gone
        snapshot = store.snapshot(name)
        table = snapshot.read(TABLES[name].names)
        keys = table.select(KEYS[name]).to_pandas()
        number = keys.groupby(KEYS[name], sort=False, dropna=False).ngroup().to_numpy()
        first = np.unique(number, return_index=True)[1]
        again = np.setdiff1d(np.arange(len(number)), first)
        if not table.take(again).equals(table.take(first[number[again]])):
            raise StoreError(
                f"table '{name}' holds two different rows of one {' and '.join(KEYS[name])}: "
                "restore a back-up (docs/operations.md)"
            )
        store.replace(snapshot, table.take(np.sort(first)), None)
        gone = len(again)

    store.retry(attempt)
    return f"{gone:,} rows of table '{name}' that stood there twice are there once now"


def _rows(
    name: str, folder: Path, handle: DeltaTable, months: list[str], without: set[str]
) -> pa.Table:
    """Return the rows of these months (all, where none is named) from files not left out."""
    schema = TABLES[name]
    parts = [schema.empty_table()]
    for one in pa.table(handle.get_add_actions(flatten=True)).to_pylist():
        path, month = unquote(one["path"]), one.get("partition.month")
        if path in without or (months and month not in months):
            continue
        with pq.ParquetFile(folder / path) as file:
            rows = file.read()
        if month is not None:
            rows = rows.append_column("month", pa.array([month] * len(rows), pa.string()))
        parts.append(rows.select(schema.names).cast(schema))
    return pa.concat_tables(parts)


def _older_rows(store: Store, name: str, before: int, months: list[str]) -> pa.Table:
    """Return the rows of these months at the newest older version where they are readable."""
    folder = Path(store.location(name))
    for version in range(before - 1, max(before - 1 - LOOK_BACK, -1), -1):
        try:
            handle = DeltaTable(folder, version=version)
            bad = check_files(folder, handle)
            if not [one for one in bad if not months or one.month in months]:
                return _rows(name, folder, handle, months, set())
        except (DeltaError, OSError, ValueError, pa.ArrowException):
            continue
    return TABLES[name].empty_table()


def set_aside(path: Path, root: Path, target: Path, keep: bool = False) -> Path:
    """Move (keep: copy) a file to ``target``, under the path it has in ``root``."""
    place = target / path.relative_to(root)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if keep:
        shutil.copy2(path, place)
    else:
        shutil.move(path, place)
    return place


def rescue_folder(home: Path) -> Path:
    """Return a new folder for what is set aside now."""
    return home / "rescued" / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}"
