"""How the command line shows results: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from pokewatch.cards.spelling import printable
from pokewatch.files import json_bytes

if TYPE_CHECKING:
    import pandas as pd

    from pokewatch.formatting import Money


def show(
    value: Any, as_json: bool, *people: Any, limit: int | None = 50, money: Money | None = None
) -> None:
    """Print a result on stdout.

    value: plain values, or a frame, which as JSON is a list of records.
    people: what to print without --json, one after the other; default: ``value``. A frame becomes
    a table of at most ``limit`` rows, a dict a line a name, all else is text.
    money: writes the amounts for people, where it is not plain; what is to be known of them goes to
    stderr. JSON has the amounts as they are stored.
    """
    import pandas as pd

    if as_json:
        plain = records(value) if isinstance(value, pd.DataFrame) else json.loads(json_bytes(value))
        escaped = not str(sys.stdout.encoding).lower().startswith("utf")
        sys.stdout.write(json.dumps(plain, ensure_ascii=escaped, indent=1) + "\n")
        return
    for part in people or (value,):
        if isinstance(part, pd.DataFrame):
            show_table(part, limit, money)
        elif isinstance(part, dict):
            width = max(len(name) for name in part)
            for name, one in part.items():
                sys.stdout.write(f"{name.ljust(width)}  {amount(name, one, money)}\n")
        else:
            sys.stdout.write(printable_lines(f"{part}\n"))
    if money is not None and money.note:
        sys.stdout.flush()
        sys.stderr.write(f"{money.note}\n")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a frame's rows as plain values, moments as ISO days, missing values as None."""
    moments = frame.select_dtypes(["datetime", "datetimetz"])
    days = {name: moments[name].dt.strftime("%Y-%m-%d") for name in moments}
    rows: list[dict[str, Any]] = json.loads(json_bytes(frame.assign(**days).to_dict("records")))
    return rows


def show_table(frame: pd.DataFrame, limit: int | None = None, money: Money | None = None) -> None:
    """Print a frame as a table: on a terminal as wide as that is, else at most 200 signs."""
    from pandas.api.types import is_numeric_dtype
    from rich.console import Console
    from rich.table import Table

    shown = frame.head(len(frame) if limit is None else limit)
    width = None if sys.stdout.isatty() else 200
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, column in shown.items():
        table.add_column(str(name), justify="right" if is_numeric_dtype(column) else "left")
    for row in records(shown):
        table.add_row(*(amount(name, value, money) for name, value in row.items()))
    console.print(table)
    if len(frame) > len(shown):
        console.print(f"... and {len(frame) - len(shown):,} more; --json lists all")


def amount(name: str, value: Any, money: Money | None) -> str:
    """Return a named value as people read it, an amount as ``money`` writes it."""
    if money is None or money.plain or not isinstance(value, int | float):
        return cell(value)
    from pokewatch.formatting import AMOUNTS

    return money(value) if name.partition(" (")[0] in AMOUNTS else cell(value)


def cell(value: Any) -> str:
    """Return a value as people read it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) >= 10 else f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return printable(", ".join(map(str, value))) or "none"
    if isinstance(value, dict):
        return (
            ", ".join(f"{printable(str(key))} {cell(item)}" for key, item in value.items())
            or "none"
        )
    return printable(str(value))


def printable_lines(text: str) -> str:
    """Return lines without signs that a terminal would act on."""
    return "".join(f"{printable(line)}\n" for line in text.splitlines())
