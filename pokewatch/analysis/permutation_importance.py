"""Which families of features the model's accuracy rests on, by permutation out of sample."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pokewatch.analysis.market import marked
from pokewatch.errors import UsageError
from pokewatch.evaluation import backtest, metrics
from pokewatch.models import features
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import open_panel, price_sources
from pokewatch.schema import SIMULATED, typed
from pokewatch.settings import get_settings

COLUMNS = {"family": "object", "features": "int64", "importance": "float64", "spread": "float64"}
MAX_CARDS = 400  # cards on which features are shuffled
DAYS_SCORED = 8
MIN_HISTORY = 60  # days of history before an importance can be computed


def permutation_importance(
    horizon: int = 7, days: int | None = None, repeats: int = 3
) -> pd.DataFrame:
    """Return how much accuracy is lost when a family of features is shuffled, out of sample.

    A model is fitted on all but the last ``days`` days (default: a third, at most 42); on those
    days each family (all spans of one kind together, since they are much alike) is shuffled over
    cards and days (Breiman 2001). Columns family, features, importance (added error as a share of
    naive's), spread (standard deviation over ``repeats``); the largest first, none where the
    history is too short. Raises UsageError for ``days`` that it is too short for.

    >>> import pokewatch as pw
    >>> list(pw.permutation_importance(days=21, repeats=1).columns)
    ['family', 'features', 'importance', 'spread']
    """
    settings = get_settings()
    panel, version = open_panel(settings)
    last = len(panel.dates) - 1 - horizon
    origin = last - (min(len(panel.dates) // 3, 42) if days is None else days)
    simulated = SIMULATED in price_sources(settings, version)
    if origin < min(MIN_HISTORY, horizon * 4) or origin >= last:
        if days is None:
            return marked(typed([], COLUMNS), simulated)
        raise UsageError(
            f"{len(panel.dates)} days are too few for days={days} and horizon={horizon}: lower them"
        )
    built = features.build(panel)
    model = FairValueModel([horizon], settings.seed)
    model.fit(panel.until(origin), features.until(built, origin))
    rng = np.random.default_rng(settings.seed)
    known = np.flatnonzero(~np.isnan(panel.price[origin]))
    cards = np.sort(rng.choice(known, min(len(known), MAX_CARDS), replace=False))
    part = panel.cards_only(cards)
    inputs = {name: matrix[:, cards] for name, matrix in built.items()}
    rows = np.unique(np.linspace(origin, last, DAYS_SCORED).astype(int))

    def scored(inputs: features.Features) -> pd.DataFrame:
        forecast = model.predict_days(part, rows.tolist(), [horizon], inputs)
        return backtest.attach_truth(forecast, part)

    unshuffled = scored(inputs)
    error = metrics.log_error(unshuffled).mean()
    naive = max(metrics.log_error(unshuffled.assign(y_hat=unshuffled["price"])).mean(), 1e-12)
    families: dict[str, list[str]] = {}
    for name in inputs:
        families.setdefault(re.sub(r"_\d+$", "", name).replace("_", " "), []).append(name)
    table = []
    for family, names in families.items():
        losses = [
            metrics.log_error(scored(inputs | shuffled(inputs, names, rows, rng))).mean() - error
            for _ in range(repeats)
        ]
        table.append((family, len(names), np.mean(losses) / naive, np.std(losses) / naive))
    out = typed(table, COLUMNS)
    out = out.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)
    return marked(out, simulated)


def shuffled(
    built: features.Features, names: Sequence[str], rows: np.ndarray, rng: np.random.Generator
) -> features.Features:
    """Return some features, their values on days ``rows`` shuffled together over days and cards."""
    out = {name: built[name].copy() for name in names}
    shape = out[names[0]][rows].shape
    order = rng.permutation(shape[0] * shape[1])
    for matrix in out.values():
        matrix[rows] = matrix[rows].ravel()[order].reshape(shape)
    return out
