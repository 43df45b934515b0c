"""Whether a table's Delta log is whole: an entry that was cut short must not pass for a commit.

Delta takes an empty entry, or one cut off at the end of a line, for a commit that did less: what
it had stored would be missing without a word.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import orjson

from pokewatch.errors import StoreError

_entry = re.compile(r"(\d{20})\.json")
_checkpoint = re.compile(r"(\d{20})\.checkpoint.*\.parquet")
# What a commit says of itself, by operation, and the actions it must hold then.
_metrics = {
    "num_added_files": "add",
    "num_removed_files": "remove",
    "numFilesAdded": "add",
    "numFilesRemoved": "remove",
}


def check(table: str, folder: Path, version: int | None = None) -> None:
    """Raise StoreError that names the first damaged log entry and the version before it.

    folder: the table's, on a local disk; version: entries after it do not count.
    """
    log = folder / "_delta_log"
    listed = _numbers(log, _entry)
    if not listed:
        return
    newest = listed[-1] if version is None else version
    # Entries before a checkpoint are not needed any more.
    start = max([number for number in _numbers(log, _checkpoint) if number <= newest], default=-1)
    for number in range(start + 1, min(newest, listed[-1]) + 1):
        path = log / f"{number:020}.json"
        try:
            trouble = trouble_of(path)
        except OSError as error:
            if number <= max(_numbers(log, _checkpoint), default=-1):
                continue  # another process has just put them together
            trouble = f"cannot be read ({error.strerror})"
        if trouble:
            raise StoreError(_message(table, path, number, trouble, number == listed[-1]))


def _numbers(log: Path, pattern: re.Pattern[str]) -> list[int]:
    names = [path.name for path in log.iterdir()] if log.is_dir() else []
    return sorted(int(found[1]) for found in map(pattern.fullmatch, names) if found)


def added_by(folder: Path, file: str) -> int | None:
    """Return the version that brought a data file into the table, None where no log tells."""
    for path in sorted((folder / "_delta_log").glob("*.json")):
        if _entry.fullmatch(path.name) and f'"add":{{"path":"{file}"'.encode() in path.read_bytes():
            return int(path.stem)
    return None


def trouble_of(path: Path) -> str:
    """Return what is wrong with a log entry, "" for a whole one."""
    about = path.stat()
    return _trouble(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4096)  # entries never change
def _trouble(path: Path, modified: int, size: int) -> str:
    if not size:
        return "is empty"
    counts = {"add": 0, "remove": 0}
    promised: dict[str, int] = {}
    said = False
    for line in path.read_bytes().splitlines():
        try:
            action = orjson.loads(line)
            for kind in counts:
                counts[kind] += kind in action
            if "commitInfo" in action:
                said = True
                metrics = action["commitInfo"].get("operationMetrics") or {}
                promised = {_metrics[name]: metrics[name] for name in metrics if name in _metrics}
        except (ValueError, TypeError, AttributeError):
            return "holds something else than JSON lines"
    if not said or any(counts[kind] < number for kind, number in promised.items()):
        return "is cut short"
    return ""


def _message(table: str, path: Path, number: int, trouble: str, newest: bool) -> str:
    start = f"table '{table}': log entry '{path}' {trouble}"
    if not number:
        return f"{start}: restore it from a back-up"
    mend = f", or move it away to go on from version {number - 1} and collect again"
    return (
        f"{start}; version {number - 1} is whole (--data-version {number - 1}): restore the entry "
        "from a back-up" + (mend if newest else "")
    )
