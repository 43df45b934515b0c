"""Templates of the report, filled in with every string escaped, and how figures are written."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

FOLDER = Path(__file__).parent / "templates"
DASH = "–"


def read_template(name: str) -> str:
    """Return the text of a file in ``templates``."""
    return (FOLDER / name).read_text(encoding="utf-8")


def render(name: str, **values: Any) -> str:
    """Return a template filled in; strings are escaped, ``Markup`` is not."""
    return _environment().get_template(name).render(**values)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    filters = {"usd": usd, "percent": percent, "share": share, "number": number, "day": day}
    filters["order"] = order
    environment.filters |= filters
    environment.tests["known"] = is_known
    return environment


def is_known(value: Any) -> bool:
    """Return whether a figure is there."""
    return value is not None and not pd.isna(value)


def usd(value: Any, signed: bool = False) -> str:
    """Return an amount: $1,234.50, with ``signed`` +$3.00 or −$3.00."""
    if not is_known(value):
        return DASH
    sign = "−" if value < 0 else "+" if signed and value > 0 else ""
    return f"{sign}${abs(value):,.2f}"


def percent(value: Any, digits: int = 1) -> str:
    """Return a signed change in per cent."""
    if not is_known(value) or not math.isfinite(value):
        return DASH
    text = f"{value * 100:+,.{digits}f}".replace("-", "−")
    return (text[1:] if float(text.replace(",", "").replace("−", "-")) == 0 else text) + "\u00a0%"


def share(value: Any, digits: int = 0) -> str:
    """Return an unsigned share in per cent."""
    return f"{value * 100:.{digits}f}\u00a0%" if is_known(value) else DASH


def number(value: Any, digits: int = 0) -> str:
    """Return a figure with thousands separated."""
    return f"{value:,.{digits}f}".replace("-", "−") if is_known(value) else DASH


def order(value: Any) -> str:
    """Return a figure as tables sort by it; unknown ones come last in a falling order."""
    return f"{value:.6g}" if is_known(value) and math.isfinite(value) else "-1e99"


def day(value: Any) -> str:
    """Return a date as 30 June 2026."""
    return f"{value.day} {value:%B %Y}" if is_known(value) else DASH
