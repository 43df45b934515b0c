from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from builders import curve, delivery, market

from pokewatch.errors import PokewatchError, UsageError
from pokewatch.evaluation import gate, ledger, registry, training
from pokewatch.evaluation import predictions as predicting
from pokewatch.models.panel import Panel, open_panel
from pokewatch.operations import night
from pokewatch.quality.ingest import ingest
from pokewatch.report import facts
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store

pytestmark = pytest.mark.slow

MARKET = market(30, 160, momentum=0.8)
DAY = pd.Timestamp("2025-05-10").date()
MODEL_KEYS = ["format", "kind", "seed", "horizons", "names", "trees", "fits", "bands"]


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Settings:
    config = load_settings(home=tmp_path_factory.mktemp("home"), tracking=False)
    ingest(Store.from_settings(config), delivery(MARKET), config)
    return config


@pytest.fixture(scope="module")
def trained(config) -> registry.TrainedModel:
    return night.train(config, as_of=DAY)


def test_a_model_that_beats_no_change_becomes_champion(config, trained):
    assert trained.verdict.passed
    assert registry.champion_name(config) == trained.name
    assert trained.as_of == "2025-05-10"
    assert trained.score(7)["rmae_high"] < 1


def test_a_loaded_model_is_the_saved_one(config, trained):
    loaded = registry.load(config, trained.name)
    panel, _ = open_panel(config, DAY)
    pd.testing.assert_frame_equal(loaded.model.predict(panel), trained.model.predict(panel))
    assert {key: repr(rule) for key, rule in loaded.rules.items()} == {
        key: repr(rule) for key, rule in trained.rules.items()
    }


def test_training_up_to_a_day_ignores_what_came_later(config, trained, tmp_path):
    other = load_settings(home=tmp_path, tracking=False)
    known = MARKET[MARKET["date"] <= pd.Timestamp(DAY)]
    ingest(Store.from_settings(other), delivery(known), other)
    alone = night.train(other)
    panel, _ = open_panel(other)
    pd.testing.assert_frame_equal(alone.model.predict(panel), trained.model.predict(panel))
    assert repr(alone.scores) == repr(trained.scores)  # NaN is not equal to itself


def test_a_bad_challenger_does_not_become_champion(config, trained, monkeypatch):
    from pokewatch.models.fair_value import FairValueModel

    honest = FairValueModel.center
    monkeypatch.setattr(FairValueModel, "center", lambda *known: -honest(*known))
    bad = night.train(config)
    assert not bad.verdict.passed
    assert "not proved better than no change" in bad.verdict.reasons[0]
    assert registry.champion_name(config) == trained.name
    assert bad.name in registry.names(config)


def test_a_training_of_the_same_name_leaves_the_champion_until_it_is_promoted(
    config, trained, monkeypatch
):
    from pokewatch.models.fair_value import FairValueModel

    panel, _ = night.open_panel(config, DAY)
    expected = trained.model.predict(panel)
    seen = []
    save = FairValueModel.save

    def watched(model, folder):
        seen.append(registry.champion(config))
        save(model, folder)
        seen.append(registry.load(config, "champion"))

    honest = FairValueModel.center
    with monkeypatch.context() as patch:
        patch.setattr(FairValueModel, "center", lambda *known: -honest(*known))
        patch.setattr(FairValueModel, "save", watched)
        shutil.rmtree(config.home / ledger.FOLDER)  # it knows the honest forecasts
        bad = night.train(config, as_of=DAY)
    assert (bad.name, bad.verdict.passed) == (trained.name, False)
    for present in (*seen, registry.champion(config)):
        pd.testing.assert_frame_equal(present.model.predict(panel), expected)
    assert registry.names(config).count(trained.name) == 1
    assert not registry.load(config, trained.name).verdict.passed  # a name means the newest
    shutil.rmtree(config.home / ledger.FOLDER)
    again = night.train(config, as_of=DAY)
    assert again.verdict.passed
    assert registry.folder(config, "champion") == registry.folder(config, trained.name)


def test_models_and_pointer_of_the_first_format_still_load(config, trained, tmp_path):
    other = load_settings(home=tmp_path, tracking=False)
    place = other.models_dir / trained.name
    shutil.copytree(registry.folder(config, "champion"), place)
    model = json.loads((place / "model.json").read_text())
    for fit in model["fits"]:
        fit["trust"] = float(fit["trust"])
    (place / "model.json").write_text(json.dumps(model))
    rule = json.loads((place / "about.json").read_text())["rules"][0]
    pointer = {"name": trained.name, "reasons": ["it was better"]}
    (other.models_dir / "champion.json").write_text(json.dumps(pointer))
    assert set(model) == set(MODEL_KEYS)
    assert set(model["bands"]["7"]) == {"edges", "low", "high"}
    assert {"side", "horizon", "enter", "weights", "record"} < set(rule)
    loaded = registry.champion(other)
    panel, _ = night.open_panel(config, DAY)
    pd.testing.assert_frame_equal(loaded.model.predict(panel), trained.model.predict(panel))
    assert repr(loaded.rules) == repr(trained.rules)
    assert repr(loaded.model.fits) == repr(trained.model.fits)


def test_a_model_replaced_a_day_ago_is_removed_and_the_champion_stays(config, trained):
    champion = registry.folder(config, "champion")
    for _ in range(2):
        training.fit(config, as_of=DAY)
    newest = registry.folder(config, trained.name)
    before = set(config.models_dir.glob(f"{trained.name}*"))
    assert len(before) > len({champion, newest}) == 2
    training.fit(config, as_of=DAY - pd.Timedelta(days=1))
    assert set(config.models_dir.glob(f"{trained.name}*")) == before  # someone may be reading
    os.utime(newest, (newest.stat().st_mtime - 2 * registry.A_DAY,) * 2)
    training.fit(config, as_of=DAY - pd.Timedelta(days=1))
    assert set(config.models_dir.glob(f"{trained.name}*")) == {champion, newest}
    assert not registry.past_forecasts(config, "champion").empty
    assert registry.champion(config).verdict.passed


def test_an_older_model_never_takes_the_champions_place(config, trained):
    older = night.train(config, as_of=DAY - pd.Timedelta(days=20))
    assert older.verdict.proved
    assert not older.verdict.passed
    assert registry.champion_name(config) == trained.name
    before = predicting.predict(config, on=DAY - pd.Timedelta(days=10))
    assert set(before["model"]) == {older.name}  # the champion has seen later days


def test_a_champion_of_an_earlier_version_counts_as_absent(config, trained, tmp_path, caplog):
    other = load_settings(home=tmp_path / "home", tracking=False)
    shutil.copytree(config.home, other.home)
    about = registry.folder(other, "champion") / "model.json"
    model = json.loads(about.read_text())
    about.write_text(json.dumps({**model, "names": [*model["names"][:-1], "a_feature_of_old"]}))
    found, problem = registry.try_champion(other)
    assert found is None
    assert "trained on other features" in problem
    assert set(predicting.predict(other, on=DAY)["model"]) == {"naive"}
    assert "no usable champion" in caplog.text
    assert night.train(other, as_of=DAY).verdict.passed  # on its own merit
    assert registry.try_champion(other)[1] == ""


def test_a_report_speaks_with_the_model_that_was_known_that_day(config, trained):
    older = night.train(config, as_of=DAY - pd.Timedelta(days=20))
    day = DAY - pd.Timedelta(days=10)
    shown = facts.load(config, day)
    assert shown.champion.name == shown.scored.name == older.name
    said = predicting.predict(config, on=day, horizons=[7]).set_index("card_id")
    pd.testing.assert_series_equal(shown.calls["fair_value"], said["fair_value"])


def test_prices_that_never_move_prove_nothing(tmp_path):
    config = load_settings(home=tmp_path, tracking=False)
    frozen = market(20, 60).assign(market_price=5.0)
    ingest(Store.from_settings(config), delivery(frozen), config)
    assert not night.train(config).verdict.passed


def forecasts_of(errors: np.ndarray, card: str = "1:Normal") -> pd.DataFrame:
    """Return 7-day forecasts of these log errors, one a day; prices moved by 5 %."""
    days = pd.date_range("2025-01-01", periods=len(errors))
    table = pd.DataFrame({"card_id": card, "date": days, "horizon": 7, "price": 10.0})
    moved = table["price"] * np.where(np.arange(len(errors)) % 2, 1.05, 1 / 1.05)
    return table.assign(y=moved, y_hat=moved * np.exp(errors), model="fair_value")


@pytest.fixture(scope="module")
def year() -> Panel:
    return Panel.from_prices(curve("1:Normal", [10.0] * 365))


def test_a_challenger_worse_than_what_the_champion_said_is_turned_away(trained, year):
    errors = np.random.default_rng(3).normal(0, 0.02, 350)
    mine, said = forecasts_of(errors), forecasts_of(errors * 0.7)
    assert gate.check(mine, year).passed
    verdict = gate.check(mine, year, trained, said)
    assert (verdict.passed, verdict.proved) == (False, True)
    assert "error is 1.4" in verdict.reasons[-1]
    assert gate.check(mine, year, trained, forecasts_of(errors * 1.001)).passed
    few = gate.check(mine, year, trained, said.tail(10))
    assert few.passed
    assert "too few days to compare" in few.reasons[-1]


def test_forecasts_that_lost_in_public_end_the_championship(trained, year):
    mine = forecasts_of(np.random.default_rng(3).normal(0, 0.02, 350))
    live = forecasts_of(np.random.default_rng(4).normal(0, 0.09, 90))
    verdict = gate.check(mine, year, trained, live, live)
    assert not verdict.passed
    assert "lost to no change" in gate.lost(live)
    assert gate.lost(forecasts_of(np.random.default_rng(4).normal(0, 0.05, 90))) == ""
    assert gate.lost(live.head(8)) == ""


def test_what_was_published_decides_whether_the_champion_stays(config, trained, tmp_path):
    other = load_settings(home=tmp_path / "home", tracking=False)
    shutil.copytree(config.home, other.home)
    store, (panel, _) = Store.from_settings(other), open_panel(other)
    assert training.set_aside_loser(other, panel) == ""
    rng = np.random.default_rng(5)
    for day in panel.dates[-50:-1]:
        said = predicting.predict(config, on=day.date(), horizons=[7])
        wrong = said["market_price"] * np.exp(rng.choice([-0.5, 0.5], len(said)))
        name = f"fair-value-{day - pd.Timedelta(days=1):%Y-%m-%d}-v0"
        then = day.tz_localize("UTC") + pd.Timedelta(hours=27)
        store.save_predictions(said.assign(fair_value=wrong, model=name), then)
        better = said.assign(model=name)  # said again: too late
        store.save_predictions(better, then + pd.Timedelta(hours=1))
    predicted = night.predict(other)
    assert set(predicted["model"]) == {"naive"}
    assert registry.champion_name(other) is None
    assert "lost to no change" in registry.why_none(other)
    assert "lost to no change" in facts.load(other).champion_problem
    verdict = night.train(other).verdict
    assert (verdict.passed, verdict.proved) == (False, True)
    assert "lost to no change" in verdict.reasons[-1]


def test_too_short_a_history_is_no_proof(tmp_path):
    config = load_settings(home=tmp_path, tracking=False)
    ingest(Store.from_settings(config), delivery(market(30, 12)), config)
    trained = night.train(config)
    assert not trained.verdict.passed
    predictions = predicting.predict(config)
    assert set(predictions["model"]) == {"naive"}
    assert set(predictions["signal"]) == {"HOLD"}
    assert (predictions["fair_value"] == predictions["market_price"]).all()
    assert (predictions["upper"] > predictions["lower"]).all()


def test_prices_of_a_day_a_week_are_not_called_young(tmp_path):
    config = load_settings(home=tmp_path, tracking=False)
    weekly = MARKET[MARKET["date"].dt.dayofweek == 0]
    ingest(Store.from_settings(config), delivery(weekly), config)
    reasons = night.train(config).verdict.reasons
    days = weekly["date"].nunique()
    assert days > gate.FIRST_SCORE
    assert not any("a first score needs" in reason for reason in reasons)


def test_unknown_and_damaged_models_are_named(config, trained):
    with pytest.raises(UsageError, match=f"unknown model 'x': there are .*{trained.name}"):
        registry.load(config, "x")
    with pytest.raises(UsageError, match="unknown model"):
        registry.load(config, "../" + trained.name)
    about = registry.folder(config, trained.name) / "about.json"
    whole = about.read_text()
    about.write_text(whole[:100])
    with pytest.raises(PokewatchError, match="is damaged"):
        registry.load(config, trained.name)
    about.write_text(whole)


def test_a_model_whose_description_is_damaged_is_left_out_aloud(config, trained, tmp_path, caplog):
    other = load_settings(home=tmp_path / "home", tracking=False)
    shutil.copytree(config.home, other.home)
    for path in other.models_dir.glob("*/about.json"):
        path.write_text("[]")
    assert registry.last_trained(other) is None
    assert f"left out: model '{trained.name}' is damaged" in caplog.text
