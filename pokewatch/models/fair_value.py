"""The fair-value model: boosted distributions where there is data, a damped trend elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pokewatch.errors import PokewatchError, UsageError
from pokewatch.files import json_bytes
from pokewatch.models import features, trees
from pokewatch.models.intervals import COVERAGE, PRICES, ConformalIntervals
from pokewatch.models.moves import LEVELS, PARTS, SIDES, Moves
from pokewatch.models.panel import Panel
from pokewatch.models.signals import SHORT_HISTORY
from pokewatch.models.trees import SharedBins, Trees
from pokewatch.rounding import log, on_grid
from pokewatch.schema import HORIZONS

if TYPE_CHECKING:  # scikit-learn takes a second to import: who reads a model only waits for none
    from pokewatch.models.mixture import MoveMixture

FORMAT = 4
# Training rows a horizon: so many a card, within bounds; overlapping targets beyond add little.
A_CARD, FEWEST_ROWS, MOST_ROWS = 24, 12_000, 60_000
MIN_ROWS = 200
MIN_DAYS = 5  # days with a known target without which a horizon is not fitted
MIN_CARDS = 5  # a handful of cards says nothing about cards
RIDGE = 0.01  # penalty per row on standardised features
LINEAR: tuple[str, ...] = ("momentum_", "above_mean_", "set_momentum_", "sales_")
LINEAR += tuple(f"{quote}_{what}" for quote in ("low", "mid") for what in ("gap", "momentum_"))
# Boosting is trusted by the number of independent cases, cards x days / horizon; with this many
# it gets half a say.
HALF_TRUST = 600
MEAN_SHARE = 0.02  # of the distribution's mean in its centre: medians of calm cards tie
MEDIAN_SHARE = 0.5  # of the boosted median beside the distribution's centre
GOOD_MOVE = 0.05  # share of the price whose chance is forecast, where no other is asked for
FAR = 4.0  # standard deviations beyond which the trend takes a feature for this far
BOOSTING = {
    "max_iter": 30,
    "learning_rate": 0.15,
    "max_leaf_nodes": 12,
    "min_samples_leaf": 100,
    "l2_regularization": 1.0,
    "max_features": 0.4,
    "max_bins": 63,
    "early_stopping": False,
}
SMALL = {  # of a market that has fewer rows than ``FEWEST_ROWS``
    "max_iter": 40,
    "learning_rate": 0.1,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 40,
    "max_features": 0.5,
}
AHEAD = ("center", *SIDES, "half_width")  # what ``FairValueModel.ahead`` returns
NOTHING = (0.0, *[np.nan] * (len(AHEAD) - 1))  # the same of a case of which nothing is known
VOLATILITY = "volatility_30"  # the feature that intervals are scaled by
CLIPPED = 0.998  # quantile of absolute changes at which those of the median are clipped
MEDIAN = "median"
TREES = "trees.npz"


@dataclass(frozen=True)
class Cases:
    """What one horizon is learnt from: (day, card) pairs and what came of them.

    change: the log price change over the horizon; excess: less the day's mean over all cards;
    known: how many cases there were to draw from.
    """

    day: np.ndarray
    card: np.ndarray
    change: np.ndarray
    excess: np.ndarray
    known: int


@dataclass
class HorizonFit:
    """What was learnt for one horizon; log returns throughout.

    coef, center, scale: the damped trend on standardised features. boosting: its weight against
    the trend. spread: quantiles of log sizes of falls and rises about their usual size. good_move:
    the rise or fall, a share of the price, whose chances are forecast. trust:
    false where the past says that naive is better. rows: training rows, 0 where nothing could be
    fitted.
    """

    horizon: int
    coef: list[float] = field(default_factory=list)
    center: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    boosting: float = 0.0
    spread: dict[str, list[float]] = field(default_factory=dict)
    good_move: float = GOOD_MOVE
    trust: bool = True
    rows: int = 0


class FairValueModel:
    """Forecasts log price changes for every card at several horizons.

    Of each horizon a ``MoveMixture``, a boosted median and a damped trend, pooled over all cards;
    docs/scoring.md says how they are weighed. Intervals: see ``ConformalIntervals``.
    """

    def __init__(
        self,
        horizons: Sequence[int] = HORIZONS,
        seed: int = 7,
        learn: bool = True,
        good_move: float = GOOD_MOVE,
    ):
        """Prepare a model for these horizons (days); ``learn=False`` is naive with intervals.

        good_move: the rise or fall, a share of the price, whose chances are forecast.
        """
        bad = [horizon for horizon in horizons if horizon < 1]
        if bad or not horizons:
            raise UsageError(f"horizons must be 1 day or more, not {list(horizons)}")
        self.horizons = sorted({int(horizon) for horizon in horizons})
        self.seed = seed
        self.learn = learn
        self.good_move = good_move
        self.names: list[str] = []
        self.fits: dict[int, HorizonFit] = {}
        self.trees: dict[str, Trees] = {}  # by part and horizon
        self.intervals = ConformalIntervals()

    def fit(self, panel: Panel, jobs: int = 1, intervals: bool = True) -> FairValueModel:
        """Learn from everything in ``panel``; returns itself.

        Intervals start from the spread of past price changes; ``learn_from_past`` replaces it by
        out-of-sample errors, and does without them at first (``intervals=False``) where it is
        given the panel.
        """
        last = len(panel.dates) - 1
        samples = {h: cases_at(panel, h, [last], self.seed)[0] for h in self.horizons if self.learn}
        used = {horizon: sample for horizon, sample in samples.items() if sample is not None}
        pairs = [(sample.day, sample.card) for sample in used.values()]
        self.fit_cases(used, dict(zip(used, inputs(panel, pairs, jobs), strict=True)))
        if intervals:
            volatility = features.volatility(panel)
            self.intervals = ConformalIntervals.from_changes(panel, volatility, self.horizons)
        return self

    def fit_cases(self, used: dict[int, Cases], inputs_of: dict[int, np.ndarray]) -> None:
        """Learn each horizon from its cases and their features; the others stay naive."""
        self.names = features.names()
        self.trees = {}
        for horizon in self.horizons:
            fit = self.fits[horizon] = HorizonFit(horizon, good_move=self.good_move)
            if (sample := used.get(horizon)) is None:
                continue
            fit.rows = sample.known
            independent = fit.rows / horizon
            fit.boosting = independent**2 / (independent**2 + HALF_TRUST**2)
            self._fit_trend(fit, inputs_of[horizon], sample.excess)
            self._fit_trees(fit, inputs_of[horizon], sample.change)

    def learn_from_past(
        self, past: pd.DataFrame, today: pd.Timestamp, panel: Panel | None = None
    ) -> None:
        """Set intervals, and switch off horizons no better than naive, by the walk-forward's rows.

        past: columns date, horizon, price, y, y_hat, volatility. panel: what was fitted on without
        intervals; horizons of which the past says too little start from its price changes.
        """
        for horizon, rows in past.groupby("horizon"):
            error = log(rows["y"] / rows["y_hat"]).abs().sum()
            naive = log(rows["y"] / rows["price"]).abs().sum()
            if error >= naive:
                self.fits[int(horizon)].trust = False
        trusted = [horizon for horizon, fit in self.fits.items() if fit.trust]
        self.intervals = self.intervals.learn(past[past["horizon"].isin(trusted)], today)
        missing = [horizon for horizon in self.horizons if horizon not in self.intervals.quantiles]
        if panel is not None and missing:
            start = ConformalIntervals.from_changes(panel, features.volatility(panel), missing)
            self.intervals = self.intervals.with_missing(start)

    def _fit_trend(self, fit: HorizonFit, x: np.ndarray, excess: np.ndarray) -> None:
        part = x[:, self._linear()].astype(float)
        center, spread = part.mean(axis=0), part.std(axis=0)
        scale = np.where(spread > 1e-9, spread, 1.0)
        z = np.clip((part - center) / scale, -FAR, FAR)
        limit = max(float(np.quantile(np.abs(excess), 0.99)), 1e-6)
        gram = z.T @ z + RIDGE * len(z) * np.eye(z.shape[1])
        found = np.linalg.solve(gram, z.T @ np.clip(excess, -limit, limit))
        fit.coef = on_grid(found).tolist()  # how BLAS adds depends on the processor
        fit.center, fit.scale = center.tolist(), scale.tolist()

    def _fit_trees(self, fit: HorizonFit, x: np.ndarray, y: np.ndarray) -> None:
        from sklearn.ensemble import HistGradientBoostingRegressor

        from pokewatch.models.mixture import MoveMixture

        options = BOOSTING | (SMALL if len(y) < FEWEST_ROWS else {})
        limit = max(float(np.quantile(np.abs(y), CLIPPED)), 1e-6)
        median = HistGradientBoostingRegressor(
            loss="absolute_error", random_state=self.seed, **options
        )
        shared = SharedBins(x)
        mixture = MoveMixture(options, self.seed).fit_shared(shared, y)
        fit.spread = mixture.spread_
        grown = {MEDIAN: shared.fit(median, np.clip(y, -limit, limit))} | mixture.trees_
        self.trees |= {f"{part}_{fit.horizon}": one for part, one in grown.items()}

    def mixture(self, horizon: int) -> MoveMixture:
        """Return the distribution that was learnt for a horizon."""
        from pokewatch.models.mixture import MoveMixture

        mixture = MoveMixture(BOOSTING, self.seed)
        mixture.trees_ = {part: self.trees[f"{part}_{horizon}"] for part in PARTS}
        mixture.spread_ = self.fits[horizon].spread
        return mixture

    def _linear(self) -> list[int]:
        return [number for number, name in enumerate(self.names) if name.startswith(LINEAR)]

    def center(self, horizon: int, x: np.ndarray, moves: Moves) -> np.ndarray:
        """Return the forecast log price changes of cases with features ``x`` and distributions."""
        fit = self.fits[horizon]
        z = (x[:, self._linear()] - np.array(fit.center)) / np.array(fit.scale)
        trend = np.clip(z, -FAR, FAR) @ np.array(fit.coef)
        median = self.trees[f"{MEDIAN}_{horizon}"].predict(x)
        center = (1 - MEAN_SHARE) * moves.quantile(0.5) + MEAN_SHARE * moves.mean()
        boosted = MEDIAN_SHARE * median + (1 - MEDIAN_SHARE) * center
        return on_grid(fit.boosting * boosted + (1 - fit.boosting) * trend)

    def ahead(self, horizon: int, x: np.ndarray) -> np.ndarray:
        """Return what lies ahead of cases with features ``x``, shape (cases, ``AHEAD``).

        The forecast log price change, the chances of a fall and of a rise by ``good_move`` as the
        distribution has them, and half the width of its 80 % interval (log); all but the first are
        NaN where nothing was learnt.
        """
        fit = self.fits[horizon]
        if not fit.rows or not fit.trust:
            return np.tile(NOTHING, (len(x), 1))
        moves, tail = self.mixture(horizon).moves(x), (1 - COVERAGE) / 2
        odds = [moves.odds(side, fit.good_move) for side in SIDES]
        width = on_grid((moves.quantile(1 - tail) - moves.quantile(tail)) / 2)
        return np.column_stack([self.center(horizon, x, moves), *odds, width])

    def predict(
        self, panel: Panel, on: pd.Timestamp | None = None, horizons: Sequence[int] | None = None
    ) -> pd.DataFrame:
        """Forecast every card alive on a day from what was known at its end.

        Returns columns card_id, date, horizon, market_price, fair_value, lower, upper (USD),
        volatility, history_days, age (days since the price was observed), fall, rise and half_width
        (see ``ahead``); one row a card and horizon.
        """
        row = len(panel.dates) - 1 if on is None else panel.day(on)
        return self.predict_days(panel.until(row), [row], horizons)

    def predict_days(
        self,
        panel: Panel,
        rows: Sequence[int],
        horizons: Sequence[int] | None = None,
        card_ids: Sequence[str] | None = None,
        jobs: int = 1,
    ) -> pd.DataFrame:
        """Forecast for several days of a panel at once, all cards or some; columns as ``predict``.

        Every feature of a day looks back only, so a day's rows do not depend on later days.
        """
        self.check_features()
        wanted = self.horizons if horizons is None else sorted(set(horizons))
        unknown = [horizon for horizon in wanted if horizon not in self.fits]
        if unknown:
            raise UsageError(
                f"the model was not trained for {unknown} days: choose among {self.horizons}"
            )
        picked = np.asarray(rows)
        alive = ~np.isnan(panel.price[picked])
        if card_ids is not None:
            alive &= np.isin(panel.card_ids, np.asarray(card_ids, dtype=object))
        position, card = np.nonzero(alive)
        day = picked[position]
        x = features.cases(panel, day, card, jobs)
        ahead = {horizon: self.ahead(horizon, x) for horizon in wanted}
        volatility = x[:, features.names().index(VOLATILITY)]
        return self.intervals.apply(forecast_frame(panel, day, card, volatility, ahead))

    def check_features(self) -> None:
        """Raise PokewatchError where it was trained on other features than are computed now."""
        if self.learn and self.names != features.names():
            raise PokewatchError(
                "the model was trained on other features than this version computes: train it "
                "again with 'pokewatch train'"
            )

    def save(self, folder: Path) -> None:
        """Write model.json and, where trees were grown, ``TREES`` into a folder."""
        about = {
            "format": FORMAT,
            "kind": type(self).__name__,
            "seed": self.seed,
            "horizons": self.horizons,
            "names": self.names,
            "trees": sorted(self.trees),
            "fits": [asdict(fit) for fit in self.fits.values()],
            "bands": self.intervals.to_json(),
        }
        (folder / "model.json").write_bytes(json_bytes(about, indent=True))
        if self.trees:
            trees.save(self.trees, folder / TREES)

    def _check_parts(self) -> None:
        """Raise ValueError where a loaded model's parts do not fit each other."""
        fitted = [fit for fit in self.fits.values() if fit.rows]
        grown = {f"{part}_{fit.horizon}" for fit in fitted for part in (MEDIAN, *PARTS)}
        asked = {one.features for one in self.trees.values()}
        if set(self.trees) != grown or asked - {len(self.names)}:
            raise ValueError("its trees are not those of its horizons")
        if set(self.fits) != set(self.horizons):
            raise ValueError("its horizons were not all fitted")
        size = len(self._linear())
        for fit in fitted:
            numbers = [*fit.coef, *fit.center, *fit.scale, fit.boosting, fit.good_move]
            sizes = {len(fit.coef), len(fit.center), len(fit.scale)}
            if sizes != {size} or not np.isfinite(numbers).all():
                raise ValueError(f"its trend for {fit.horizon} days is no trend")
            spreads = np.array([fit.spread[side] for side in SIDES], dtype=float)
            if spreads.shape != (len(SIDES), len(LEVELS)) or not (np.diff(spreads) >= 0).all():
                raise ValueError(f"its sizes for {fit.horizon} days do not ascend")
        for one in self.intervals.quantiles.values():
            classes = {len(one.low), len(one.high)}
            numbers = [*one.edges, *one.low, *one.high]
            if (
                classes != {(len(one.edges) + 1) * (len(PRICES) + 1)}
                or not np.isfinite(numbers).all()
            ):
                raise ValueError("its intervals are no intervals")

    @classmethod
    def load(cls, folder: Path) -> FairValueModel:
        """Read a saved model; nothing is executed.

        Raises PokewatchError for another format or damaged files.
        """
        again = "train it again with 'pokewatch train'"
        try:
            about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            version = about["format"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise PokewatchError(f"model '{folder}' cannot be read: {error!r}; {again}") from error
        if version != FORMAT:
            raise PokewatchError(
                f"model '{folder}' has format {version!r}, this version reads {FORMAT}: {again}"
            )
        try:
            model = cls(about["horizons"], int(about["seed"]))
            model.names = [str(name) for name in about["names"]]
            fits = [HorizonFit(**fit | {"trust": bool(fit["trust"])}) for fit in about["fits"]]
            model.fits = {int(fit.horizon): fit for fit in fits}
            model.intervals = ConformalIntervals.from_json(about["bands"])
            if about["trees"]:
                model.trees = trees.load(folder / TREES)
            model._check_parts()
        except Exception as error:  # zipfile, zlib and NumPy raise many kinds
            raise PokewatchError(f"model '{folder}' is damaged ({error!r}): {again}") from error
        return model


def cases_at(panel: Panel, horizon: int, origins: Sequence[int], seed: int) -> list[Cases | None]:
    """Return for each origin some cases whose end was known by then, drawn anew.

    At most ``A_CARD`` a card, within bounds; None where there are too few to learn from.
    """
    if horizon >= len(panel.dates):
        return [None] * len(origins)
    target = panel.target(horizon)
    # Which day it was and what it led to must both be observed: no day before a card's second.
    target[panel.age > 0] = np.nan
    first = panel.first_days()
    target[np.minimum(first, len(target) - 1), np.arange(len(first))] = np.nan
    known = ~np.isnan(target)
    a_day = known.sum(axis=1)
    upto = np.cumsum(a_day)
    mean = np.where(known, target, 0.0).sum(axis=1) / np.maximum(a_day, 1)
    begins = np.where(known.any(axis=0), known.argmax(axis=0), len(target))
    out: list[Cases | None] = []
    for origin in origins:
        last = origin - horizon  # the last day of which anything could be known at the origin
        size = int(upto[last]) if last >= 0 else 0
        days, cards = int((a_day[: last + 1] > 0).sum()), int((begins <= last).sum())
        if last < 0 or days < MIN_DAYS or cards < MIN_CARDS or size < MIN_ROWS:
            out.append(None)
            continue
        chosen = np.arange(size)
        most = min(max(A_CARD * cards, FEWEST_ROWS), MOST_ROWS)
        if size > most:
            rng = np.random.default_rng([seed, horizon])
            chosen = np.sort(rng.choice(size, most, replace=False))
        day = np.searchsorted(upto, chosen, side="right")
        place = chosen - (upto[day] - a_day[day])
        card = np.empty(len(day), dtype=np.int64)
        for one in np.unique(day):
            here = day == one
            card[here] = np.flatnonzero(known[one])[place[here]]
        change = target[day, card]
        out.append(Cases(day, card, change, change - mean[day], size))
    return out


def forecast_frame(
    panel: Panel,
    day: np.ndarray,
    card: np.ndarray,
    volatility: np.ndarray,
    ahead: dict[int, np.ndarray],
) -> pd.DataFrame:
    """Return forecasts of (day, card) pairs, horizon after horizon, columns as ``predict``.

    volatility: of each pair; ahead: by horizon, as ``FairValueModel.ahead`` returns it.
    """
    price = panel.price[day, card]
    shared = {
        "card_id": panel.card_ids[card],
        "date": panel.dates[day],
        "market_price": price,
        "volatility": volatility.astype(float),
        "history_days": day - panel.first_days()[card],
        "age": panel.age[day, card],
    }
    young = shared["history_days"] < SHORT_HISTORY
    frames = []
    for horizon, found in ahead.items():
        center, *others = np.where(young[:, None], NOTHING, found).T
        fair_value = np.where(center == 0, price, price * np.exp(center))
        rest = dict(zip(AHEAD[1:], others, strict=True))
        frames.append(
            pd.DataFrame({**shared, "horizon": horizon, "fair_value": fair_value, **rest})
        )
    return pd.concat(frames, ignore_index=True)


def inputs(
    panel: Panel, pairs: Sequence[tuple[np.ndarray, np.ndarray]], jobs: int = 1
) -> list[np.ndarray]:
    """Return the features of several sets of (day, card) pairs, computed in one pass."""
    if not pairs:
        return []
    day, card = (np.concatenate(column) for column in zip(*pairs, strict=True))
    stops = np.cumsum([len(days) for days, _ in pairs])
    return np.split(features.cases(panel, day, card, jobs), stops[:-1])
