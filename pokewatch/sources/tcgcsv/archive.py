"""tcgcsv's archive: one 7z file of prices a day, since 2024-02-08."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import py7zr
import pyarrow as pa
from joblib import delayed, effective_n_jobs
from tqdm import tqdm

from pokewatch import parallel
from pokewatch.errors import SourceError, UsageError
from pokewatch.schema import Delivery
from pokewatch.settings import Settings
from pokewatch.sources.http import Client
from pokewatch.sources.responses import NotFoundError, decoded
from pokewatch.sources.tcgcsv.frames import (
    SOURCE,
    answer_rows,
    price_frames,
    usable_categories,
    usual_frames,
    usual_rows,
)
from pokewatch.sources.tcgcsv.sevenzip import DamagedArchiveError, unpack

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_ARCHIVE = date(2024, 2, 8)
# An archive carries no time: the service publishes a day's prices shortly after 20:00 UTC
# (its last-updated.txt reads 20:05), so that is when they were known.
PUBLISHED = time(20, 5, tzinfo=UTC)
DAYS_AHEAD = 2  # for each job, and as many again of the round that follows

_member = re.compile(r"(\d{4}-\d{2}-\d{2})/(\d+)/(\d+)/prices", re.ASCII)
_filename = re.compile(r"prices-(\d{4}-\d{2}-\d{2})\b.*\.7z", re.ASCII)


def read_archive(path: Path, categories: Iterable[int], packed: bytes | None = None) -> Delivery:
    """Return one day from an archive file ``prices-YYYY-MM-DD*.7z``; packed: its content.

    Prices are USD. Archives hold no names: cards have ``card_id, product_id, printing`` only,
    and code cards cannot be told from others. A group whose JSON is broken is noted.

    Raises SourceError for a file that is damaged, of another date than its name says, or without
    any group of the categories; UsageError for a category that cannot be used.
    """
    wanted = usable_categories(categories)
    day = archive_date(path)
    if day is None:
        raise SourceError(f"'{path}' is not named like an archive: prices-YYYY-MM-DD.ppmd.7z")
    return _delivery(_parsed(path, day, _members(path, wanted, packed)), wanted)


@dataclass(frozen=True)
class _Archive:
    """One day's archive, unpacked and parsed.

    found: (category, group, answer) of each wanted member; rows: their rows, None where they have
    to be read one by one.
    """

    path: Path
    day: date
    found: list[tuple[int, int, bytes]]
    rows: pa.StructArray | None
    notes: list[str]


def _parsed(path: Path, day: date, members: list[tuple[str, bytes]]) -> _Archive:
    notes: list[str] = []
    found: list[tuple[int, int, bytes]] = []
    for name, content in members:
        member = _member.fullmatch(name)
        if member is None:
            notes.append(f"{path.name}: member '{name}' comes twice; only the first one is read")
            continue
        if member[1] != day.isoformat():
            raise SourceError(
                f"'{path}' holds prices of {member[1]}, its name says {day}; "
                "delete or rename it and run backfill again"
            )
        found.append((int(member[2]), int(member[3]), content))
    return _Archive(path, day, found, usual_rows([content for _, _, content in found]), notes)


def _delivery(archive: _Archive, wanted: list[int]) -> Delivery:
    path, day, found, notes = archive.path, archive.day, archive.found, archive.notes
    read = {category for category, _, _ in found}
    published = datetime.combine(day, PUBLISHED)
    if archive.rows is not None:
        frames = usual_frames(archive.rows, day, published)
    else:
        rows, read = _rows(path.name, found, notes)
        frames = price_frames(rows, day, published, notes)
    if not read:
        raise SourceError(
            f"'{path}' holds no readable group of categories {wanted}"
            + (f" ({notes[0]})" if notes else "")
            + "; check POKEWATCH_TCGCSV_CATEGORIES, or delete it and run backfill again"
        )
    notes += [f"{path.name}: no group of category {c}" for c in wanted if c not in read]
    return Delivery(frames[0], SOURCE, frames[1], notes)


def _rows(
    archive: str, answers: list[tuple[int, int, bytes]], notes: list[str]
) -> tuple[list[dict[str, Any]], set[int]]:
    """Return the rows of all answers that can be read, and their categories; the rest is noted."""
    rows: list[dict[str, Any]] = []
    read = set()
    for category, group, content in answers:
        try:
            rows += answer_rows(decoded(content))
        except (ValueError, SourceError) as error:
            notes.append(f"{archive}: group {group} of category {category} failed: {error}")
            continue
        read.add(category)
    return rows, read


def archives(
    settings: Settings,
    since: date,
    until: date,
    folder: Path | None,
    skip: Container[date],
    jobs: int = 1,
    progress: bool = False,
) -> Iterator[tuple[date, Delivery]]:
    """Yield the archived days from ``since`` to ``until`` (both included) in order.

    Days in ``skip`` are left out. Archives come from ``folder``, or are downloaded once into
    ``<home>/archives``; a day without one is logged and left out. Archives are decoded ahead,
    with a few days held in memory: ``jobs`` at once while a day is waited for, one fewer while
    somebody works on one; or as many as a Dask cluster has threads.

    Raises UsageError for a range that is empty or has no archive at all, and, after all other
    days were yielded, SourceError that names every archive that could not be read.
    """
    usable_categories(settings.tcgcsv_categories)
    if since > until:
        raise UsageError(f"--since {since} lies after --until {until}; swap them")
    if jobs == 0:
        raise UsageError("--jobs 0: give a number of processes, or -1 for all processors")
    if folder is None:
        since, until = max(since, FIRST_ARCHIVE), min(until, datetime.now(UTC).date())
        if since > until:
            raise UsageError(f"tcgcsv's archive holds {FIRST_ARCHIVE} to today; change the range")
    span = [since + timedelta(days=n) for n in range((until - since).days + 1)]
    days = [day for day in span if day not in skip]
    files = _downloaded(settings, days) if folder is None else _local(folder, days)
    return _decoded(files, len(days), len(days) < len(span), settings, jobs, progress)


def archive_date(path: Path) -> date | None:
    """Return the date in an archive's file name, None if it is not one."""
    name = _filename.fullmatch(path.name)
    try:
        return date.fromisoformat(name[1]) if name else None
    except ValueError:
        return None


def _decoded(
    files: Iterator[tuple[date, Path | None]],
    total: int,
    some_stored: bool,
    settings: Settings,
    jobs: int,
    progress: bool,
) -> Iterator[tuple[date, Delivery]]:
    categories = usable_categories(settings.tcgcsv_categories)
    jobs = max(1, min(effective_n_jobs(jobs), total))
    broken: list[str] = []
    missing = 0
    shown = progress and sys.stderr.isatty()
    with (
        # Threads, because each of them mostly waits for its unpacking process.
        parallel.pool(settings, jobs, threads=True) as pool,
        tqdm(desc=SOURCE, total=total, unit=" days", disable=not shown) as bar,
    ):
        # Rounds, because a pool keeps decoding however slowly its results are taken.
        begun = (
            (
                batch,
                pool.run(
                    [_task(day, path, categories, pool.remote) for day, path in batch if path]
                ),
            )
            for batch in _rounds(files, DAYS_AHEAD * pool.size)
        )
        for batch, results in _one_ahead(begun):
            for day, path in batch:
                result: Any = next(results) if path else None
                bar.update()
                if result is None:
                    missing += 1
                    continue
                if isinstance(result, _Archive):  # in its own thread this would wait for this one
                    result = _or_error(_delivery, result, categories)
                if isinstance(result, SourceError):
                    log.warning("%s left out: %s", day, result)
                    broken.append(str(result))
                else:
                    yield day, result
    if total and missing == total and not some_stored:
        raise UsageError(
            "no archive of any day in the range was found; check --since, --until and --path"
        )
    if broken:
        more = f" | and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise SourceError(
            f"{len(broken)} archives could not be read: " + " | ".join(broken[:3]) + more
        )


def _rounds(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """Yield items in lists of a size; those before an error come before the error."""
    while True:
        batch: list[T] = []
        try:
            for item in islice(items, size):
                batch.append(item)  # noqa: PERF402 (what came before an error is kept)
        except SourceError:
            if batch:
                yield batch
            raise
        if not batch:
            return
        yield batch


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield each item after the one that follows it was made, or failed to be."""
    pending: list[T] = []
    try:
        for item in items:
            yield from pending
            pending = [item]
    except SourceError:
        yield from pending
        raise
    yield from pending


def _task(day: date, path: Path, categories: list[int], remote: bool) -> Any:
    if not remote:
        return delayed(_unpacked)(path, day, categories)
    # A worker elsewhere does not see this machine's files: it gets their content, and parses too.
    try:
        return delayed(_or_error)(read_archive, path, categories, path.read_bytes())
    except OSError as error:
        return delayed(SourceError)(_unreadable(path, error))


def _unpacked(path: Path, day: date, categories: list[int]) -> parallel.Rest | SourceError:
    members = _or_error(_members, path, categories)
    if isinstance(members, SourceError):
        return members
    return parallel.Rest(partial(_or_error, _parsed, path, day, members))


def _or_error(function: Callable[..., T], *values: Any) -> T | SourceError:
    # Returned, not raised: one damaged day must not end the work on the others.
    try:
        return function(*values)
    except SourceError as error:
        return error


def _local(folder: Path, days: list[date]) -> Iterator[tuple[date, Path | None]]:
    if not folder.is_dir():
        raise UsageError(f"'{folder}' is not a folder; --path takes the folder of the archives")
    found: dict[date, Path] = {}
    # Where a day has several files the original name wins, because "mini" sorts before "ppmd".
    for path in sorted(folder.glob("prices-*.7z")):
        if day := archive_date(path):
            found[day] = path
    if absent := [day for day in days if day not in found]:
        shown = ", ".join(map(str, absent[:10])) + (" ..." if len(absent) > 10 else "")
        log.warning("'%s' has no archive of %d days: %s", folder, len(absent), shown)
    return ((day, found.get(day)) for day in days)


def _downloaded(settings: Settings, days: list[date]) -> Iterator[tuple[date, Path | None]]:
    settings.make_home()
    with Client(settings.tcgcsv_url, settings) as client:
        for day in days:
            name = f"prices-{day}.ppmd.7z"
            path = settings.home / "archives" / name
            try:
                if not path.exists():
                    client.download(f"/archive/tcgplayer/{name}", path)
            except NotFoundError:
                log.warning("tcgcsv has no archive of %s; the day is left out", day)
                yield day, None
                continue
            if not py7zr.is_7zfile(path):
                path.unlink()
                raise SourceError(
                    f"{client.shown} sent something else than an archive for {day}; "
                    "check POKEWATCH_TCGCSV_URL and the network, then run backfill again"
                )
            yield day, path


def _members(
    path: Path, categories: list[int], packed: bytes | None = None
) -> list[tuple[str, bytes]]:
    wanted = "|".join(map(str, categories))
    try:
        return unpack(path, rf"\d{{4}}-\d{{2}}-\d{{2}}/({wanted})/\d+/prices", packed)
    except DamagedArchiveError as error:
        raise SourceError(
            f"archive '{path}' is damaged ({error}); delete it and run backfill again"
        ) from error
    except OSError as error:
        raise SourceError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: OSError) -> str:
    return f"archive '{path}' cannot be read ({error.strerror}); check its path and permissions"
