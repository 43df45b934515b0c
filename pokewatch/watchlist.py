"""The user's own cards: ``watchlist.yaml`` read, checked line by line, and valued."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pokewatch.cards import Resolver
from pokewatch.errors import UsageError
from pokewatch.panel import Panel
from pokewatch.sources.simulated import FIRST_PRODUCT

SPANS = (1, 7, 30)  # days over which a value's change is shown
EXAMPLE = "write each card as '- {card: sv4pt5-1, quantity: 2, cost: 12.50}'"


class Entry(BaseModel):
    """One line of the watchlist; ``cost`` is what one copy cost, in USD."""

    model_config = ConfigDict(
        extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False, str_strip_whitespace=True
    )

    card: str = Field(min_length=1)
    quantity: int = Field(1, ge=1)
    cost: float | None = Field(None, ge=0)
    note: str = ""


def load(path: Path) -> list[Entry]:
    """Read a watchlist; an empty file is an empty list.

    Raises UsageError that names the file, the entry with its line, and the mend.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"there is no '{path.name}' yet: {EXAMPLE}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"'{path.name}' cannot be read: {error}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise UsageError(f"'{path.name}'{where} is no YAML ({problem}): {EXAMPLE}") from error
    if values is None:
        return []
    if not isinstance(values, list) or not isinstance(node, yaml.SequenceNode):
        raise UsageError(f"'{path.name}' must be a list of cards: {EXAMPLE}")
    lines = [item.start_mark.line + 1 for item in node.value]
    return [
        _entry(path, number, line, value)
        for number, (line, value) in enumerate(zip(lines, values, strict=True), start=1)
    ]


def _entry(path: Path, number: int, line: int, value: object) -> Entry:
    here = f"'{path.name}', entry {number} (line {line})"
    if not isinstance(value, dict):
        raise UsageError(f"{here} is {value!r}: {EXAMPLE}")
    try:
        return Entry.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = ", ".join(Entry.model_fields)
        if first["type"] == "extra_forbidden":
            raise UsageError(f"{here}: unknown field '{field}', known are {known}") from error
        if first["type"] == "missing":
            raise UsageError(f"{here}: '{field}' is missing; {EXAMPLE}") from error
        raise UsageError(f"{here}: {field}={first['input']!r}: {first['msg']}") from error


def is_simulated(card: str) -> bool:
    """Return whether an id or alias can only be one of the simulated market."""
    return bool(re.fullmatch(r"sim\d+-\d+", card)) or card.split(":")[0] in {
        str(FIRST_PRODUCT + number) for number in range(1000)
    }


def holdings(entries: list[Entry], resolver: Resolver, panel: Panel) -> pd.DataFrame:
    """Value the watchlist on the panel's last day, one row an entry, in its order.

    Returns columns card (as written), card_id, quantity, cost, note, price, value, gain (USD),
    value_1, value_7, value_30 (value that many days ago, NaN where unknown), age (days since the
    price was observed) and problem: why an entry has no price, else None.
    """
    position = {card_id: column for column, card_id in enumerate(panel.card_ids)}
    last = len(panel.dates) - 1
    rows = []
    for entry in entries:
        card_id, column, problem = None, None, None
        try:
            card_id = resolver(entry.card)
            column = position.get(card_id)
            if column is None:
                problem = f"no accepted price up to {panel.dates[-1]:%Y-%m-%d} for '{entry.card}'"
        except UsageError as error:
            problem = str(error)
        price = np.nan if column is None else panel.price[last, column]
        cost = np.nan if entry.cost is None else entry.cost
        row = {
            "card": entry.card,
            "card_id": card_id,
            "quantity": entry.quantity,
            "cost": cost,
            "note": entry.note,
            "price": price,
            "value": entry.quantity * price,
            "gain": entry.quantity * (price - cost),
            "age": np.nan if column is None else panel.age[last, column],
        }
        for span in SPANS:
            known = column is not None and last >= span
            row[f"value_{span}"] = (
                entry.quantity * panel.price[last - span, column] if known else np.nan
            )
        rows.append(row | {"problem": problem})
    names = ["card", "card_id", "quantity", "cost", "note", "price", "value", "gain", "age"]
    spans = [f"value_{span}" for span in SPANS]
    return pd.DataFrame(rows, columns=[*names, *spans, "problem"])


def total_change(held: pd.DataFrame, span: int) -> float:
    """Return the change in value over ``span`` days of the entries that had a price then."""
    both = held.dropna(subset=["value", f"value_{span}"])
    before = both[f"value_{span}"].sum()
    return float(both["value"].sum() / before - 1) if before > 0 else float("nan")
