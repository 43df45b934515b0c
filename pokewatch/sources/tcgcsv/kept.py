"""Live answers kept as delivered, one compressed file a day: nobody else archives them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson

from pokewatch.files import atomic_write, write_error
from pokewatch.settings import Settings

UPDATED = "/last-updated.txt"
SUFFIX = ".jsonl.gz"
SIZE_LIMIT = 2**29  # bytes unpacked; a day of all cards has about 2**26
CHUNK = 2**16
SURE = timedelta(hours=20)  # after a snapshot; the next one comes about 24 hours after it


class KeptAnswers:
    """A snapshot's answers, by path, in ``<home>/archives/prices-DAY.jsonl.gz``.

    Each is a line of its own, compressed by itself and written as soon as it is sure that it is of
    this snapshot: a killed pull goes on where it stopped, and no price file is asked for twice.

    updated: the moment of the snapshot, as it was when the first answer was kept.
    """

    def __init__(self, settings: Settings, updated: datetime):
        self._path = settings.make_home() / "archives" / f"prices-{updated.date()}{SUFFIX}"
        self._days = settings.archive_days
        self._held: list[bytes] = []
        self._answers: dict[str, str] = {}
        if self._path.exists():
            self._answers, whole = read_answers(self._path)
            if not whole:  # nothing can be appended behind a line that was cut
                with atomic_write(self._path) as draft:
                    draft.write_bytes(b"".join(line_of(*one) for one in self._answers.items()))
        self.updated = moment_of(self._answers) or updated

    def __getitem__(self, path: str) -> str | None:
        return self._answers.get(path)

    def add(self, path: str, body: bytes) -> None:
        """Keep a usable answer; PokewatchError where it cannot be written."""
        if not self._answers:
            self._put(UPDATED, self.updated.isoformat())
        self._put(path, body.decode())
        if datetime.now(UTC) - self.updated < SURE:
            self._append()

    def flush(self) -> None:
        """Write what is held, now that the snapshot is known to be the same; forget old days."""
        self._append()
        forget_old(self._path, self._days)

    def _put(self, path: str, body: str) -> None:
        self._answers[path] = body
        self._held.append(line_of(path, body))

    def _append(self) -> None:
        if not self._held:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                file.write(b"".join(self._held))
        except OSError as error:
            raise write_error(self._path, error) from error
        self._held = []


def forget_old(newest: Path, days: int) -> None:
    """Delete kept answers that are so many days older than the newest; 0 keeps all."""
    kind, day = newest.name.removesuffix(SUFFIX).split("-", 1)
    oldest = f"{kind}-{date.fromisoformat(day) - timedelta(days)}"
    for other in newest.parent.glob(f"{kind}-????-??-??{SUFFIX}") if days else ():
        if other.name < oldest:
            other.unlink(missing_ok=True)


def read_answers(path: Path) -> tuple[dict[str, str], bool]:
    """Return a file's answers by path, and whether it could be read to its end."""
    found: dict[str, str] = {}
    try:
        for line in _lines(path):
            one = orjson.loads(line)
            found[one["path"]] = str(one["body"])
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        return found, False
    return found, True


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, each after its checksum was compared."""
    size, rest = 0, b""
    with path.open("rb") as file:
        while rest or (rest := file.read(CHUNK)):
            member, parts = zlib.decompressobj(wbits=31), []
            while not member.eof:
                if not (rest := rest or file.read(CHUNK)):
                    raise EOFError(f"'{path}' is cut")
                parts.append(member.decompress(rest, SIZE_LIMIT - size))
                size, rest = size + len(parts[-1]), member.unconsumed_tail or member.unused_data
                if size >= SIZE_LIMIT:
                    raise EOFError(f"'{path}' would unpack to more than {SIZE_LIMIT} bytes")
            yield b"".join(parts)


def moment_of(answers: dict[str, str]) -> datetime | None:
    """Return the moment of kept answers, None where it is missing."""
    try:
        return datetime.fromisoformat(answers[UPDATED]).astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return None


def line_of(path: str, body: str) -> bytes:
    """Return an answer as a line of such a file, compressed by itself."""
    return gzip.compress(orjson.dumps({"path": path, "body": body}) + b"\n", mtime=0)
