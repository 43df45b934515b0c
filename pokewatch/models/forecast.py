"""The fair-value model: a pooled regression on lagged returns, shrunk towards "no change"."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pokewatch import features
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.panel import Panel
from pokewatch.schema import HORIZONS

FORMAT = 1
COVERAGE = 0.8
SHRINKS = (0.0, 0.25, 0.5, 0.75, 1.0)
DEAD_ZONES = (0.0, 0.003, 0.01, 0.03)
HOLDOUT = 0.35  # last share of the usable days: shrinkage and intervals are set on it
RIDGE = 1e-3  # penalty per row on standardised features
MAX_ROWS = 400_000
MIN_ROWS = 200
MIN_DAYS = 5  # usable days without which a horizon is not fitted
SHORT_HISTORY = 7  # days of history below which a card keeps its price as fair value
CLASSES = 6


@dataclass
class HorizonFit:
    """What was learnt for one horizon; log returns throughout.

    coef, center, scale: of the standardised features; shrink and dead_zone: of the raw forecast.
    edges: volatility limits of the classes; low and high: residual quantiles of each class, in
    units of the card's own ``spread``. rows: training rows, 0 where nothing could be fitted.
    """

    horizon: int
    coef: list[float]
    center: list[float]
    scale: list[float]
    intercept: float = 0.0
    shrink: float = 0.0
    dead_zone: float = 0.0
    edges: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    rows: int = 0


class FairValueModel:
    """Forecasts log price changes for every card at several horizons.

    Ridge regression on causal features pooled over all cards, one a horizon. The forecast is
    shrunk (factor and dead zone) as far as the last, held-out part of the history asks for, so a
    signal that is not there costs nothing. 80 % intervals are split-conformal: quantiles of the
    held-out residuals by volatility class (Vovk et al. 2005, ch. 4; classes as in Mondrian
    conformal prediction).
    """

    def __init__(self, horizons: Sequence[int] = HORIZONS, seed: int = 7, learn: bool = True):
        """Prepare a model for these horizons (days); ``learn=False`` is naive with intervals."""
        bad = [horizon for horizon in horizons if horizon < 1]
        if bad or not horizons:
            raise UsageError(f"horizons must be 1 day or more, not {list(horizons)}")
        self.horizons = sorted({int(horizon) for horizon in horizons})
        self.seed = seed
        self.learn = learn
        self.names: list[str] = []
        self.fits: dict[int, HorizonFit] = {}

    def fit(self, panel: Panel, built: features.Features | None = None) -> FairValueModel:
        """Learn from everything in ``panel``; returns itself.

        built: ``features.build(panel)`` where the caller has it already.
        """
        built = features.build(panel) if built is None else built
        self.names = list(built)
        self.fits = {horizon: self._fit_horizon(panel, built, horizon) for horizon in self.horizons}
        fitted = [horizon for horizon in self.horizons if self.fits[horizon].rows]
        for horizon in self.horizons:
            if fitted and not self.fits[horizon].rows:
                near = self.fits[min(fitted, key=lambda other: abs(other - horizon))]
                self.fits[horizon].edges = near.edges
                self.fits[horizon].low, self.fits[horizon].high = near.low, near.high
        return self

    def _fit_horizon(self, panel: Panel, built: features.Features, horizon: int) -> HorizonFit:
        width = len(self.names)
        empty = HorizonFit(horizon, [0.0] * width, [0.0] * width, [1.0] * width)
        target = panel.target(horizon) if horizon < len(panel.dates) else None
        if target is None:
            return empty
        target[panel.history_days() < 1] = np.nan
        days = np.flatnonzero((~np.isnan(target)).any(axis=1))
        usable = int((~np.isnan(target)).sum())
        if len(days) < MIN_DAYS or usable < MIN_ROWS:
            return empty
        first_held = days[int(len(days) * (1 - HOLDOUT))]
        train_days = days[days <= first_held - horizon]
        if not self.learn or len(train_days) < 2:  # too short for an embargo: only the spread
            train_days = days[:0]
        held_days = days[days >= first_held]
        rng = np.random.default_rng([self.seed, horizon])
        x_held, y_held, where = self._rows(built, target, held_days, rng)
        if len(train_days):
            x_train, y_train, _ = self._rows(built, target, train_days, rng)
            trial = _ridge(horizon, x_train, y_train)
            raw = _raw(trial, x_held)
            shrink, dead_zone = _tune(raw, y_held)
            x_all, y_all, _ = self._rows(built, target, days, rng)
            fit = _ridge(horizon, x_all, y_all)
            fit.shrink, fit.dead_zone = shrink, dead_zone
            residual = y_held - _shrunk(raw, shrink, dead_zone)
        else:
            fit, residual = empty, y_held
        fit.rows = usable
        volatility = built["volatility"][where]
        _calibrate(fit, residual, volatility)
        return fit

    def _rows(
        self,
        built: features.Features,
        target: np.ndarray,
        days: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
        day, card = np.nonzero(~np.isnan(target[days]))
        day = days[day]
        if len(day) > MAX_ROWS:
            chosen = np.sort(rng.choice(len(day), MAX_ROWS, replace=False))
            day, card = day[chosen], card[chosen]
        return _design(built, day, card), target[day, card], (day, card)

    def predict(
        self, panel: Panel, on: pd.Timestamp | None = None, horizons: Sequence[int] | None = None
    ) -> pd.DataFrame:
        """Forecast every card alive on a day from what was known at its end.

        Returns columns card_id, date, horizon, market_price, fair_value, lower, upper (USD),
        history_days, age (days since the price was observed); one row a card and horizon.
        """
        row = len(panel.dates) - 1 if on is None else panel.day(on)
        window = panel.until(row)
        return self.predict_days(window, [row], horizons)

    def predict_days(
        self,
        panel: Panel,
        rows: Sequence[int],
        horizons: Sequence[int] | None = None,
        built: features.Features | None = None,
    ) -> pd.DataFrame:
        """Forecast for several days of a panel at once; columns as ``predict``.

        Every feature of a day looks back only, so a day's rows do not depend on later days.
        """
        built = features.build(panel) if built is None else built
        history = panel.history_days()
        wanted = self.horizons if horizons is None else list(horizons)
        unknown = [horizon for horizon in wanted if horizon not in self.fits]
        if unknown:
            raise UsageError(
                f"the model was not trained for {unknown} days: choose among {self.horizons}"
            )
        picked = np.asarray(rows)
        alive = ~np.isnan(panel.price[picked])
        position, card = np.nonzero(alive)
        day = picked[position]
        design = _design(built, day, card)
        price = panel.price[day, card]
        frames = []
        for horizon in wanted:
            fit = self.fits[horizon]
            center = _shrunk(_raw(fit, design), fit.shrink, fit.dead_zone)
            center[history[day, card] < SHORT_HISTORY] = 0.0
            low, high = _interval(fit, built["volatility"][day, card])
            frames.append(
                pd.DataFrame(
                    {
                        "card_id": panel.card_ids[card],
                        "date": panel.dates[day],
                        "horizon": horizon,
                        "market_price": price,
                        "fair_value": price * np.exp(center),
                        "lower": price * np.exp(center + low),
                        "upper": price * np.exp(center + high),
                        "history_days": history[day, card],
                        "age": panel.age[day, card],
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)

    def to_json(self) -> dict[str, Any]:
        """Return the model as plain values."""
        return {
            "format": FORMAT,
            "kind": type(self).__name__,
            "seed": self.seed,
            "names": self.names,
            "fits": [asdict(fit) for fit in self.fits.values()],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], origin: Path | str = "") -> FairValueModel:
        """Rebuild a model; PokewatchError for another format or missing parts."""
        if data.get("format") != FORMAT:
            raise PokewatchError(
                f"model '{origin}' has format {data.get('format')!r}, this version reads {FORMAT}: "
                "train it again with 'pokewatch train'"
            )
        try:
            fits = [HorizonFit(**fit) for fit in data["fits"]]
            model = cls([fit.horizon for fit in fits], int(data["seed"]))
            model.names = [str(name) for name in data["names"]]
        except (KeyError, TypeError, ValueError) as error:
            raise PokewatchError(
                f"model '{origin}' is damaged ({error}): train it again with 'pokewatch train'"
            ) from error
        model.fits = {fit.horizon: fit for fit in fits}
        return model

    def save(self, path: Path) -> None:
        """Write the model as JSON."""
        path.write_text(json.dumps(self.to_json(), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> FairValueModel:
        """Read a saved model; nothing is executed."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PokewatchError(
                f"model '{path}' cannot be read: {error}; train again with 'pokewatch train'"
            ) from error
        return cls.from_json(data, path)


def _design(built: features.Features, day: np.ndarray, card: np.ndarray) -> np.ndarray:
    columns = [
        matrix[day, 0] if matrix.shape[1] == 1 else matrix[day, card] for matrix in built.values()
    ]
    return np.column_stack(columns)


def _ridge(horizon: int, x: np.ndarray, y: np.ndarray) -> HorizonFit:
    center = x.mean(axis=0)
    spread = x.std(axis=0)
    scale = np.where(spread > 1e-12, spread, 1.0)
    z = (x - center) / scale
    limit = max(float(np.quantile(np.abs(y), 0.995)), 1e-6)
    bounded = np.clip(y, -limit, limit)
    gram = z.T @ z + RIDGE * len(y) * np.eye(z.shape[1])
    coef = np.linalg.solve(gram, z.T @ (bounded - bounded.mean()))
    return HorizonFit(
        horizon, coef.tolist(), center.tolist(), scale.tolist(), intercept=float(bounded.mean())
    )


def _raw(fit: HorizonFit, x: np.ndarray) -> np.ndarray:
    z = (x - np.array(fit.center)) / np.array(fit.scale)
    return fit.intercept + z @ np.array(fit.coef)


def _shrunk(raw: np.ndarray, shrink: float, dead_zone: float) -> np.ndarray:
    return shrink * np.sign(raw) * np.maximum(np.abs(raw) - dead_zone, 0.0)


def _tune(raw: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the shrink factor and dead zone of least absolute error on held-out rows."""
    errors = {
        (shrink, zone): float(np.abs(y - _shrunk(raw, shrink, zone)).mean())
        for shrink in SHRINKS
        for zone in DEAD_ZONES
    }
    return min(errors, key=lambda pair: (errors[pair], pair))


def _spread(volatility: np.ndarray, horizon: int) -> np.ndarray:
    return (volatility + 0.002) * np.sqrt(horizon)


def _calibrate(fit: HorizonFit, residual: np.ndarray, volatility: np.ndarray) -> None:
    """Set the conformal quantiles of each volatility class from held-out residuals."""
    cuts = np.quantile(volatility, np.linspace(0, 1, CLASSES + 1)[1:-1])
    fit.edges = [float(cut) for cut in np.unique(cuts)]
    group = np.searchsorted(fit.edges, volatility, side="left")
    unit = residual / _spread(volatility, fit.horizon)
    tail = (1 - COVERAGE) / 2
    fit.low, fit.high = [], []
    for number in range(len(fit.edges) + 1):
        own = unit[group == number]
        own = own if len(own) >= 30 else unit
        fit.low.append(float(min(np.quantile(own, tail), 0.0)))
        fit.high.append(float(max(np.quantile(own, 1 - tail), 0.0)))


def _interval(fit: HorizonFit, volatility: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not fit.low:  # nothing held out at all: a plain normal guess from the card's volatility
        width = 1.6 * _spread(volatility, fit.horizon)
        return -width, width
    group = np.searchsorted(fit.edges, volatility, side="left")
    spread = _spread(volatility, fit.horizon)
    return np.array(fit.low)[group] * spread, np.array(fit.high)[group] * spread
