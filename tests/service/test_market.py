"""The market is swapped whole when prices or champion change, and serves on when they break."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from time import monotonic

import pandas as pd
from builders import curve, delivery
from markets import LAST, promote

from pokewatch.errors import PokewatchError
from pokewatch.evaluation import registry, stored
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import open_panel
from pokewatch.quality.ingest import ingest
from pokewatch.service import market as markets
from pokewatch.service import metrics
from pokewatch.store.tables import Store

CARD = "3:Normal"


def a_night(settings, price: float) -> None:
    rows = curve(CARD, [price], start="2025-06-10")
    assert ingest(Store.from_settings(settings), delivery(rows), settings).accepted == 1


def price(service):
    found = service.post("/fair_price", {"card_id": CARD})
    assert found.status_code == 200
    body = found.json()
    return body["data_version"], body["date"], body["market_price"]


def wait_for(check, seconds: float = 30.0) -> None:
    end, pause = monotonic() + seconds, threading.Event()
    while not check():
        assert monotonic() < end
        pause.wait(0.05)


def test_a_new_night_is_served_without_a_restart_and_the_old_market_is_freed(serve):
    service = serve(copy=True, service_rate="100000/minute")
    before = price(service)
    old = weakref.ref(service.current.market)
    etag = service.get("/v1/signals").headers["ETag"]
    a_night(service.settings, round(before[2] * 1.01, 2))
    seen = set()
    wait_for(lambda: seen.add(price(service)) or len(seen) > 1)
    after = before[0] + 1, "2025-06-10", round(before[2] * 1.01, 2)
    assert {(version, day, round(usd, 2)) for version, day, usd in seen} == {before, after}
    assert service.get("/v1/signals", headers={"If-None-Match": etag}).status_code == 200
    gc.collect()
    assert old() is None


def test_a_new_champion_is_served(serve):
    service = serve(copy=True)
    panel, version = open_panel(service.settings, pd.Timestamp("2025-06-08").date())
    promote(service.settings, FairValueModel(seed=9).fit(panel), version, "2025-06-08")
    service.current.refresh()
    body = service.post("/fair_price", {"card_id": CARD}).json()
    assert body["model"] == "fair-value-2025-06-08-v1"
    assert service.get("/readyz", scope="").json()["model"] == body["model"]


def test_a_damaged_champion_is_told_and_the_old_market_serves_on(serve):
    service = serve(copy=True)
    before = price(service)
    (service.settings.models_dir / registry.CHAMPION).write_text("{")
    service.current.refresh()
    ready = service.get("/readyz", scope="")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert service.post("/reload", scope="admin").status_code == 503
    assert price(service) == before
    assert service.get("/livez", scope="").status_code == 200


def test_without_a_champion_it_is_ready_and_says_naive(serve):
    service = serve(copy=True)
    (service.settings.models_dir / registry.CHAMPION).unlink()
    assert service.post("/reload", scope="admin").status_code == 200
    assert service.get("/readyz", scope="").json()["model"] == "naive"
    body = service.post("/fair_price", {"card_id": CARD}).json()
    assert (body["model"], body["signal"], body["track_record"]) == ("naive", "HOLD", None)
    assert service.get("/v1/model").json()["name"] == "naive"


def test_what_the_night_said_is_served_as_it_was_said(serve):
    service = serve(copy=True)
    store = Store.from_settings(service.settings)
    day = pd.Timestamp(LAST).date()
    basis, _ = stored.basis(service.settings, day)
    said = store.predictions(on=day).assign(reason="as the night said", basis=basis)
    store.save_predictions(said)
    service.current.refresh(again=True)
    assert service.post("/fair_price", {"card_id": CARD}).json()["reason"] == "as the night said"


def test_what_the_night_said_under_other_settings_is_not_served(serve):
    night = serve(copy=True)
    said = night.post("/fair_price", {"card_id": CARD}).json()["reason"]
    Store.from_settings(night.settings).save_predictions(
        Store.from_settings(night.settings)
        .predictions(on=pd.Timestamp(LAST).date())
        .assign(reason="as the night said", basis="of other settings")
    )
    night.current.refresh(again=True)
    assert night.post("/fair_price", {"card_id": CARD}).json()["reason"] == said


def test_the_portfolio_is_of_the_version_that_it_names(serve, tmp_path):
    path = tmp_path / "watchlist.yaml"
    path.write_text(f"- {{card: '{CARD}'}}\n")
    service = serve(copy=True, watchlist=path)
    service.current.stop()
    version, day, usd = price(service)
    a_night(service.settings, round(usd * 1.01, 2))
    body = service.get("/v1/portfolio", "portfolio").json()
    assert (body["data_version"], body["totals"]["date"]) == (version, day)
    assert body["totals"]["value"] == round(usd, 2)


def test_what_cannot_be_read_is_tried_again_by_reload_and_not_every_look(serve, monkeypatch):
    service = serve(copy=True)
    reads = []

    def broken(_):
        reads.append(1)
        raise OSError("disk")

    service.current.stop()
    monkeypatch.setattr(service.current, "read", broken)
    a_night(service.settings, price(service)[2])
    for _ in range(3):
        service.current.refresh()
    assert len(reads) == 1
    assert service.get("/readyz", scope="").status_code == 503
    monkeypatch.undo()
    assert service.post("/reload", scope="admin").status_code == 200
    assert service.get("/readyz", scope="").json()["data_version"] == 2


def test_long_reads_leave_threads_for_the_others(serve, monkeypatch):
    service = serve(copy=True, service_rate="1000/minute")
    end = threading.Event()

    def slow(*_, **__):
        end.wait()
        raise PokewatchError("as it is")

    monkeypatch.setattr(markets.predictions, "predict", slow)
    days = pd.date_range("2025-04-01", periods=40).strftime("%Y-%m-%d")
    path = f"/v1/cards/{CARD}/forecast?date="
    begun = monotonic()
    with ThreadPoolExecutor(len(days)) as pool:
        asked = [pool.submit(service.get, path + day) for day in days]
        refused = [one.result() for one in islice(as_completed(asked), 30)]
        try:
            assert {one.status_code for one in refused} == {503}
            assert refused[0].headers["Retry-After"] == "5"
            assert service.get("/v1/signals").status_code == 200
            assert monotonic() - begun < markets.WAIT / 2
        finally:
            end.set()


def test_the_state_in_memory_waits_for_no_long_read(service, monkeypatch):
    first = service.get("/v1/status")
    monkeypatch.setattr(markets, "WAIT", 0.0)
    with service.current.market.reading(), service.current.market.reading():
        assert service.get("/v1/status").content == first.content
        assert service.get(f"/v1/cards/{CARD}/prices").status_code == 503


def test_no_request_sees_half_of_a_swap(serve):
    service = serve(copy=True, service_rate="100000/minute")
    a_night(service.settings, price(service)[2])
    end, seen = threading.Event(), []

    def load():
        while not end.is_set():
            rows = service.post("/v1/forecasts", {"cards": ["4:Normal", CARD]})
            assert rows.status_code == 200
            seen.append({row["data_version"] for row in rows.json()["rows"]})

    threads = [threading.Thread(target=load) for _ in range(2)]
    for one in threads:
        one.start()
    for _ in range(3):
        service.current.refresh(again=True)
    end.set()
    for one in threads:
        one.join()
    assert seen
    assert all(len(versions) == 1 for versions in seen)


def test_a_dead_worker_shows_nothing_any_more(tmp_path, monkeypatch):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f"gauge_livesum_{dead.pid}.db", f"gauge_livesum_{os.getpid()}.db"]
    names.append(f"counter_{dead.pid}.db")
    for name in names:
        (tmp_path / name).touch()
    monkeypatch.setenv(metrics.SHARED, str(tmp_path))
    metrics.forget_dead()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def test_metrics_have_bounded_labels(serve):
    service = serve(service_metrics=True)
    for path in ("/v1/cards/1:Normal", "/v1/cards/2:Normal", "/nothing", "/other"):
        service.get(path)
    service.post("/fair_price", {"card_id": CARD})
    text = service.get("/metrics", scope="").text
    for name in (
        'pokewatch_requests_total{endpoint="/v1/cards/{card}",method="GET",status_code="200"}',
        'pokewatch_requests_total{endpoint="other",method="GET",status_code="404"}',
        "pokewatch_request_latency_seconds_bucket",
        'pokewatch_predictions_total{signal="',
        'pokewatch_model_info{model="fair-value-2025-06-09-v1"} 1.0',
        'pokewatch_model_reloads_total{status="success"}',
        'pokewatch_errors_total{error_type="404"}',
        "pokewatch_data_age_days",
        "pokewatch_cache_hits",
    ):
        assert name in text
    assert "1:Normal" not in text
    assert serve().get("/metrics").status_code == 404
