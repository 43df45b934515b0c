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
from pokewatch.models.panel import Panel

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
        for night in nights:
            known = slice(int(0.4 * night), night - HORIZON)
            errors = model[run, known] * equal_skill, naive[run, known]
            windows = -(-len(errors[0]) // HORIZON)
            for place, any_night in enumerate((False, True)):
                _, high = metrics.ratio_interval(*errors, windows, 0.95, any_night)
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


def young(rng: np.random.Generator, dates: int, share: float, step: int = 1) -> pd.DataFrame:
    """Return a young market's forecasts, one in ``step`` days, of rises and falls.

    Most forecasts of a set are right, or wrong; weeks differ by .17, each half like the next.
    """
    days = pd.date_range("2026-01-01", periods=dates)[::step]
    week = np.arange(dates)[::step] // HORIZON
    draws = rng.standard_normal(week.max() + 2)
    true = share + 0.17 * (draws[1:] + draws[:-1])[week, None] / np.sqrt(2)
    true = np.clip(true + 0.2 * rng.standard_normal((1, 60)), -1, 1)
    right = rng.random((len(days), 60, 5)) < (1 + true[:, :, None]) / 2
    day, group, card = (axis.ravel() for axis in np.indices(right.shape))
    rows = pd.DataFrame({"card_id": [f"{a}-{b}" for a, b in zip(group, card, strict=True)]})
    rows = rows.assign(date=days[day], horizon=HORIZON, price=1.0, model="fair_value")
    said = rng.choice([-1, 1], len(rows))
    move = said * np.where(right.ravel(), 0.3, -0.3)
    rows = rows.assign(y=np.exp(move), y_hat=np.exp(0.05 * said))
    return rows.assign(set_name=[f"Set {a}" for a in group])


@pytest.mark.parametrize("dates", [8, 15, 22])
def test_sets_prove_a_real_gain_in_weeks_and_luck_hardly_ever(dates):
    rng = np.random.default_rng(dates)

    def proved(share: float, times: int) -> float:
        return float(
            np.mean(
                [
                    metrics.share_come_true(rows, rows["set_name"], -(-dates // HORIZON))[1] > 0
                    for rows in (young(rng, dates, share) for _ in range(times))
                ]
            )
        )

    times = max(TIMES // 2, 100)
    size, power = proved(0.0, times), proved(0.5, times)
    log.info("%s dates: %.1f %% of luck, %.0f %% of skill proved", dates, 100 * size, 100 * power)
    assert size < 0.01 + 2.6 * np.sqrt(0.01 / times)
    assert power > 0.5


def test_luck_is_hardly_ever_proved_by_sets_however_often_one_looks():
    rng, times, found = np.random.default_rng(3), max(TIMES // 2, 100), 0
    for _ in range(times):
        rows = young(rng, 20 * HORIZON, 0.0, step=HORIZON)
        week = pd.factorize(rows["date"])[0] + 1
        shown = (rows[week <= windows] for windows in range(1, 21))
        found += any(
            metrics.share_come_true(part, part["set_name"], windows)[1] > 0
            for windows, part in enumerate(shown, start=1)
        )
    log.info("%.1f %% of %s records without skill ever look proved", 100 * found / times, times)
    assert found / times < 0.035 + 2.6 * np.sqrt(0.035 / times)


def judged(rows: pd.DataFrame) -> gate.Verdict:
    cards = rows[["card_id", "set_name"]].drop_duplicates()
    days = pd.DataFrame({"date": pd.date_range("2025-12-20", periods=34)})
    panel = Panel.from_prices(cards.merge(days, how="cross").assign(market_price=1.0), cards)
    return gate.check(rows, panel)


@pytest.fixture(scope="module")
def skill() -> pd.DataFrame:
    return young(np.random.default_rng(1), 15, 0.5)


def test_the_gate_asks_a_young_market_for_many_sets(skill):
    verdict = judged(skill)
    assert verdict.passed, verdict.reasons
    assert "came true" in verdict.reasons[0]
    few = skill["set_name"].isin([f"Set {a}" for a in range(gate.MIN_SETS - 1)])
    verdict = judged(skill[few])
    assert not verdict.passed
    assert "a proof needs 20" in verdict.reasons[0]


def test_many_sets_of_which_one_says_it_all_prove_nothing(skill):
    loud = np.where(skill["set_name"] == "Set 0", 4.0, 0.01)
    verdict = judged(skill.assign(y_hat=skill["y_hat"] ** loud))
    assert not verdict.passed
    assert "a proof needs 20" in verdict.reasons[0]


def test_a_market_that_rose_as_a_whole_proves_no_knowledge_of_its_cards(skill):
    rng = np.random.default_rng(2)
    said = np.exp(0.05 + 0.01 * rng.choice([-1, 1], len(skill)))
    rose = np.exp(0.3 + 0.1 * rng.standard_normal(len(skill)))
    verdict = judged(skill.assign(y_hat=said, y=rose))
    assert not verdict.passed
    assert "99 % of the changes it forecast came true" in verdict.reasons[0]
