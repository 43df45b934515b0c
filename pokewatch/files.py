"""Files that are complete or not there, and JSON as it is written everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    """Return a value as JSON: NaN, infinity and missing values become null.

    NumPy's and pandas' values are written as plain ones, days as YYYY-MM-DD, a frame as a list of
    records. Raises TypeError for anything else that JSON does not know.
    """
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    options |= orjson.OPT_INDENT_2 if indent else 0
    return orjson.dumps(value, _json_value, options)


def json_values(value: Any) -> Any:
    """Return a value as ``json_bytes`` writes it: dictionaries, lists, texts and numbers."""
    return orjson.loads(json_bytes(value))


def _json_value(value: Any) -> Any:
    """Return what orjson can write in place of what it cannot."""
    import pandas as pd

    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}" if value == value.normalize() else value.isoformat()
    if isinstance(value, pd.DataFrame):
        return value.to_dict("records")
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"no JSON value: {value!r}")
