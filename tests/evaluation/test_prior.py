"""The prior that comes along: for whom it speaks, how it is marked, and when it falls silent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from builders import delivery, market

from pokewatch.evaluation import predictions as predicting
from pokewatch.evaluation import track_record
from pokewatch.models import prior
from pokewatch.models.panel import Panel, open_panel
from pokewatch.quality.ingest import ingest
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store

KINDS = {"sealed": 10, "single": 20}
CARDS = [f"{number}:Normal" for number in range(sum(KINDS.values()))]


def rows(days: int = 40, start: str = "2026-01-01", popular: int = 5) -> pd.DataFrame:
    """Ten sealed products, and singles of which the last ones sell daily."""
    out = market(len(CARDS), days)
    moved = pd.Timestamp(start) - out["date"].min()
    out["date"], out["collected_at"] = out["date"] + moved, out["collected_at"] + moved
    often = out["card_id"].isin(CARDS[-popular:])
    return out.assign(volume=np.where(often, 2.0, 0.5))


def cards() -> pd.DataFrame:
    kinds = [kind for kind, count in KINDS.items() for _ in range(count)]
    return pd.DataFrame({"card_id": CARDS, "name": CARDS, "product_kind": kinds})


def filled(home, frame: pd.DataFrame, source: str = "file", **options) -> Settings:
    config = load_settings(home=home, tracking=False, _env_file=None, **options)
    delivered = delivery(frame, source=source, **cards().to_dict("list"))
    ingest(Store.from_settings(config), delivered, config)
    return config


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Settings:
    return filled(tmp_path_factory.mktemp("home"), rows())


def test_it_was_fitted_on_the_features_of_this_version():
    assert prior.model().horizons == list(prior.HORIZONS)  # else: scripts/make_prior.py
    assert len(list(prior.FOLDER.glob("*"))) == 3


def test_it_speaks_for_sealed_products_and_cards_that_sell_daily(config, caplog):
    found = predicting.predict(config)
    assert "those of 15 cards the prior's" in caplog.text
    who = found.groupby("model")["card_id"].unique().map(set)
    assert who["prior-sealed"] == set(CARDS[:10])
    assert who["prior-popular"] == set(CARDS[-5:])
    assert set(found.loc[found["card_id"].isin(CARDS[10:-5]), "model"]) == {"naive"}
    by_prior = found["model"].str.startswith("prior")
    assert set(found.loc[by_prior, "horizon"]) == set(prior.HORIZONS)
    still = found[~by_prior]
    assert (still["fair_value"] == still["market_price"]).all()
    moved = found[by_prior]
    assert (moved["fair_value"] != moved["market_price"]).mean() > 0.5
    assert moved["fair_value"].between(moved["lower"], moved["upper"]).all()
    assert moved["reason"].str.contains("by the prior, which is not proved on your prices").all()
    assert not still["reason"].str.contains("prior").any()
    assert set(found["signal"]) == {"HOLD"}
    one = predicting.predict(config, [CARDS[0]], horizons=[7])
    pd.testing.assert_frame_equal(
        one, found[(found["card_id"] == CARDS[0]) & (found["horizon"] == 7)].reset_index(drop=True)
    )


def test_it_is_silent_where_it_has_nothing_to_say(config, tmp_path):
    off = config.model_copy(update={"prior": False})
    past = filled(tmp_path / "past", rows(start="2025-01-01"))
    long = filled(tmp_path / "long", rows(prior.DAYS + 1))
    euro = filled(tmp_path / "cardmarket", rows())
    invented = filled(tmp_path / "simulated", rows(), source="simulated")
    for one in (off, past, long, euro, invented):
        found = predicting.predict(one)
        assert set(found["model"]) == {"naive"}
        assert (found["fair_value"] == found["market_price"]).all()


def published(config: Settings, panel: Panel, gain: float) -> None:
    """Store what nights of the prior might have said: closer to what came, or farther off."""
    store = Store.from_settings(config)
    for row in range(10, 25):
        day = panel.dates[row]
        said = predicting.predict(config, on=day.date(), horizons=[7])
        column = np.searchsorted(panel.card_ids, said["card_id"])
        change = panel.price[row + 7, column] / panel.price[row, column]
        sealed = (said["model"] == "prior-sealed").to_numpy()
        value = said["market_price"] * change ** np.where(sealed, gain, 0.5)
        store.save_predictions(
            said.assign(fair_value=value), now=day.tz_localize("UTC") + pd.Timedelta(hours=3)
        )


def test_it_falls_silent_for_a_kind_whose_forecasts_lost(tmp_path, caplog):
    config = filled(tmp_path, rows())
    panel, _ = open_panel(config)
    published(config, panel, gain=-0.5)
    found = predicting.predict(config)
    assert set(found["model"]) == {"naive", "prior-popular"}
    assert "prior-sealed is set aside: 7-day rMAE 1.500 on 130 of its published" in caplog.text
    record = track_record.read(config, panel, 7).set_index(["kind", "month"])
    assert record.loc[("prior", "all"), "n"] == 13 * 10 + 11 * 5  # of nights on which it spoke
    assert ("live", "all") not in record.index


def test_it_goes_on_where_its_forecasts_were_better(tmp_path):
    config = filled(tmp_path, rows())
    published(config, open_panel(config)[0], gain=0.5)
    assert set(predicting.predict(config)["model"]) == {"naive", "prior-sealed", "prior-popular"}


def test_young_and_stale_prices_are_no_forecasts_of_the_prior(tmp_path):
    late = rows()
    last = late["date"].max()
    gone = (late["card_id"] == CARDS[0]) & (late["date"] > last - pd.Timedelta(days=5))
    new = (late["card_id"] == CARDS[1]) & (late["date"] < last - pd.Timedelta(days=3))
    found = predicting.predict(filled(tmp_path, late[~gone & ~new])).set_index("card_id")
    assert set(found.loc[CARDS[0], "model"]) == set(found.loc[CARDS[1], "model"]) == {"naive"}
    assert (found.loc[CARDS[0], "fair_value"] == found.loc[CARDS[0], "market_price"]).all()
    assert set(found.loc[CARDS[2], "model"]) == {"naive", "prior-sealed"}


def test_a_prior_that_cannot_be_read_costs_nobody_the_night(config, tmp_path, monkeypatch, caplog):
    for cached in (prior.model, prior.as_of):
        cached.cache_clear()
        monkeypatch.setattr(prior, "FOLDER", tmp_path)
    assert set(predicting.predict(config)["model"]) == {"naive"}
    assert "the prior cannot be used" in caplog.text
    monkeypatch.undo()
    for cached in (prior.model, prior.as_of):
        cached.cache_clear()
