"""Files written in one step, JSON as it is written everywhere, CSV and Parquet as frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pokewatch import csv_files
from pokewatch.errors import PokewatchError, SourceError, UsageError

PARQUET, CSV = (".parquet", ".pq"), (".csv", ".csv.gz")
MISSING = {"", "NA", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL", "None", "nan", "NaN", "NAN"}


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it replaces ``path`` where no error was raised.

    The new content is on the disk before the old one goes. Raises PokewatchError for what the file
    system refuses; ``path`` is unchanged then, as it is after any other error.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):  # a read-only file system refuses even this
            part.unlink(missing_ok=True)


@contextmanager
def alone(path: Path) -> Iterator[bool | None]:
    """Hold a file (made where it is missing) or a folder against other processes.

    Yields True where it is held, False where another process holds it, None where the system or
    the file system knows no such locks. It is let go with the process, however that ends.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield None
        return
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o600)
    held: bool | None = True
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        except OSError:  # such as a folder on NFS
            held = None
        yield held
    finally:
        os.close(descriptor)


def write_error(path: Path, error: OSError) -> PokewatchError:
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


def read_table(path: Path, on: date | None = None) -> pd.DataFrame:
    """Return a CSV file's fields as text, or a Parquet file's columns with their types.

    on: of a Parquet file whose column ``date`` holds dates, only the rows of that date and those
    without a date. Dictionaries are decoded, bytes and card ids become text, decimals floats.
    ``attrs`` of a CSV file: its ``delimiter``, and the ``currency`` that a comment names, or "".

    Raises UsageError for a missing file, another format or a nested column, SourceError for a
    file that cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"file '{path}' does not exist: check --path")
    name = path.name.lower()
    try:
        if name.endswith(PARQUET):
            where = None if on is None else _day_filter(path, on)
            return _plain(pq.read_table(path, filters=where), path).to_pandas()
        if name.endswith(CSV):
            return _csv_frame(path)
    except (OSError, ValueError, pa.ArrowException, EOFError) as error:
        raise SourceError(f"'{path}' cannot be read: {error}; export it again") from error
    raise UsageError(f"'{path}' is no CSV or Parquet file: its name must end in .csv or .parquet")


def _csv_frame(path: Path) -> pd.DataFrame:
    try:
        table = csv_files.read(path)
    except UsageError as error:
        raise SourceError(str(error)) from error
    if table.problems:
        line, problem = table.problems[0]
        more = f"; so have {len(table.problems) - 1} other rows" if table.problems[1:] else ""
        raise SourceError(
            f"'{path}', line {line}: {problem}{more}; a price could stand in the wrong column: "
            "mend the line or export the file again"
        )
    cells = [[np.nan if cell in MISSING else cell for cell in row] for _, row in table.rows]
    frame = pd.DataFrame(cells, columns=table.header, dtype="object")
    frame.attrs = {"currency": table.currency, "delimiter": table.delimiter}
    return frame


def _day_filter(path: Path, on: date) -> pc.Expression | None:
    """Return the filter of a Parquet file's rows of a date; None if ``date`` holds no dates."""
    known = pq.read_schema(path)
    if "date" not in known.names or not pa.types.is_date(known.field("date").type):
        return None
    return (pc.field("date") == on) | pc.field("date").is_null()


def _plain(table: pa.Table, path: Path) -> pa.Table:
    for number, column in enumerate(table.schema):
        kind = column.type
        if pa.types.is_nested(kind):
            raise UsageError(f"column '{column.name}' of '{path}' is nested: export plain columns")
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or column.name == "card_id":
            kind = pa.string()
        if pa.types.is_decimal(kind):
            kind = pa.float64()
        if kind != column.type:
            table = table.set_column(number, column.name, table.column(number).cast(kind))
    return table
