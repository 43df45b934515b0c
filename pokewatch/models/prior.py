"""The prior: a model that comes along, for the months before a home can prove one of its own.

It was fitted on the daily prices of sealed products (``scripts/make_prior.py``); its files hold
trees and coefficients, no prices. Of sealed products and single cards that sell daily it forecast
later and other prices mostly better than "no change" (docs/scoring.md); of singles at large it did
not.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from pokewatch.models import features
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.intervals import ConformalIntervals
from pokewatch.models.panel import Panel
from pokewatch.models.signals import SHORT_HISTORY
from pokewatch.schema import PRIOR

FOLDER = Path(__file__).with_name("prior_model")
DAYS = 115  # of prices; with more a model of one's own is as good
HORIZONS = (1, 7, 14)  # days; at 30 it lost in one of three periods
SALES = 30.0  # of a single card in 30 days, to be one that sells daily


@lru_cache(maxsize=1)
def model() -> FairValueModel:
    """Return the model itself."""
    found = FairValueModel.load(FOLDER)
    found.check_features()
    return found


@lru_cache(maxsize=1)
def as_of() -> pd.Timestamp:
    """Return the last day that it has seen."""
    return pd.Timestamp(json.loads((FOLDER / "about.json").read_text("utf-8"))["as_of"])


def names(panel: Panel) -> np.ndarray:
    """Return for each card of a panel "prior-sealed", "prior-popular", or "" where it is silent.

    It is silent on all of a panel with more than ``DAYS`` days, or one that ends before it was
    fitted.
    """
    kind = panel.cards["product_kind"].astype(object).to_numpy()
    daily = np.nansum(panel.volume[-features.QUIET_DAYS :], axis=0) >= SALES
    found = np.select(
        [kind == "sealed", (kind == "single") & daily],
        [f"{PRIOR}sealed", f"{PRIOR}popular"],
        default="",
    )
    speaks = len(panel.dates) <= DAYS and panel.dates[-1] > as_of()
    return found if speaks else np.full_like(found, "")


def apply(
    forecast: pd.DataFrame,
    panel: Panel,
    names: np.ndarray,
    intervals: ConformalIntervals,
    stale_days: int,
) -> pd.DataFrame:
    """Return one day's naive forecasts with the prior's fair values where a card has its name.

    forecast: columns as ``FairValueModel.predict``; ``model`` is added. Of a card that is young, or
    whose price is older than ``stale_days``, nothing is forecast. Intervals are as wide as "no
    change" would need them on this panel.
    """
    key = ["card_id", "horizon"]
    who = forecast["card_id"].map(dict(zip(panel.card_ids, names, strict=True))).to_numpy()
    told = sorted(set(forecast["horizon"]) & set(HORIZONS))
    ids = panel.card_ids[names != ""]
    fit = (forecast["history_days"] >= SHORT_HISTORY) & (forecast["age"] <= stale_days)
    here = (who != "") & (forecast["horizon"].isin(told) & fit).to_numpy()
    out = forecast.assign(model=np.where(here, who, "naive"))
    if here.any():
        rows = model().predict_days(panel, [len(panel.dates) - 1], told, ids)
        said = rows.set_index(key)["fair_value"]
        wanted = pd.MultiIndex.from_frame(out.loc[here, key])
        out.loc[here, "fair_value"] = said.reindex(wanted).to_numpy()
    return intervals.apply(out)
