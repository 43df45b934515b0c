"""What is wrong with an installation, how it is mended, and the mending of what is safe."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from pokewatch.errors import PokewatchError
from pokewatch.settings import PROJECT, Settings

MIB = 2**20
DISK_BAD, DISK_LOW = 200 * MIB, 2048 * MIB
SECRETS = ("KEY", "PASSWORD", "TOKEN", "SECRET", "NOTIFY", "CACHE_URL", "HEARTBEAT")
DRAFTS = ("*.part", ".*.tmp", "champion.*.tmp", ".draft-*", ".tracking-*", ".export-*", ".import-*")
RESTING = timedelta(hours=1)  # a draft this old belongs to nobody, if its process is gone too
ABANDONED = timedelta(days=1)


class State(StrEnum):
    """How a check ended."""

    ok = "ok"
    warn = "warn"
    bad = "bad"


@dataclass
class Finding:
    """What one check saw; ``fix`` mends it where that is safe, and ``did`` says what it did."""

    name: str
    state: State
    seen: str
    mend: str = ""
    fix: Callable[[], str] | None = None
    did: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        kept = {name: value for name, value in vars(self).items() if name != "fix"}
        return kept | {"fixable": self.fix is not None}


def examine(settings: Settings, deep: bool = False) -> list[Finding]:
    """Run every check; a check that fails itself is a finding too. deep: read all data."""
    from pokewatch.operations.doctor import data, stack

    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("home", lambda: check_home(settings)),
        ("settings", lambda: check_settings(PROJECT)),
        ("disk", lambda: check_disk(settings)),
        ("tables", lambda: data.check_tables(settings, deep)),
        ("clock", lambda: data.check_clock(settings)),
        ("source", lambda: stack.check_source(settings)),
        ("packages", stack.check_packages),
        ("databases", lambda: stack.check_databases(settings)),
        ("models", lambda: stack.check_models(settings)),
        ("nights", lambda: data.check_nights(settings)),
        ("leftovers", lambda: check_leftovers(settings)),
    ]
    found: list[Finding] = []
    for name, check in checks:
        try:
            found += check()
        except (PokewatchError, OSError) as error:
            found.append(Finding(name, State.bad, str(error)))
        except Exception as error:  # a damaged home may break a check in ways nobody foresaw
            seen = f"the check failed: {type(error).__name__}: {error}"
            found.append(Finding(name, State.bad, seen))
    return found


def mend(settings: Settings, deep: bool = False) -> list[Finding]:
    """Mend what is safe to mend, then look again; ``did`` tells what was done.

    Nothing is deleted but drafts of processes that are gone. Raises PokewatchError while a night
    is running.
    """
    with no_night(settings):
        did = {}
        for finding in examine(settings, deep):
            if finding.fix is not None:
                try:
                    did[finding.name] = finding.fix()
                except (PokewatchError, OSError) as error:
                    did[finding.name] = f"could not be mended: {error}"
        after = examine(settings, deep)
    for finding in after:
        finding.did = did.pop(finding.name, "")
    return after + [Finding(name, State.ok, "mended", did=text) for name, text in did.items()]


@contextmanager
def no_night(settings: Settings) -> Iterator[None]:
    """Hold the lock of the nightly script, so that no night runs meanwhile."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system: the script does not run there either
        yield
        return
    path = settings.make_home() / "logs" / "nightly.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PokewatchError(
                "a night is running in this data home: run 'pokewatch doctor --fix' when it is done"
            ) from error
        yield


def check_home(settings: Settings) -> Iterator[Finding]:
    """Whether the data home is a folder of this user that nobody else can look into."""
    home = settings.home
    if not home.exists():
        parent = next(folder for folder in home.parents if folder.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            seen = f"'{home}' is not there yet"
            mend = "the first night makes it"
            yield Finding("home", State.ok, seen, mend, lambda: f"made '{settings.make_home()}'")
        else:
            mend = "set POKEWATCH_HOME to a folder of yours"
            yield Finding("home", State.bad, f"'{home}' cannot be made in '{parent}'", mend)
        return
    if not home.is_dir():
        mend = "move the file away, or set POKEWATCH_HOME"
        yield Finding("home", State.bad, f"'{home}' is no folder", mend)
        return
    foreign = [path for path in [home, *home.glob("*"), *home.glob("*/*")] if not _ours(path)]
    if foreign:
        seen = f"{len(foreign)} files cannot be written by this user, '{foreign[0]}' first"
        mend = f"chown -R {_user()} '{home}' as root, or mount it writable"
        yield Finding("home", State.bad, seen, mend)
    else:
        yield Finding("home", State.ok, f"'{home}' is writable")
    mode = home.stat().st_mode & 0o777
    if os.name == "posix" and mode & 0o027:
        seen, mend = f"mode {mode:04o} lets others in, and it may hold secrets", f"chmod 700 {home}"
        yield Finding("home access", State.warn, seen, mend, lambda: _restrict(home, 0o700))
    key = home / "zenml" / "secrets.key"
    if os.name == "posix" and key.exists() and key.stat().st_mode & 0o077:
        mend = f"chmod 600 {key}"
        seen = f"'{key}' can be read by others"
        yield Finding("home key", State.bad, seen, mend, lambda: _restrict(key, 0o600))


def _ours(path: Path) -> bool:
    return os.access(path, os.W_OK, follow_symlinks=path.exists())


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "you"


def _restrict(path: Path, mode: int) -> str:
    path.chmod(mode)
    return f"'{path}' has mode {mode:04o} now"


def check_settings(project: Path) -> Iterator[Finding]:
    """Whether .env keeps its keys to its owner, and every POKEWATCH_* variable is one of ours."""
    from dotenv import dotenv_values

    path = project / ".env"
    values = dotenv_values(path, interpolate=False) if path.is_file() else {}
    keys = [name for name, value in values.items() if value and any(s in name for s in SECRETS)]
    if keys and os.name == "posix" and path.stat().st_mode & 0o077:
        seen = f".env holds {', '.join(keys)} and can be read by others"
        yield Finding(
            "settings keys", State.bad, seen, f"chmod 600 {path}", lambda: _restrict(path, 0o600)
        )
    example = project / ".env.example"
    if example.is_file():
        text = example.read_text(encoding="utf-8")
        known = {"POKEWATCH_DEBUG", *re.findall(r"^# ?(POKEWATCH_\w+)=", text, re.M)}
        names = {name for name in {*os.environ, *values} if name.startswith("POKEWATCH_")}
        if unknown := sorted(names - known):
            seen = f"{', '.join(unknown)}: not a setting, so without effect"
            yield Finding("settings names", State.warn, seen, "see .env.example for the names")
    where = f"{len(values)} from .env" if values else "no .env"
    yield Finding("settings", State.ok, f"valid; {where}")


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Whether the disks of home and store have room for the next nights."""
    places = {str(settings.home), settings.store_root}
    for place in sorted(Path(place) for place in places if "://" not in place):
        there = next(folder for folder in [place, *place.parents] if folder.exists())
        free = shutil.disk_usage(there).free
        state = State.bad if free < DISK_BAD else State.warn if free < DISK_LOW else State.ok
        mend = "free some space: archives/ and reports/ can be made again"
        seen = f"{free / 2**30:,.1f} GiB free for '{place}'"
        yield Finding("disk", state, seen, "" if state is State.ok else mend)


def check_leftovers(settings: Settings) -> Iterator[Finding]:
    """Whether killed processes left drafts behind."""
    stale = [path for path in drafts(settings) if is_stale(path)]
    if not stale:
        yield Finding("leftovers", State.ok, "no drafts of killed processes")
        return

    def remove() -> str:
        for path in stale:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return f"{len(stale)} drafts deleted"

    seen = f"{len(stale)} drafts of killed processes, '{stale[0]}' first"
    yield Finding("leftovers", State.warn, seen, "pokewatch doctor --fix deletes them", remove)


def drafts(settings: Settings) -> list[Path]:
    """Return unfinished files and folders that PokeWatch itself makes."""
    home = settings.home
    folders = [
        home,
        *(home / name for name in ("archives", "models", "reports", "reports/notebooks", "trials")),
        *(home / "models").glob("[!.]*/"),
    ]
    found = {path for folder in folders for kind in DRAFTS for path in folder.glob(kind)}
    found.update(settings.watchlist.parent.glob(f".{settings.watchlist.name}.*.tmp"))
    return sorted(found)


def is_stale(path: Path) -> bool:
    """Whether nobody writes a draft any more: old, and its process, where it names one, gone."""
    try:
        age = datetime.now(UTC) - datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:  # finished meanwhile
        return False
    parts = path.name.split(".")
    process = int(parts[-2]) if len(parts) > 2 and parts[-2].isdecimal() else None
    # Processes of another container are not seen: age must speak as well.
    return age > ABANDONED or (process is not None and not _runs(process) and age > RESTING)


def _runs(process: int) -> bool:
    if os.name != "posix":  # there, asking would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
