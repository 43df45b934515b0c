"""What the night stored answers for as long as the model would say the same, and never longer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from builders import curve, delivery, market

from pokewatch.errors import UsageError
from pokewatch.evaluation import predictions as predicting
from pokewatch.evaluation import registry, stored
from pokewatch.evaluation.registry import GateVerdict, TrainedModel
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import open_panel
from pokewatch.models.signals import Rule
from pokewatch.quality.ingest import ingest
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store

MARKET = market(30, 90, momentum=0.8)
LAST = MARKET["date"].max()
LATE = curve("late:Normal", [5.0] * 3, f"{LAST - pd.Timedelta(days=6):%Y-%m-%d}")
CARD = "3:Normal"


def promote(config: Settings, threshold: float = 0.02) -> None:
    """Train on all prices but the last days', and promote; a retraining has the same name."""
    panel, _ = open_panel(config)
    known = panel.until(len(panel.dates) - 3)
    trained = TrainedModel(
        name=f"fair-value-{known.dates[-1]:%Y-%m-%d}-v0",
        model=FairValueModel([1, 7], config.seed).fit(known),
        rules={
            (side, horizon): Rule(side, horizon, threshold, calls=100, precision=0.5, base_rate=0.1)
            for side in ("BUY", "SELL")
            for horizon in (1, 7)
        },
        as_of=f"{known.dates[-1]:%Y-%m-%d}",
        data_version=0,
        sources=["file"],
        scores=[],
        verdict=GateVerdict(True, ["for the test"], proved=True),
    )
    registry.save(config, trained, pd.DataFrame({"date": [LAST]}))
    registry.promote(config, trained.name, trained.verdict.reasons)


@pytest.fixture(scope="module", params=["champion", "naive"])
def made(tmp_path_factory, request) -> Path:
    config = load_settings(home=tmp_path_factory.mktemp("made"), tracking=False)
    ids = [*MARKET["card_id"].unique(), "late:Normal", "none:Normal"]
    ingest(Store.from_settings(config), delivery(MARKET, LATE, card_id=ids, name=ids), config)
    if request.param == "champion":
        promote(config)
        predicting.predict_all(config, (LAST - pd.Timedelta(days=1)).date())
    predicting.predict_all(config)
    return config.home


@pytest.fixture
def home(made, tmp_path) -> Settings:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return load_settings(home=tmp_path, tracking=False)


@pytest.fixture
def no_model(monkeypatch):
    """Return what ends every attempt to compute, once it is called."""

    def refuse() -> None:
        monkeypatch.setattr(predicting, "predict_panel", lambda *_: pytest.fail("it was computed"))

    return refuse


@pytest.mark.parametrize("on", [None, LAST.date()])
@pytest.mark.parametrize("cards", [None, [CARD], ["late:Normal", CARD]])
@pytest.mark.parametrize("horizons", [None, [7], [7, 1, 7]])
def test_what_is_stored_is_what_the_model_says(home, no_model, caplog, on, cards, horizons):
    expected = predicting.predict(home, cards, on, horizons, fresh=True)
    told = caplog.messages[:]
    caplog.clear()
    if horizons is None or registry.champion_name(home):
        no_model()
    pd.testing.assert_frame_equal(predicting.predict(home, cards, on, horizons), expected)
    assert caplog.messages == told


def test_signals_are_those_of_the_model(home, no_model, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(stored, "of_day", lambda *_: None)
        expected = predicting.best_signals(home)
    no_model()
    pd.testing.assert_frame_equal(predicting.best_signals(home), expected)
    assert expected.empty == (registry.champion_name(home) is None)


@pytest.mark.parametrize("card", ["nobody", "none:Normal"])
def test_a_card_without_an_answer_is_the_same_error(home, card):
    said = []
    for fresh in (True, False):
        with pytest.raises(UsageError) as error:
            predicting.predict(home, [CARD, card], fresh=fresh)
        said.append(str(error.value))
    assert said[0] == said[1]


def another_price(home):
    ingest(Store.from_settings(home), delivery(curve(CARD, [9.0], f"{LAST:%Y-%m-%d}")), home)


def another_name(home):
    rows = curve(CARD, [9.0], "2024-12-31")
    named = delivery(rows.iloc[:0], card_id=[CARD], name=["Another"], set_name=["Another set"])
    ingest(Store.from_settings(home), named, home)


def an_earlier_day(home):
    predicting.predict_all(home, (LAST - pd.Timedelta(days=9)).date())


def the_same_again(home):
    promote(home, threshold=0.03)


@pytest.mark.parametrize(
    "change", [another_price, another_name, an_earlier_day, the_same_again, None]
)
def test_nothing_stale_answers(home, change):
    assert stored.of_day(home)
    if change:
        change(home)
    changed = home if change else home.model_copy(update={"good_move": 0.08, "stale_days": 1})
    assert stored.of_day(changed) is None
    pd.testing.assert_frame_equal(
        predicting.predict(changed), predicting.predict(changed, fresh=True)
    )
    predicting.predict_all(changed)
    assert stored.of_day(changed)
    pd.testing.assert_frame_equal(
        predicting.predict(changed), predicting.predict(changed, fresh=True)
    )


def test_another_model_or_a_lost_one_is_asked_itself(home):
    if name := registry.champion_name(home):
        assert stored.of_day(home, model=name)  # the champion by its name
        registry.set_aside(home, registry.champion_name(home), "it lost")
    else:
        promote(home)
    assert stored.of_day(home) is None
    assert stored.of_day(home, model="nobody") is None


def test_a_damaged_model_never_speaks(home):
    if name := registry.champion_name(home):
        (registry.folder(home, name) / "trees.npz").write_bytes(b"damaged")
        assert set(predicting.predict(home)["model"]) == {"naive"}


def test_some_horizons_alone_do_not_stand_for_all(home):
    promote(home, threshold=0.04)
    predicting.predict_all(home, horizons=[7])
    assert stored.of_day(home) is None


def test_the_same_said_again_by_newer_code_doubles_nothing(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "home")
    config = load_settings(home=tmp_path / "home", tracking=False)
    store = Store.from_settings(config)
    columns = ["card_id", "date", "horizon", "fair_value", "made_at"]
    before = store.snapshot("predictions").read(columns).to_pandas()
    monkeypatch.setattr(stored, "RECIPE", "newer code")
    assert stored.of_day(config) is None
    predicting.predict_all(config)
    after = store.snapshot("predictions").read(columns).to_pandas()
    key = ["date", "card_id", "horizon"]
    pd.testing.assert_frame_equal(
        before.sort_values(key, ignore_index=True), after.sort_values(key, ignore_index=True)
    )
    assert stored.of_day(config) is not None
    monkeypatch.undo()
    assert stored.of_day(config) is None


def test_some_horizons_said_again_take_nothing_from_the_others(home):
    before = predicting.predict(home)
    predicting.predict_all(home, horizons=[7])
    pd.testing.assert_frame_equal(predicting.predict(home), before)


def test_damaged_predictions_are_asked_of_the_model(home):
    before = predicting.predict(home, [CARD])
    for file in (home.home / "predictions").glob("**/*.parquet"):
        file.write_bytes(file.read_bytes()[:-20])
    pd.testing.assert_frame_equal(predicting.predict(home, [CARD]), before)
