"""Archives of tcgcsv's days: its own 7z files, 2024-02-08 to 2026-09-16, and kept answers."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Container, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import py7zr
from joblib import effective_n_jobs
from tqdm import tqdm

from pokewatch.errors import SourceError, UsageError
from pokewatch.files import atomic_write
from pokewatch.parallel import map_ahead
from pokewatch.schema import Delivery
from pokewatch.settings import Settings
from pokewatch.sources.responses import NotFoundError, RefusedError, decoded
from pokewatch.sources.tcgcsv import live
from pokewatch.sources.tcgcsv.frames import (
    SOURCE,
    answer_rows,
    archive_date,
    price_frames,
    usable_categories,
    usual_frames,
    usual_rows,
)
from pokewatch.sources.tcgcsv.kept import SUFFIX
from pokewatch.sources.tcgcsv.sevenzip import DamagedArchiveError, unpack

log = logging.getLogger(__name__)

FIRST_ARCHIVE = date(2024, 2, 8)
# An archive carries no time: the service publishes a day's prices shortly after 20:00 UTC
# (its last-updated.txt reads 20:05), so that is when they were known.
PUBLISHED = time(20, 5, tzinfo=UTC)
ASK_AGAIN = timedelta(days=30)  # after a refusal, before a night asks for an archive again

_member = re.compile(r"(\d{4}-\d{2}-\d{2})/(\d+)/(\d+)/prices", re.ASCII)


def read_archive(path: Path, categories: Iterable[int]) -> Delivery:
    """Return one day from ``prices-YYYY-MM-DD*.7z``, or from kept answers, ``….jsonl.gz``.

    Prices are USD. Archives hold no names: cards have ``card_id, product_id, printing`` only,
    and code cards cannot be told from others; kept answers hold all. A group whose JSON is broken
    is noted.

    Raises SourceError for a file that is damaged, of another date than its name says, or without
    any group of the categories; UsageError for a category that cannot be used.
    """
    wanted = usable_categories(categories)
    day = archive_date(path)
    if day is None:
        raise SourceError(f"'{path}' is not named like an archive: prices-YYYY-MM-DD.ppmd.7z")
    if path.name.endswith(SUFFIX):
        return live.read_kept(path, wanted)
    notes: list[str] = []
    found: list[tuple[int, int, bytes]] = []
    for name, content in _members(path, wanted):
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
    published = datetime.combine(day, PUBLISHED)
    columns = usual_rows([content for _, _, content in found])
    if columns is not None:
        read = {category for category, _, _ in found}
        frames = usual_frames(columns, day, published)
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


def _members(path: Path, categories: list[int]) -> list[tuple[str, bytes]]:
    wanted = "|".join(map(str, categories))
    try:
        return unpack(path, rf"\d{{4}}-\d{{2}}-\d{{2}}/({wanted})/\d+/prices")
    except DamagedArchiveError as error:
        raise SourceError(
            f"archive '{path}' is damaged ({error}); delete it and run backfill again"
        ) from error
    except OSError as error:
        raise SourceError(
            f"archive '{path}' cannot be read ({error.strerror}); check its path and permissions"
        ) from error


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

    Archives come from ``folder``, or from ``<home>/archives``, into which those that are missing
    are downloaded. Days in ``skip`` are left out; so is one without an archive, which is logged.
    ``jobs`` archives are decoded at once. Raises UsageError for a range that is empty or has no
    archive at all; SourceError, after all other days, where some could not be read or are closed.
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
    return _deliveries(files, len(days), len(days) < len(span), settings, jobs, progress)


def _deliveries(
    files: Iterator[tuple[date, Path | None]],
    total: int,
    some_stored: bool,
    settings: Settings,
    jobs: int,
    progress: bool,
) -> Iterator[tuple[date, Delivery]]:
    def read(file: tuple[date, Path | None]) -> tuple[date, Delivery | SourceError | None]:
        day, path = file
        try:
            return day, read_archive(path, settings.tcgcsv_categories) if path else None
        except SourceError as error:  # one damaged day must not end the work on the others
            return day, error

    jobs = max(1, min(effective_n_jobs(jobs), total))
    results = map_ahead(read, files, jobs)
    shown = progress and sys.stderr.isatty()
    broken: list[str] = []
    missing = 0
    for day, found in tqdm(results, SOURCE, total, unit=" days", disable=not shown):
        if isinstance(found, Delivery):
            yield day, found
        elif found is None:
            missing += 1
        else:
            log.warning("%s left out: %s", day, found)
            broken.append(str(found))
    if total and missing == total and not some_stored:
        raise UsageError(
            "no archive of any day in the range was found; check --since, --until and --path"
        )
    if broken:
        more = f" | and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise SourceError(
            f"{len(broken)} archives could not be read: " + " | ".join(broken[:3]) + more
        )


def _local(folder: Path, days: list[date]) -> Iterator[tuple[date, Path | None]]:
    if not folder.is_dir():
        raise UsageError(f"'{folder}' is not a folder; --path takes the folder of the archives")
    found = _files(folder)
    if absent := [day for day in days if day not in found]:
        shown = ", ".join(map(str, absent[:10])) + (" ..." if len(absent) > 10 else "")
        log.warning("'%s' has no archive of %d days: %s", folder, len(absent), shown)
    return ((day, found.get(day)) for day in days)


def _files(folder: Path) -> dict[date, Path]:
    # Where a day has several files the original name wins: "jsonl" and "mini" sort before "ppmd".
    return {day: path for path in sorted(folder.glob("prices-*")) if (day := archive_date(path))}


def closed_marker(settings: Settings) -> Path:
    """Return the file that remembers when the service last refused an archive."""
    return settings.home / "archives" / "closed"


def is_closed(settings: Settings) -> bool:
    """Return whether the service refused an archive lately, so that no night need ask again."""
    try:
        refused = date.fromisoformat(closed_marker(settings).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return datetime.now(UTC).date() - refused < ASK_AGAIN


def _downloaded(settings: Settings, days: list[date]) -> Iterator[tuple[date, Path | None]]:
    folder = settings.make_home() / "archives"
    found = _files(folder)
    refused: SourceError | None = None
    with live.client(settings) as client:
        for day in days:
            if day in found or refused:
                yield day, found.get(day)
                continue
            name = f"prices-{day}.ppmd.7z"
            path = folder / name
            try:
                client.download(f"/archive/tcgplayer/{name}", path)
            except RefusedError as error:
                with atomic_write(closed_marker(settings)) as draft:
                    draft.write_text(f"{datetime.now(UTC).date()}", encoding="utf-8")
                refused = SourceError(
                    f"tcgcsv's archive of {day} is not given out (403): it is closed on purpose "
                    "since 2026-09-16, and needs no key. Days that were missed cannot be had from "
                    "it: collect every day ('pokewatch collect'), or read archives that you have "
                    "with 'pokewatch backfill --path FOLDER'"
                )
                refused.__cause__ = error
                yield day, None
                continue
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
    if refused is not None:
        raise refused
