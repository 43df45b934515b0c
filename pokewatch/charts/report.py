"""Charts for reports and notebooks: each function takes a frame and returns Axes.

They draw on bare figures, so they need no display and leave nothing open. ``svg`` turns one into
inline SVG whose colours follow the page's light or dark style.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

INK, LINE, ACCENT, UP, DOWN = "#5c6673", "#c8ced6", "#2b6cb0", "#1b7f4d", "#b3382c"
PAPER = "#fffffe"
# The page may set these CSS variables; without them the colours above are used.
VARIABLES = {
    INK: "ink-soft",
    LINE: "line",
    ACCENT: "accent",
    UP: "up",
    DOWN: "down",
    PAPER: "paper",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pokewatch",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,  # a dollar sign is money here
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
# The global style rule would reach the whole page; the font is the page's own.
NEEDLESS = [
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"<metadata>.*?</metadata>",
        r"<!--.*?-->",
        r"<defs>\s*<style.*?</style>\s*</defs>",
        r'<path d="[^"]*" style="fill: none"/>',
        r" ?font-family: [^;\"]*;",
        r' transform="rotate\(-0 [^"]*"',
        r"<g id=\"[^\"]*\"/>",
    )
]


def _axes(width: float, height: float) -> Axes:
    """Return empty Axes of a size in inches."""
    with rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02)
        figure = Figure(figsize=(width, height), layout=layout)
        return figure.subplots()


def _mark_simulated(axes: Axes, simulated: bool) -> None:
    if simulated:
        axes.set_title("simulated", loc="right", color=INK, fontsize=8, style="italic", pad=3)


def _label(
    axes: Axes, text: str, at: tuple[Any, Any], offset: tuple[int, int], **style: Any
) -> None:
    style.setdefault("color", INK)
    style.setdefault("fontsize", 9)
    axes.annotate(text, at, offset, textcoords="offset points", **style)


def _plain_percent(value: float) -> str:
    return f"{value:.0f} %".replace("-", "−")


def _signed(value: float) -> str:
    return "0.0 %" if abs(value) < 0.05 else f"{value:+.1f} %".replace("-", "−")


def dollars(value: float) -> str:
    """Return a price as a person writes it: $0.35, $12.50, $1,234."""
    return f"${value:,.0f}" if value >= 1000 else f"${value:,.2f}"


def _direction(values: np.ndarray) -> str:
    change = values[-1] / values[0] - 1 if len(values) else 0.0
    return UP if change > 0.0005 else DOWN if change < -0.0005 else INK


def sparkline(prices: pd.Series) -> Axes:
    """Draw a card's prices (USD, index of dates) as a line without axes, its end marked."""
    axes = _axes(1.5, 0.46)
    known = prices.dropna()
    values = known.to_numpy(dtype=float)
    axes.set_axis_off()
    if len(values):
        days = (known.index - prices.index[0]).days.to_numpy()
        axes.plot(days, values, color=INK, linewidth=1.3, clip_on=False)
        axes.plot(days[-1], values[-1], "o", color=ACCENT, markersize=4, clip_on=False)
        middle = (values.min() + values.max()) / 2
        # Two per cent at least from bottom to top, so that noise does not look like a move.
        half = max((values.max() - values.min()) / 2, 0.01 * middle) * 1.15
        axes.set_ylim(middle - half, middle + half)
        axes.set_xlim(-2, (prices.index[-1] - prices.index[0]).days + 3)
    return axes


def price_chart(prices: pd.Series, span: int = 0, simulated: bool = False) -> Axes:
    """Draw a card's prices (USD, index of dates) small, the last ``span`` days in colour."""
    axes = _axes(2.9, 0.95)
    known = prices.dropna()
    values = known.to_numpy(dtype=float)
    if not len(values):
        return axes
    axes.plot(known.index, values, color=INK, linewidth=1.1)
    recent = known[known.index >= prices.index[-1] - pd.Timedelta(days=span)]
    color = _direction(recent.to_numpy(dtype=float))
    axes.plot(recent.index, recent.to_numpy(), color=color, linewidth=1.8)
    axes.plot(known.index[-1], values[-1], "o", color=color, markersize=4)
    low, high = values.min(), values.max()
    pad = max((high - low) * 0.12, high * 0.01)
    axes.set_ylim(low - pad, high + pad)
    axes.set_yticks([low, high] if high > low * 1.005 else [high])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: dollars(value)))
    axes.set_xticks([known.index[0], known.index[-1]])
    axes.set_xticklabels([f"{day.day} {day:%b}" for day in (known.index[0], known.index[-1])])
    first, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    if simulated:  # between the dates, where no price can be
        middle = {"ha": "center", "va": "top", "fontsize": 8, "style": "italic"}
        _label(axes, "simulated", (0.5, 0), (0, -5), xycoords="axes fraction", **middle)
    return axes


def market_index(index: pd.Series, simulated: bool = False) -> Axes:
    """Draw an index of the whole market (100 on its first day, index of dates)."""
    axes = _axes(8.0, 2.1)
    axes.axhline(100, color=LINE, linewidth=1)
    axes.plot(index.index, index.to_numpy(), color=ACCENT, linewidth=1.6)
    axes.plot(index.index[-1], index.iloc[-1], "o", color=ACCENT, markersize=4.5)
    end = (index.index[-1], index.iloc[-1])
    _label(axes, f"{end[1]:.1f}", end, (6, 0), va="center", color=ACCENT, weight="bold")
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    _mark_simulated(axes, simulated)
    return axes


def _by_horizon(scores: pd.DataFrame, height: float = 2.4) -> tuple[Axes, pd.DataFrame]:
    axes = _axes(4.4, height)
    own = scores[scores["model"] == "fair_value"].sort_values("horizon")
    axes.set_xticks(range(len(own)), [f"{h} day{'s' * (h != 1)}" for h in own["horizon"]])
    axes.set_xlim(-0.5, max(len(own), 1) - 0.2)
    axes.tick_params(length=0)
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:.0f} %".replace("-", "−"))
    )
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    return axes, own


def skill(scores: pd.DataFrame, simulated: bool = False) -> Axes:
    """Draw the model's skill (error saved against "no change") by horizon, 95 % intervals.

    scores: rows of the walk-forward table: horizon, model, rmae, rmae_low, rmae_high.
    """
    axes, own = _by_horizon(scores)
    value = 100 * (1 - own["rmae"].to_numpy(dtype=float))
    low = 100 * (1 - own["rmae_high"].to_numpy(dtype=float))
    high = 100 * (1 - own["rmae_low"].to_numpy(dtype=float))
    colors = np.where(low > 0, UP, np.where(high < 0, DOWN, INK))
    for place, color in enumerate(colors):
        axes.plot([place, place], [low[place], high[place]], color=color, linewidth=2)
        axes.plot(place, value[place], "o", color=color, markersize=6)
        _label(axes, _signed(value[place]), (place, value[place]), (7, 3), va="bottom")
    axes.axhline(0, color=INK, linewidth=1)
    known = np.concatenate([value, low, high, [0.0]])
    known = known[np.isfinite(known)]
    pad = max(np.ptp(known) * 0.15, 1.0)
    axes.set_ylim(known.min() - pad, known.max() + pad)
    _mark_simulated(axes, simulated)
    return axes


def interval_coverage(scores: pd.DataFrame, promised: float = 0.8, simulated: bool = False) -> Axes:
    """Draw the share of prices that ended inside the interval, beside what was promised."""
    axes, own = _by_horizon(scores)
    value = 100 * own["coverage"].to_numpy(dtype=float)
    axes.bar(range(len(own)), value, width=0.5, color=ACCENT)
    for place, share in enumerate(value):
        if np.isfinite(share):
            style = {"ha": "center", "va": "bottom", "color": PAPER, "weight": "bold"}
            _label(axes, f"{share:.0f} %", (place, 0), (0, 4), **style)
    axes.axhline(100 * promised, color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.set_ylim(0, 104)
    axes.set_yticks([0, 20, 40, 60, 80, 100])
    _mark_simulated(axes, simulated)
    return axes


def svg(axes: Axes, label: str) -> str:
    """Return a chart as inline SVG for an HTML page; ``label`` says what it shows."""
    buffer = io.StringIO()
    with rc_context(STYLE):
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        axes.figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)  # type: ignore[union-attr]
    text = buffer.getvalue()
    box = re.search(r'viewBox="[^"]*"', text)
    if box is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    text = text[text.index(">", box.end()) + 1 :]
    for needless in NEEDLESS:
        text = needless.sub("", text)
    text = re.sub(r"(\d\.\d\d)\d+", r"\1", text).replace("xlink:href", "href")
    text = re.sub(r"\s*\n\s*", " ", re.sub(r">\s+<", "><", text))
    # Ids are unique in a figure only; the page holds many.
    own = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8]
    used = {name for pair in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text) for name in pair}
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{own}{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{own}", text)
    for color, name in VARIABLES.items():
        text = text.replace(color, f"var(--{name}, {color})")
    return (
        f'<svg {box[0]} role="img" aria-label="{html.escape(label)}" stroke-linejoin="round">'
        + text.strip()
    )
