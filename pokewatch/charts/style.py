"""What the charts share: colours, the styles of page and notebook, axes, ticks, SVG and PNG."""

from __future__ import annotations

import hashlib
import html
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

INK, LINE, ACCENT, UP, DOWN = "#5c6673", "#c8ced6", "#2b6cb0", "#1b7f4d", "#b3382c"
PAPER = "#fffffe"
# The same on a dark page, as the report's style has them.
DARK = {INK: "#9aa5b3", LINE: "#323a45", ACCENT: "#78b0ee", UP: "#58c48c", DOWN: "#f08a7e"}
DARK |= {PAPER: "#171b21"}
COLORS = (ACCENT, "#b7791f", UP, "#7b4b94", DOWN, INK)
DASHED = (0, (4, 2))
# The page may set these CSS variables; without them the colours above are used.
CSS = {INK: "ink-soft", LINE: "line", ACCENT: "accent", UP: "up", DOWN: "down", PAPER: "paper"}
PAGE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pokewatch",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,  # a dollar sign is money here
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.spines.left": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlepad": 3,
    "axes.titlesize": 8,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
SCREEN = PAGE | {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "figure.dpi": 100,
    "font.size": 10,
    "axes.titlepad": 6,
    "axes.titlesize": 9,
}
# The global style rule would reach the whole page; the font is the page's own.
NEEDLESS = re.compile(
    r"<metadata>.*?</metadata>|<!--.*?-->|<defs>\s*<style.*?</style>\s*</defs>"
    r'|<path d="[^"]*" style="fill: none"/>| ?font-family: [^;"]*;'
    r'| transform="rotate\(-0 [^"]*"|<g id="[^"]*"/>',
    re.DOTALL,
)


@contextmanager
def screen() -> Iterator[None]:
    """Draw in the notebooks' style: every text made meanwhile takes a dollar sign as money."""
    # The backend is chosen here: within, its switch to interactive use would be undone.
    plt.draw_if_interactive()
    with rc_context(SCREEN):
        yield


def new_axes(
    ax: Axes | None,
    title: str,
    frame: pd.DataFrame | pd.Series,
    height: float = 3.2,
    grid: str = "y",
) -> Axes:
    """Return titled axes: ``ax`` or new ones of a height in inches, with a grid across an axis.

    They are marked as simulated where ``frame.attrs`` says that its prices are.
    """
    axes = plt.subplots(figsize=(8, height), layout="constrained")[1] if ax is None else ax
    axes.set_title(title, loc="left", fontsize=11, weight="bold")
    if frame.attrs.get("simulated"):
        axes.set_title("simulated", loc="right", style="italic")
    axes.tick_params(length=0)
    if grid:
        axes.grid(axis=grid)  # type: ignore[arg-type]
    return axes


def nothing(axes: Axes, text: str) -> Axes:
    """Return axes that say why they are empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    return axes


def label(axes: Axes, text: str, at: tuple[Any, Any], offset: tuple[int, int], **look: Any) -> None:
    """Write a text at some points' distance from a place in the data."""
    axes.annotate(text, at, offset, textcoords="offset points", **look)


def ticks(axis: Axis, write: Callable[..., str], *args: Any, **options: Any) -> None:
    """Write an axis's ticks as ``write(value, ...)`` does, a function of ``formatting``."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value, *args, **options)))


def dated(axes: Axes) -> None:
    """Give axes a date axis."""
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def legend(axes: Axes) -> None:
    """Put the legend to the right of the axes."""
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def bars(axes: Axes, names: list[str], values: np.ndarray, **options: Any) -> None:
    """Draw horizontal bars, the first on top, rises and falls in their colours by default."""
    options.setdefault("color", np.where(values >= 0, UP, DOWN))
    axes.barh(range(len(names)), values, height=0.7, **options)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.axvline(0, color=INK, linewidth=0.8)


def shorter(text: object, most: int = 38) -> str:
    """Return a text that is not longer than ``most`` characters."""
    return str(text) if len(str(text)) <= most else f"{str(text)[: most - 1]}…"


def png(chart: Callable[..., Axes], frame: pd.DataFrame, path: Path) -> None:
    """Save a chart as PNG, unless there is nothing to draw."""
    with rc_context(SCREEN):
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        if chart(frame, ax=figure.subplots()).has_data():
            figure.savefig(path)


def svg(
    chart: Callable[..., Axes],
    frame: pd.DataFrame | pd.Series,
    says: str,
    size: tuple[float, float] = (1.5, 0.46),
    **options: Any,
) -> str:
    """Draw a chart as inline SVG for an HTML page that has a heading of its own for it.

    says: what it shows, for screen readers; size: in inches; options: the chart's own. No display
    is needed, nothing stays open, texts stay texts, and colours follow the page's light or dark
    style.
    """
    buffer = io.StringIO()
    with rc_context(PAGE):
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02))
        axes = chart(frame, ax=figure.subplots(), **options)
        axes.set_title("", loc="left")
        axes.xaxis.get_offset_text().set_visible(False)
        nothing_about = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing_about)
    text = buffer.getvalue()
    box = re.search(r'viewBox="[^"]*"', text)
    if box is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    text = NEEDLESS.sub("", text[text.index(">", box.end()) + 1 :])
    text = re.sub(r"(\d\.\d\d)\d+", r"\1", text).replace("xlink:href", "href")
    text = re.sub(r"\s*\n\s*", " ", re.sub(r">\s+<", "><", text))
    # Ids are unique in a figure only; the page holds many.
    prefix = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8]
    used = {name for pair in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text) for name in pair}
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' * (m[1] in used), text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}", text)
    for color, name in CSS.items():
        text = text.replace(color, f"var(--{name}, {color})")
    return (
        f'<svg {box[0]} role="img" aria-label="{html.escape(says)}" stroke-linejoin="round">'
        + text.strip()
    )
