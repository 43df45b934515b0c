"""How charts of notebooks are drawn: the style, axes with a title, dates and percentages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pokewatch.charts.report import ACCENT, DOWN, INK, STYLE, UP

SCREEN: dict[Any, Any] = STYLE | {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "figure.dpi": 100,
    "font.size": 10,
}
COLORS = (ACCENT, "#b7791f", UP, "#7b4b94", DOWN, INK)
P = ParamSpec("P")


def styled(draw: Callable[P, Axes]) -> Callable[P, Axes]:
    """Draw in the house's style: every text made meanwhile takes a dollar sign as money."""

    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Axes:
        # The backend is chosen here: within, its switch to interactive use would be undone.
        plt.draw_if_interactive()
        with rc_context(SCREEN):
            return draw(*args, **kwargs)

    return inner


def new_axes(ax: Axes | None, title: str, simulated: bool, height: float = 3.2) -> Axes:
    """Return titled axes (``ax`` where it is given), marked where prices are simulated."""
    axes = plt.subplots(figsize=(8, height), layout="constrained")[1] if ax is None else ax
    axes.set_title(title, loc="left", fontsize=11, weight="bold")
    if simulated:
        axes.set_title("simulated", loc="right", fontsize=9, style="italic")
    axes.tick_params(length=0)
    return axes


def nothing(axes: Axes, text: str) -> Axes:
    """Return axes that say why they are empty."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    return axes


def percent(digits: int = 0, sign: bool = False) -> FuncFormatter:
    """Return a formatter of fractions as percentages."""

    def text(value: float, _: int) -> str:
        plus = "+" if sign and value > 1e-9 else ""
        return f"{plus}{100 * value + 0.0:.{digits}f} %".replace("-", "−")

    return FuncFormatter(text)


def dated(axes: Axes) -> None:
    """Give axes a date axis and a horizontal grid."""
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y")


def is_simulated(frame: pd.DataFrame | pd.Series) -> bool:
    """Return whether a frame says that its prices are simulated."""
    return bool(frame.attrs.get("simulated"))


def bars(axes: Axes, names: list[str], values: np.ndarray, **options: Any) -> None:
    """Draw horizontal bars, the first on top, rises and falls in their colours."""
    color = np.where(values >= 0, UP, DOWN)
    axes.barh(range(len(names)), values, height=0.7, color=color, **options)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)


def shorter(text: object, most: int = 38) -> str:
    """Return a text that is not longer than ``most`` characters."""
    return str(text) if len(str(text)) <= most else f"{str(text)[: most - 1]}…"
