"""The estimator of a price change's distribution: chances of a fall and a rise, and their sizes.

Many prices do not move in a week at all. A median regression stalls on these zeros; three classes
do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import HistGradientBoostingRegressor

from pokewatch.models.moves import LEVELS, SIDES, Moves
from pokewatch.models.trees import SharedBins, Trees
from pokewatch.rounding import GRID, log, on_grid


class MoveMixture(RegressorMixin, BaseEstimator):
    """Boosted chances of a fall and of a rise, and the boosted size of each.

    The chances are regressions of 0 and 1 with squared loss, whose best forecast is the chance
    itself (Brier 1950): unlike a classifier's, its sums are the same on every processor. Sizes are
    regressions of log absolute changes; what is left of them is spread alike for all cases.
    """

    def __init__(self, options: dict[str, Any] | None = None, seed: int = 7):
        """Prepare it; options: of ``HistGradientBoostingRegressor``."""
        self.options = options
        self.seed = seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> MoveMixture:  # noqa: N803
        """Learn from features (cases, features) and their log price changes; returns itself."""
        return self.fit_shared(SharedBins(X), y)

    def fit_shared(self, inputs: SharedBins, y: np.ndarray) -> MoveMixture:
        """Learn as ``fit`` does, from features that other estimators learn from as well."""
        self.trees_: dict[str, Trees] = {}
        self.spread_: dict[str, list[float]] = {}
        for side, sign in SIDES.items():
            moved = sign * y > 0
            self.trees_[f"chance_{side}"] = inputs.fit(self._boosting(), moved.astype(float))
            some = moved if moved.any() else np.ones_like(moved)  # then its chance is 0
            size = log(np.maximum(np.abs(y[some]), GRID))
            size = np.clip(size, *np.quantile(size, (0.001, 0.999)))
            grown = self.trees_[f"size_{side}"] = inputs.fit(self._boosting(), size, some)
            left = size - on_grid(grown.predict(inputs.x[some]))
            self.spread_[side] = np.quantile(left, LEVELS).tolist()
        return self

    def _boosting(self) -> HistGradientBoostingRegressor:
        return HistGradientBoostingRegressor(random_state=self.seed, **self.options or {})

    def moves(self, X: np.ndarray) -> Moves:  # noqa: N803
        """Return the distributions of cases with features ``X``."""
        found = {part: on_grid(trees.predict(X)) for part, trees in self.trees_.items()}
        chance = {side: np.clip(found[f"chance_{side}"], 0.0, 1.0) for side in SIDES}
        both = np.maximum(chance["fall"] + chance["rise"], 1.0)
        size = {side: found[f"size_{side}"] for side in SIDES}
        return Moves({side: one / both for side, one in chance.items()}, size, self.spread_)

    def predict(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        """Return the medians, log price changes."""
        return self.moves(X).quantile(0.5)
