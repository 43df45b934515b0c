"""How figures are written for people: percentages, US dollars, numbers, durations, lists."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

DASH = "–"


def is_known(value: Any) -> bool:
    """Return whether a value is there: not None, NaN or NaT."""
    return value is not None and not pd.isna(value)


def number(value: Any, digits: int = 0, *, sign: bool = False, unknown: str = DASH) -> str:
    """Return a number with thousands separated: 1,234 or −0.25, with ``sign`` +0.25.

    Zero has no sign; a missing or infinite value is ``unknown``.
    """
    if not is_known(value) or not math.isfinite(value):
        return unknown
    plus = "+" if sign and round(value, digits) > 0 else ""
    return f"{plus}{value:z,.{digits}f}".replace("-", "−")


def percent(value: Any, digits: int = 1, *, sign: bool = False, unknown: str = DASH) -> str:
    """Return a fraction as a percentage: 12.3 %, with ``sign`` +12.3 %; else as ``number``."""
    if not is_known(value) or not math.isfinite(value):
        return unknown
    return number(100 * value, digits, sign=sign) + " %"


def usd(value: Any, *, sign: bool = False, short: bool = False, unknown: str = DASH) -> str:
    """Return US dollars: $1,234.50, with ``sign`` +$3.00; short: without cents from $1,000 on."""
    if not is_known(value):
        return unknown
    before = "−" if value < 0 else "+" if sign and value > 0 else ""
    return f"{before}${abs(value):,.{0 if short and abs(value) >= 1000 else 2}f}"


def days(count: int) -> str:
    """Return a number of days: 1 day, 7 days."""
    return f"{count} day{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it: 2.0 s, 12.3 ms, 4.2 µs."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 1e-6:.1f} µs"


def listed(parts: list[str]) -> str:
    """Return parts as a person writes them: a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
