"""How figures are written for people: percentages, money, numbers, durations, lists."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

DASH = "–"
SIGNS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "BRL": "R$", "CAD": "CA$", "AUD": "A$"}
SIGNS |= {"NZD": "NZ$", "HKD": "HK$", "SGD": "S$", "MXN": "MX$", "CNY": "CN¥", "KRW": "₩"}
SIGNS |= {"INR": "₹", "ILS": "₪", "PHP": "₱", "TRY": "₺", "THB": "฿"}
BEHIND = {"PLN": "zł", "CZK": "Kč", "HUF": "Ft"}  # all others: the code before the amount
WHOLE = {"JPY", "KRW", "ISK"}  # currencies without a smaller unit
# Columns and fields that hold amounts.
AMOUNTS = {"market_price", "low_price", "mid_price", "high_price", "last_price", "fair_value"}
AMOUNTS |= {"fair_price", "lower", "upper", "price", "value", "cost", "gain", "before", "y"}
AMOUNTS |= {"target_above", "target_below", "value_1", "value_7", "value_30"}
AMOUNTS |= {"paid", "received", "amount", "fees", "buy_fees", "sale_fees"}
AMOUNTS |= {"realised", "realised gain", "realised_gain"}


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


@dataclass(frozen=True)
class Money:
    """How stored amounts are written: called with one, it returns the text in ``currency``.

    rate: of ``currency`` for one of ``stored``, the currency of the amounts; day: the rate's. note:
    what a reader should know of the two, "" where nothing is to be converted; doubtful: the rate is
    old or, so that nothing is converted, missing.
    """

    currency: str = "USD"
    stored: str = "USD"
    rate: float = 1.0
    day: date | None = None
    note: str = ""
    doubtful: bool = False

    def __call__(
        self, value: Any, *, sign: bool = False, short: bool = False, unknown: str = DASH
    ) -> str:
        """Return an amount: $1,234.50, with ``sign`` +$3.00; short: no cents from 1,000 on."""
        if not is_known(value):
            return unknown
        value = value * self.rate
        before, behind = self.around
        digits = 0 if short and abs(value) >= 1000 else self.digits
        value = round(float(value), digits)
        plus = "−" if value < 0 else "+" if sign and value > 0 else ""
        return f"{plus}{before}{abs(value):,.{digits}f}{behind}"

    @property
    def digits(self) -> int:
        """Digits behind the point."""
        return 0 if self.currency in WHOLE else 2

    @property
    def around(self) -> tuple[str, str]:
        """What stands before an amount and behind it."""
        if self.currency in BEHIND:
            return "", f" {BEHIND[self.currency]}"
        return SIGNS.get(self.currency, f"{self.currency} "), ""

    def rounded(self, amounts: pd.Series) -> pd.Series:
        """Return amounts in ``currency``, as exact as they are written."""
        return (amounts * self.rate).round(self.digits)

    @property
    def name(self) -> str:
        """The currency in a sentence."""
        return "dollars" if self.currency == "USD" else self.currency

    @property
    def plain(self) -> bool:
        """Whether amounts are US dollars, as every bare number is."""
        return self.currency == self.stored == "USD"

    @property
    def converts(self) -> bool:
        """Whether amounts are shown in another currency than they are stored in."""
        return self.currency != self.stored

    def about(self) -> dict[str, Any]:
        """Return what programs are told of a conversion, {} without one."""
        told = {"currency": self.currency, "rate": self.rate, "date": self.day}
        return {"display": told} if self.converts else {}

    def beside(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return rows with ``display_currency`` and ``display_*`` beside their amounts, if any."""
        names = [name for name in frame.columns if name in AMOUNTS] if self.converts else []
        if not names:
            return frame
        shown = {f"display_{name}": (frame[name] * self.rate).round(4) for name in names}
        return frame.assign(display_currency=self.currency, **shown)


usd = Money()


def days(count: int) -> str:
    """Return a number of days: 1 day, 7 days."""
    return f"{count} day{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it: 2.0 s, 12.3 ms, 4.2 µs; "" where unknown."""
    if not is_known(seconds):
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 1e-6:.1f} µs"


def listed(parts: list[str]) -> str:
    """Return parts as a person writes them: a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
