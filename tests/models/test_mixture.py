from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor

from pokewatch.models import signals
from pokewatch.models.mixture import MoveMixture
from pokewatch.models.trees import SharedBins, load, save
from pokewatch.settings import load_settings

OPTIONS = {"max_iter": 60, "max_leaf_nodes": 6, "min_samples_leaf": 100, "early_stopping": False}


def market(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Prices that mostly stand still; the first feature says how likely a rise is."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(size, 2)).astype(np.float32)
    draw, far = rng.uniform(size=size), np.exp(rng.normal(-3, 0.5, size))
    rises, falls = draw < 0.5 * x[:, 0], draw > 0.9
    return x, np.where(rises, far, np.where(falls, -far, 0.0))


@pytest.fixture(scope="module")
def mixture() -> MoveMixture:
    return clone(MoveMixture(OPTIONS)).fit(*market(20_000, 1))


def test_chances_and_quantiles_are_those_of_what_comes(mixture):
    x, y = market(20_000, 2)
    moves = mixture.moves(x)
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.0)):
        here = (x[:, 0] >= low) & (x[:, 0] < high)
        assert moves.chance["rise"][here].mean() == pytest.approx((y[here] > 0).mean(), abs=0.02)
        assert moves.chance["fall"][here].mean() == pytest.approx((y[here] < 0).mean(), abs=0.02)
        said = moves.odds("rise", 0.05)[here].mean()
        assert said == pytest.approx((np.expm1(y[here]) >= 0.05).mean(), abs=0.02)
    for level in (0.05, 0.6, 0.8, 0.95):
        below = (y < moves.quantile(level)).mean(), (y <= moves.quantile(level)).mean()
        assert below[0] - 0.02 <= level <= below[1] + 0.02
    assert moves.mean().mean() == pytest.approx(y.mean(), abs=0.002)


def test_where_most_stand_still_the_median_is_no_change(mixture):
    x, _ = market(1000, 3)
    calm = x[:, 0] < 0.5
    assert (mixture.predict(x[calm]) == 0).all()


def test_quantiles_ascend_and_odds_fall_with_the_move(mixture):
    moves = mixture.moves(market(500, 4)[0])
    ladder = np.stack([moves.quantile(level) for level in np.linspace(0.02, 0.98, 25)])
    assert (np.diff(ladder, axis=0) >= 0).all()
    for side in ("rise", "fall"):
        odds = np.stack([moves.odds(side, move) for move in (0.001, 0.02, 0.05, 0.2)])
        assert (np.diff(odds, axis=0) <= 0).all()
        assert (odds <= moves.chance[side] + 1e-6).all()


def test_a_market_that_never_rises_is_given_no_chance_of_it():
    x, y = market(5000, 5)
    moves = MoveMixture(OPTIONS).fit(x, np.minimum(y, 0.0)).moves(x)
    assert (moves.odds("rise", 0.05) == 0).all()
    assert (moves.quantile(0.999) <= 0).all()


def test_the_chances_that_are_shown_are_those_of_the_past():
    """However wrong the distribution's own odds are: what is shown was right out of sample."""
    rng = np.random.default_rng(6)
    odds = rng.uniform(0.05, 0.95, 20_000)
    good = rng.uniform(size=len(odds)) < odds**2  # overconfident
    rows = pd.DataFrame(
        {
            "horizon": 7,
            "price": 10.0,
            "y_hat": 10 * np.exp(rng.normal(0.0, 0.01, len(odds))),
            "y": np.where(good, 11.0, 9.9),
            "volatility": 0.01,
            "rise": odds,
            "fall": 0.1,
        }
    )
    rule = signals.learn(rows, load_settings())["BUY", 7]
    expected = np.log(rows["y_hat"] / rows["price"]).to_numpy()
    chance = rule.chance(expected, rows["volatility"].to_numpy(), odds)
    for low in (0.1, 0.4, 0.7):
        here = (odds >= low) & (odds < low + 0.2)
        assert chance[here].mean() == pytest.approx(good[here].mean(), abs=0.04)


def test_trees_read_back_say_the_same(tmp_path):
    x, y = market(3000, 7)
    x[::50, 1] = np.nan
    fitted = HistGradientBoostingRegressor(loss="absolute_error", **OPTIONS, random_state=1)
    save({"some": SharedBins(x).fit(clone(fitted), y)}, tmp_path / "trees.npz")
    read = load(tmp_path / "trees.npz")["some"]
    assert (read.predict(x) == fitted.fit(x, y).predict(x)).all()
    with pytest.raises(ValueError, match="1 features are given, 2 were learnt from"):
        read.predict(x[:, :1])


def test_bins_shared_with_others_change_nothing():
    x, y = market(3000, 5)
    x[::50, 1] = np.nan
    shared, fitted = SharedBins(x), HistGradientBoostingRegressor(**OPTIONS, random_state=1)
    for _ in range(2):
        again = shared.fit(clone(fitted), y)
        assert (again.predict(x) == clone(fitted).fit(x, y).predict(x)).all()
    some = np.arange(3000) % 2 == 0
    part = shared.fit(clone(fitted), y[some], some).predict(x)
    alone = clone(fitted).fit(x[some], y[some]).predict(x)
    assert np.corrcoef(part, alone)[0, 1] > 0.98
    assert np.abs(part.mean() - alone.mean()) < 0.001
