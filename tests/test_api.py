"""What an analyst gets from ``import pokewatch as pw``; every docstring's example runs."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import re
import shutil
import subprocess
import sys
from datetime import date
from types import ModuleType

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from builders import market
from matplotlib import pyplot as plt

import pokewatch as pw
from pokewatch import api, plot
from pokewatch.analysis import (
    benchmark,
    collection,
    narrative,
    patterns,
    permutation_importance,
    tables,
)
from pokewatch.analysis import market as markets
from pokewatch.errors import UsageError
from pokewatch.evaluation import backtest, predictions, registry, training
from pokewatch.operations import experiment, night, status
from pokewatch.quality.ingest import ingest
from pokewatch.schema import Delivery
from pokewatch.settings import PROJECT, Settings, get_settings
from pokewatch.store.tables import Store

CARDS, DAYS = 12, 90
NEWEST = "fair-value-2025-03-31-v1"
EVIL = "<script>alert(1)</script>"
MODULES = (api, collection, markets, patterns, permutation_importance, experiment, training, plot)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):
    """The settings of a small simulated market with a trained model, in force for ``pw``."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"HOME": folder, "STORE": "", "TRACKING": "false"}.items():
            patch.setenv(f"POKEWATCH_{name}", str(value))
        get_settings.cache_clear()
        settings = get_settings()
        rows = market(CARDS, DAYS)
        zero = rows.tail(1).assign(card_id="1:Normal", market_price=0.0)
        cards = pd.DataFrame(
            {
                "card_id": [f"{number}:Normal" for number in range(CARDS)],
                "name": [EVIL, *[f"Card {number}" for number in range(1, CARDS)]],
                "set_name": ["Set A", "Set A", "Set B"] * (CARDS // 3),
                "rarity": ["Rare", "Common"] * (CARDS // 2),
                "printing": "Normal",
                "product_kind": ["single"] * (CARDS - 2) + ["sealed"] * 2,
                "aliases": [[f"test1-{number}"] for number in range(CARDS)],
            }
        )
        observations = pd.concat([rows, zero], ignore_index=True)
        ingest(Store.from_settings(settings), Delivery(observations, "simulated", cards), settings)
        night.train(settings)
        yield settings
    get_settings.cache_clear()


def forecasts(signals: list[str], moves: list[float], days: int = 7) -> pd.DataFrame:
    """Return one card's forecasts at dates ``days`` apart with what came of them."""
    dates = pd.date_range("2025-01-01", periods=len(signals), freq=f"{days}D")
    rows = pd.DataFrame({"card_id": "1:Normal", "date": dates, "horizon": 7, "price": 10.0})
    moved = rows.assign(y=10.0 * (1 + np.array(moves)), y_hat=10.0, signal=signals)
    return moved.assign(model="fair_value")


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for module in MODULES for test in finder.find(module, module.__name__)]
    return [test for test in found if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda test: test.name)
def test_example(example, home, tmp_path, monkeypatch):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    result = runner.run(example, out=said.append)
    plt.close("all")
    assert result.failed == 0, "".join(said)


def offered() -> list[tuple[str, object]]:
    named = [(f"pw.{name}", getattr(pw, name)) for name in pw.__all__]
    drawn = [(f"pw.plot.{name}", getattr(plot, name)) for name in plot.__all__]
    return [*[pair for pair in named if not isinstance(pair[1], ModuleType)], *drawn]


@pytest.mark.parametrize(
    ("name", "thing"), offered(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_public_thing_has_an_example(name, thing):
    assert ">>> " in (inspect.getdoc(thing) or ""), name


def test_the_import_loads_nothing_and_completes_names():
    code = (
        "import sys, pokewatch as pw; print('pandas' in sys.modules);"
        "print(set(pw.__all__) <= set(dir(pw)));"
        "pw.market; import pokewatch.analysis.market; print(callable(pw.market))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="attribute markets_of_mars"):
        _ = pw.markets_of_mars


def test_old_names_still_work_and_say_their_new_ones(home):
    rows = pw.backtest(horizons=7)
    with pytest.warns(DeprecationWarning, match="pw.equity_curve"):
        old = pw.following(rows, least_price=2.0)
    pd.testing.assert_frame_equal(old, pw.equity_curve(rows, min_price=2.0))
    for name, new in {"trial": "experiment", "Trial": "Experiment"}.items():
        with pytest.warns(DeprecationWarning, match=f"pw.{new}"):
            assert getattr(pw, name) is getattr(pw, new)


def test_the_reference_is_that_of_the_code():
    place = PROJECT / "scripts" / "write_api_docs.py"
    spec = importlib.util.spec_from_file_location("write_api_docs", place)
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    written = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")
    assert written == writer.page(), "mend it with 'python scripts/write_api_docs.py'"


class TestMarket:
    def test_holds_what_was_accepted(self, home: Settings):
        whole = pw.market()
        assert whole.prices.shape == (DAYS, CARDS)
        assert whole.simulated
        assert whole.prices.attrs["simulated"]
        stored = Store.from_settings(home).prices(["card_id", "date", "market_price"])
        wide = stored.pivot(index="date", columns="card_id", values="market_price")
        np.testing.assert_array_equal(whole.prices.to_numpy(), wide.to_numpy())

    def test_between_knows_nothing_later(self, home):
        whole = pw.market()
        part = whole.between("2025-02-01", "2025-02-20")
        assert [part.dates[0], part.dates[-1]] == [*pd.to_datetime(["2025-02-01", "2025-02-20"])]
        assert part.panel.dates[-1] == part.dates[-1]
        pd.testing.assert_frame_equal(part.prices, whole.prices.loc["2025-02-01":"2025-02-20"])
        # What looks back may look before the first day of the part.
        pd.testing.assert_frame_equal(part.returns(7), whole.returns(7).loc[part.dates])
        assert part.cards["last_date"].max() == part.dates[-1]
        assert part.index().iloc[0] == 100.0
        assert len(part.index()) == len(part.dates)

    def test_only(self, home):
        whole = pw.market()
        assert set(whole.only(sets="set b").cards["set_name"]) == {"Set B"}
        assert len(pw.market(kind="sealed").cards) == 2
        assert list(whole.only(cards=["test1-3", "5:normal"]).prices) == ["3:Normal", "5:Normal"]
        assert whole.only(cards="test1-1").quarantine["card_id"].tolist() == ["1:Normal"]

    @pytest.mark.parametrize(
        ("ask", "said"),
        [
            (lambda: pw.market(since="2025-13-01"), "since='2025-13-01' is no date: write YYYY-MM"),
            (lambda: pw.market(since="2030-01-01"), "no prices for 2030-01-01: the market covers"),
            (lambda: pw.market("2025-02-02", "2025-02-01"), "no prices for 2025-02-02 to 2025-02"),
            (lambda: pw.market(sets="Set C"), "unknown set 'Set C': there are Set A, Set B"),
            (lambda: pw.market(kind="boxes"), "kind='boxes' is unknown: choose among single"),
            (lambda: pw.market(data_version=99), "data version 99"),
            (lambda: pw.market().card("test1-99"), "unknown card 'test1-99'"),
            (lambda: pw.market().only(sets="Set B", cards="test1-1"), "no card is left with"),
            (lambda: pw.market().by("colour"), "column='colour' is unknown: choose among set_name"),
            (lambda: pw.market().returns(0), "days=0 must be 1 or more"),
            (lambda: pw.fair_value("nowhere-1"), "unknown card 'nowhere-1'"),
            (lambda: pw.fair_value([]), "names no card"),
            (lambda: pw.fair_value(date="2020-01-01"), "no prices are stored up to 2020-01-01"),
            (lambda: pw.fair_value(date="soon"), "date='soon' is no date"),
            (lambda: pw.fair_value(model="best"), "unknown model 'best': there are fair-value-"),
            (lambda: pw.fair_value(horizons=5, model=NEWEST), "not trained for [5] days"),
            (lambda: pw.backtest("best"), "unknown model 'best'"),
            (lambda: pw.backtest(horizons=5), "has no forecasts [5] days ahead: choose among"),
            (lambda: pw.backtest("newest", fresh=True), "leave model='newest' out"),
            (lambda: pw.backtest(since="2025-03-31"), "its back-test covers"),
            (lambda: pw.score(by="colour"), "by='colour' is unknown: choose among month"),
            (lambda: pw.seasons(by="year"), "by='year' is unknown: choose among month, weekday"),
            (lambda: pw.permutation_importance(days=80), "90 days are too few for days=80"),
        ],
    )
    def test_what_is_not_there_is_a_usage_error(self, home, ask, said):
        with pytest.raises(UsageError) as error:
            ask()
        assert said in str(error.value)

    def test_names_are_escaped(self, home):
        whole = pw.market()
        shown = whole.card("test1-0")._repr_html_() + whole._repr_html_()
        shown += whole.only(cards="test1-0")._repr_html_()
        assert EVIL not in shown
        assert "&lt;script&gt;" in shown
        assert "<script>" not in narrative.card(whole.card("test1-0")).data
        assert "<em>simulated</em>" in whole._repr_html_()

    def test_groups_add_up(self, home):
        table = pw.market().by("rarity", days=14)
        assert table["cards"].sum() == CARDS
        assert table["value"].sum() == pytest.approx(pw.market().cards["last_price"].sum())
        before = table["value"] / (1 + table["change"])
        assert before.sum() == pytest.approx(pw.market().prices.iloc[-15].sum())

    def test_a_short_history_is_taken_as_a_whole(self, home):
        assert pw.market(until="2025-01-05").by_set().attrs["days"] == 4

    def test_card(self, home):
        card = pw.market().card("TEST1-01")
        assert card.card_id == "1:Normal"
        assert card.info["name"] == "Card 1"
        assert card.observations["market_price"].tolist() == card.prices.tolist()
        rows = card.fair_value()
        pd.testing.assert_frame_equal(rows, pw.fair_value("1:Normal"))

    def test_a_past_market_forecasts_its_own_last_day(self, home):
        past = pw.market(until="2025-03-01").card("1:Normal").fair_value(horizons=7)
        assert past["date"].tolist() == [pd.Timestamp("2025-03-01")]
        assert past["market_price"].iloc[0] == pw.market().prices.loc["2025-03-01", "1:Normal"]


class TestForecasts:
    def test_a_stored_back_test_scores_as_the_training_did(self, home: Settings):
        trained = registry.load(home, registry.names(home)[-1])
        table = pw.score(pw.backtest("newest"))
        for row in trained.scores:
            mine = table[(table["horizon"] == row["horizon"]) & (table["model"] == row["model"])]
            assert mine["rmae"].iloc[0] == pytest.approx(row["rmae"], nan_ok=True)

    def test_a_fresh_back_test_equals_the_stored_one(self, home):
        stored = pw.backtest(horizons=7)
        fresh = pw.backtest(fresh=True, horizons=[7])
        assert list(fresh) == list(stored)
        pd.testing.assert_frame_equal(fresh, stored)
        cut = pw.backtest(horizons=7, since="2025-03-01", until="2025-03-10")
        assert cut["date"].between("2025-03-01", "2025-03-10").all()
        assert len(cut) < len(stored)

    @pytest.mark.parametrize("by", backtest.GROUPS)
    def test_groups_of_scores_hold_every_forecast(self, home, by):
        rows = pw.backtest(horizons=7)
        table = pw.score(rows, by=by)
        assert table["n"].sum() == (rows["model"] == "fair_value").sum()
        assert {"rmae", "coverage", "buy_precision", "return_after_fees"} <= set(table)

    def test_following_pays_the_fee_at_each_sale(self, home: Settings):
        equity = pw.equity_curve(forecasts(["BUY", "HOLD", "BUY"], [0.2, -0.1, 0.0]))
        kept = 1 - home.fee
        assert equity["followed"].tolist() == pytest.approx(
            [100, 120 * kept, 120 * kept, 120 * kept**2]
        )
        assert equity["before_fees"].tolist() == pytest.approx([100, 120, 120, 120])
        assert equity["held"].tolist() == pytest.approx([100, 120 * kept, 90 * kept, 100 * kept])
        assert equity["calls"].tolist() == [0, 1, 0, 1]
        assert equity["date"].iloc[-1] == pd.Timestamp("2025-01-22")

    def test_following_takes_no_day_twice(self, home):
        daily = forecasts(["BUY"] * 15, [0.01] * 15, days=1)
        assert len(pw.equity_curve(daily)) == 4  # the start, and days 0, 7 and 14

    def test_cards_below_the_min_price_are_left_out(self, home):
        assert pw.equity_curve(forecasts(["BUY"], [0.1]), min_price=11).empty

    def test_held_cards_are_valued_below_the_min_price_too(self, home: Settings):
        fell = forecasts(["HOLD"] * 3, [-0.5] * 3).assign(price=[1.2, 0.6, 0.3], y=[0.6, 0.3, 0.15])
        flat = forecasts(["HOLD"] * 3, [0.0] * 3).assign(card_id="2:Normal")
        equity = pw.equity_curve(pd.concat([fell, flat], ignore_index=True))
        kept = 1 - home.fee
        assert equity["held"].tolist() == pytest.approx([100, 75 * kept, 62.5 * kept, 56.25 * kept])

    def test_the_champion_s_back_test_is_not_that_of_a_refused_model_of_its_name(
        self, home: Settings
    ):
        registry.promote(home, NEWEST, [])
        own = pw.backtest(horizons=7)
        refused = registry.save(home, registry.load(home, NEWEST), own.head(0))
        try:
            for asked in (None, "champion"):
                pd.testing.assert_frame_equal(pw.backtest(asked, horizons=7), own)
        finally:
            shutil.rmtree(refused)
            (home.models_dir / registry.CHAMPION).unlink()

    @pytest.mark.parametrize("horizon", [np.int64(7), np.array([7])])
    def test_a_horizon_may_come_from_a_frame(self, home, horizon):
        assert pw.fair_value("1:Normal", horizons=horizon)["horizon"].tolist() == [7]
        assert pw.backtest(horizons=horizon)["horizon"].eq(7).all()

    def test_trade_log(self, home: Settings):
        rows = forecasts(["BUY", "SELL", "SELL", "HOLD"], [0.2, 0.3, -0.06, 0.5])
        record = pw.trade_log(rows)
        assert record["gain"].tolist() == pytest.approx([1.2 * (1 - home.fee) - 1, -0.3, 0.06])
        assert record["right"].tolist() == [True, False, True]
        assert pw.trade_log(rows, worst=2)["move"].tolist() == pytest.approx([0.3])

    def test_momentum_is_found_where_it_is(self, home):
        table = pw.momentum(days=[1, 7])
        assert table.loc[1, 1] > 0
        assert "momentum" in narrative.momentum(table).data
        assert "reversion" in narrative.momentum(-table.abs()).data

    def test_a_constant_feature_has_no_importance(self, home):
        table = pw.permutation_importance(days=21, repeats=2).set_index("family")
        assert table.loc["low gap", "importance"] == 0.0  # no quotes in this market
        assert table["importance"].max() > 0
        assert table["importance"].is_monotonic_decreasing


class TestTrial:
    def test_changes_nothing_of_the_home(self, home: Settings):
        def state() -> list[tuple[str, int]]:
            kept = [path for path in home.models_dir.rglob("*") if path.is_file()]
            return sorted((str(path), path.stat().st_mtime_ns) for path in kept)

        before = state()
        trial = pw.experiment(7)
        assert state() == before
        assert trial.logged == ""  # tracking is off
        assert not trial.trained.verdict.passed
        assert "promotes nothing" in trial.trained.verdict.reasons[-1]

    def test_is_the_model_that_training_would_give(self, home: Settings):
        stored = pw.backtest("newest", horizons=7)
        pd.testing.assert_frame_equal(pw.experiment(7).forecasts, stored)
        assert pw.experiment([7, 1]).scores["horizon"].unique().tolist() == [1, 7]


class TestWords:
    def test_a_dollar_is_money(self, home):
        assert r"\$" in narrative.market(pw.market()).data

    def test_tables_escape_names(self):
        table = tables.show(pd.DataFrame({"name": [EVIL], "change": [0.5], "price": [None]}))
        assert "&lt;script&gt;" in table.data
        assert "+50.0 %" in table.data

    def test_what_is_missing_is_blank_and_whole_numbers_stay_whole(self):
        frame = pd.DataFrame({"copies": pd.array([1, None], "Int64"), "seconds": [0.5, np.nan]})
        shown = tables.show(frame).data
        assert re.findall("<td>(.*?)</td>", shown) == ["1", "500.0 ms", "", ""]

    def test_a_month_that_has_just_begun_is_not_the_best(self):
        months = pd.DataFrame({"month": ["2025-01", "2025-02", "2025-03", "2025-04"]})
        months = months.assign(change=[-0.5, 0.1, 0.2, 0.9], days=[30, 28, 31, 3])
        days = pd.DataFrame({"weekday": ["Monday", "Friday"], "change": [0.0, 0.01]})
        said = narrative.seasons(months, days).data
        assert "best whole month was 2025-03" in said
        assert "the worst 2025-02" in said
        assert "best whole" not in narrative.seasons(months.tail(2), days).data

    def test_nothing_scored_is_said(self, home):
        empty = pw.backtest(horizons=7).iloc[:0]
        assert "needs about 20 days of prices" in narrative.equity(pw.equity_curve(empty)).data
        assert "No call was given" in narrative.worst(pw.trade_log(empty, worst=3)).data


class TestBenchmark:
    def test_a_sample_keeps_every_method_s_rows(self, home):
        part = benchmark.sample(pw.backtest(), cards=5, dates=3)
        assert part.groupby(["card_id", "date"]).size().eq(3).all()
        assert part["date"].nunique() <= 3
        assert np.diff(np.sort(part["date"].unique())).min() >= np.timedelta64(7, "D")

    def test_without_the_extra_rows_come_back_as_they_are(self, home, monkeypatch):
        monkeypatch.setattr(benchmark, "installed", lambda: False)
        part = benchmark.sample(pw.backtest(), cards=2, dates=1)
        rows, seconds = benchmark.classical(part)
        assert rows is part
        assert seconds == {}
        table = pw.score(rows)
        assert "were skipped" in narrative.methods(table, rows).data

    def test_classical_methods_see_the_past_only(self, home):
        pytest.importorskip("statsforecast")
        part = benchmark.sample(pw.backtest(), cards=3, dates=2)
        rows, seconds = benchmark.classical(part)
        assert set(seconds) == set(benchmark.CLASSICAL)
        assert rows.groupby("model").size().nunique() == 1
        panel = pw.market().panel
        day = part["date"].min()
        series = benchmark._series(panel, day, pd.Series(part["card_id"].unique()))
        assert series["ds"].max() == day

    def test_cost_grows_a_market_by_repeating_it(self, home):
        assert benchmark.cost(largest=40)["cards"].tolist() == [10, 40]


def test_status_is_that_of_the_night(home: Settings):
    assert pw.status() == status.status(home)
    assert pw.signals(date=date(2025, 3, 31)).equals(predictions.best_signals(home))
