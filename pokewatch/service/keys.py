"""API keys: made, listed, revoked; kept as SHA-256 in the data home, for its owner only."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from pokewatch.errors import PokewatchError, UsageError
from pokewatch.files import alone, atomic_write, json_bytes
from pokewatch.settings import Settings

log = logging.getLogger(__name__)

SCOPES = ("read", "portfolio", "admin")
BYTES = 32  # of randomness: so long a key needs no slow hash
LONGEST_NAME = 64
LOCK_SECONDS = 5.0
OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Key:
    """What is known of a key, which is not the key; moments are ISO texts in UTC."""

    id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    created: str
    expires: str | None = None
    revoked: str | None = None

    @property
    def state(self) -> str:
        """One of active, expired and revoked."""
        if self.revoked:
            return "revoked"
        return "expired" if self.expires and self.expires <= now() else "active"


def now() -> str:
    """Return this second in UTC; such texts compare as the moments do."""
    return _written(int(time.time()))


@lru_cache(maxsize=1)  # once a second, not twice a request
def _written(second: int) -> str:
    return datetime.fromtimestamp(second, tz=UTC).isoformat(timespec="seconds")


def digest_of(text: bytes) -> str:
    """Return the hash under which a key is kept."""
    return hashlib.sha256(text).hexdigest()


class Keys:
    """The keys of a data home, and those of the first system's variable ``API_KEYS``."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self.path = settings.home / "keys.json"
        self.used_path = settings.home / "keys_used.json"
        self._stamp: object = ()  # of the file that was read; no file has this one
        self._kept: list[Key] = []
        self._used: dict[str, str] = {}
        self._given = [
            Key(f"given-{number}", f"API_KEYS {number}", digest_of(text.encode()), ("read",), "")
            for number, text in enumerate(_given(settings), start=1)
        ]
        if self._given:
            log.warning(
                "API_KEYS holds %d keys in plain text: make others with 'pokewatch keys create' "
                "and empty it",
                len(self._given),
            )

    def listed(self) -> list[dict[str, Any]]:
        """Return all keys with name, scopes, dates and state; no hash."""
        used = self._read_used()
        return [
            {
                **{name: value for name, value in asdict(key).items() if name != "digest"},
                "last_used": used.get(key.id),
                "state": key.state,
            }
            for key in [*self._read(), *self._given]
        ]

    def any_active(self) -> bool:
        """Return whether there is a key that would be let in."""
        return any(key.state == "active" for key in [*self._read(), *self._given])

    def create(self, name: str, scopes: list[str], days: int | None = None) -> str:
        """Make a key and return its text, which is kept nowhere; days: until it expires."""
        if not name.isprintable() or not 0 < len(name.strip()) <= LONGEST_NAME:
            raise UsageError(f"name {name!r}: write 1 to {LONGEST_NAME} printable letters")
        if unknown := sorted(set(scopes) - set(SCOPES)):
            raise UsageError(f"unknown scope '{unknown[0]}': choose among {', '.join(SCOPES)}")
        text = f"pw_{secrets.token_urlsafe(BYTES)}"
        end = None if days is None else datetime.now(tz=UTC) + timedelta(days=days)
        key = Key(
            secrets.token_hex(4),
            name.strip(),
            digest_of(text.encode()),
            tuple(one for one in SCOPES if one in scopes),
            now(),
            end.isoformat(timespec="seconds") if end else None,
        )
        with self._changed() as keys:
            if any(one.name == key.name and one.state == "active" for one in keys):
                raise UsageError(f"there is a key '{key.name}' already: revoke or rotate it")
            keys.append(key)
        return text

    def revoke(self, name: str) -> None:
        """Let a key, by name or id, open nothing any more."""
        with self._changed() as keys:
            at = _place(keys, name)
            keys[at] = replace(keys[at], revoked=now())

    def rotate(self, name: str) -> str:
        """Return a new key in place of another, with its name, scopes and expiry."""
        text = f"pw_{secrets.token_urlsafe(BYTES)}"
        with self._changed() as keys:
            at = _place(keys, name)
            digest = digest_of(text.encode())
            new = replace(keys[at], id=secrets.token_hex(4), digest=digest, created=now())
            keys.append(new)
            keys[at] = replace(keys[at], revoked=now())
        return text

    def check(self, text: bytes) -> Key | None:
        """Return the active key of this text, None for any other text.

        Every kept key is compared, each in constant time. A change of the file counts at once.
        Raises PokewatchError where it cannot be read.
        """
        digest, found = digest_of(text), None
        for key in (*self._read(), *self._given):
            if hmac.compare_digest(key.digest, digest):
                found = key
        if found is None or found.state != "active":
            return None
        self._used[found.id] = now()
        return found

    def note_used(self) -> None:
        """Write down when keys were last used, if any was; what cannot be written waits."""
        used, self._used = self._used, {}
        try:
            if used:
                with _alone(self.path.with_name("keys.lock")):
                    _write(self.used_path, self._read_used() | used)
        except (PokewatchError, OSError):
            self._used = used | self._used

    def _read_used(self) -> dict[str, str]:
        try:
            found = json.loads(self.used_path.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _read(self) -> list[Key]:
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            self._stamp, self._kept = None, []
            return []
        stamp = facts.st_mtime_ns, facts.st_ino, facts.st_size
        if stamp != self._stamp:
            try:
                found = json.loads(self.path.read_bytes())["keys"]
                keys = [Key(**one | {"scopes": tuple(one["scopes"])}) for one in found]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise PokewatchError(
                    f"'{self.path.name}' in the data home cannot be read ({type(error).__name__}): "
                    "restore it from a back-up, or delete it and make new keys"
                ) from error
            self._kept, self._stamp = keys, stamp
        return self._kept

    @contextmanager
    def _changed(self) -> Iterator[list[Key]]:
        """Yield the kept keys to change; one process at a time does."""
        self._settings.make_home()
        with _alone(self.path.with_name("keys.lock")):
            keys = list(self._read())
            yield keys
            _write(self.path, {"keys": [asdict(key) for key in keys]})


def _given(settings: Settings) -> list[str]:
    texts = settings.api_keys.get_secret_value().split(",")
    return [text.strip() for text in texts if text.strip()]


def _place(keys: list[Key], name: str) -> int:
    for at, key in enumerate(keys):
        if name in (key.name, key.id) and key.state == "active":
            return at
    known = ", ".join(key.name for key in keys if key.state == "active") or "none"
    raise UsageError(f"unknown key '{name}': there are {known}")


def _write(path: Path, value: Any) -> None:
    def private(name: str, flags: int) -> int:
        return os.open(name, flags, OWNER_ONLY)

    with atomic_write(path) as draft, open(draft, "wb", opener=private) as file:
        file.write(json_bytes(value, indent=True))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock file; PokewatchError where another process does for long."""
    end = time.monotonic() + LOCK_SECONDS
    while True:
        with alone(path) as held:
            if held is not False:
                yield
                return
        if time.monotonic() > end:
            raise PokewatchError("another command changes the keys: try again")
        time.sleep(0.05)
