"""Frames written to files: Parquet, JSON, and CSV that a spreadsheet runs no formula of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from pokewatch.csv_files import FORMULA
from pokewatch.errors import UsageError
from pokewatch.files import atomic_write


def no_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with a ' before every text that a spreadsheet would run as a formula."""
    texts = frame.select_dtypes(["object", "string", "category"])
    return frame.assign(**{name: texts[name].map(_inert, na_action="ignore") for name in texts})


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # Left unquoted by the writer, a carriage return would begin a row, and a formula in it.
    value = value.replace("\r", " ")
    return f"'{value}" if FORMULA.match(value) else value


WRITERS = {
    ".parquet": lambda frame, to: frame.to_parquet(to, index=False),
    ".csv": lambda frame, to: no_formulas(frame).to_csv(to, index=False, date_format="%Y-%m-%d"),
    ".json": lambda frame, to: frame.to_json(to, orient="records", date_format="iso", indent=1),
}


def check_output(path: Path) -> None:
    """Raise UsageError for a file name whose format is not known, before any work is done."""
    if path.suffix.lower() not in WRITERS:
        raise UsageError(f"--output '{path}' must end in {', '.join(WRITERS)}")


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as .parquet, .csv or .json, complete or not at all."""
    check_output(path)
    with atomic_write(path) as draft:
        WRITERS[path.suffix.lower()](frame, draft)
