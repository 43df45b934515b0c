"""What a model is worth, in sentences made from its walk-forward scores."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pokewatch.evaluation.registry import TrainedModel
from pokewatch.models.intervals import COVERAGE
from pokewatch.operations import night
from pokewatch.schema import MODEL
from pokewatch.settings import Settings

NO_WORSE = 1.005  # rMAE up to here is not worth being called worse
INTERVAL_SLACK = 0.05  # coverage this far from its promise is worth a remark


def scores(trained: TrainedModel) -> pd.DataFrame:
    """Return a model's walk-forward table with numbers in every column but ``model``."""
    table = pd.DataFrame(trained.scores)
    numbers = [name for name in table.columns if name != "model"]
    if numbers:
        table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    return table


def verdict(trained: TrainedModel | None, settings: Settings) -> list[str]:
    """Return sentences, made from the figures, on what a model is worth."""
    if trained is None:
        return ["No model has been trained on this store yet: run 'pokewatch train'."]
    table = scores(trained)
    own = table[table["model"] == MODEL].set_index("horizon") if len(table) else table
    if own.empty:
        return ["Nothing could be scored yet: the history is too short."]
    horizon = night.SIGNAL_HORIZON if night.SIGNAL_HORIZON in own.index else own.index[0]
    row = own.loc[horizon]
    said = [_skill_sentence(row, int(horizon)), *_horizon_sentence(own)]
    return [*said, *_signal_sentence(row, settings), *_coverage_sentence(row)]


def _days(horizon: int) -> str:
    return f"{horizon} day{'s' * (horizon != 1)}"


def _skill_sentence(row: pd.Series, horizon: int) -> str:
    saved = 100 * (1 - row["rmae"])
    low, high = 100 * (1 - row["rmae_high"]), 100 * (1 - row["rmae_low"])
    tested = f"on {row['n']:,.0f} forecasts of {row['dates']:,.0f} days it had not seen"
    ahead = f"{_days(horizon)} ahead"
    if np.isnan(low):
        return f"Too early to tell: only {row['dates']:.0f} days could be scored {ahead}."
    size = f"{abs(saved):.1f} % {'smaller' if saved >= 0 else 'larger'}"
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
    right, base = 100 * row["buy_precision"], 100 * row["buy_base_rate"]
    kept, fee = 100 * row["return_after_fees"], 100 * settings.fee
    result = f"gained {kept:.1f} %" if kept >= 0 else f"lost {-kept:.1f} %"
    return [
        f"A BUY was right {right:.0f} % of the time, against {base:.0f} % for any card; buying at "
        f"each and selling {_days(int(row.name))} later would have {result} on average after the "
        f"{fee:.0f} % that selling costs."
    ]


def _coverage_sentence(row: pd.Series) -> list[str]:
    held = row["coverage"]
    if abs(held - COVERAGE) <= INTERVAL_SLACK or np.isnan(held):
        return []
    how, promised = "narrow" if held < COVERAGE else "wide", 100 * COVERAGE
    inside = f"{100 * held:.0f} % of prices ended inside"
    return [f"Its {promised:.0f} % intervals are too {how}: {inside}."]


def listed(parts: list[str]) -> str:
    """Return parts as a person writes them: a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
