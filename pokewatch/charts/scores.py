"""Charts of forecasts: skill, intervals, equity, importance, other methods, cost.

Every function draws on ``ax`` where it is given, and marks simulated prices as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pokewatch.charts import style
from pokewatch.charts.style import ACCENT, COLORS, DASHED, DOWN, INK, LINE, PAPER, UP
from pokewatch.evaluation import metrics
from pokewatch.evaluation.backtest import breakdown
from pokewatch.evaluation.gate import GATE_HORIZON
from pokewatch.formatting import days, number, percent
from pokewatch.models.intervals import COVERAGE
from pokewatch.schema import MODEL

UNSCORED = "nothing could be scored yet"
FIFTHS = {"1.0": "narrowest", "2.0": "narrow", "3.0": "middle", "4.0": "wide", "5.0": "widest"}


def skill(scores: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the error saved against "no change" by horizon (days), with 95 % intervals.

    scores: rows of a score table, with horizon, model, rmae, rmae_low, rmae_high. The baseline, if
    it is among them, stands beside the model; alone the model shows what its intervals prove.
    """
    axes = style.new_axes(ax, "Skill: error saved against “no change”", scores)
    horizons = sorted(scores["horizon"].unique()) if len(scores) else []
    if not horizons:
        return style.nothing(axes, UNSCORED)
    saved = {}
    alone = "baseline" not in scores["model"].to_numpy()
    for name in (MODEL,) if alone else (MODEL, "baseline"):
        rows = scores[scores["model"] == name].set_index("horizon").reindex(horizons)
        saved[name] = 100 * (1 - rows[["rmae", "rmae_high", "rmae_low"]].to_numpy(float).T)
    # The baseline can be so much worse that all else would shrink.
    least = -1.4 * max(10, float(np.nanmax(np.abs(saved[MODEL]), initial=0.0)))
    for shift, (name, (value, low, high)) in enumerate(saved.items()):
        place = np.arange(len(horizons)) + 0.18 * shift
        color = np.full(len(place), INK if shift else ACCENT)
        if alone:
            color = np.where(low > 0, UP, np.where(high < 0, DOWN, INK))
        inside = value > least
        axes.vlines(place[inside], low[inside], high[inside], color=color[inside], linewidth=2)
        shown = np.maximum(value, least)
        axes.scatter(place, shown, 36, color, label=name.replace("_", " "))
        for at, one, ink in zip(zip(place, shown, strict=True), value, color, strict=True):
            text = percent(one / 100, sign=True, unknown="") + " ↓" * bool(one < least)
            style.label(axes, text, at, (7, 3), va="bottom", color=INK if alone else ink)
    known = np.concatenate([np.ravel([*saved.values()]), [0.0]])
    known = np.maximum(known[np.isfinite(known)], least)
    room = max(np.ptp(known) * 0.15, 1.0)
    axes.set_ylim(known.min() - room, known.max() + room)
    axes.axhline(0, color=INK, linewidth=1)
    _horizons(axes, horizons)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    style.ticks(axes.yaxis, lambda value: percent(value / 100, 0, sign=True))
    if not alone:
        style.legend(axes)
    return axes


def coverage(scores: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the share of prices that ended inside their interval, beside what was promised.

    scores: rows of a score table, with model, horizon (days) and coverage.
    """
    axes = style.new_axes(ax, "Prices inside their 80 % interval", scores)
    rows = scores[scores["model"] == MODEL].sort_values("horizon")
    axes.bar(range(len(rows)), rows["coverage"], width=0.5, color=ACCENT)
    for place, share in enumerate(rows["coverage"]):
        look = {"ha": "center", "va": "bottom", "color": PAPER, "weight": "bold"}
        style.label(axes, percent(share, 0, unknown=""), (place, 0), (0, 4), **look)
    axes.axhline(COVERAGE, color=INK, linewidth=1.2, linestyle=DASHED)
    axes.set_ylim(0, 1.04)
    _horizons(axes, rows["horizon"])
    style.ticks(axes.yaxis, percent, 0)
    return axes


def _horizons(axes: Axes, horizons: Sequence[int] | pd.Series) -> None:
    axes.set_xticks(range(len(horizons)), [days(each) for each in horizons])
    axes.set_xlim(-0.5, max(len(horizons), 1) - 0.2)


def calibration(forecasts: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw how often prices ended inside their interval, from narrow to wide intervals.

    forecasts: as ``pw.backtest`` returns them; promised are 80 %.

    >>> import pokewatch as pw
    >>> pw.plot.calibration(pw.backtest()).get_ylim() == (0.5, 1.0)
    True
    """
    axes = style.new_axes(ax, "Prices inside their 80 % interval", forecasts)
    own = forecasts[forecasts["model"] == MODEL]
    width = (own["upper"] - own["lower"]) / own["price"]
    fifth = np.ceil(width.groupby(own["horizon"]).rank(pct=True, method="first") * 5)
    points = breakdown(own, fifth)
    if len(points):
        points = points.assign(x=points["group"].map(FIFTHS), y=points["coverage"])
    names = {
        horizon: f"{days(horizon)}: {percent(metrics.coverage(rows))} inside"
        for horizon, rows in own.groupby("horizon")
    }
    _lines(axes, points, COVERAGE, names.__getitem__)
    axes.set_ylim(0.5, 1.0)
    axes.set_xlabel("fifths of intervals")
    style.ticks(axes.yaxis, percent, 0)
    return axes


def by_month(forecasts: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the model's skill month by month; forecasts: as ``pw.backtest`` returns them.

    >>> import pokewatch as pw
    >>> pw.plot.by_month().get_title(loc="left")
    'Skill against “no change” by month'
    """
    axes = style.new_axes(ax, "Skill against “no change” by month", forecasts)
    points = breakdown(forecasts, "month")
    if len(points):
        points = points.assign(x=points["group"], y=1 - points["rmae"])
    _lines(axes, points, 0.0)
    axes.set_xlabel("month")
    style.ticks(axes.yaxis, percent, 0, sign=True)
    return axes


def rank_ic(forecasts: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the rank correlation of forecast and real change at dates a week apart."""
    title = f"Rank correlation with the change in {days(GATE_HORIZON)}"
    own = forecasts[(forecasts["model"] == MODEL) & (forecasts["horizon"] == GATE_HORIZON)]
    week = (own["date"] - own["date"].min()).dt.days // GATE_HORIZON
    first = own[own["date"].isin(own["date"].groupby(week).min())]
    points = [
        {"horizon": GATE_HORIZON, "x": date, "y": metrics.rank_ic(rows)}
        for date, rows in first.groupby("date")
    ]
    return _lines(style.new_axes(ax, title, forecasts), pd.DataFrame(points), 0.0)


def _lines(
    axes: Axes, points: pd.DataFrame, level: float, name: Callable[[int], str] = days
) -> Axes:
    """Draw points (horizon, x, y) as a line a horizon, over the level they are held against."""
    if points.empty:
        return style.nothing(axes, UNSCORED)
    axes.axhline(level, color=INK, linewidth=1, linestyle=DASHED)
    for color, (horizon, rows) in zip(COLORS, points.groupby("horizon"), strict=False):
        axes.plot(rows["x"], rows["y"], "o-", color=color, label=name(horizon), markersize=4)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    style.legend(axes)
    return axes


def drawdown(equity: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the equity of following every BUY beside holding the market, with the worst falls.

    equity: as ``pw.equity_curve`` returns it.

    >>> import pokewatch as pw
    >>> len(pw.plot.drawdown().get_lines())
    4
    """
    axes = style.new_axes(ax, "Following every BUY against holding the market", equity, 3.6)
    if equity.empty:
        return style.nothing(axes, UNSCORED)
    axes.axhline(100, color=LINE, linewidth=1)
    curves = equity.set_index("date")[["held", "before_fees", "followed"]]
    worst = (1 - curves / curves.cummax()).max()
    names = ("cards held, sold then", "signals, before fees", "signals, after fees")
    for name, column, color in zip(names, curves, (INK, UP, ACCENT), strict=True):
        curve = curves[column]
        text = f"{name}: {curve.iloc[-1]:.0f} (worst fall {percent(worst[column], 0)})"
        axes.plot(curve.index, curve.to_numpy(), color=color, linewidth=1.8, label=text)
    low, high = curves.min().min(), curves.max().max()
    style.dated(axes)
    if high > 400:
        axes.set_yscale("log")
        axes.set_yticks(
            [tick for tick in (1, 3, 10, 30, 100, 300, 1000, 3000) if low < tick < high]
        )
        style.ticks(axes.yaxis, number)
        axes.minorticks_off()
        axes.set_ylim(top=high * (high / low) ** 0.35)
    else:
        axes.set_ylim(top=high + 0.4 * (high - low) + 1)
    axes.legend(loc="upper left")
    return axes


def importance(table: pd.DataFrame, top: int = 12, ax: Axes | None = None) -> Axes:
    """Draw the accuracy lost when features are shuffled; table: as ``pw.permutation_importance``.

    >>> import pokewatch as pw
    >>> len(pw.plot.importance(pw.permutation_importance(days=21, repeats=1), top=5).patches)
    5
    """
    rows = table.head(top)
    height = 1 + 0.27 * max(len(rows), 2)
    axes = style.new_axes(ax, "Error added by shuffling", table, height, grid="x")
    spread = {"xerr": rows["spread"].to_numpy(), "ecolor": INK}
    style.bars(axes, rows["family"].tolist(), rows["importance"].to_numpy(), **spread)
    style.ticks(axes.xaxis, percent, 1)
    axes.set_xlabel("share of naive's error")
    return axes


def methods(scores: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the error of each method relative to "no change"; scores: as ``pw.score``.

    >>> import pokewatch as pw
    >>> len(pw.plot.methods(pw.score(pw.backtest(horizons=7))).patches)
    3
    """
    rows = scores.sort_values("rmae")
    axes = style.new_axes(
        ax, "Error relative to “no change”", scores, 1 + 0.35 * len(rows), grid=""
    )
    own = rows["model"] == MODEL
    names = rows["model"].str.replace("_", " ").tolist()
    style.bars(axes, names, rows["rmae"].to_numpy(), color=np.where(own, ACCENT, LINE))
    for place, (value, ink) in enumerate(
        zip(rows["rmae"], np.where(own, "white", INK), strict=True)
    ):
        axes.text(0.015, place, f"{value:.2f}", va="center", color=ink, weight="bold")
    axes.axvline(1, color=INK, linewidth=1, linestyle=DASHED)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    return axes


def cost(
    table: pd.DataFrame, powers: Mapping[str, float] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw seconds against number of cards, both on log scales.

    table: column cards, then seconds, a column a part; powers: those of cards with which the parts
    grow, written beside them.
    """
    axes = style.new_axes(ax, "Time against number of cards", table)
    for color, name in zip(COLORS, table.columns[1:], strict=False):
        text = name.replace("_", " ") + (f", power {powers[name]:.2f}" if powers else "")
        axes.plot(table["cards"], table[name], "o-", color=color, label=text)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(table["cards"], [number(cards) for cards in table["cards"]])
    axes.minorticks_off()
    style.ticks(axes.yaxis, "{:g} s".format)
    axes.set_xlabel("cards")
    style.legend(axes)
    return axes
