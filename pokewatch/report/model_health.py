"""How a model has done lately, and how far the market has moved since its training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pokewatch.evaluation.track_record import NightlyRecord
from pokewatch.models import features
from pokewatch.models.intervals import COVERAGE
from pokewatch.models.panel import Panel
from pokewatch.rounding import log
from pokewatch.schema import typed

SLACK = 0.1  # how far a month's coverage may lie from that of the intervals
REFERENCE_DAYS, PRESENT_DAYS = 90, 7
STABLE, CHANGED = 0.1, 0.25  # usual bounds of the population stability index (Siddiqi 2006)
BINS = 10
DRIFT = {"input": "object", "psi": "float64"}


def psi(reference: np.ndarray, present: np.ndarray, bins: int = BINS) -> float:
    """Return the population stability index: sum of (p - q) ln(p / q) over bins of ``reference``.

    Bins are its quantiles; NaN where either side is empty. A bin without cases counts as half one.
    Arrays of any shape; what is not finite is left out.
    """
    reference = reference[np.isfinite(reference)]
    present = present[np.isfinite(present)]
    if not len(reference) or not len(present):
        return float("nan")
    cuts = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = []
    for values in (present, reference):
        counts = np.bincount(np.searchsorted(cuts, values), minlength=len(cuts) + 1)
        shares.append(np.maximum(counts, 0.5) / len(values))
    p, q = shares
    return float(((p - q) * np.log(p / q)).sum())


def drift(panel: Panel, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return how the model's main inputs moved since training: columns input, psi.

    Compares the last ``PRESENT_DAYS`` days with the ``REFERENCE_DAYS`` before them that end with
    the training's last day; without such days there are no rows.
    """
    last = len(panel.dates)
    end = min(int(panel.dates.searchsorted(as_of, side="right")), last - PRESENT_DAYS)
    start = max(end - REFERENCE_DAYS, 0)
    if end - start < PRESENT_DAYS:
        return typed([], DRIFT)
    first = max(start - 7, 0)
    price, age = log(panel.price[first:]), panel.age[first:]
    rows = np.arange(len(price))
    inputs = {
        "price level": price,
        "change over a day": features.change(price, 1, rows),
        "change over a week": features.change(price, 7, rows),
        "days since the last price": age,
    }
    reference = slice(start - first, end - first)
    found = [(name, psi(each[reference], each[-PRESENT_DAYS:])) for name, each in inputs.items()]
    return typed(found, DRIFT).dropna()


def stability(value: float) -> str:
    """Return a population stability index as a word: stable, drifting or changed."""
    return "stable" if value < STABLE else "drifting" if value <= CHANGED else "changed"


def sentences(
    months: pd.DataFrame, drifted: pd.DataFrame, nights: NightlyRecord | None = None
) -> list[str]:
    """Return what the figures mean, in sentences.

    months: as ``track_record.by_month`` gives them; drifted: as ``drift`` does; nights: the record
    of past nights.
    """
    found = ["No month has enough finished forecasts yet."]
    if len(months):
        better = int((months["rmae"] < 1).sum())
        kept = int(((months["coverage"] - COVERAGE).abs() <= SLACK).sum())
        of = f"of the last {len(months)} months" if len(months) > 1 else "in the only month scored"
        found = [
            f"It beat “no change” in {better} {of}, and its intervals kept their promise, within "
            f"{100 * SLACK:.0f} points, in {kept}."
        ]
    if nights is not None and np.isfinite(nights.rmae):
        saved = 100 * (1 - nights.rmae)
        size = "smaller" if saved >= 0 else "larger"
        count = f"{nights.nights} night{'s' * (nights.nights != 1)}"
        found.append(
            f"Its own forecasts of the last {count} that have ended erred {abs(saved):.1f} % "
            f"{size} than “no change”, with {100 * nights.coverage:.0f} % inside the interval."
        )
    if drifted.empty:
        return [*found, "Too few days to compare today's market with that of the training."]
    worst = drifted.loc[drifted["psi"].idxmax()]
    if worst["psi"] < STABLE:
        return [*found, "Today's market looks like the one it was trained on."]
    how = "has moved away from" if worst["psi"] <= CHANGED else "is unlike"
    return [
        *found,
        f"Today's market {how} the one it was trained on, most of all in {worst['input']}: trust "
        "the forecasts less until it is trained anew.",
    ]
