"""Files that are complete or not there: written beside their place, put there in one step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import orjson

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


def json_bytes(value: Any, indent: bool = False) -> bytes:
    """Return plain values as JSON in UTF-8.

    NaN, infinity and pandas' missing values become null, NumPy's numbers and arrays plain ones,
    days and moments ISO text, keys text. indent: two blanks a level. Raises TypeError for a value
    that JSON has no form for.
    """
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(value, _plain, options | orjson.OPT_INDENT_2 * indent)


def _plain(value: Any) -> Any:
    """Return a value that orjson knows, for one that it does not."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, date):  # pandas' Timestamp
        return value.isoformat()
    if hasattr(value, "tolist"):  # NumPy's arrays of objects, pandas' columns
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
