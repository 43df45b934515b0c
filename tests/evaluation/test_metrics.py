from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pokewatch.evaluation import metrics


def rows(price, y, y_hat, lower=None, upper=None, dates=None, horizon=7) -> pd.DataFrame:
    count = len(price)
    return pd.DataFrame(
        {
            "card_id": [f"{n}:Normal" for n in range(count)],
            "date": pd.to_datetime(dates if dates is not None else ["2025-01-01"] * count),
            "horizon": horizon,
            "price": price,
            "y": y,
            "y_hat": y_hat,
            "lower": lower if lower is not None else np.nan,
            "upper": upper if upper is not None else np.nan,
        }
    )


def test_errors_by_hand():
    frame = rows([10.0, 10.0], [11.0, 8.0], [11.0, 10.0])
    assert metrics.mape(frame) == pytest.approx(0.125)
    assert metrics.mdape(frame) == pytest.approx(0.125)
    naive = abs(np.log(1.1)) + abs(np.log(0.8))
    assert metrics.rmae(frame) == pytest.approx(abs(np.log(0.8)) / naive)
    assert metrics.rmae(frame.assign(y_hat=frame["price"])) == 1.0


def test_intervals_by_hand():
    frame = rows([10.0, 10.0], [11.0, 8.0], [10.0, 10.0], [9.0, 9.0], [12.0, 12.0])
    assert metrics.coverage(frame) == 0.5
    assert metrics.width(frame) == pytest.approx(0.3)
    assert metrics.winkler(frame) == pytest.approx((3 + 3 + 10 * 1) / 2 / 10)


def test_direction_counts_only_real_moves():
    frame = rows([10.0] * 4, [11, 9, 10.1, 12], [10.5, 10.5, 9.0, 10.0])
    assert metrics.hit_rate(frame) == 0.5


def test_rank_ic_skips_overlapping_dates():
    days = pd.date_range("2025-01-01", periods=9).repeat(3)
    y = np.tile([9.0, 10.0, 11.0], 9)
    y_hat = y.copy()
    y_hat[(days > "2025-01-01") & (days < "2025-01-08")] = np.tile([11.0, 10.0, 9.0], 6)
    frame = rows([10.0] * 27, y, y_hat, dates=days)
    assert metrics.rank_ic(frame) == pytest.approx(1.0)  # days 1 and 8 only


def test_the_interval_holds_the_value_and_knows_when_it_knows_nothing():
    rng = np.random.default_rng(1)
    days = pd.date_range("2025-01-01", periods=100).repeat(10)
    y = 10 * np.exp(rng.normal(0, 0.1, 1000))
    better = rows([10.0] * 1000, y, 10 * (y / 10) ** 0.2, dates=days)
    low, high = metrics.rmae_interval(better)
    assert low - 1e-9 <= metrics.rmae(better) <= high + 1e-9 < 1
    noise = rows([10.0] * 1000, y, 10 * np.exp(rng.normal(0, 0.02, 1000)), dates=days)
    low, high = metrics.rmae_interval(noise)
    assert high > 1
    few = better[better["date"] < "2025-01-04"]
    assert np.isnan(metrics.rmae_interval(few)).all()


def test_a_shared_shock_widens_the_interval():
    rng = np.random.default_rng(2)
    days = pd.date_range("2025-01-01", periods=60).repeat(50)
    alone = rng.normal(0, 0.1, 3000)
    together = np.repeat(rng.normal(0, 0.1, 60), 50)
    widths = []
    for shock in (alone, together):
        y = 10 * np.exp(shock)
        low, high = metrics.rmae_interval(rows([10.0] * 3000, y, [10.3] * 3000, dates=days))
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_signals_by_hand():
    frame = rows([10.0] * 5, [11, 10, 9, 9, 11], [10.0] * 5)
    frame["signal"] = ["BUY", "BUY", "SELL", "HOLD", "HOLD"]
    found = metrics.signal_scores(frame, good_move=0.05, fee=0.1)
    assert (found["buy_calls"], found["buy_precision"], found["buy_recall"]) == (2, 0.5, 0.5)
    assert found["buy_lift"] == pytest.approx(0.5 / 0.4)
    assert found["sell_precision"] == 1.0
    assert found["return_after_fees"] == pytest.approx(((1.1 * 0.9 - 1) + (1.0 * 0.9 - 1)) / 2)


def test_flips_are_counted_within_a_card():
    frame = pd.DataFrame(
        {
            "card_id": ["a", "a", "a", "b"],
            "date": pd.to_datetime(["2025-01-01", "2025-01-02", "2025-01-03", "2025-01-01"]),
            "signal": ["BUY", "HOLD", "HOLD", "SELL"],
        }
    )
    assert metrics.flip_rate(frame) == 0.5


def test_timing_gain_by_hand():
    days = pd.date_range("2025-01-01", periods=2).repeat(2)
    frame = rows([10.0] * 4, [12.0, 10.0, 9.0, 11.0], [10.0] * 4, dates=days)
    frame["signal"] = ["BUY", "HOLD", "SELL", "BUY"]
    assert metrics.timing_gain(frame, "BUY") == pytest.approx((0.1, np.nan, np.nan), nan_ok=True)
    assert metrics.timing_gain(frame, "SELL")[0] == pytest.approx(0.1)
    assert np.isnan(metrics.timing_gain(frame.assign(signal="HOLD"), "SELL")).all()


@pytest.mark.parametrize("dates", [60, 200])
def test_the_interval_of_a_timing_gain_holds_its_value_in_19_of_20_records(dates):
    rng, truth, found = np.random.default_rng(dates), 0.02, []
    days = pd.date_range("2025-01-01", periods=dates)
    for _ in range(300):
        shared = np.convolve(rng.normal(0, 0.03, dates + 6), np.ones(7) / 7, "valid")
        called = rng.random((dates, 8)) < 0.2
        usual = rng.normal(0, 0.1, (dates, 8))
        move = usual + called * (truth + shared)[:, None]
        frame = rows([10.0] * move.size, 10 * (1 + move.ravel()), 10.0, dates=days.repeat(8))
        # "All cards" hold the called ones as well: what is measured is less by their share.
        of_day = called.mean(axis=1)
        value = truth * np.average(1 - of_day, weights=called.sum(axis=1))
        _, low, high = metrics.timing_gain(
            frame.assign(signal=np.where(called.ravel(), "BUY", "HOLD")), "BUY"
        )
        found.append(low <= value <= high)
    assert 0.9 < np.mean(found) < 0.99


def test_calls_of_one_spell_have_no_interval():
    days = pd.date_range("2025-01-01", periods=100).repeat(2)
    frame = rows([10.0] * 200, np.tile([12.0, 10.0], 100), [10.0] * 200, dates=days)
    for last, known in (("2025-01-20", False), ("2025-03-01", True)):
        early = (frame["date"] <= last) & (frame["card_id"].str[:-7].astype(int) % 2 == 0)
        _, low, high = metrics.timing_gain(
            frame.assign(signal=np.where(early, "BUY", "HOLD")), "BUY"
        )
        assert np.isfinite([low, high]).all() == known


def test_brier_skill_by_hand():
    came = pd.Series([True, False, False, True])
    chances = pd.DataFrame({"p_rise": [1.0, 0.0, 0.0, 1.0]})
    assert metrics.brier_skill(chances, "p_rise", came) == 1.0
    assert metrics.brier_skill(chances * 0 + 0.5, "p_rise", came) == 0.0
    assert metrics.brier_skill(1 - chances, "p_rise", came) == -3.0
    told = pd.DataFrame({"p_rise": [0.8, 0.2, np.nan, np.nan]})
    assert metrics.brier_skill(told, "p_rise", came) == pytest.approx(1 - 0.04 / 0.25)
    assert np.isnan(metrics.brier_skill(told, "p_fall", came))


def test_the_whole_distribution_is_scored():
    frame = rows([10.0, 10.0], [12.0, 10.0], [10.0, 10.0])
    certain = metrics.distribution(frame, np.full((2, 9), 10.0))
    assert certain["crps"].tolist() == pytest.approx([0.2, 0.0])  # of a point: its error
    assert certain["below"].tolist() == [9, 0]
    assert certain["up_to"].tolist() == [9, 9]
    spread = metrics.distribution(frame, np.tile(np.arange(6.0, 15.0), (2, 1)))
    assert spread["crps"][0] < certain["crps"][0]
    assert spread["crps"][1] > certain["crps"][1]
    unknown = metrics.distribution(frame.assign(y=np.nan), np.full((2, 9), 10.0))
    assert unknown.isna().all(axis=None)


def test_an_honest_distribution_fills_its_tenths_and_a_narrow_one_does_not():
    rng = np.random.default_rng(3)
    moved = rng.random(20_000) < 0.5  # the others stay where they are
    y = np.where(moved, 10 + rng.normal(0, 1, 20_000), 10.0)
    frame = rows([10.0] * len(y), y, [10.0] * len(y))

    def error(quantiles):
        told = np.tile(quantiles, (len(y), 1))
        return metrics.score(frame.join(metrics.distribution(frame, told)))["pit_error"]

    honest = np.quantile(y, metrics.NINE)
    assert error(honest) < 0.02
    assert error(10 + (honest - 10) / 3) > 0.15
    assert np.isnan(metrics.score(frame)["pit_error"])


def test_chances_stand_beside_what_came():
    y = [10.6] * 1 + [10.0] * 9 + [10.6] * 3 + [10.0] * 2
    frame = rows([10.0] * 15, y, [10.0] * 15)
    frame = frame.assign(p_rise=[0.1] * 10 + [0.5] * 3 + [1.0, 0.5], p_fall=np.nan)
    found = metrics.reliability(frame, "BUY", 0.05)
    assert found.to_dict("list") == {
        "said": pytest.approx([0.1, 0.6]),
        "came": pytest.approx([0.1, 0.6]),
        "n": [10, 5],
    }
    assert metrics.reliability(frame, "SELL", 0.05).empty
