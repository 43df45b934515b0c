"""Frames as people read them: money, shares and times in HTML tables."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from IPython.display import HTML

from pokewatch.charts.report import dollars
from pokewatch.schema import MODEL

MONEY = {"price", "y", "before", "value", "last_price", "market_price", "fair_value"}
MONEY |= {"lower", "upper"}
SHARES = {"rising", "falling", "coverage", "hit_rate", "buy_precision", "buy_base_rate", "mape"}
SHARES |= {"sell_precision", "sell_base_rate", "buy_recall", "sell_recall", "width"}
SIGNED = {"change", "move", "gain", "return_after_fees", "deviation", "importance", "spread"}
TIMES = {"cold", "warm", "seconds", "build", "fit", "forecast"}
CALLED = {"y": "price later", "n": "forecasts"}


def percent(value: float, digits: int = 1, sign: bool = False) -> str:
    """Return a fraction as a percentage; unknown ones as such."""
    if not np.isfinite(value):
        return "unknown"
    text = f"{100 * value + 0.0:{'+' if sign else ''}.{digits}f} %"
    return text.replace("-", "−")


def seconds(value: float) -> str:
    """Return a duration in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value / 1e-6:.1f} µs"


def show(frame: pd.DataFrame, top: int | None = None, drop: Iterable[str] = ()) -> HTML:
    """Return a frame as an HTML table: money, shares and times as a person writes them."""
    shown = frame.drop(columns=[*drop]).head(len(frame) if top is None else top).copy()
    for name in shown.columns:
        column = shown[name]
        if name in TIMES:
            shown[name] = column.map(seconds)
        elif name in MONEY:
            shown[name] = column.map(dollars, na_action="ignore")
        elif name in SHARES or name in SIGNED:
            shown[name] = [percent(value, 1, name in SIGNED) for value in column.astype(float)]
        elif pd.api.types.is_datetime64_any_dtype(column):
            shown[name] = column.dt.strftime("%Y-%m-%d")
        elif pd.api.types.is_float_dtype(column):
            shown[name] = column.map("{:.2f}".format, na_action="ignore")
        elif pd.api.types.is_integer_dtype(column):
            shown[name] = column.map("{:,}".format)
    shown.columns = [CALLED.get(name, str(name).replace("_", " ")) for name in shown.columns]
    rows = shown.fillna("").to_html(index=False, border=0)
    return HTML(
        f'<div class="mathjax_ignore" style="overflow-x: auto; white-space: nowrap">{rows}</div>'
    )


def scores(frame: pd.DataFrame) -> HTML:
    """Return a score table with the columns that tell a model's worth."""
    names = ["horizon", "group", "model", "n", "dates", "mape", "rmae", "rmae_low", "rmae_high"]
    names += ["rank_ic", "hit_rate", "coverage", "width"]
    return show(frame[[name for name in names if name in frame]])


def calls(frame: pd.DataFrame) -> HTML:
    """Return how BUY and SELL did, from a score table or a breakdown of it."""
    own = frame[frame["model"] == MODEL] if "model" in frame else frame
    names = ["horizon", "group", "n", "buy_calls", "buy_precision", "buy_base_rate", "buy_lift"]
    names += ["return_after_fees", "sell_calls", "sell_precision", "sell_base_rate", "sell_lift"]
    counts = {name: own[name].astype(int) for name in ("buy_calls", "sell_calls") if name in own}
    return show(own.assign(**counts)[[name for name in names if name in own]])


def durations(times: dict[str, float]) -> HTML:
    """Return the time each method took; without any, a table without rows."""
    return show(pd.DataFrame({"method": list(times), "seconds": list(times.values())}))
