from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from builders import curve, market

from pokewatch.errors import PokewatchError, UsageError
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import Panel

PANEL = Panel.from_prices(market(40, 150, momentum=0.8))

FULL_MODELS = True


@pytest.fixture(scope="module")
def model() -> FairValueModel:
    return FairValueModel([1, 7, 14, 30], seed=3).fit(PANEL.until(120))


def test_momentum_that_is_there_is_found(model):
    rows = list(range(121, 140))
    forecast = model.predict_days(PANEL, rows, [7])
    real = PANEL.target(7)[rows].ravel()
    said = np.log(forecast["fair_value"] / forecast["market_price"]).to_numpy()
    assert np.abs(real - said).mean() < 0.95 * np.abs(real).mean()


def test_where_nothing_can_be_known_the_forecast_stays_naive():
    rng = np.random.default_rng(5)
    walk = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (200, 30)), axis=0))
    rows = pd.concat([curve(f"{n}:Normal", walk[:, n].round(2)) for n in range(30)])
    panel = Panel.from_prices(rows)
    forecast = FairValueModel([7]).fit(panel.until(150)).predict_days(panel, range(151, 190))
    said = np.log(forecast["fair_value"] / forecast["market_price"]).to_numpy()
    real = panel.target(7)[151:190].ravel()
    assert np.abs(real - said).mean() < 1.02 * np.abs(real).mean()
    low, high = forecast["lower"].to_numpy(), forecast["upper"].to_numpy()
    later = panel.price[158:197].ravel()
    assert 0.7 < ((later >= low) & (later <= high)).mean() < 0.9


def test_intervals_contain_the_fair_value_and_widen_with_the_horizon(model):
    forecast = model.predict(PANEL, PANEL.dates[120])
    assert (forecast["lower"] <= forecast["fair_value"]).all()
    assert (forecast["fair_value"] <= forecast["upper"]).all()
    width = (forecast["upper"] - forecast["lower"]) / forecast["market_price"]
    by_horizon = width.groupby(forecast["horizon"]).mean()
    assert by_horizon.is_monotonic_increasing


def test_the_same_seed_gives_the_same_forecasts_to_the_last_digit(model):
    again = FairValueModel([1, 7, 14, 30], seed=3).fit(PANEL.until(120))
    pd.testing.assert_frame_equal(again.predict(PANEL), model.predict(PANEL), check_exact=True)
    other = FairValueModel([1, 7, 14, 30], seed=4).fit(PANEL.until(120))
    assert not other.predict(PANEL).equals(model.predict(PANEL))


def test_a_card_of_a_few_days_keeps_its_price_as_fair_value(model):
    rows = pd.concat([market(40, 150), curve("new:Normal", [9.0, 9.5], start="2025-05-29")])
    forecast = model.predict(Panel.from_prices(rows))
    young = forecast[forecast["card_id"] == "new:Normal"]
    assert young["fair_value"].tolist() == [9.5] * 4
    assert len(forecast) == 4 * 41


def test_every_card_gets_a_row_even_where_nothing_could_be_learnt():
    panel = Panel.from_prices(curve("1:Normal", [5.0, 5.1]))
    forecast = FairValueModel().fit(panel).predict(panel)
    assert forecast["horizon"].tolist() == [1, 7, 14, 30]
    assert set(forecast["fair_value"]) == {5.1}
    assert np.isfinite(forecast[["lower", "upper"]]).all().all()


def test_a_saved_model_predicts_the_same(model, tmp_path):
    model.save(tmp_path)
    loaded = FairValueModel.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.predict(PANEL), model.predict(PANEL), check_exact=True)


def test_other_formats_and_damaged_files_are_named(model, tmp_path):
    model.save(tmp_path)
    about = tmp_path / "model.json"
    whole = json.loads(about.read_text())
    about.write_text(json.dumps(whole | {"format": 99}))
    with pytest.raises(PokewatchError, match="has format 99, this version reads 4"):
        FairValueModel.load(tmp_path)
    about.write_text("{")
    with pytest.raises(PokewatchError, match="cannot be read"):
        FairValueModel.load(tmp_path)
    about.write_text(json.dumps({"format": 4}))
    with pytest.raises(PokewatchError, match="is damaged"):
        FairValueModel.load(tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        {"left": 0},  # to itself: no end
        {"right": 10_000},
        {"feature_idx": 10_000},
        {"feature_idx": -1},
        {"num_threshold": np.nan},
        {"value": np.inf},
    ],
)
def test_trees_that_are_none_are_refused(model, tmp_path, edit):
    model.save(tmp_path)
    path = tmp_path / "trees.npz"
    with np.load(path) as file:
        arrays = dict(file)
    for name, value in edit.items():
        arrays[f"median_7/{name}"][0] = value
    np.savez(path, **arrays)
    with pytest.raises(PokewatchError, match="is damaged"):
        FairValueModel.load(tmp_path)


def test_trees_that_would_fill_the_memory_are_refused(model, tmp_path, monkeypatch):
    model.save(tmp_path)
    path = tmp_path / "trees.npz"
    with np.load(path) as file:
        arrays = dict(file)
    one = {name: values[:1] for name, values in arrays.items() if name.startswith("median_7/")}
    np.savez(path, **arrays | one | {"median_7/sizes": np.array([2_000_000_000])})
    with pytest.raises(PokewatchError, match="differ in length"):
        FairValueModel.load(tmp_path)
    np.savez_compressed(path, **arrays | {"more/value": np.zeros(9_000_000)})
    with pytest.raises(PokewatchError, match="holds more than 67,108,864 bytes"):
        FairValueModel.load(tmp_path)


def test_a_horizon_that_lost_to_naive_keeps_the_price(model):
    past = model.predict_days(PANEL, list(range(121, 135)), [7, 14])
    past = past.rename(columns={"market_price": "price", "fair_value": "y_hat"})
    past["y"] = past["price"].where(past["horizon"] == 14, past["y_hat"])
    learnt = FairValueModel([1, 7, 14, 30], seed=3).fit(PANEL.until(120))
    learnt.learn_from_past(past, PANEL.dates[149])
    forecast = learnt.predict(PANEL)
    moved = forecast["fair_value"] != forecast["market_price"]
    assert moved.groupby(forecast["horizon"]).any().to_dict() == {
        1: True,
        7: True,
        14: False,
        30: True,
    }


def test_horizons_are_checked(model):
    with pytest.raises(UsageError, match=r"not trained for \[3\] days"):
        model.predict(PANEL, horizons=[3])
    with pytest.raises(UsageError, match="1 day or more"):
        FairValueModel([0])
