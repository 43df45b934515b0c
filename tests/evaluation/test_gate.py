"""What the gate proves: how often luck alone gets through, in markets whose cards move together.

POKEWATCH_SIMULATIONS=2000 with --log-cli-level=INFO gives the figures of docs/scoring.md.
"""

from __future__ import annotations

import logging
import os

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from pokewatch.evaluation import gate, metrics

pytestmark = pytest.mark.slow
log = logging.getLogger(__name__)

FULL_MODELS = True
TIMES = int(os.environ.get("POKEWATCH_SIMULATIONS", "200"))
CARDS, HORIZON = 30, gate.GATE_HORIZON


def mean_errors(days: int, times: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean absolute 7-day errors of a forecast and of "no change", (times, days).

    Cards share the market's moves, whose size comes in spells; 76 % of daily changes are zero; the
    forecast is slow, so that its luck of one day is that of the next.
    """
    rng = np.random.default_rng(seed)
    model, naive = np.empty((times, days)), np.empty((times, days))
    span, slow = days + HORIZON + 60, 0.95
    for run in range(times):
        spells = np.exp(0.5 * lfilter([0.25], [1, -0.95], rng.standard_normal(span)))
        shared = 0.01 * rng.standard_normal(span) * spells
        own = 0.02 * rng.standard_t(3, (span, CARDS))
        noise = np.sqrt(1 - slow**2) * rng.standard_normal((span, CARDS + 1))
        signal = lfilter([1], [1, -slow], noise, axis=0)
        signal = 0.004 * (signal[:, :CARDS] + signal[:, CARDS:])
        moves = shared[:, None] + own + 2.83 * np.roll(signal, 1, axis=0)
        moves = np.where(rng.random((span, CARDS)) > 0.76, moves, 0.0)
        price = np.vstack([np.zeros((1, CARDS)), moves.cumsum(axis=0)])
        start = np.arange(50, 50 + days)
        change = price[start + HORIZON] - price[start]
        model[run] = np.abs(change - 5 * signal[start - 1]).mean(axis=1)
        naive[run] = np.abs(change).mean(axis=1)
    return model, naive


@pytest.fixture(scope="module")
def equal_skill() -> float:
    """The factor that makes the forecast's true rMAE 1."""
    model, naive = mean_errors(3000, 30, seed=1)
    return float(naive.mean() / model.mean())


def forecasts(model: np.ndarray, naive: np.ndarray) -> pd.DataFrame:
    """Return a forecast a day whose log errors are these."""
    days = pd.date_range("2025-01-01", periods=len(model))
    table = pd.DataFrame({"date": days, "horizon": HORIZON, "y": 1.0})
    return table.assign(y_hat=np.exp(model), price=np.exp(naive))


@pytest.mark.parametrize("days", [40, 90, 200])
def test_luck_alone_looks_like_skill_in_one_of_forty_records(days, equal_skill):
    model, naive = mean_errors(days, TIMES, seed=days)
    highs = [
        metrics.rmae_interval(forecasts(one * equal_skill, other))[1]
        for one, other in zip(model, naive, strict=True)
    ]
    lucky = np.mean(np.array(highs) < 1)
    log.info("%s dates: %.1f %% of %s records lie below 1", days, 100 * lucky, TIMES)
    noise = 2.6 * np.sqrt(0.025 / TIMES)
    assert 0 < lucky < 0.035 + noise  # none at all would be an interval that says nothing


def test_a_year_of_nightly_trainings_promotes_luck_no_more_often(equal_skill):
    nights, times = range(gate.days_for(gate.MIN_WINDOWS), 620, 5), max(TIMES // 4, 50)
    model, naive = mean_errors(nights[-1], times, seed=9)
    ever = np.zeros((times, 2), dtype=bool)
    for run in range(times):
        whole = forecasts(model[run] * equal_skill, naive[run])
        for night in nights:
            known = whole.iloc[int(0.4 * night) : night - HORIZON]
            for place, any_night in enumerate((False, True)):
                _, high = metrics.rmae_interval(known, any_night=any_night)
                ever[run, place] |= high < 1
    one, every = ever.mean(axis=0)
    shares = 100 * one, 100 * every
    log.info("ever in a year: %.1f %% by single intervals, %.1f %% by the gate", *shares)
    assert every < 0.035 + 2.6 * np.sqrt(0.03 / times)
    assert every < one


def test_skill_gets_through(equal_skill):
    """Errors smaller by 15 % pass with the fewest windows that the gate asks for."""
    model, naive = mean_errors(gate.days_for(gate.MIN_WINDOWS) * 6 // 10, 40, seed=4)
    bounds = [
        metrics.rmae_interval(forecasts(0.85 * one * equal_skill, other), any_night=True)[1]
        for one, other in zip(model, naive, strict=True)
    ]
    assert np.mean(np.array(bounds) < 1) > 0.8
