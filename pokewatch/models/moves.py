"""Distributions of price changes: what can be read off them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pokewatch.rounding import log, on_grid

LEVELS = np.linspace(0.005, 0.995, 100)  # of the quantiles that tell how sizes spread
SIDES = {"fall": -1, "rise": 1}
PARTS = [f"{what}_{side}" for side in SIDES for what in ("chance", "size")]  # that are estimated


@dataclass(frozen=True)
class Moves:
    """Distributions of log price changes, one a case.

    chance: of a fall and of a rise, shape (cases,) each, together at most 1; size: the usual log of
    the absolute change of each; spread: quantiles of the log sizes about it, at ``LEVELS``.
    """

    chance: dict[str, np.ndarray]
    size: dict[str, np.ndarray]
    spread: dict[str, list[float]]

    def quantile(self, level: float) -> np.ndarray:
        """Return the quantile of each case's distribution."""
        out = np.zeros(len(self.chance["fall"]))
        for side, sign in SIDES.items():
            chance, tail = self.chance[side], level if side == "fall" else 1 - level
            here = chance > tail
            beyond = np.interp(1 - tail / chance[here], LEVELS, self.spread[side])
            out[here] = sign * np.exp(self.size[side][here] + beyond)
        return out

    def mean(self) -> np.ndarray:
        """Return the mean of each case's distribution."""
        parts = [
            sign * self.chance[side] * np.exp(self.size[side]) * np.exp(self.spread[side]).mean()
            for side, sign in SIDES.items()
        ]
        return np.sum(parts, axis=0)

    def odds(self, side: str, move: float) -> np.ndarray:
        """Return the chance of a "fall" or "rise" by ``move`` (a share of the price) or more."""
        far = log(abs(np.log1p(SIDES[side] * move)))
        below = np.interp(far - self.size[side], self.spread[side], LEVELS, left=0.0, right=1.0)
        return on_grid(self.chance[side] * (1 - below))
