from __future__ import annotations

import threading
from functools import lru_cache

import pytest
from builders import curve, delivery

from pokewatch.errors import UsageError
from pokewatch.models.baseline import BaselineFairPriceModel, load_baseline_model
from pokewatch.quality.ingest import ingest
from pokewatch.settings import load_settings
from pokewatch.store.tables import Store


@pytest.fixture
def model() -> BaselineFairPriceModel:
    return BaselineFairPriceModel(window=3, cache_size=2).fit(
        curve("1:Normal", [1.0, 2.0, 3.0, 7.0])
    )


def test_the_fair_price_is_the_mean_of_the_last_days(model):
    assert model.predict("1:Normal") == pytest.approx(4.0)
    assert model.predict("1:Normal", "2025-01-03") == pytest.approx(2.0)
    assert model.predict("1:Normal", date="2025-01-01") == pytest.approx(1.0)
    assert model.card_ids == ["1:Normal"]


def test_what_cannot_be_predicted_is_named_and_not_cached(model):
    with pytest.raises(UsageError, match="unknown card '9:Normal'"):
        model.predict("9:Normal")
    with pytest.raises(UsageError, match="the model covers 2025-01-01 to 2025-01-04"):
        model.predict("1:Normal", "2025-02-01")
    assert model.cache.statistics.size == 0


def test_the_cache_counts_and_drops_the_least_recently_used(model):
    days = ["2025-01-01", "2025-01-02", "2025-01-03"]
    for day in [days[0], days[1], days[0], days[2], days[0], days[1]]:
        model.predict("1:Normal", day)
    # 01-02 was least recently used when 01-03 came, so its second look-up is a miss
    found = model.cache.statistics
    assert (found.hits, found.misses, found.size, found.maxsize) == (2, 4, 2, 2)
    assert found.hit_rate == pytest.approx(1 / 3)


def test_a_hit_is_answered_by_lru_cache_itself(model):
    assert type(model.predict) is type(lru_cache(maxsize=1)(len))
    assert BaselineFairPriceModel().cache.statistics.maxsize == 1000


def test_threads_share_the_cache_safely():
    model = BaselineFairPriceModel().fit(curve("1:Normal", [float(n) for n in range(1, 60)]))
    expected = {
        f"2025-01-{day:02}": model.predict("1:Normal", f"2025-01-{day:02}") for day in range(1, 31)
    }
    wrong = []

    def look() -> None:
        for _ in range(200):
            wrong.extend(
                d for d, value in expected.items() if model.predict("1:Normal", d) != value
            )

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    found = model.cache.statistics
    assert found.hits + found.misses == 30 + 4 * 200 * 30


def test_a_new_data_version_clears_the_cache(tmp_path):
    config = load_settings(home=tmp_path)
    store = Store.from_settings(config)
    ingest(store, delivery(curve("1:Normal", [2.0, 2.0])), config)
    model = load_baseline_model(config)
    assert model.predict("1:Normal") == 2.0
    assert load_baseline_model(config) is model
    assert model.cache.statistics.size == 1
    ingest(store, delivery(curve("1:Normal", [5.0], start="2025-01-03")), config)
    again = load_baseline_model(config)
    assert again.cache.statistics.size == 0
    assert again.predict("1:Normal") == pytest.approx(3.0)


def test_many_are_predicted_at_once_as_one_by_one(model):
    days = ["2025-01-01", "2025-01-04", "2025-01-03"]
    found = model.predict_many(["1:Normal"] * 3, days)
    assert found.tolist() == [model.predict("1:Normal", day) for day in days]
    with pytest.raises(UsageError, match="unknown card '9:Normal'"):
        model.predict_many(["1:Normal", "9:Normal"], days[:2])
    with pytest.raises(UsageError, match="the model covers 2025-01-01 to 2025-01-04"):
        model.predict_many(["1:Normal"], ["2025-02-01"])
