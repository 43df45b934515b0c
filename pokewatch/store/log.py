"""A table's Delta log: which of its entries are damaged, and which version added a file.

Delta takes an entry that is empty, or cut off at the end of a line, for a commit that did less:
what it had stored would be missing without an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pokewatch.errors import StoreError

_entry = re.compile(r"(\d{20})\.json")
_checkpoint = re.compile(r"(\d{20})\.checkpoint.*\.parquet")
# How many actions of a kind a commit says it holds, by the name its operation has for that.
_metrics = {
    "num_added_files": "add",
    "num_removed_files": "remove",
    "numFilesAdded": "add",
    "numFilesRemoved": "remove",
}


@dataclass
class LogDamage:
    """What is wrong with a table's log.

    newest: version of the last entry, -1 without any; entries: damaged or missing ones that the
    newest state needs; old: those that only older versions need; checkpoints: unreadable files;
    denied: names of files that this user may not read.
    """

    newest: int = -1
    entries: list[int] = field(default_factory=list)
    old: list[int] = field(default_factory=list)
    checkpoints: list[Path] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)


def check(table: str, folder: Path, version: int | None = None) -> None:
    """Raise StoreError that names the first damaged log entry and the version before it.

    folder: the table's, on a local disk; version: entries after it do not count.
    """
    entries = _listed(folder, _entry)
    if not entries:
        return
    last = max(entries)
    wanted = last if version is None else version
    # Entries up to a checkpoint are not needed any more.
    covered = max((one for one in _listed(folder, _checkpoint) if one <= wanted), default=-1)
    for number in range(covered + 1, min(wanted, last) + 1):
        path = entry_path(folder, number)
        try:
            problem = problem_of(path)
        except OSError as error:
            if number <= max(_listed(folder, _checkpoint), default=-1):
                continue  # another process has just put them together
            problem = f"cannot be read ({error.strerror})"
        if not problem:
            continue
        found = f"table '{table}': log entry '{path}' {problem}"
        if not number:
            raise StoreError(f"{found}: restore it from a back-up")
        aside = f", or move it away to go on from version {number - 1} and collect again"
        raise StoreError(
            f"{found}; version {number - 1} is intact (--data-version {number - 1}): "
            f"restore the entry from a back-up{aside if number == last else ''}"
        )


def examine(folder: Path) -> LogDamage:
    """Look at every entry and checkpoint of a table's log."""
    out = LogDamage()
    covered = -1  # the newest version that a readable checkpoint holds
    for number, path in _listed(folder, _checkpoint).items():
        if _readable(path, out):
            covered = number
        else:
            out.checkpoints.append(path)
    entries = _listed(folder, _entry)
    out.newest = max([*entries, covered])
    first = min(entries, default=0)
    for version in range(first if covered >= first - 1 else 0, out.newest + 1):
        if version == covered or (version in entries and _readable(entries[version], out)):
            continue
        (out.entries if version > covered else out.old).append(version)
    return out


def entry_path(folder: Path, version: int) -> Path:
    """Return where the log entry of a table's version lies."""
    return folder / "_delta_log" / f"{version:020}.json"


def added_by(folder: Path, file: str) -> int | None:
    """Return the version that added a data file to the table, None where no entry names it."""
    for version, path in _listed(folder, _entry).items():
        if f'"add":{{"path":"{file}"'.encode() in path.read_bytes():
            return version
    return None


def problem_of(path: Path) -> str:
    """Return what is wrong with a log entry, "" for an intact one; raises OSError."""
    about = path.stat()
    return _problem(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4096)  # entries never change
def _problem(path: Path, modified: int, size: int) -> str:
    if not size:
        return "is empty"
    counts = {"add": 0, "remove": 0}
    promised: dict[str, int] | None = None
    for line in path.read_bytes().splitlines():
        try:
            action = orjson.loads(line)
            for kind in counts:
                counts[kind] += kind in action
            if "commitInfo" in action:
                metrics = action["commitInfo"].get("operationMetrics") or {}
                promised = {_metrics[name]: metrics[name] for name in metrics if name in _metrics}
        except (ValueError, TypeError, AttributeError):
            return "holds something else than JSON lines"
    if promised is None or any(counts[kind] < number for kind, number in promised.items()):
        return "is cut short"
    return ""


def _listed(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """Return the files of a log whose names match, by version, ascending."""
    log = folder / "_delta_log"
    paths = sorted(log.iterdir()) if log.is_dir() else []
    return {int(found[1]): path for path in paths if (found := pattern.fullmatch(path.name))}


def _readable(path: Path, log: LogDamage) -> bool:
    try:
        if path.suffix == ".json":
            return not problem_of(path)
        pq.read_metadata(path)
    except PermissionError:
        log.denied.append(path.name)
    except (OSError, pa.ArrowException):
        return False
    return True
