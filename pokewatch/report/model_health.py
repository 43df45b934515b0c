"""How a model does lately, and whether the market still looks like the one it was trained on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pokewatch.evaluation.track_record import NightlyRecord
from pokewatch.models.intervals import COVERAGE
from pokewatch.models.panel import Panel

SLACK = 0.1  # how far a month's coverage may lie from the promise
REFERENCE_DAYS, PRESENT_DAYS = 90, 7
STABLE, CHANGED = 0.1, 0.25  # usual bounds of the population stability index (Siddiqi 2006)
BINS = 10


def psi(reference: np.ndarray, present: np.ndarray, bins: int = BINS) -> float:
    """Return the population stability index: sum of (p - q) ln(p / q) over bins of ``reference``.

    Bins are its quantiles; NaN where either side is empty. A bin without cases counts as half one.
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
    trained = int(panel.dates.searchsorted(as_of, side="right"))
    end = min(trained, last - PRESENT_DAYS)
    start = max(end - REFERENCE_DAYS, 0)
    if end - start < PRESENT_DAYS:
        return pd.DataFrame(columns=["input", "psi"])
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.log(panel.price[max(start - 30, 0) :])
    daily = np.diff(price, axis=0, prepend=np.nan)
    week = np.full(price.shape, np.nan)
    week[7:] = price[7:] - price[:-7]
    inputs = {
        "price level": price,
        "change over a day": daily,
        "change over a week": week,
        "days since the last price": panel.age[max(start - 30, 0) :],
    }
    offset = max(start - 30, 0)
    then, now = slice(start - offset, end - offset), slice(last - PRESENT_DAYS - offset, None)
    return pd.DataFrame(
        [
            {"input": name, "psi": psi(values[then].ravel(), values[now].ravel())}
            for name, values in inputs.items()
        ]
    ).dropna()


def judged(value: float) -> str:
    """Return a population stability index in a word."""
    return "stable" if value < STABLE else "drifting" if value <= CHANGED else "changed"


def verdict(
    months: pd.DataFrame, moved: pd.DataFrame, nights: NightlyRecord | None = None
) -> list[str]:
    """Return what the figures mean, in sentences."""
    said = []
    if len(months):
        won = int((months["rmae"] < 1).sum())
        held = int(((months["coverage"] - COVERAGE).abs() <= SLACK).sum())
        of = f"of the last {len(months)} months" if len(months) > 1 else "in the only month scored"
        said.append(
            f"It beat “no change” in {won} {of}, and its intervals kept their promise, within "
            f"{100 * SLACK:.0f} points, in {held}."
        )
    else:
        said.append("No month has enough finished forecasts yet.")
    if nights is not None and np.isfinite(nights.rmae):
        saved = 100 * (1 - nights.rmae)
        size = "smaller" if saved >= 0 else "larger"
        count = f"{nights.nights} night{'s' * (nights.nights != 1)}"
        said.append(
            f"Its own forecasts of the last {count} that have ended erred {abs(saved):.1f} % "
            f"{size} than “no change”, with {100 * nights.coverage:.0f} % inside the interval."
        )
    worst = moved.loc[moved["psi"].idxmax()] if len(moved) else None
    if worst is None:
        said.append("Too few days to compare today's market with that of the training.")
    elif worst["psi"] < STABLE:
        said.append("Today's market looks like the one it was trained on.")
    else:
        how = "has moved away from" if worst["psi"] <= CHANGED else "is unlike"
        said.append(
            f"Today's market {how} the one it was trained on, most of all in {worst['input']}: "
            "trust the forecasts less until it is trained anew."
        )
    return said
