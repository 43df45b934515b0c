"""The gate: whether a trained model may become champion, whether the champion stays, and why."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from pokewatch.evaluation import metrics
from pokewatch.evaluation.backtest import FIRST
from pokewatch.evaluation.registry import GateVerdict, TrainedModel
from pokewatch.formatting import percent
from pokewatch.models.panel import Panel
from pokewatch.schema import MODEL, SIGNAL_HORIZON

GATE_HORIZON = SIGNAL_HORIZON
MIN_WINDOWS = 20  # windows of ``GATE_HORIZON`` days that do not overlap, for a proof by dates alone
MIN_SETS = 20  # of equal weight, for a proof by sets in a market younger than that
RECENT = 90  # days on which champion and challenger are compared, and the live record judged
FIRST_SCORE = math.ceil((GATE_HORIZON + metrics.MIN_DATES) / (1 - FIRST))  # days of prices


def days_for(windows: int) -> int:
    """Return about how many days of prices it takes to score so many windows."""
    return math.ceil((windows * GATE_HORIZON + 1) / (1 - FIRST))


def check(
    forecasts: pd.DataFrame,
    panel: Panel,
    champion: TrainedModel | None = None,
    said: pd.DataFrame | None = None,
    live: pd.DataFrame | None = None,
) -> GateVerdict:
    """Return whether a challenger may become champion.

    Its 7-day rMAE must lie below 1 over ``MIN_WINDOWS``, with an interval that holds however often
    one trains, or in a younger market over ``MIN_SETS`` sets, see ``metrics.share_come_true``; it
    must not be proved to err more than the champion on the last ``RECENT`` days; and what was
    published on these days must not have lost to "no change". forecasts: its walk-forward, columns
    as in ``Backtest.forecasts``; said: what the champion said on these days, in the same columns;
    live: what was published on them, columns as ``track_record.live_rows``.
    """
    days = int((panel.age == 0).any(axis=1).sum())
    own = forecasts[(forecasts["model"] == MODEL) & (forecasts["horizon"] == GATE_HORIZON)]
    rmae = metrics.rmae(own)
    if days < FIRST_SCORE or not np.isfinite(rmae):
        return GateVerdict(False, [unscored(days)])
    windows = len(metrics.non_overlapping(np.sort(own["date"].unique()), GATE_HORIZON))
    low, high = metrics.rmae_interval(own)
    if windows < MIN_WINDOWS or np.isnan(low):
        proved, result = by_sets(own, panel, windows)
        result = f"{GATE_HORIZON}-day rMAE {rmae:.3f} over {result}"
        if not proved:
            return GateVerdict(False, [f"{result}; until then fair values stay naive"])
    else:
        _, bound = metrics.rmae_interval(own, any_night=True)
        result = (
            f"{GATE_HORIZON}-day rMAE {rmae:.3f} (95 % interval {low:.3f} to {high:.3f}; however "
            f"often one looks, below {bound:.3f})"
        )
        if bound >= 1:
            return GateVerdict(False, [f"{result}: not proved better than no change"])
    passed, compared = beside_champion(own, panel, champion, said)
    if passed and (reason := lost(live)):
        passed, compared = False, reason
    return GateVerdict(passed, [f"{result}: better than no change", compared], proved=True)


def by_sets(own: pd.DataFrame, panel: Panel, windows: int) -> tuple[bool, str]:
    """Return whether forecasts of few windows are proved by many sets of cards, and how.

    They must be proved beyond what the whole market moved as well, which all sets share. Cards
    without a set count as one.
    """
    sets = own["card_id"].map(panel.cards["set_name"].fillna("").astype(str))
    number = int(metrics.effective_groups(own, sets))
    seen = f"{windows} window{'s' * (windows != 1)} of {GATE_HORIZON} days"
    needed = f"a proof needs {MIN_WINDOWS}, about {days_for(MIN_WINDOWS)} days of prices"
    if number < MIN_SETS:
        return False, f"{seen}: {needed}"
    kept, least = metrics.share_come_true(own, sets, windows)
    least = min(least, metrics.share_come_true(metrics.beyond_market(own), sets, windows)[1])
    came = f"{seen} and {number} sets: {percent(kept, 0)} of the changes it forecast came true"
    if least > 0:
        return True, f"{came}, at least {percent(least, 0)} if weeks differ as in long records"
    return False, f"{came}, and no less than {percent(least, 0)} is sure; {needed}"


def unscored(days: int) -> str:
    """Return why nothing can be said of a model's forecasts yet; days: with prices."""
    held = f"{days} day{'s' * (days != 1)} of prices"
    if days < FIRST_SCORE:
        return f"{held}: a first score needs about {FIRST_SCORE}; until then fair values stay naive"
    return f"{held} give too few {GATE_HORIZON}-day forecasts to tell a model from luck"


def beside_champion(
    own: pd.DataFrame, panel: Panel, champion: TrainedModel | None, said: pd.DataFrame | None
) -> tuple[bool, str]:
    """Return whether a challenger may follow the champion, and how it compares with it."""
    if champion is None:
        return True, "there was no champion"
    if panel.dates[-1] < pd.Timestamp(champion.as_of):
        return False, f"older than the champion '{champion.name}', which stays"
    both = own[["card_id", "date", "horizon", "y", "y_hat"]]
    if said is not None:
        other = said[["card_id", "date", "y_hat"]].rename(columns={"y_hat": "price"})
        both = both.merge(other, on=["card_id", "date"])
    # With the champion's forecast where the price stands, rMAE is the error over the champion's.
    low, high = metrics.rmae_interval(both) if "price" in both else (math.nan, math.nan)
    if np.isnan(low):
        return True, f"too few days to compare with '{champion.name}' on"
    text = (
        f"error is {metrics.rmae(both):.3f} of what champions said "
        f"of the last {RECENT} days (95 % interval {low:.3f} to {high:.3f})"
    )
    return low <= 1, text


def lost(live: pd.DataFrame | None) -> str:
    """Return why the published forecasts have lost to "no change", "" where they have not.

    live: those at ``GATE_HORIZON`` with what came of them, columns as ``track_record.live_rows``.
    """
    if live is None or live.empty:
        return ""
    low, high = metrics.rmae_interval(live, any_night=True)
    if not low > 1:
        return ""
    return (
        f"the forecasts published on the last {RECENT} days lost to no change: {GATE_HORIZON}-day "
        f"rMAE {metrics.rmae(live):.3f} (on every night {low:.3f} to {high:.3f}); fair values stay "
        "naive until these days lie behind"
    )
