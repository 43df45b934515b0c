"""What a check of the installation found, and how it can be repaired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

MIB = 2**20


@dataclass
class Finding:
    """The result of one check.

    message: what was found; remedy: what a user can do about it; fix: does what is safe to do and
    returns what it did; done: what ``fix`` did.
    """

    state: Literal["ok", "warn", "bad"]
    name: str
    message: str
    remedy: str = ""
    fix: Callable[[], str] | None = None
    done: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return {
            "name": self.name,
            "state": self.state,
            "seen": self.message,
            "mend": self.remedy,
            "did": self.done,
            "fixable": self.fix is not None,
        }


ok = partial(Finding, "ok")
warn = partial(Finding, "warn")
bad = partial(Finding, "bad")


def chmod(path: Path, mode: int) -> tuple[str, Callable[[], str]]:
    """Return the remedy of a path that others can read, and the fix that sets its mode."""

    def fix() -> str:
        path.chmod(mode)
        return f"'{path}' has mode {mode:04o} now"

    return f"chmod {mode:o} {path}", fix
