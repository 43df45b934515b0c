"""Frames as HTML tables for notebooks: money, shares and times as a person writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import pandas as pd
from IPython.display import HTML

from pokewatch.formatting import Money, duration, percent
from pokewatch.schema import MODEL
from pokewatch.settings import get_settings
from pokewatch.sources import ecb

MONEY = {"price", "y", "before", "value", "last_price", "market_price", "fair_value"}
MONEY |= {"lower", "upper"}
SHARES = {"rising", "falling", "coverage", "hit_rate", "buy_precision", "buy_base_rate", "mape"}
SHARES |= {"sell_precision", "sell_base_rate", "buy_recall", "sell_recall", "width"}
SIGNED = {"change", "move", "gain", "return_after_fees", "deviation", "importance", "spread"}
SIGNED |= {"buy_timing_gain", "sell_timing_gain"}
TIMES = {"cold", "warm", "seconds", "build", "fit", "forecast"}
NAMES = {"y": "price later", "n": "forecasts"}
WRITERS: dict[str, Callable[..., str]] = {
    **dict.fromkeys(TIMES, duration),
    **dict.fromkeys(SHARES, partial(percent, unknown="unknown")),
    **dict.fromkeys(SIGNED, partial(percent, sign=True, unknown="unknown")),
}


def show(
    frame: pd.DataFrame,
    top: int | None = None,
    drop: Iterable[str] = (),
    money: Money | None = None,
    amounts: Iterable[str] = (),
) -> HTML:
    """Return a frame's first ``top`` rows (default: all) as an HTML table; names are escaped.

    money: how amounts are written, default as the settings say; amounts: columns of them, besides
    those whose name says so.
    """
    write = partial(money or ecb.display(get_settings()), short=True, unknown="")
    writers = WRITERS | dict.fromkeys([*MONEY, *amounts], write)
    shown = frame.drop(columns=[*drop]).head(len(frame) if top is None else top).copy()
    for name, column in shown.items():
        if name in writers:
            shown[name] = [writers[name](value) for value in column]
        elif pd.api.types.is_datetime64_any_dtype(column):
            shown[name] = column.dt.strftime("%Y-%m-%d")
        elif pd.api.types.is_float_dtype(column):
            shown[name] = column.map("{:.2f}".format, na_action="ignore")
        elif pd.api.types.is_integer_dtype(column):
            shown[name] = column.astype(object).map("{:,}".format, na_action="ignore")
    shown.columns = [NAMES.get(name, str(name).replace("_", " ")) for name in shown.columns]
    rows = shown.fillna("").to_html(index=False, border=0)
    style = "overflow-x: auto; white-space: nowrap"  # which the keyboard can scroll, by tabindex
    return HTML(f'<div class="mathjax_ignore" tabindex="0" style="{style}">{rows}</div>')


def scores(frame: pd.DataFrame) -> HTML:
    """Return a score table with the columns that say what a model is worth."""
    names = ["horizon", "group", "model", "n", "dates", "mape", "rmae", "rmae_low", "rmae_high"]
    names += ["rank_ic", "hit_rate", "coverage", "width"]
    return show(frame[[name for name in names if name in frame]])


def calls(frame: pd.DataFrame) -> HTML:
    """Return how BUY and SELL did, from a score table or a breakdown of it."""
    own = frame[frame["model"] == MODEL] if "model" in frame else frame
    names = ["horizon", "group", "n", "buy_calls", "buy_precision", "buy_base_rate", "buy_lift"]
    names += ["buy_timing_gain", "return_after_fees"]
    names += ["sell_calls", "sell_precision", "sell_base_rate", "sell_lift", "sell_timing_gain"]
    counts = {name: own[name].astype(int) for name in ("buy_calls", "sell_calls") if name in own}
    return show(own.assign(**counts)[[name for name in names if name in own]])


def durations(times: dict[str, float]) -> HTML:
    """Return the time each method took; without any, a table without rows."""
    return show(pd.DataFrame({"method": list(times), "seconds": list(times.values())}))
