"""The gate: whether a trained model may become champion, and why."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pokewatch.evaluation import metrics
from pokewatch.evaluation.backtest import attach_truth
from pokewatch.evaluation.registry import GateVerdict, TrainedModel
from pokewatch.models.panel import Panel
from pokewatch.schema import MODEL

GATE_HORIZON = 7
TOLERANCE = 1.01  # a challenger this close to the champion counts as not worse
FIRST_SCORE = 20  # days of prices from which on the gate can tell a model from luck
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
        return GateVerdict(False, [too_young(len(panel.dates))])
    figures = scores[["rmae", "rmae_low", "rmae_high"]].astype(float)  # unknown ones: None, NaN
    rmae, low, high = figures.iloc[0].tolist()
    if not np.isfinite([rmae, low, high]).all():
        few = f"too few {GATE_HORIZON}-day forecasts are scored to tell whether it is luck"
        return GateVerdict(False, [f"{few} ({too_young(len(panel.dates))})"])
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


def too_young(days: int) -> str:
    """Return what a history of so many days is too short for."""
    held = "1 day" if days == 1 else f"{days} days"
    return (
        f"{held} of prices: a first score needs about {FIRST_SCORE}; until then fair values stay "
        "naive"
    )


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
