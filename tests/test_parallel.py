"""The same work on this machine and on a Dask cluster of separate worker processes."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pandas as pd
import pytest
from builders import market
from distributed import Client, LocalCluster
from joblib import delayed

from pokewatch import parallel
from pokewatch.errors import PokewatchError, SourceError, UsageError
from pokewatch.evaluation.backtest import walk_forward
from pokewatch.models.panel import Panel
from pokewatch.settings import Settings, load_settings

pytestmark = pytest.mark.slow
FULL_MODELS = True  # the workers of a pool have them

PANEL = Panel.from_prices(market(30, 160, momentum=0.8))
LOCAL = load_settings(dask="")


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
    with parallel.pool(remote, jobs=1) as run:
        done_by = list(run(delayed(os.getpid)() for _ in range(8)))
    assert os.getpid() not in done_by
    assert len(set(done_by)) == 2
    with parallel.pool(LOCAL, jobs=1) as run:
        assert list(run([delayed(os.getpid)()])) == [os.getpid()]


def test_results_come_in_order_from_as_many_threads_as_jobs():
    together = threading.Barrier(3, timeout=30)
    names = set()

    def call(number: int) -> int:
        together.wait()  # passes only where three calls run at once
        names.add(threading.current_thread().name)
        return number

    assert list(parallel.map_ahead(call, range(9), jobs=3)) == list(range(9))
    assert len(names) == 3
    assert not names & {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(("jobs", "ahead"), [(1, 0), (2, 3)])
def test_calls_are_made_only_a_little_ahead_of_who_takes_their_results(jobs, ahead):
    taken, drawn = [], []
    numbers = (drawn.append(number) or number for number in range(20))
    for number in parallel.map_ahead(lambda number: number, numbers, jobs):
        taken.append(number)
        assert len(drawn) == min(len(taken) + ahead, 20)
    assert taken == list(range(20))


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_comes_after_the_results_before_it(jobs):
    def items() -> Iterator[str]:
        yield from "123"
        raise SourceError("no more of them")

    results = parallel.map_ahead(int, items(), jobs)
    assert [next(results) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(SourceError, match="no more of them"):
        next(results)
    failing = parallel.map_ahead(int, "12x4", jobs)
    assert [next(failing), next(failing)] == [1, 2]
    with pytest.raises(ValueError, match="'x'"):
        next(failing)
    assert list(failing) == []


@pytest.mark.filterwarnings("error")
def test_left_early_it_begins_no_further_call_and_leaves_no_thread():
    begun, left, before = [], threading.Event(), threading.active_count()

    def call(number: int) -> int:
        begun.append(number)
        if number:
            left.wait(30)
        return number

    results = parallel.map_ahead(call, range(50), jobs=2)
    assert next(results) == 0
    threading.Timer(0.1, left.set).start()
    results.close()
    assert left.is_set()  # the running calls were awaited
    assert len(begun) <= 3
    while threading.active_count() > before:  # the timer's own thread
        pass


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
    assert b"evaluation.backtest" in sent  # the function is named in clear, so a key would show
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
        parallel.pool(remote, jobs=1) as run,
    ):
        list(run([delayed(os._exit)(1)]))


def test_a_cluster_that_is_lost_on_the_way_is_said():
    with LocalCluster(
        n_workers=1, host="127.0.0.1", dashboard_address=":0", silence_logs="CRITICAL"
    ) as lost:
        settings = load_settings(dask=lost.scheduler_address)

        def work() -> None:
            with parallel.pool(settings, jobs=1) as run:
                results = run([delayed(int)("1"), delayed(time.sleep)(60)])
                assert next(results) == 1
                lost.close()
                list(results)

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
