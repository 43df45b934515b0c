"""What a model is worth, in sentences made from its walk-forward scores."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pokewatch.evaluation.gate import FIRST_SCORE, GATE_HORIZON, days_for
from pokewatch.evaluation.metrics import MIN_WINDOWS
from pokewatch.evaluation.registry import TrainedModel
from pokewatch.evaluation.training import score_frame
from pokewatch.formatting import days, listed, percent
from pokewatch.models.intervals import COVERAGE
from pokewatch.schema import MODEL, SIGNAL_HORIZON
from pokewatch.settings import Settings

UNSCORED = (
    f"Nothing could be scored yet: a first score, {GATE_HORIZON} days ahead, needs about "
    f"{FIRST_SCORE} days of prices; until then fair values stay naive."
)
NO_WORSE = 1.005  # rMAE up to here is not worth being called worse
INTERVAL_SLACK = 0.05  # coverage this far from its promise is worth a remark


def verdict(trained: TrainedModel | None, settings: Settings) -> list[str]:
    """Return sentences, made from the figures, on what a model is worth."""
    if trained is None:
        return ["No model has been trained on this store yet: run 'pokewatch train'."]
    table = score_frame(trained)
    own = table[table["model"] == MODEL].set_index("horizon") if len(table) else table
    if own.empty:
        return [UNSCORED]
    horizon = SIGNAL_HORIZON if SIGNAL_HORIZON in own.index else own.index[0]
    row = own.loc[horizon]
    sentences = [_skill_sentence(row, int(horizon)), *_horizon_sentence(own)]
    return [*sentences, *_signal_sentence(row, settings), *_coverage_sentence(row)]


def _skill_sentence(row: pd.Series, horizon: int) -> str:
    saved = 1 - row["rmae"]
    low, high = 100 * (1 - row["rmae_high"]), 100 * (1 - row["rmae_low"])
    tested = f"on {row['n']:,.0f} forecasts of {row['dates']:,.0f} days it had not seen"
    ahead = f"{days(horizon)} ahead"
    if np.isnan(low):
        return (
            f"Too early to tell: only {days(int(row['dates']))} could be scored {ahead}; that "
            f"needs about {days_for(MIN_WINDOWS)} days of prices for {GATE_HORIZON} days ahead."
        )
    size = f"{percent(abs(saved))} {'smaller' if saved >= 0 else 'larger'}"
    interval = f"95 % interval {low:+.1f} to {high:+.1f} % saved"
    start = f"{ahead[0].upper()}{ahead[1:]}, the model's error is {size} than that of “no change”"
    if low > 0:
        return f"{start}, and that is no luck ({interval}; {tested})."
    if high < 0:
        return f"{start}: “no change” is the better forecast ({interval}; {tested})."
    return f"{start}, which may well be chance ({interval}; {tested})."


def _horizon_sentence(own: pd.DataFrame) -> list[str]:
    better = [str(h) for h in own.index if own.loc[h, "rmae_high"] < 1]
    worse = [
        str(h)
        for h in own.index
        if own.loc[h, "rmae_low"] > 1 and own.loc[h, "rmae"] > NO_WORSE and str(h) not in better
    ]
    rest = [str(h) for h in own.index if str(h) not in better + worse]
    if len(own) == 1 or (not better and not worse):
        return []
    groups = {"it beats “no change” at": better, "is worse at": worse, "is no better at": rest}
    parts = [
        f"{verb} {listed(found)} day{'' if found == ['1'] else 's'}"
        for verb, found in groups.items()
        if found
    ]
    text = f"{listed(parts)}."
    return ["Of the horizons, " + (text if better else "it " + text)]


def _signal_sentence(row: pd.Series, settings: Settings) -> list[str]:
    if not row.get("buy_calls", 0) > 0:
        return ["It gave no BUY in the test."]
    right, base = percent(row["buy_precision"], 0), percent(row["buy_base_rate"], 0)
    kept = row["return_after_fees"]
    return [
        f"A BUY was right {right} of the time, against {base} for any card; buying at each and "
        f"selling {days(int(row.name))} later would have {'gained' if kept >= 0 else 'lost'} "
        f"{percent(abs(kept))} on average after the {percent(settings.fee, 0)} that selling costs."
    ]


def _coverage_sentence(row: pd.Series) -> list[str]:
    coverage = row["coverage"]
    if abs(coverage - COVERAGE) <= INTERVAL_SLACK or np.isnan(coverage):
        return []
    how = "narrow" if coverage < COVERAGE else "wide"
    inside = f"{percent(coverage, 0)} of prices ended inside"
    return [f"Its {percent(COVERAGE, 0)} intervals are too {how}: {inside}."]
