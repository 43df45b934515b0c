"""Charts that are logged with a training, from its out-of-sample forecasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pokewatch.evaluation import metrics
from pokewatch.evaluation.gate import GATE_HORIZON
from pokewatch.models.intervals import COVERAGE


def draw(charts: Mapping[str, tuple[pd.DataFrame, str, str]], market: str, folder: Path) -> None:
    """Save each chart (points, x label, y label) as NAME.png in a folder."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from pokewatch.charts import report as drawing

    line: dict[str, Any] = {"color": drawing.INK, "linewidth": 1, "linestyle": "--"}
    for name, (rows, x_label, y_label) in charts.items():
        with rc_context(drawing.STYLE):
            figure = Figure(figsize=(8, 3.6))
            axes = figure.add_axes((0.08, 0.14, 0.74, 0.76))
            axes.axhline(COVERAGE if name == "interval_reliability" else 0.0, **line)
            for number, (series, points) in enumerate(rows.groupby("series", sort=False)):
                axes.plot(points["x"], points["y"], "o-", color=f"C{number}", label=series, ms=4)
            axes.set(title=name.replace("_", " ") + market, xlabel=x_label, ylabel=y_label)
            axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
            figure.savefig(folder / f"{name}.png", dpi=100, facecolor="white")


def charts_of(own: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, str, str]]:
    """Return points (series, x, y) and labels of each chart, those without points left out."""
    width = (own["upper"] - own["lower"]) / own["price"]
    fifth = np.ceil(width.groupby(own["horizon"]).rank(pct=True, method="first") * 5)
    month = own["date"].dt.to_period("M")
    gate = own[own["horizon"] == GATE_HORIZON]
    week = (gate["date"] - gate["date"].min()).dt.days // GATE_HORIZON
    origins = gate[gate["date"].isin(gate["date"].groupby(week).min())]
    inside = _points(own, own["horizon"] * 0, metrics.coverage).assign(x="all")
    by_width = _points(own, fifth, metrics.coverage)
    by_width["x"] = by_width["x"].map(
        {1.0: "narrowest", 2.0: "narrow", 3.0: "middle", 4.0: "wide", 5.0: "widest"}
    )
    skill = _points(own, month, lambda rows: 1 - metrics.rmae(rows))
    charts = {
        "interval_reliability": (
            pd.concat([by_width, inside]),
            "fifths of intervals",
            "share inside",
        ),
        "skill_by_month": (skill.astype({"x": str}), "month", "skill against no change"),
        "rank_ic_by_origin": (
            _points(origins, origins["date"], metrics.rank_ic),
            *("origin", "rank correlation with what came"),
        ),
    }
    return {name: chart for name, chart in charts.items() if len(chart[0])}


def _points(own: pd.DataFrame, by: pd.Series, score: Callable[..., float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"series": f"{horizon} days", "x": group, "y": score(rows)}
            for (horizon, group), rows in own.groupby(["horizon", by.rename("group")])
        ],
        columns=["series", "x", "y"],
    )
