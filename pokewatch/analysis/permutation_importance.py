"""Which families of features the model's accuracy rests on, by permutation out of sample."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from pokewatch.analysis.market import marked
from pokewatch.errors import UsageError
from pokewatch.evaluation import backtest, metrics
from pokewatch.models import features
from pokewatch.models.fair_value import VOLATILITY, FairValueModel, forecast_frame
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
    model = FairValueModel([horizon], settings.seed).fit(panel.until(origin))
    rng = np.random.default_rng(settings.seed)
    known = np.flatnonzero(~np.isnan(panel.price[origin]))
    cards = np.sort(rng.choice(known, min(len(known), MAX_CARDS), replace=False))
    rows = np.unique(np.linspace(origin, last, DAYS_SCORED).astype(int))
    day, card = (part.ravel() for part in np.meshgrid(rows, cards, indexing="ij"))
    x, names = features.cases(panel, day, card), features.names()

    def scored(x: np.ndarray) -> pd.DataFrame:
        ahead = {horizon: model.ahead(horizon, x)}
        forecast = forecast_frame(panel, day, card, x[:, names.index(VOLATILITY)], ahead)
        return backtest.attach_truth(forecast.assign(lower=np.nan, upper=np.nan), panel)

    unshuffled = scored(x)
    least = metrics.log_error(unshuffled).mean()
    naive = max(metrics.naive_error(unshuffled).mean(), 1e-12)
    families: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        families.setdefault(re.sub(r"_\d+$", "", name).replace("_", " "), []).append(column)
    table = []
    for family, columns in families.items():
        losses = []
        for _ in range(repeats):
            shuffled = x.copy()
            shuffled[:, columns] = x[rng.permutation(len(x))][:, columns]
            losses.append(metrics.log_error(scored(shuffled)).mean() - least)
        table.append((family, len(columns), np.mean(losses) / naive, np.std(losses) / naive))
    out = typed(table, COLUMNS)
    out = out.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)
    return marked(out, simulated)
