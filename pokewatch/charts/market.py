"""Charts of prices: one card, the market's index, its moves, seasons, groups and coverage.

Every function draws on ``ax`` where it is given, and marks simulated prices as such.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from pokewatch.charts import style
from pokewatch.charts.style import ACCENT, DOWN, INK, LINE, UP
from pokewatch.formatting import Money, number, percent, usd
from pokewatch.formatting import days as days_of

WIDEST = 0.3  # moves beyond it are counted at the edge
FLAT = 0.0005  # changes below it are drawn in neither colour


def sparkline(prices: pd.Series, ax: Axes, days: int = 0, money: Money = usd) -> Axes:
    """Draw a card's prices (USD, index of dates) as a bare line with its end marked.

    days: draw the last ones in the colour of their change, and write the extremes at the axes, as
    ``money`` writes amounts.
    """
    ax.set_axis_off()
    known = prices.dropna()
    if known.empty:
        return ax
    start, end = known.index[0], known.index[-1]
    low, high = known.min(), known.max()
    ax.plot(known.index, known.to_numpy(), color=INK, linewidth=1.2)
    color = ACCENT
    if days:
        recent = known[known.index >= prices.index[-1] - pd.Timedelta(days=days)]
        change = recent.iloc[-1] / recent.iloc[0] - 1 if len(recent) else 0.0
        color = UP if change > FLAT else DOWN if change < -FLAT else INK
        ax.plot(recent.index, recent.to_numpy(), color=color, linewidth=1.8)
        ax.set_axis_on()
        ax.tick_params(length=0)
        ax.set_yticks([low, high] if high > low * 1.005 else [high])
        style.ticks(ax.yaxis, money, short=True)
        ax.set_xticks([start, end], [f"{day.day} {day:%b}" for day in (start, end)])
        for text, side in zip(ax.get_xticklabels(), ("left", "right"), strict=True):
            text.set(ha=side)
        if prices.attrs.get("simulated"):  # between the dates, where no price can be
            middle = {"ha": "center", "va": "top", "fontsize": 8, "style": "italic"}
            style.label(ax, "simulated", (0.5, 0), (0, -5), xycoords="axes fraction", **middle)
    ax.plot(end, known.iloc[-1], "o", color=color, markersize=4, clip_on=False)
    # Two per cent at least from bottom to top, so that noise does not look like a move.
    room = max((high - low) * 0.12, high * 0.01)
    ax.set_ylim(low - room, high + room)
    return ax


def price(
    prices: pd.Series,
    forecast: pd.DataFrame | None = None,
    title: str = "",
    ax: Axes | None = None,
    money: Money = usd,
) -> Axes:
    """Draw a card's prices (USD, index of dates) and what is forecast from the last one on.

    forecast: a row a horizon (days) with fair_value, lower, upper (USD); money: how amounts are
    written.
    """
    axes = style.new_axes(ax, title, prices)
    axes.plot(prices.index, prices.to_numpy(), color=INK, linewidth=1.5)
    if forecast is not None:
        last = prices.index[-1]
        when = [last, *(last + pd.to_timedelta(forecast["horizon"], unit="D"))]
        low, high, middle = (
            [prices.iloc[-1], *forecast[name]] for name in ("lower", "upper", "fair_value")
        )
        axes.fill_between(when, low, high, color=ACCENT, alpha=0.18, linewidth=0)
        axes.plot(when, middle, color=ACCENT, linewidth=1.8)
        span = days_of(forecast["horizon"].iloc[-1])
        text = f"fair value in {span}\n{money(middle[-1], short=True)}"
        style.label(axes, text, (when[-1], middle[-1]), (6, 0), va="center", color=ACCENT)
    style.dated(axes)
    style.ticks(axes.yaxis, money, short=True)
    return axes


def market(index: pd.Series, ax: Axes | None = None) -> Axes:
    """Draw the market's index (default: the whole store's), 100 on its first day.

    >>> import pokewatch as pw
    >>> pw.plot.market(pw.market().index()).get_title(loc="left")
    'Market index'
    """
    axes = style.new_axes(ax, "Market index", index)
    axes.axhline(100, color=LINE, linewidth=1)
    axes.plot(index.index, index.to_numpy(), color=ACCENT, linewidth=1.6)
    end = (index.index[-1], index.iloc[-1])
    axes.plot(*end, "o", color=ACCENT, markersize=4.5)
    style.label(axes, f"{end[1]:.1f}", end, (6, 0), va="center", color=ACCENT, weight="bold")
    style.dated(axes)
    return axes


def value(timeline: pd.DataFrame, ax: Axes | None = None, money: Money = usd) -> Axes:
    """Draw a collection's value beside what was paid; timeline: as ``portfolio.timeline``.

    money: how amounts are written.

    >>> import pokewatch as pw
    >>> from pokewatch.charts import market
    >>> len(market.value(pw.portfolio().timeline).get_lines())
    2
    """
    axes = style.new_axes(ax, "Value of the collection", timeline)
    for name, color in (("value", ACCENT), ("paid", INK)):
        axes.plot(timeline.index, timeline[name].to_numpy(), color=color, linewidth=1.6, label=name)
    style.dated(axes)
    style.ticks(axes.yaxis, money, short=True)
    style.legend(axes)
    return axes


def movers(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the largest rises and falls; frame: as ``market.movers`` returns it.

    >>> import pokewatch as pw
    >>> len(pw.plot.movers(days=7, top=3).patches) <= 6
    True
    """
    height = 1 + 0.27 * max(len(frame), 2)
    axes = style.new_axes(ax, "Largest rises and falls", frame, height, grid="x")
    if frame.empty:
        return style.nothing(axes, "no card of $1 and more moved")
    name = frame["name"].fillna(frame["card_id"]).astype(str)
    again = name.duplicated(keep=False) & frame["set_name"].notna()
    names = name.where(~again, name + ", " + frame["set_name"].astype(str))
    style.bars(axes, names.map(style.shorter).tolist(), frame["change"].to_numpy())
    style.ticks(axes.xaxis, percent, 0, sign=True)
    return axes


def moves(returns: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw how changes are distributed; returns: as ``market.returns`` returns them.

    Changes of exactly zero stand in the title, those beyond 30 % at the edge.

    >>> import pokewatch as pw
    >>> len(pw.plot.moves(pw.market().returns(1)).patches) > 10
    True
    """
    values = returns.to_numpy().ravel()
    values = values[np.isfinite(values)]
    zero = percent((values == 0).mean() if len(values) else 0.0, 0)
    axes = style.new_axes(ax, f"Moves: {zero} are exactly zero, the others below", returns)
    moved = np.clip(values[values != 0], -WIDEST, WIDEST)
    if not len(moved):
        return style.nothing(axes, "nothing moved")
    counts, edges = np.histogram(moved, np.linspace(-WIDEST, WIDEST, 62))
    middle = (edges[1:] + edges[:-1]) / 2
    color = np.where(np.abs(middle) < 1e-9, INK, np.where(middle > 0, UP, DOWN))
    axes.bar(middle, counts / len(values), width=edges[1] - edges[0], color=color)
    axes.set_ylabel("share of all changes")
    style.ticks(axes.xaxis, percent, 0, sign=True)
    style.ticks(axes.yaxis, percent, 1)
    return axes


def momentum(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw rank correlations of past and next changes; table: as ``pw.momentum`` returns it.

    >>> import pokewatch as pw
    >>> len(pw.plot.momentum(pw.momentum(days=[1, 7])).texts)
    4
    """
    axes = style.new_axes(ax, "Past against next change: rank correlation", table, 3.4, grid="")
    shades = LinearSegmentedColormap.from_list("moves", [DOWN, "white", UP])
    limit = max(0.3, float(np.nanmax(np.abs(table.to_numpy()), initial=0.0)))
    axes.imshow(table, cmap=shades, vmin=-limit, vmax=limit, aspect="auto", alpha=0.75)
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        text = number(value, 2, sign=True, unknown="unknown")
        axes.text(column, row, text, ha="center", va="center", color="#1c2430", weight="bold")
    axes.set_xticks(range(len(table.columns)), [f"next {days} d" for days in table.columns])
    axes.set_yticks(range(len(table.index)), [f"last {days} d" for days in table.index])
    axes.spines["bottom"].set_visible(False)
    return axes


def seasons(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the index's change by month or weekday; table: as ``pw.seasons`` returns it.

    >>> import pokewatch as pw
    >>> len(pw.plot.seasons(by="weekday").patches)
    7
    """
    monthly = table.columns[0] == "month"
    title = "Change of the index by month" if monthly else "Mean daily change by weekday"
    axes = style.new_axes(ax, title, table, 2.8)
    values = table["change"].to_numpy()
    axes.bar(range(len(table)), values, width=0.7, color=np.where(values >= 0, UP, DOWN))
    names = table.iloc[:, 0] if monthly else table.iloc[:, 0].str[:3]
    axes.set_xticks(range(len(table)), names)
    if len(names) > 8:
        for text in axes.get_xticklabels():
            text.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.axhline(0, color=INK, linewidth=0.8)
    style.ticks(axes.yaxis, percent, 1 if monthly else 3, sign=True)
    return axes


def groups(table: pd.DataFrame, top: int = 16, ax: Axes | None = None) -> Axes:
    """Draw how the value of sets or rarities changed; table: as ``market.by`` returns it.

    Of more than ``top`` groups, those of the highest value are shown.

    >>> import pokewatch as pw
    >>> len(pw.plot.groups(by="rarity", days=7).patches) > 0
    True
    """
    known = table.dropna(subset="change")
    shown = known.loc[known["value"].nlargest(top).index].sort_values("change", ascending=False)
    title = f"Change of value in {days_of(table.attrs.get('days', 30))}"
    axes = style.new_axes(ax, title, table, 1 + 0.27 * max(len(shown), 2), grid="x")
    if shown.empty:
        return style.nothing(axes, "no change is known yet")
    names = [f"{style.shorter(row.iloc[0], 30)} ({row['cards']})" for _, row in shown.iterrows()]
    style.bars(axes, names, shown["change"].to_numpy())
    style.ticks(axes.xaxis, percent, 1, sign=True)
    return axes


def observed(share: pd.Series, ax: Axes | None = None) -> Axes:
    """Draw the share of cards with a price of that very day; share: as ``market.observed``.

    >>> import pokewatch as pw
    >>> bool(pw.plot.observed().get_ylim()[1] > 1)
    True
    """
    axes = style.new_axes(ax, "Cards with a price of that day", share, 2.4)
    axes.fill_between(share.index, share.to_numpy(), step="mid", color=ACCENT, alpha=0.3)
    axes.step(share.index, share.to_numpy(), where="mid", color=ACCENT, linewidth=1)
    style.dated(axes)
    axes.set_ylim(0, 1.04)
    style.ticks(axes.yaxis, percent, 0)
    return axes
