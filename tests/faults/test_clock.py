"""A clock that was set back, or was wrong for a while."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from builders import curve, delivery
from fault_jobs import config, prepare_train, run_train

from pokewatch.evaluation import registry
from pokewatch.models import fair_value
from pokewatch.operations import night, status
from pokewatch.quality.ingest import ingest
from pokewatch.store.tables import Store

pytestmark = pytest.mark.slow


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def undated(price: float, day: str):
    rows = curve("1:Normal", [price], start=day).drop(columns="collected_at")
    return delivery(rows, source="tcgcsv")


def test_of_two_prices_the_one_collected_by_an_earlier_clock_is_kept_in_sight(tmp_path):
    settings = config(tmp_path)
    store = Store.from_settings(settings)
    ingest(store, undated(5.0, "2025-01-05"), settings, at("2025-01-05T21:00"))
    back = ingest(store, undated(5.1, "2025-01-05"), settings, at("2025-01-05T03:00"))
    assert (back.accepted, back.quarantined) == (0, 1)
    assert store.prices()["market_price"].tolist() == [5.0]
    refused = store.quarantine(["refused"])
    assert refused[["market_price", "reason"]].to_numpy().tolist() == [[5.1, "superseded"]]
    # With the clock right again the next collection wins as ever, and the rest stays in sight.
    ingest(store, undated(5.2, "2025-01-05"), settings, at("2025-01-06T01:00"))
    assert store.prices()["market_price"].tolist() == [5.2]
    assert sorted(store.quarantine()["market_price"]) == [5.0, 5.1]


def test_a_day_that_the_clock_took_for_the_future_is_stored_once_it_has_come(tmp_path):
    settings = config(tmp_path)
    store = Store.from_settings(settings)
    dated = delivery(curve("2:Normal", [7.0], start="2025-01-05"), source="tcgcsv")
    for one in (undated(5.0, "2025-01-05"), dated):
        early = ingest(store, one, settings, at("2025-01-02T21:00"))
        assert early.reasons == {"date_in_future": 1}
        again = ingest(store, one, settings, at("2025-01-02T22:00"))
        assert (again.quarantined, again.unchanged) == (0, 1)
    assert store.prices().empty
    for one in (undated(5.0, "2025-01-05"), dated):
        right = ingest(store, one, settings, at("2025-01-05T22:00"))
        assert (right.received, right.accepted, right.unchanged) == (1, 1, 0)
    assert store.prices()["market_price"].tolist() == [5.0, 7.0]
    assert store.quarantine().empty
    assert ingest(store, dated, settings, at("2025-01-05T23:00")).unchanged == 1


def test_a_price_of_the_future_that_was_dropped_stays_away(tmp_path):
    from pokewatch.quality import quarantine

    settings = config(tmp_path)
    store = Store.from_settings(settings)
    ingest(store, undated(5.0, "2025-01-05"), settings, at("2025-01-02"))
    quarantine.drop(store, quarantine.select(store))
    assert ingest(store, undated(5.0, "2025-01-05"), settings, at("2025-01-06")).unchanged == 1
    assert store.prices().empty


def test_status_of_a_store_that_is_ahead_of_the_clock(tmp_path, time_machine_at):
    settings = config(tmp_path)
    store = Store.from_settings(settings)
    ingest(store, undated(5.0, "2025-01-04"), settings, at("2025-01-04T21:00"))
    ingest(store, undated(5.1, "2025-01-05"), settings, at("2025-01-05T21:00"))
    time_machine_at("2025-01-03T12:00Z")
    found = status.status(settings)
    assert (found["last_date"], found["days_old"], found["coverage"]) == ("2025-01-05", -2, 1.0)
    assert found["last_day"]["enough"]


def test_a_model_trained_by_a_clock_set_back_keeps_its_back_test(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(registry, "KEEP_BACKTESTS", 1)
    for options in (fair_value.BOOSTING, fair_value.SMALL):
        monkeypatch.setitem(options, "max_iter", 2)
    prepare_train(tmp_path)
    settings = config(tmp_path)
    first = registry.champion_name(settings)
    about = settings.models_dir / first / "about.json"
    os.utime(about, (about.stat().st_mtime + 9e6, about.stat().st_mtime + 9e6))
    last = Store.from_settings(settings).prices()["date"].max() - pd.Timedelta(days=1)
    older = night.train(settings, as_of=last.date())
    assert not registry.past_forecasts(settings, older.name).empty
    assert run_train(tmp_path) is None
