"""80 % intervals that mean what they say: quantiles of out-of-sample errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from pokewatch.models.panel import Panel
from pokewatch.rounding import log, on_grid

COVERAGE = 0.8
CLASSES = 4  # of volatility
PRICES = (5.0, 20.0, 100.0)  # USD at which another class begins
MIN_CASES = 200  # errors of a class, and of a horizon, without which it borrows
HALF_LIFE = 45.0  # days after which an error counts half: markets change their temper
TOGETHER = 3.0  # the windows of n cards count for sqrt(n) / TOGETHER windows
MIN_TAIL = 0.01
SETTLED = 7  # days after which a card's volatility is known well enough
UNKNOWN = 0.02  # daily volatility assumed of cards of which nothing is known yet
NORMAL_80 = 1.28 * 1.253  # 80 % of a normal error, in mean absolute deviations
FLOOR = 0.002  # daily volatility below which a card counts as this volatile


@dataclass
class ErrorQuantiles:
    """Error quantiles of one horizon by class, in units of the forecast's spread.

    edges: where classes of volatility end; low, high: a value a class of volatility and, within it,
    of price (``PRICES``). plain: in units of what the card's volatility says alone, since learnt
    from price changes, which no distribution came with.
    """

    edges: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    plain: bool = False


class ConformalIntervals:
    """Intervals, of 80 % unless told otherwise, by class of volatility and price.

    An error is scaled by its card's spread, see ``unit_of``; the recency-weighted quantiles of past
    out-of-sample errors within a class become the bounds (Mondrian conformal prediction, Vovk et
    al. 2005; weighted, Tibshirani et al. 2019).
    """

    def __init__(
        self, quantiles: dict[int, ErrorQuantiles] | None = None, coverage: float = COVERAGE
    ):
        """Hold the error quantiles of each horizon (days); coverage: what is promised."""
        self.quantiles = quantiles or {}
        self.coverage = coverage

    @classmethod
    def from_changes(
        cls,
        panel: Panel,
        volatility: np.ndarray,
        horizons: Sequence[int],
        coverage: float = COVERAGE,
    ) -> ConformalIntervals:
        """Start from the spread of past price changes: what naive would have got wrong.

        volatility: of every day and card, as ``features.volatility`` gives it.
        """
        found = {}
        # A card's first days do not tell its volatility: later ones stand in for them.
        volatility = volatility.copy()
        settled = min(SETTLED, len(volatility) - 1)
        volatility[:settled] = volatility[settled]
        for horizon in horizons:
            if horizon >= len(panel.dates):
                continue
            target = panel.target(horizon)
            target[panel.age > 0] = np.nan
            known = ~np.isnan(target)
            age = np.repeat(np.arange(len(target), dtype=float)[::-1], known.sum(axis=1))
            usual = volatility[known].astype(float)
            cards = int(known.any(axis=0).sum())
            price, unit = panel.price[: len(target)][known], spread(usual, horizon)
            error = target[known]
            one = _quantiles(horizon, error, usual, price, unit, age, cards, coverage)
            if one is not None:
                found[horizon] = replace(one, plain=True)
        return cls(found, coverage)

    def with_missing(self, others: ConformalIntervals) -> ConformalIntervals:
        """Return these intervals, and of ``others`` the horizons that are not among them."""
        both = others.quantiles | self.quantiles
        return ConformalIntervals({horizon: both[horizon] for horizon in sorted(both)})

    def learn(self, past: pd.DataFrame, today: pd.Timestamp) -> ConformalIntervals:
        """Return intervals from finished forecasts; horizons with too few keep what they have.

        past: columns card_id, date, horizon, volatility, half_width (may be missing), y, y_hat
        (USD); each ended by ``today``.
        """
        out = ConformalIntervals(dict(self.quantiles), self.coverage)
        for horizon, rows in past.groupby("horizon"):
            error = log(rows["y"] / rows["y_hat"]).to_numpy()
            age = (today - rows["date"]).dt.days.to_numpy(dtype=float)
            volatility, cards = rows["volatility"].to_numpy(), rows["card_id"].nunique()
            unit, price = unit_of(rows, int(horizon)), rows["y_hat"].to_numpy()
            found = _quantiles(
                int(horizon), error, volatility, price, unit, age, cards, self.coverage
            )
            if found is not None:
                out.quantiles[int(horizon)] = found
        return out

    def apply(self, forecast: pd.DataFrame) -> pd.DataFrame:
        """Add ``lower`` and ``upper`` (USD) to forecasts.

        forecast: columns volatility, horizon, fair_value and, where it is known, half_width.
        """
        low, high = np.empty(len(forecast)), np.empty(len(forecast))
        for horizon in forecast["horizon"].unique():
            here = (forecast["horizon"] == horizon).to_numpy()
            low[here], high[here] = self._bounds(int(horizon), forecast[here])
        fair_value = forecast["fair_value"]
        return forecast.assign(
            lower=np.maximum(fair_value * np.exp(low), 0.0), upper=fair_value * np.exp(high)
        )

    def _bounds(self, horizon: int, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        volatility = rows["volatility"].to_numpy()
        if not self.quantiles:  # nothing was ever seen: a normal guess from the card's volatility
            unit = NORMAL_80 * spread(np.maximum(volatility, UNKNOWN), horizon)
            unit *= ndtri((1 + self.coverage) / 2) / ndtri((1 + COVERAGE) / 2)
            return -unit, unit
        # A horizon longer than the history borrows the next one's, wider as far as those widen.
        nearest = min(self.quantiles, key=lambda known: (abs(known - horizon), known))
        found = self.quantiles[nearest]
        group = _classes(found.edges, volatility, rows["fair_value"].to_numpy())
        unit = spread(volatility, horizon) if found.plain else unit_of(rows, horizon)
        unit = unit * max(horizon / nearest, 1.0) ** self._growth(found.plain)
        return np.array(found.low)[group] * unit, np.array(found.high)[group] * unit

    def _growth(self, plain: bool) -> float:
        """Return the power of the horizon by which intervals widen beyond its square root.

        Prices that follow each other late (momentum, rare sales) spread faster than a random walk.
        """
        width = {
            horizon: float(np.mean(np.subtract(one.high, one.low)))
            for horizon, one in self.quantiles.items()
            if one.plain == plain
        }
        known = [horizon for horizon, size in width.items() if size > 0]
        if len(known) < 2:
            return 0.0
        sizes = [width[horizon] for horizon in known]
        return float(np.clip(np.polyfit(np.log(known), np.log(sizes), 1)[0], 0.0, 0.5))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            str(horizon): {name: value for name, value in asdict(one).items() if value is not False}
            for horizon, one in self.quantiles.items()
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ConformalIntervals:
        """Rebuild what ``to_json`` gave."""
        return cls({int(horizon): ErrorQuantiles(**one) for horizon, one in values.items()})


def unit_of(rows: pd.DataFrame, horizon: int) -> np.ndarray:
    """Return each forecast's spread, a mean absolute log change.

    The geometric mean of what the card's volatility and its distribution say, see ``half_width`` in
    ``fair_value.AHEAD``; of a forecast without one the former.
    """
    usual = spread(rows["volatility"].to_numpy(), horizon)
    if "half_width" not in rows:
        return usual
    said = rows["half_width"].to_numpy(dtype=float) / NORMAL_80 + FLOOR * np.sqrt(horizon)
    return on_grid(np.where(np.isnan(said), usual, np.sqrt(usual * said)))


def _classes(edges: list[float], volatility: np.ndarray, price: np.ndarray) -> np.ndarray:
    """Return the number of each forecast's class."""
    calm = np.searchsorted(edges, volatility, side="left")
    return calm * (len(PRICES) + 1) + np.searchsorted(PRICES, price, side="right")


def _quantiles(
    horizon: int,
    error: np.ndarray,
    volatility: np.ndarray,
    price: np.ndarray,
    unit: np.ndarray,
    age: np.ndarray,
    cards: int,
    coverage: float,
) -> ErrorQuantiles | None:
    """Return the quantiles of log errors that are ``age`` days old, None for too few of them."""
    if len(error) < MIN_CASES:
        return None
    weight = on_grid(0.5 ** (age / HALF_LIFE))
    cuts = np.quantile(volatility, np.linspace(0, 1, CLASSES + 1)[1:-1])
    out = ErrorQuantiles(np.unique(cuts).tolist())
    group, scaled = _classes(out.edges, volatility, price), error / unit
    bands = len(PRICES) + 1
    # Cards move together, so a sample is only as large as its windows that do not overlap:
    # the split-conformal correction (1 + 1/n) counts these.
    windows = (1 + float(np.ptp(age)) / horizon) * np.sqrt(cards) / TOGETHER
    tail = max((1 - coverage) / 2 - coverage / 2 / windows, MIN_TAIL)
    for number in range((len(out.edges) + 1) * bands):
        wider = (group == number, group // bands == number // bands)  # its class of volatility
        here = next((rows for rows in wider if rows.sum() >= MIN_CASES), slice(None))
        low, high = np.quantile(
            scaled[here], [tail, 1 - tail], weights=weight[here], method="inverted_cdf"
        ).tolist()
        out.low.append(min(low, 0.0))
        out.high.append(max(high, 0.0))
    return out


def spread(volatility: np.ndarray, horizon: int) -> np.ndarray:
    """Return a card's usual log price change over a horizon."""
    return (volatility + FLOOR) * np.sqrt(horizon)
