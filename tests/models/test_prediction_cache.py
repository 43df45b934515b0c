from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from functools import lru_cache
from time import monotonic

import pytest
from builders import curve, delivery
from hypothesis import given
from hypothesis import strategies as st

from pokewatch.errors import UsageError
from pokewatch.models import prediction_cache
from pokewatch.models.baseline import BaselineFairPriceModel, load_baseline_model
from pokewatch.quality.ingest import ingest
from pokewatch.settings import PROJECT, load_settings
from pokewatch.store.tables import Store

CARD = "1:Reverse Holofoil"
PRICES = [1.0, 2.0, 3.0, 7.0]
DAYS = [f"2025-01-0{day}" for day in range(1, 5)]
RIGHT = [1.0, 1.5, 2.0, 4.0]


@pytest.fixture(autouse=True)
def _new_process():
    """Clients are kept for the process; each test begins as a new one."""
    prediction_cache.shared_values.cache_clear()


@pytest.fixture
def server(redis_server):
    redis_server.client.flushall()
    return redis_server


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the cache's clock is ahead."""
    ahead = [0.0]
    monkeypatch.setattr(prediction_cache, "monotonic", lambda: monotonic() + ahead[0])
    return ahead


def fitted(url: str, prices=PRICES, data_version: int = 5, window: int = 3, **options):
    model = BaselineFairPriceModel(window, cache_url=url, **options)
    return model.fit(curve(CARD, prices), data_version)


def predictions(model) -> list[float]:
    return [model.predict(CARD, day) for day in DAYS]


def warnings(caplog) -> list[str]:
    """Return what the package warned of."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("pokewatch")
    ]


def keys(server) -> list[str]:
    return sorted(key.decode() for key in server.client.scan_iter())


def test_a_second_cache_gets_what_the_first_computed(server):
    first, second = fitted(server.url), fitted(server.url)
    assert predictions(first) == RIGHT
    assert first.cache.statistics.shared_hits == 0
    assert predictions(second) == RIGHT
    assert predictions(second) == RIGHT
    found = second.cache.statistics
    assert (found.hits, found.misses, found.shared_hits, found.size) == (4, 4, 4, 4)
    assert found.as_dict()["shared_hits"] == 4


def test_a_second_process_gets_what_the_first_computed(server, tmp_path, monkeypatch):
    monkeypatch.setenv("POKEWATCH_CACHE_URL", server.url)
    monkeypatch.setenv("POKEWATCH_HOME", str(tmp_path))
    config = load_settings()
    ingest(Store.from_settings(config), delivery(curve(CARD, [2.0, 3.0, 4.0])), config)
    assert load_baseline_model(config, 3).predict(CARD) == 3.0
    program = (
        "from pokewatch.models.baseline import load_baseline_model\n"
        "model = load_baseline_model(window=3)\n"
        f"print(model.predict({CARD!r}), model.cache.statistics.shared_hits)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, env=os.environ, capture_output=True, text=True
    )
    assert done.stdout.split() == ["3.0", "1"], done.stderr


def test_a_hit_in_memory_is_answered_by_lru_cache_itself(server):
    model = fitted(server.url)
    assert type(model.predict) is type(lru_cache(maxsize=1)(len))
    model.predict(CARD)
    asked = server.client.info("stats")["total_commands_processed"]
    for _ in range(100):
        model.predict(CARD)
    assert server.client.info("stats")["total_commands_processed"] - asked < 10


def test_values_are_json_and_expire_within_a_day(server):
    assert fitted(server.url).predict(CARD) == 4.0
    (key,) = server.client.keys()
    assert json.loads(server.client.get(key)) == {"fair_price": 4.0}
    assert prediction_cache.TTL - 60 < server.client.ttl(key) <= prediction_cache.TTL == 86400


def test_a_key_holds_all_that_changes_the_answer(server):
    fitted(server.url).predict(CARD, "20250104")
    (key,) = keys(server)
    name, form, version, model, rest = key.split(":", 4)
    assert (name, form, model, rest) == ("pokewatch", "1", "baseline-3", f"{CARD}:2025-01-04")
    assert version.startswith("5-")
    fitted(server.url).predict(CARD)  # the same day in other words
    assert keys(server) == [key]


@pytest.mark.parametrize(
    ("other", "right"),
    [
        ({"data_version": 6}, 4.0),
        ({"prices": [1.0, 2.0, 3.0, 4.0]}, 3.0),  # another store at the same version
        ({"window": 2}, 5.0),
    ],
)
def test_another_version_store_or_model_does_not_see_the_value(server, other, right):
    fitted(server.url).predict(CARD)
    model = fitted(server.url, **other)
    assert model.predict(CARD) == right
    assert model.cache.statistics.shared_hits == 0
    assert len(keys(server)) == 2


def test_a_new_data_version_is_computed_anew(server, tmp_path):
    config = load_settings(home=tmp_path, cache_url=server.url)
    store = Store.from_settings(config)
    ingest(store, delivery(curve(CARD, [2.0, 2.0])), config)
    model = load_baseline_model(config)
    assert model.predict(CARD, "2025-01-02") == 2.0
    ingest(store, delivery(curve(CARD, [5.0], start="2025-01-03")), config)
    assert load_baseline_model(config) is model
    assert model.predict(CARD) == pytest.approx(3.0)
    assert model.predict(CARD, "2025-01-02") == 2.0
    assert model.cache.statistics.shared_hits == 0


def test_errors_are_the_same_and_never_shared(server):
    model = fitted(server.url)
    with pytest.raises(UsageError, match="unknown card '9:Normal'"):
        model.predict("9:Normal")
    with pytest.raises(UsageError, match="the model covers 2025-01-01 to 2025-01-04"):
        model.predict(CARD, "2025-02-01")
    assert keys(server) == []


@pytest.mark.parametrize(
    "damaged",
    [
        *("", "4", "null", "NaN", b"[" * 100_000, b"\x80\x04K\x04.", b"\xff\xfe"),
        *('{"fair_price": 4', '{"fair_price": NaN}', '{"fair_price": 1e999}'),
        *('{"fair_price": "4"}', '{"fair_price": true}', '{"fair_price": -1.0}'),
        '{"fair_price": 9.0, "x": 1}',
    ],
)
def test_a_damaged_value_is_computed_again_and_mended(server, caplog, damaged):
    fitted(server.url).predict(CARD)
    (key,) = server.client.keys()
    server.client.set(key, damaged)
    model = fitted(server.url)
    assert model.predict(CARD) == 4.0
    assert model.cache.statistics.shared_hits == 0
    assert json.loads(server.client.get(key)) == {"fair_price": 4.0}
    assert warnings(caplog) == []


def test_a_key_of_another_type_is_written_over(server, caplog):
    fitted(server.url).predict(CARD)
    (key,) = server.client.keys()
    server.client.delete(key)
    server.client.rpush(key, "foreign")
    assert fitted(server.url).predict(CARD) == 4.0
    assert fitted(server.url).predict(CARD) == 4.0
    assert server.client.type(key) == b"string"
    assert warnings(caplog) == []


@given(st.floats(min_value=0, allow_infinity=False))
def test_every_price_survives_the_way_there_and_back(price):
    text = json.dumps({prediction_cache.FIELD: price})
    assert prediction_cache.parse(text.encode()) == price


@given(st.binary(max_size=80) | st.text(max_size=80) | st.integers() | st.none())
def test_no_stored_value_breaks_the_reading(raw):
    found = prediction_cache.parse(raw)
    assert found is None or json.loads(raw) == {prediction_cache.FIELD: found}


def test_a_server_killed_in_the_middle_costs_one_warning(start_redis, caplog):
    server = start_redis()
    model, other = fitted(server.url), fitted(server.url, window=2)
    assert model.predict(CARD, DAYS[0]) == 1.0
    server.stop()
    assert predictions(model) == RIGHT
    assert other.predict(CARD) == 5.0
    (warning,) = warnings(caplog)
    assert server.address in warning
    assert "predictions go on without it" in warning
    assert server.password not in warning


def test_without_a_server_at_the_start_predictions_go_on(start_redis, caplog):
    server = start_redis()
    server.stop()
    model = fitted(server.url)
    assert predictions(model) == RIGHT
    assert predictions(model) == RIGHT
    assert model.cache.statistics.hits == 4
    assert len(warnings(caplog)) == 1


def test_a_wrong_password_costs_one_warning(server, caplog):
    model = fitted(f"redis://:wrong-secret@{server.address}")
    assert predictions(model) == RIGHT
    (warning,) = warnings(caplog)
    assert "wrong-secret" not in caplog.text
    assert "AuthenticationError" in warning
    assert keys(server) == []


def test_a_password_in_the_servers_answer_is_not_told(caplog):
    values = prediction_cache.RedisValues("redis://:s%2Fcret@127.0.0.1:1/0")
    values._failed(ConnectionError("s/cret was refused"))
    (warning,) = warnings(caplog)
    assert "*** was refused" in warning
    assert "cret@" not in warning


def test_a_silent_server_is_waited_for_once(caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        model = fitted(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        start = monotonic()
        assert predictions(model) == RIGHT
        assert monotonic() - start < 3 * prediction_cache.TIMEOUT
        silent.settimeout(5)
        silent.accept()[0].close()
        silent.settimeout(0)
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert len(warnings(caplog)) == 1


def test_something_else_on_the_port_costs_one_warning(httpserver, caplog):
    model = fitted(f"redis://127.0.0.1:{httpserver.port}/0")
    assert predictions(model) == RIGHT
    assert len(warnings(caplog)) == 1


def test_after_the_pause_the_server_is_asked_again(server, caplog, clock):
    owner = server.client
    owner.ping()
    owner.acl_setuser("default", enabled=False)
    model = fitted(server.url, cache_size=0)
    assert predictions(model) == RIGHT
    owner.acl_setuser("default", enabled=True)
    assert predictions(model) == RIGHT
    assert keys(server) == []
    clock[0] = prediction_cache.PAUSE + 1
    assert predictions(model) == RIGHT
    assert len(keys(server)) == 4
    assert predictions(model) == RIGHT
    assert model.cache.statistics.shared_hits == 4
    assert len(warnings(caplog)) == 1


def test_threads_share_one_warning(start_redis, caplog):
    server = start_redis()
    server.stop()
    model = fitted(server.url, cache_size=0)
    wrong: list[list[float]] = []
    barrier = threading.Barrier(8)

    def look() -> None:
        barrier.wait()
        found = predictions(model)
        if found != RIGHT:
            wrong.append(found)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://:hunter2@127.0.0.1:6379/0",
        "memcached://:hunter2@127.0.0.1",
        ":hunter2@127.0.0.1:6379",
        "redis://:hunter2@127.0.0.1:port/0",
        "redis://:hunter2@127.0.0.1:6379/zero",
        "redis://:hunter2/more@127.0.0.1:6379/0",
        "redis://:12/hunter2@127.0.0.1:6379/0",
        "redis://:12#hunter2@127.0.0.1:6379/0",
        "redis://:12?hunter2@127.0.0.1:6379/0",
        "redis://:hunter2@127.0.0.1:6379/0?unknown=1",
        "redis://[:hunter2@127.0.0.1/0",
    ],
)
def test_a_url_that_is_no_redis_is_refused(url):
    with pytest.raises(
        UsageError, match=r"^POKEWATCH_CACHE_URL .*redis://\[:password@\]"
    ) as caught:
        BaselineFairPriceModel(cache_url=url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(UsageError, match=r"POKEWATCH_CACHE_URL .*pokewatch\[redis\]"):
        BaselineFairPriceModel(cache_url="redis://127.0.0.1:6379/0")


def test_the_setting_is_empty_by_default_and_hides_its_password(tmp_path):
    assert load_settings(home=tmp_path).cache_url.get_secret_value() == ""
    config = load_settings(home=tmp_path, cache_url="redis://:hunter2@127.0.0.1:6379/0")
    assert "hunter2" not in f"{config!r} {config.model_dump_json()}"
