"""The gate: whether a trained model may become champion, and why."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from pokewatch.evaluation import metrics
from pokewatch.evaluation.backtest import FIRST, attach_truth
from pokewatch.evaluation.registry import GateVerdict, TrainedModel
from pokewatch.models.panel import Panel
from pokewatch.schema import MODEL

GATE_HORIZON = 7
TOLERANCE = 1.01  # a challenger this close to the champion counts as not worse
# Days of prices from which on enough dates are scored for an interval.
FIRST_SCORE = math.ceil((GATE_HORIZON + metrics.MIN_BLOCKS) / (1 - FIRST))
MIN_DATES = 5  # days that both have forecast, to compare them


def check(
    scores: pd.DataFrame, forecasts: pd.DataFrame, panel: Panel, champion: TrainedModel | None
) -> GateVerdict:
    """Return whether a challenger may become champion.

    Its 7-day rMAE interval must lie below 1, and on the days after the champion's training its
    error must not exceed the champion's by more than 1 %. scores: the challenger's score table;
    forecasts: its walk-forward forecasts, columns as in ``Backtest.forecasts``.
    """
    if len(scores):
        scores = scores[(scores["horizon"] == GATE_HORIZON) & (scores["model"] == MODEL)]
    if scores.empty:
        return GateVerdict(False, [unscored(panel)])
    figures = scores[["rmae", "rmae_low", "rmae_high"]].astype(float)  # unknown ones: None, NaN
    rmae, low, high = figures.iloc[0].tolist()
    if not np.isfinite([rmae, low, high]).all():
        return GateVerdict(False, [unscored(panel)])
    result = f"{GATE_HORIZON}-day rMAE {rmae:.3f} (95 % interval {low:.3f} to {high:.3f})"
    if high >= 1:
        return GateVerdict(False, [f"{result}: not proved better than no change"])
    if champion is None:
        passed, compared = True, "there was no champion"
    elif panel.dates[-1] < pd.Timestamp(champion.as_of):
        passed, compared = False, f"older than the champion '{champion.name}', which stays"
    elif (ratio := error_ratio(forecasts, champion, panel)) is None:
        passed = True
        compared = f"no new days to compare with '{champion.name}' on: same recipe, newer data"
    else:
        passed = ratio <= TOLERANCE
        compared = (
            f"error is {ratio:.3f} of the champion's ('{champion.name}') on the same later days"
        )
    return GateVerdict(passed, [f"{result} lies below 1", compared], proved=True)


def unscored(panel: Panel) -> str:
    """Return why nothing can be said of a model's forecasts yet."""
    days = int((panel.age == 0).any(axis=1).sum())
    held = f"{days} day{'s' * (days != 1)} of prices"
    if days < FIRST_SCORE:
        return f"{held}: a first score needs about {FIRST_SCORE}; until then fair values stay naive"
    return f"{held} give too few {GATE_HORIZON}-day forecasts to tell a model from luck"


def error_ratio(forecasts: pd.DataFrame, champion: TrainedModel, panel: Panel) -> float | None:
    """Return a challenger's error over the champion's on days after the champion's training.

    Mean absolute errors of log prices at ``GATE_HORIZON``. None with fewer than ``MIN_DATES`` days.
    """
    challenger = forecasts[
        (forecasts["model"] == MODEL)
        & (forecasts["horizon"] == GATE_HORIZON)
        & (forecasts["date"] > pd.Timestamp(champion.as_of))
    ]
    days = np.sort(challenger["date"].unique())
    if len(days) < MIN_DATES or GATE_HORIZON not in champion.model.fits:
        return None
    rows = panel.dates.get_indexer(pd.DatetimeIndex(days)).tolist()
    forecast = champion.model.predict_days(panel, rows, [GATE_HORIZON])
    other = attach_truth(forecast, panel)[["card_id", "date", "y_hat"]]
    both = challenger.merge(other, on=["card_id", "date"], suffixes=("", "_champion"))
    champions = metrics.log_error(both.assign(y_hat=both["y_hat_champion"])).mean()
    return float(metrics.log_error(both).mean() / champions) if champions > 0 else None
