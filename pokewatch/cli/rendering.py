"""How the command line shows things: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from datetime import date
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from pokewatch.files import json_values


def show_json(value: Any) -> None:
    """Print plain values as JSON; frames become lists of records."""
    if isinstance(value, pd.DataFrame):
        value = records(value)
    sys.stdout.write(json.dumps(json_values(value), ensure_ascii=False, indent=1) + "\n")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows as plain values, dates as ISO days, missing values as None."""
    out = frame.copy()
    for column in out.columns:
        if pd.api.types.is_datetime64_any_dtype(out[column]):
            text = out[column].dt.strftime("%Y-%m-%d")
            out[column] = text.astype("object").where(out[column].notna(), None)
        else:
            values = out[column].astype("object")
            missing = [pd.api.types.is_scalar(value) and pd.isna(value) for value in values]
            out[column] = values.mask(pd.Series(missing, index=out.index, dtype=bool), None)
    rows: list[dict[str, Any]] = [
        {str(key): _json_value(value) for key, value in row.items()}
        for row in out.to_dict("records")
    ]
    return rows


def _json_value(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


def show_table(frame: pd.DataFrame, title: str = "", limit: int | None = None) -> None:
    """Print a frame as a table; on a terminal with colours and lines, else plain text."""
    shown = frame if limit is None else frame.head(limit)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    table = Table(title=title or None, box=None, pad_edge=False, header_style="bold")
    for column in shown.columns:
        number = pd.api.types.is_numeric_dtype(shown[column])
        table.add_column(str(column), justify="right" if number else "left")
    for row in records(shown):
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)
    if limit is not None and len(frame) > limit:
        console.print(f"... and {len(frame) - limit:,} more; --json lists all")


def show_pairs(pairs: dict[str, Any]) -> None:
    """Print names and values, a line each."""
    width = max(len(name) for name in pairs)
    for name, value in pairs.items():
        sys.stdout.write(f"{name.ljust(width)}  {_cell(value)}\n")


def _cell(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) >= 10 else f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items()) or "none"
    return escape(str(value)) if not isinstance(value, str) or "[" in value else value
