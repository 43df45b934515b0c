"""The same work on this machine and on a Dask cluster of separate worker processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

import pandas as pd
import py7zr
import pytest
from builders import market
from distributed import Client, LocalCluster
from joblib import delayed

from pokewatch import parallel
from pokewatch.errors import PokewatchError, SourceError, UsageError
from pokewatch.evaluation.backtest import walk_forward
from pokewatch.models.panel import Panel
from pokewatch.schema import Delivery
from pokewatch.settings import Settings, load_settings
from pokewatch.sources import tcgcsv

PANEL = Panel.from_prices(market(30, 160, momentum=0.8))
LOCAL = load_settings(dask="")
DAYS = [date(2025, 10, number) for number in range(1, 7)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two workers of one thread, each a process that is started anew when it dies."""
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=":0",
        local_directory=str(tmp_path_factory.mktemp("dask")),
        silence_logs="CRITICAL",
    ) as started:
        yield started


@pytest.fixture
def remote(cluster: LocalCluster) -> Settings:
    cluster.scheduler.allowed_failures = 3
    return load_settings(dask=cluster.scheduler_address)


@pytest.fixture(scope="module")
def expected() -> pd.DataFrame:
    return walk_forward(PANEL, LOCAL, [7]).forecasts


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    for day in DAYS:
        with py7zr.SevenZipFile(folder / f"prices-{day}.ppmd.7z", "w") as archive:
            row = {"productId": 1, "subTypeName": "Normal", "marketPrice": day.day}
            archive.writestr(json.dumps({"success": True, "results": [row]}), f"{day}/3/604/prices")
    return folder


def unpacked(settings: Settings, folder: Path) -> list[tuple[date, Delivery]]:
    return list(tcgcsv.archives(settings, DAYS[0], DAYS[-1], folder=folder, skip=set()))


def worker_at_work(cluster: LocalCluster) -> int:
    """Return the process id of a worker in the middle of a task."""
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        while not (busy := [worker for worker, tasks in client.processing().items() if tasks]):
            pass
        return client.run(os.getpid, workers=busy[:1])[busy[0]]


def test_the_origins_give_the_same_forecasts_to_the_last_digit(remote, expected):
    assert len(expected) > 1000
    pd.testing.assert_frame_equal(
        walk_forward(PANEL, remote, [7]).forecasts, expected, check_exact=True
    )


def test_the_work_is_done_by_the_workers(cluster, remote):
    with parallel.pool(remote, jobs=1) as pool:
        done_by = list(pool.run(delayed(os.getpid)() for _ in range(8)))
    assert pool.size == 2
    assert os.getpid() not in done_by
    with parallel.pool(LOCAL, jobs=1) as pool:
        assert list(pool.run([delayed(os.getpid)()])) == [os.getpid()]


def test_threads_and_whoever_takes_their_results_are_no_more_than_jobs():
    changed, at_work, most = threading.Lock(), set(), [0]
    block = bytes(5_000_000)

    def work(name: object) -> object:
        with changed:
            at_work.add(name)
            most[0] = max(most[0], len(at_work))
        hashlib.sha256(block).digest()  # threads do it side by side
        with changed:
            at_work.remove(name)
        return name

    with parallel.pool(LOCAL, jobs=3, threads=True) as pool:
        first, second = (pool.run(map(delayed(work), part)) for part in (range(8), range(8, 16)))
        results = [(result, work("taker"))[0] for taken in (first, second) for result in taken]
    assert results == list(range(16))
    assert 1 < most[0] <= 3


def test_threads_begin_in_order_beside_whoever_works():
    begun, all_done = [], threading.Event()

    def call(number: int) -> None:
        begun.append(number)
        if number == 9:
            all_done.set()

    with parallel.pool(LOCAL, jobs=2, threads=True) as pool:
        runs = [pool.run(map(delayed(call), part)) for part in (range(5), range(5, 10))]
        assert all_done.wait(30)  # at work itself, this thread leaves one place
        assert begun == list(range(10))
        assert [list(results) for results in runs] == [[None] * 5] * 2


def test_whoever_waits_for_a_thread_lends_it_a_place():
    together = threading.Barrier(2, timeout=30)
    with parallel.pool(LOCAL, jobs=2, threads=True) as pool:
        assert sorted(pool.run([delayed(together.wait)()] * 2)) == [0, 1]


def test_what_a_thread_has_left_to_do_keeps_no_place():
    begun = threading.Event()

    def call(number: int) -> parallel.Rest | bool:
        return begun.set() is None if number else parallel.Rest(lambda: begun.wait(30))

    with parallel.pool(LOCAL, jobs=2, threads=True) as pool:
        results = pool.run(map(delayed(call), range(2)))
        assert begun.wait(30)  # while this thread has a place, so that one is left
        assert list(results) == [True, True]


@pytest.mark.parametrize("jobs", [1, 2])
def test_after_a_call_that_fails_nothing_waits_for_ever(jobs):
    with parallel.pool(LOCAL, jobs=jobs, threads=True) as pool:
        failing = pool.run([delayed(int)("x"), *[delayed(int)("2")] * 6])
        later = pool.run([delayed(int)("1")] * 6)
        with pytest.raises(ValueError, match="'x'"):
            next(failing)
        failing.close()
        if jobs == 1:
            assert list(later) == [1] * 6
        else:
            with pytest.raises(RuntimeError, match="an earlier call failed"):
                list(later)


@pytest.mark.filterwarnings("error")
def test_calls_in_threads_that_nobody_waits_for_any_more_are_not_begun():
    begun, left = [], threading.Event()

    def call(number: int) -> int:
        begun.append(number)
        if number:
            left.wait(30)
        return number

    with parallel.pool(LOCAL, jobs=2, threads=True) as pool:
        results = pool.run(map(delayed(call), range(50)))
        assert next(results) == 0
    left.set()
    with pytest.raises(RuntimeError, match="the pool was left"):
        list(results)
    assert len(begun) <= 3


def test_a_worker_killed_in_the_middle_costs_time_only(cluster, remote, expected):
    killed = []

    def kill() -> None:
        killed.append(worker_at_work(cluster))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = walk_forward(PANEL, remote, [7]).forecasts
    killer.join()
    assert killed
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_archives_are_sent_because_workers_do_not_see_the_files(remote, archives, monkeypatch):
    local = unpacked(LOCAL, archives)
    read = Path.read_bytes

    def read_and_remove(path: Path) -> bytes:
        content = read(path)
        path.unlink()
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_remove)
    found = unpacked(remote, archives)
    assert not list(archives.iterdir())
    assert [day for day, _ in found] == DAYS
    for (_, mine), (_, theirs) in zip(local, found, strict=True):
        pd.testing.assert_frame_equal(mine.observations, theirs.observations, check_exact=True)
        pd.testing.assert_frame_equal(mine.cards, theirs.cards)


def test_a_damaged_archive_is_named_by_its_path_here(remote, tmp_path):
    path = tmp_path / f"prices-{DAYS[0]}.ppmd.7z"
    path.write_bytes(b"nothing")
    with pytest.raises(SourceError, match=f"1 archives could not be read: archive '{path}' is dam"):
        unpacked(remote, tmp_path)


def test_no_setting_and_no_key_travels(cluster, monkeypatch):
    sent = bytearray()

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            port = int(cluster.scheduler_address.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as scheduler:
                back = threading.Thread(target=pump, args=(scheduler, self.request))
                back.start()
                pump(self.request, scheduler, sent)
                back.join()

    def pump(source: socket.socket, target: socket.socket, kept: bytearray | None = None) -> None:
        while chunk := source.recv(65536):
            if kept is not None:
                kept += chunk
            target.sendall(chunk)
        with suppress(OSError):  # who only asked whether anybody is there has gone
            target.shutdown(socket.SHUT_WR)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-the-environment")
    with Server(("127.0.0.1", 0), Relay) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        settings = load_settings(
            dask=f"tcp://127.0.0.1:{server.server_address[1]}",
            home="/canary-of-the-home",
            cache_url="redis://:canary-of-the-cache@127.0.0.1/0",
        )
        walk_forward(PANEL, settings, [7], since=PANEL.dates[-20].date())
        server.shutdown()
    assert b"walk_forward" in sent  # the function is named in clear, so a key would show
    assert b"canary" not in sent


def test_other_versions_are_warned_of(remote, monkeypatch, caplog):
    monkeypatch.setattr(parallel, "version", lambda name: "0.0.1")
    with parallel.pool(remote, jobs=1):
        pass
    assert "instead of 0.0.1" in caplog.text
    assert "scikit-learn" in caplog.text


def test_a_worker_without_the_package_is_said(cluster, remote):
    def hide() -> None:
        sys.modules["pokewatch.parallel"] = None

    def show() -> None:
        del sys.modules["pokewatch.parallel"]

    with Client(cluster.scheduler_address, set_as_default=False) as client:
        client.run(hide)
        with pytest.raises(PokewatchError, match=r"cannot run PokeWatch .* install the same"):
            walk_forward(PANEL, remote, [7])
        client.run(show)


def test_work_that_ends_its_workers_is_said(cluster, remote):
    cluster.scheduler.allowed_failures = 0
    with (
        pytest.raises(PokewatchError, match=r"ended several workers .* more memory"),
        parallel.pool(remote, jobs=1) as pool,
    ):
        list(pool.run([delayed(os._exit)(1)]))


def test_a_cluster_that_loses_all_its_workers_is_said(cluster, remote):
    def lose_all() -> None:
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            for pid in client.run(os.getpid).values():
                os.kill(pid, signal.SIGKILL)
            while client.nthreads():
                pass

    def work() -> None:
        with parallel.pool(remote, jobs=1, shared=(PANEL,)) as pool:
            lose_all()
            list(pool.run([delayed(id)(PANEL)]))

    with pytest.raises(PokewatchError, match="was lost on the way"):
        work()


def test_a_cluster_without_workers_is_said(monkeypatch):
    monkeypatch.setattr(parallel, "WAIT", 0.2)
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=":0") as empty:
        settings = load_settings(dask=empty.scheduler_address)
        with pytest.raises(PokewatchError, match="has no workers: start some with 'dask worker"):
            walk_forward(PANEL, settings, [7])


def never(*_: object, **__: object) -> None:
    raise AssertionError("a client that fails half-way may block the next one")


def test_a_scheduler_that_is_away_is_named_with_the_mend(monkeypatch):
    monkeypatch.setattr(parallel, "WAIT", 0.2)
    monkeypatch.setattr("distributed.Client", never)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings = load_settings(dask=f"tcp://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(PokewatchError, match=r"no Dask scheduler answers at tcp://127.* start"):
            walk_forward(PANEL, settings, [7])


@pytest.mark.parametrize("address", ["scheduler", "http://127.0.0.1:8786", "tcp://127.0.0.1:x"])
def test_a_wrong_address_is_a_usage_error(address, monkeypatch):
    monkeypatch.setattr("distributed.Client", never)
    with pytest.raises(UsageError, match=f"POKEWATCH_DASK='{address}' is no address"):
        walk_forward(PANEL, load_settings(dask=address), [7])


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"needs Dask: pip install 'pokewatch\[dask\]'"):
        walk_forward(PANEL, load_settings(dask="tcp://127.0.0.1:8786"), [7])
