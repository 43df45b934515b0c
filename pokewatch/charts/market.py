"""Charts for notebooks: a frame in (or what the store holds), matplotlib Axes out.

Every function draws on ``ax`` where it is given. Simulated prices are marked as such.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter

from pokewatch import api
from pokewatch.analysis.market import Card
from pokewatch.charts.report import ACCENT, DOWN, INK, LINE, UP, dollars
from pokewatch.charts.scores import (
    by_month,
    calibration,
    cost,
    drawdown,
    importance,
    methods,
    skill,
)
from pokewatch.charts.style import (
    bars,
    dated,
    is_simulated,
    new_axes,
    nothing,
    percent,
    shorter,
    styled,
)

__all__ = [
    "by_month",
    "calibration",
    "cost",
    "drawdown",
    "groups",
    "importance",
    "market",
    "methods",
    "momentum",
    "movers",
    "moves",
    "observed",
    "price",
    "seasons",
    "skill",
]

WIDEST = 0.3  # moves beyond it are counted at the edge


@styled
def price(
    card: Card | str, days: int = 180, fair_value: bool = True, ax: Axes | None = None
) -> Axes:
    """Draw a card's prices of the last ``days`` days, and its fair values with 80 % intervals.

    >>> import pokewatch as pw
    >>> pw.plot.price(pw.market().card()).get_lines() != []
    True
    """
    card = api.market().card(card) if isinstance(card, str) else card
    info = card.info
    about = [card.title, info["set_name"], info["printing"]]
    title = shorter(", ".join(str(part) for part in about if part), 70)
    axes = new_axes(ax, title, card.market.simulated)
    prices = card.prices.tail(days)
    axes.plot(prices.index, prices.to_numpy(), color=INK, linewidth=1.5)
    if fair_value:
        rows = card.fair_value()
        last = prices.index[-1]
        when = [last, *(last + pd.to_timedelta(rows["horizon"], unit="D"))]
        start = float(prices.iloc[-1])
        band = [[start, *rows[name]] for name in ("lower", "upper", "fair_value")]
        axes.fill_between(when, band[0], band[1], color=ACCENT, alpha=0.18, linewidth=0)
        axes.plot(when, band[2], color=ACCENT, linewidth=1.8)
        text = f"fair value in {rows['horizon'].iloc[-1]} days\n{dollars(band[2][-1])}"
        at = (when[-1], band[2][-1])
        axes.annotate(text, at, (6, 0), textcoords="offset points", va="center", color=ACCENT)
    dated(axes)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: dollars(value)))
    return axes


@styled
def market(index: pd.Series | None = None, ax: Axes | None = None) -> Axes:
    """Draw the market's index (default: the whole store's), 100 on its first day.

    >>> import pokewatch as pw
    >>> pw.plot.market(pw.market().index()).get_title(loc="left")
    'Market index'
    """
    index = api.market().index() if index is None else index
    axes = new_axes(ax, "Market index", is_simulated(index))
    axes.axhline(100, color=LINE, linewidth=1)
    axes.plot(index.index, index.to_numpy(), color=ACCENT, linewidth=1.6)
    end = (index.index[-1], index.iloc[-1])
    style: dict[str, Any] = {"color": ACCENT, "weight": "bold", "va": "center"}
    axes.annotate(f"{end[1]:.1f}", end, (6, 0), textcoords="offset points", **style)
    dated(axes)
    return axes


@styled
def movers(
    frame: pd.DataFrame | None = None, days: int = 7, top: int = 8, ax: Axes | None = None
) -> Axes:
    """Draw the largest rises and falls; frame: as ``market.movers`` returns it.

    >>> import pokewatch as pw
    >>> len(pw.plot.movers(days=7, top=3).patches) <= 6
    True
    """
    frame = api.market().movers(days, top) if frame is None else frame
    height = 1 + 0.27 * max(len(frame), 2)
    axes = new_axes(ax, "Largest rises and falls", is_simulated(frame), height)
    if frame.empty:
        return nothing(axes, "no card of $1 and more moved")
    name = frame["name"].fillna(frame["card_id"]).astype(str)
    again = name.duplicated(keep=False) & frame["set_name"].notna()
    names = name.where(~again, name + ", " + frame["set_name"].astype(str)).map(shorter).tolist()
    bars(axes, names, frame["change"].to_numpy())
    axes.xaxis.set_major_formatter(percent(sign=True))
    return axes


@styled
def moves(returns: pd.DataFrame | None = None, days: int = 7, ax: Axes | None = None) -> Axes:
    """Draw how changes are distributed; returns: as ``market.returns`` returns them.

    Changes of exactly zero stand in the title, those beyond 30 % at the edge.

    >>> import pokewatch as pw
    >>> len(pw.plot.moves(pw.market().returns(1)).patches) > 10
    True
    """
    returns = api.market().returns(days) if returns is None else returns
    values = returns.to_numpy().ravel()
    values = values[np.isfinite(values)]
    zero = float((values == 0).mean()) if len(values) else 0.0
    axes = new_axes(
        ax, f"Moves: {100 * zero:.0f} % are exactly zero, the others below", is_simulated(returns)
    )
    moved = np.clip(values[values != 0], -WIDEST, WIDEST)
    if not len(moved):
        return nothing(axes, "nothing moved")
    share, edges = np.histogram(moved, np.linspace(-WIDEST, WIDEST, 62))
    middle = (edges[1:] + edges[:-1]) / 2
    color = np.where(np.abs(middle) < 1e-9, INK, np.where(middle > 0, UP, DOWN))
    axes.bar(middle, share / len(values), width=edges[1] - edges[0], color=color)
    axes.set_ylabel("share of all changes")
    axes.xaxis.set_major_formatter(percent(sign=True))
    axes.yaxis.set_major_formatter(percent(1))
    axes.grid(axis="y")
    return axes


@styled
def momentum(table: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """Draw rank correlations of past and next changes; table: as ``pw.momentum`` returns it.

    >>> import pokewatch as pw
    >>> len(pw.plot.momentum(pw.momentum(days=[1, 7])).texts)
    4
    """
    table = api.momentum() if table is None else table
    title = "Past against next change: rank correlation"
    axes = new_axes(ax, title, is_simulated(table), 3.4)
    shades = LinearSegmentedColormap.from_list("moves", [DOWN, "white", UP])
    limit = max(0.3, float(np.nanmax(np.abs(table.to_numpy()), initial=0.0)))
    axes.imshow(table, cmap=shades, vmin=-limit, vmax=limit, aspect="auto", alpha=0.75)
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        text = "unknown" if np.isnan(value) else f"{value:+.2f}".replace("-", "−")
        axes.text(column, row, text, ha="center", va="center", color="#1c2430", weight="bold")
    axes.set_xticks(range(len(table.columns)), [f"next {days} d" for days in table.columns])
    axes.set_yticks(range(len(table.index)), [f"last {days} d" for days in table.index])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return axes


@styled
def seasons(table: pd.DataFrame | None = None, by: str = "month", ax: Axes | None = None) -> Axes:
    """Draw the index's change by month or weekday; table: as ``pw.seasons`` returns it.

    >>> import pokewatch as pw
    >>> len(pw.plot.seasons(by="weekday").patches)
    7
    """
    table = api.seasons(by=by) if table is None else table
    by = str(table.columns[0])
    what = "Change of the index by month" if by == "month" else "Mean daily change by weekday"
    axes = new_axes(ax, what, is_simulated(table), 2.8)
    values = table["change"].to_numpy()
    axes.bar(range(len(table)), values, width=0.7, color=np.where(values >= 0, UP, DOWN))
    names = table[by].tolist() if by == "month" else [name[:3] for name in table[by]]
    axes.set_xticks(range(len(table)), names)
    if len(names) > 8:
        axes.tick_params(axis="x", labelrotation=45)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.yaxis.set_major_formatter(percent(1 if by == "month" else 3, sign=True))
    axes.grid(axis="y")
    return axes


@styled
def groups(
    table: pd.DataFrame | None = None,
    by: str = "set_name",
    days: int = 30,
    top: int = 16,
    ax: Axes | None = None,
) -> Axes:
    """Draw how the value of sets or rarities changed; table: as ``market.by`` returns it.

    Of more than ``top`` groups, those of the highest value are shown.

    >>> import pokewatch as pw
    >>> len(pw.plot.groups(by="rarity", days=7).patches) > 0
    True
    """
    table = api.market().by(by, days) if table is None else table
    known = table.dropna(subset="change")
    shown = known.loc[known["value"].nlargest(top).index].sort_values("change", ascending=False)
    span = table.attrs.get("days", days)
    title = f"Change of value in {span} days"
    axes = new_axes(ax, title, is_simulated(table), 1 + 0.27 * max(len(shown), 2))
    names = [f"{shorter(row.iloc[0], 30)} ({row['cards']})" for _, row in shown.iterrows()]
    bars(axes, names, shown["change"].to_numpy())
    axes.xaxis.set_major_formatter(percent(1, sign=True))
    return axes


@styled
def observed(share: pd.Series | None = None, ax: Axes | None = None) -> Axes:
    """Draw the share of cards with a price of that very day; share: as ``market.observed``.

    >>> import pokewatch as pw
    >>> bool(pw.plot.observed().get_ylim()[1] > 1)
    True
    """
    share = api.market().observed() if share is None else share
    axes = new_axes(ax, "Cards with a price of that day", is_simulated(share), 2.4)
    axes.fill_between(share.index, share.to_numpy(), step="mid", color=ACCENT, alpha=0.3)
    axes.step(share.index, share.to_numpy(), where="mid", color=ACCENT, linewidth=1)
    dated(axes)
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_formatter(percent())
    return axes
