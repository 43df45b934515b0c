"""Files that are complete or not there: written beside their place, put there in one step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pokewatch.errors import PokewatchError


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Yield a path to write to; the file takes the place of ``path`` when all went well.

    Raises PokewatchError for what the file system refuses; ``path`` is as it was then.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # a read-only file system refuses even this
            draft.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> PokewatchError:
    """Return the error of a file or folder that could not be written."""
    return PokewatchError(
        f"'{path}' could not be written: {error}; what was there is intact: check free space and "
        "permissions, then run it again"
    )
