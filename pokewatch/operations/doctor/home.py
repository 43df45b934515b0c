"""Checks of the data home as a folder: access, free space, unfinished files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pokewatch.operations.doctor.findings import MIB, Finding, bad, chmod, ok, warn
from pokewatch.settings import Settings

DISK_BAD, DISK_LOW = 200 * MIB, 2048 * MIB
UNFINISHED = (
    *("*.part", ".*.tmp", "champion.*.tmp"),
    *(".draft-*", ".tracking-*", ".export-*", ".import-*"),
)
RESTING = timedelta(hours=1)  # so old, and its process gone: nobody goes on writing it
ABANDONED = timedelta(days=1)


def check_home(settings: Settings) -> Iterator[Finding]:
    """Whether the data home is a folder of this user that nobody else can look into."""
    home = settings.home
    if not home.exists():
        parent = next(folder for folder in home.parents if folder.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            message, remedy = f"'{home}' is not there yet", "the first night makes it"
            yield ok("home", message, remedy, lambda: f"made '{settings.make_home()}'")
        else:
            remedy = "set POKEWATCH_HOME to a folder of yours"
            yield bad("home", f"'{home}' cannot be made in '{parent}'", remedy)
        return
    if not home.is_dir():
        yield bad("home", f"'{home}' is no folder", "move the file away, or set POKEWATCH_HOME")
        return
    paths = [home, *home.glob("*"), *home.glob("*/*")]
    foreign = [
        path for path in paths if not os.access(path, os.W_OK, follow_symlinks=path.exists())
    ]
    if foreign:
        message = f"{len(foreign)} files cannot be written by this user, '{foreign[0]}' first"
        user = os.getuid() if hasattr(os, "getuid") else "you"
        yield bad("home", message, f"chown -R {user} '{home}' as root, or mount it writable")
    else:
        yield ok("home", f"'{home}' is writable")
    if os.name != "posix":
        return
    if (mode := home.stat().st_mode & 0o777) & 0o027:
        message = f"mode {mode:04o} lets others in, and it may hold secrets"
        yield warn("home access", message, *chmod(home, 0o700))
    key = home / "zenml" / "secrets.key"
    if key.exists() and key.stat().st_mode & 0o077:
        yield bad("home key", f"'{key}' can be read by others", *chmod(key, 0o600))


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Whether the disks of home and store have room for the next nights."""
    places = {str(settings.home), settings.store_root}
    for place in sorted(Path(place) for place in places if "://" not in place):
        there = next(folder for folder in [place, *place.parents] if folder.exists())
        free = shutil.disk_usage(there).free
        message = f"{free / 2**30:,.1f} GiB free for '{place}'"
        if free < DISK_LOW:
            finding = bad if free < DISK_BAD else warn
            remedy = "free some space: reports/ can be made again, archives/ cannot"
            yield finding("disk", message, remedy)
        else:
            yield ok("disk", message)


def check_leftovers(settings: Settings) -> Iterator[Finding]:
    """Whether killed processes left unfinished files behind."""
    stale = [path for path in unfinished(settings) if is_stale(path)]
    if not stale:
        yield ok("leftovers", "no unfinished files of killed processes")
        return

    def remove() -> str:
        for path in stale:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return f"{len(stale)} unfinished files deleted"

    message = f"{len(stale)} unfinished files of killed processes, '{stale[0]}' first"
    yield warn("leftovers", message, "pokewatch doctor --fix deletes them", remove)


def unfinished(settings: Settings) -> list[Path]:
    """Return the files and folders that PokeWatch has begun to write and not finished."""
    home, watchlist = settings.home, settings.watchlist
    names = ("archives", "models", "reports", "reports/notebooks", "trials")
    folders = [home, *(home / name for name in names), *(home / "models").glob("[!.]*/")]
    found = {path for folder in folders for kind in UNFINISHED for path in folder.glob(kind)}
    return sorted(found | {*watchlist.parent.glob(f".{watchlist.name}.*.tmp")})


def is_stale(path: Path) -> bool:
    """Whether an unfinished file is old, and its process, where its name has one, is gone."""
    try:
        age = datetime.now(UTC) - datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:  # finished meanwhile
        return False
    parts = path.name.split(".")
    named = len(parts) > 2 and parts[-2].isdecimal()
    # A process of another container is not seen here: age alone decides after a day.
    return age > ABANDONED or (age > RESTING and named and not _runs(int(parts[-2])))


def _runs(process: int) -> bool:
    if os.name != "posix":  # there, os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
