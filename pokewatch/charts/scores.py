"""Charts of forecasts: skill, intervals, equity, importance, other methods, cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pokewatch import api
from pokewatch.analysis import studies
from pokewatch.analysis.comparison import exponents
from pokewatch.charts import training
from pokewatch.charts.report import ACCENT, INK, LINE, UP
from pokewatch.charts.style import (
    COLORS,
    bars,
    dated,
    is_simulated,
    new_axes,
    nothing,
    percent,
    styled,
)
from pokewatch.models.intervals import COVERAGE
from pokewatch.schema import MODEL


@styled
def skill(scores: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """Draw the error saved against "no change" by horizon, with 95 % intervals.

    scores: as ``pw.score`` returns them, or forecasts. The baseline stands beside the model.

    >>> import pokewatch as pw
    >>> pw.plot.skill(pw.score()).get_title(loc="left")
    'Skill: error saved against “no change”'
    """
    table = _score_table(scores)
    axes = new_axes(ax, "Skill: error saved against “no change”", is_simulated(table))
    names = sorted(table["horizon"].unique()) if len(table) else []
    if not names:
        return nothing(axes, "nothing could be scored yet")
    shown = {}
    for model in (MODEL, "baseline"):
        rows = table[table["model"] == model].set_index("horizon").reindex(names)
        figures = rows[["rmae", "rmae_high", "rmae_low"]].to_numpy(dtype=float)
        shown[model] = 1 - figures.T
    reach = 1.4 * max(0.1, float(np.nanmax(np.abs(shown[MODEL]), initial=0.0)))
    for (model, (saved, low, high)), color in zip(shown.items(), (ACCENT, INK), strict=True):
        place = np.arange(len(names)) + (0.18 if model == "baseline" else 0)
        inside = saved > -reach  # the baseline can be so much worse that all else would shrink
        axes.vlines(place[inside], low[inside], high[inside], color=color, linewidth=2)
        axes.plot(place, np.maximum(saved, -reach), "o", color=color, label=model.replace("_", " "))
        for x, y in zip(place, saved, strict=True):
            if np.isfinite(y):
                text = f"{100 * y:+.1f} %".replace("-", "−") + (" ↓" if y < -reach else "")
                at = (x, max(y, -reach))
                style: dict[str, Any] = {"va": "center", "color": color}
                axes.annotate(text, at, (8, 0), textcoords="offset points", **style)
    axes.set_ylim(-1.15 * reach, 1.15 * reach)
    axes.axhline(0, color=INK, linewidth=1)
    axes.set_xticks(range(len(names)), [f"{days} day{'s' * int(days != 1)}" for days in names])
    axes.set_xlim(-0.4, len(names) - 0.3)
    axes.yaxis.set_major_formatter(percent(sign=True))
    axes.grid(axis="y")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


@styled
def calibration(forecasts: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """Draw how often prices ended inside their interval, from narrow to wide intervals.

    forecasts: as ``pw.backtest`` returns them; promised are 80 %.

    >>> import pokewatch as pw
    >>> pw.plot.calibration(pw.backtest()).get_ylim() == (0.5, 1.0)
    True
    """
    return _lines(
        forecasts, "interval_reliability", "Prices inside their 80 % interval", ax, COVERAGE
    )


@styled
def by_month(forecasts: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """Draw the model's skill month by month; forecasts: as ``pw.backtest`` returns them.

    >>> import pokewatch as pw
    >>> pw.plot.by_month().get_title(loc="left")
    'Skill against “no change” by month'
    """
    return _lines(forecasts, "skill_by_month", "Skill against “no change” by month", ax, 0.0)


def _lines(
    forecasts: pd.DataFrame | None, chart: str, title: str, ax: Axes | None, level: float
) -> Axes:
    rows = api.backtest() if forecasts is None else forecasts
    axes = new_axes(ax, title, is_simulated(rows))
    own = rows[rows["model"] == MODEL]
    points = training.charts_of(own).get(chart) if len(own) else None
    if points is None:
        return nothing(axes, "nothing could be scored yet")
    axes.axhline(level, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    for color, (name, line) in zip(COLORS, points[0].groupby("series", sort=False), strict=False):
        line = line[line["x"] != "all"]
        axes.plot(
            line["x"],
            line["y"],
            "o-",
            color=color,
            label=str(name).replace("1 days", "1 day"),
            markersize=4,
        )
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(percent(sign=level == 0))
    if level:
        axes.set_ylim(0.5, 1.0)
    axes.set_xlabel(points[1])
    axes.grid(axis="y")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


@styled
def drawdown(equity: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """Draw the equity of following every BUY beside holding the market, with the worst falls.

    equity: as ``pw.following`` returns it.

    >>> import pokewatch as pw
    >>> len(pw.plot.drawdown().get_lines())
    4
    """
    equity = studies.following() if equity is None else equity
    axes = new_axes(ax, "Following every BUY against holding the market", is_simulated(equity), 3.6)
    if equity.empty:
        return nothing(axes, "nothing could be scored yet")
    axes.axhline(100, color=LINE, linewidth=1)
    lines = {
        "held": ("market held", INK),
        "before_fees": ("signals, before fees", UP),
        "followed": ("signals, after fees", ACCENT),
    }
    for name, (label, color) in lines.items():
        values = equity.set_index("date")[name]
        worst = float((values / values.cummax() - 1).min())
        said = f"{label}: {values.iloc[-1]:.0f} (worst fall {abs(100 * worst):.0f} %)"
        axes.plot(values.index, values.to_numpy(), color=color, linewidth=1.8, label=said)
    low, high = equity[list(lines)].min().min(), equity[list(lines)].max().max()
    dated(axes)
    if high > 400:
        axes.set_yscale("log")
        axes.set_yticks(
            [tick for tick in (1, 3, 10, 30, 100, 300, 1000, 3000) if low < tick < high]
        )
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.minorticks_off()
    room = (high / low) ** 0.35 if high > 400 else 1.0
    axes.set_ylim(top=high * room if high > 400 else high + 0.4 * (high - low) + 1)
    axes.legend(frameon=False, loc="upper left")
    return axes


@styled
def importance(table: pd.DataFrame | None = None, top: int = 12, ax: Axes | None = None) -> Axes:
    """Draw the accuracy lost when features are shuffled; table: as ``pw.importance``.

    >>> import pokewatch as pw
    >>> len(pw.plot.importance(pw.importance(days=21, repeats=1), top=5).patches)
    5
    """
    table = studies.importance() if table is None else table
    shown = table.head(top)
    axes = new_axes(
        ax, "Error added by shuffling", is_simulated(table), 1 + 0.27 * max(len(shown), 2)
    )
    spread = {"xerr": shown["spread"].to_numpy(), "ecolor": INK}
    bars(axes, shown["family"].tolist(), shown["importance"].to_numpy(), **spread)
    axes.xaxis.set_major_formatter(percent(1))
    axes.set_xlabel("share of naive's error")
    return axes


@styled
def methods(scores: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the error of each method relative to "no change"; scores: as ``pw.score``.

    >>> import pokewatch as pw
    >>> len(pw.plot.methods(pw.score(pw.backtest(horizons=7))).patches)
    3
    """
    rows = scores.sort_values("rmae")
    axes = new_axes(ax, "Error relative to “no change”", is_simulated(scores), 1 + 0.35 * len(rows))
    names = [str(name).replace("_", " ") for name in rows["model"]]
    color = np.where(rows["model"] == MODEL, ACCENT, LINE)
    axes.barh(range(len(rows)), rows["rmae"], height=0.7, color=color)
    for place, (name, value) in enumerate(zip(rows["model"], rows["rmae"], strict=True)):
        ink = "white" if name == MODEL else INK
        axes.text(0.015, place, f"{value:.2f}", va="center", color=ink, weight="bold")
    axes.axvline(1, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    return axes


@styled
def cost(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw seconds against number of cards, both on log scales; table: as ``benchmark.cost``.

    With three sizes or more each part says with which power of the cards it grows.

    >>> import pandas as pd
    >>> import pokewatch as pw
    >>> table = pd.DataFrame({"cards": [10, 100], "build": [0.1, 0.2], "fit": [1.0, 2.0]})
    >>> pw.plot.cost(table).get_xscale()
    'log'
    """
    axes = new_axes(ax, "Time against number of cards", is_simulated(table))
    powers = exponents(table) if len(table) > 2 else {}
    for color, name in zip(COLORS, table.columns[1:], strict=False):
        label = name.replace("_", " ") + (f", power {powers[name]:.2f}" if powers else "")
        axes.plot(table["cards"], table[name], "o-", color=color, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(table["cards"], [f"{number:,}" for number in table["cards"]])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
    axes.set_xlabel("cards")
    axes.grid(axis="y")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


def _score_table(scores: pd.DataFrame | None) -> pd.DataFrame:
    if scores is None or (len(scores) and "rmae" not in scores):
        return api.score(scores)
    return scores
