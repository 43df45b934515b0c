"""How work uses the machine: threads, processes, a Dask cluster, and the memory that is freed.

A Dask cluster takes the model work, joblib's ``delayed`` calls, where ``POKEWATCH_DASK`` names one.
It executes whatever reaches its scheduler; tasks travel pickled, without settings, keys and paths.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import socket
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from pokewatch import __version__
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.settings import Settings

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

WAIT = 10  # seconds for the scheduler, and as many for its first worker
# Of another version, any of these may change the last digit of a result, or more.
PACKAGES = ["numpy", "pandas", "scikit-learn", "scipy", "joblib", "dask"]
# mallopt's parameters, from glibc's malloc.h; the largest threshold that glibc takes is 32 MiB.
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
LARGEST_MMAP_THRESHOLD, KEPT = 32 * 2**20, 2**30

T = TypeVar("T")
R = TypeVar("R")


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next matrix, where it is glibc.

    glibc returns freed memory at once, and to clear its pages anew takes a third of the time of
    feature building, a tenth of an ingest. All threads share one heap, for those of further threads
    are returned whatever their size. Settings of the user's own in the environment count.
    """
    chosen = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX")
    if any(name in os.environ for name in chosen):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(TRIM_THRESHOLD, KEPT)
    mallopt(MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
    mallopt(ARENA_MAX, 1)


def map_ahead(function: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[R]:
    """Yield ``function(item)`` of each item in order, computed in ``jobs`` threads.

    At most ``jobs`` + 1 calls are ahead of the result that was taken last; with one job each call
    is made as its result is taken. An error of ``items`` or of a call is raised in its place, after
    the results before it. Left early, no further call begins, and the running ones are awaited.
    """
    if jobs == 1:
        yield from map(function, items)
        return
    threads = ThreadPoolExecutor(jobs)

    def begun() -> Iterator[Future[R]]:
        try:
            for item in items:
                yield threads.submit(function, item)
        except Exception as error:
            failed: Future[R] = Future()
            failed.set_exception(error)
            yield failed

    futures = begun()
    ahead = deque(islice(futures, jobs + 1))
    try:
        while ahead:
            result = ahead.popleft().result()
            ahead.extend(islice(futures, 1))
            yield result
    finally:
        threads.shutdown(cancel_futures=True)


@contextmanager
def pool(settings: Settings, jobs: int) -> Iterator[Callable[[Iterable[Any]], Iterator[Any]]]:
    """Yield a function that runs ``delayed`` calls and yields their results in order.

    They run in ``jobs`` processes of this machine, or on all workers of the settings' cluster.
    Raises UsageError where Dask is missing or its address wrong, PokewatchError for a cluster that
    is away, empty, unable or lost on the way.
    """
    if not settings.dask:
        from joblib import Parallel, effective_n_jobs  # no command starts more slowly for it

        with Parallel(n_jobs=effective_n_jobs(jobs), return_as="generator") as run:
            yield run
        return
    with _cluster(settings.dask) as client:

        def submit(calls: Iterable[Any]) -> Iterator[Any]:
            # Not joblib's "dask" backend: when Dask gives a call up because it ended its workers,
            # joblib 1.6 waits for it for ever.
            waiting = deque(
                client.submit(function, *values, **named, pure=False)
                for function, values, named in calls
            )
            while waiting:  # a result that was taken is not kept
                yield waiting.popleft().result()

        yield submit


@contextmanager
def _cluster(address: str) -> Iterator[Client]:
    try:
        from distributed import CancelledError, Client, KilledWorker
        from distributed.comm import CommClosedError
        from distributed.comm.addressing import get_address_host_port
    except ModuleNotFoundError as error:
        raise UsageError(
            f"POKEWATCH_DASK='{address}' needs Dask: pip install 'pokewatch[dask]', or leave it "
            "empty to work on this machine"
        ) from error
    try:
        # Asked before the client is made: one that failed half-way would be collected some time,
        # and wait for ever then if another one is just being made.
        socket.create_connection(get_address_host_port(address), timeout=WAIT).close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Dask's own table of versions: ours names what matters
            client = Client(address, timeout=WAIT, set_as_default=False)
    except ValueError as error:
        raise UsageError(
            f"POKEWATCH_DASK='{address}' is no address of a scheduler: write tcp://HOST:8786"
        ) from error
    except OSError as error:
        raise PokewatchError(
            f"no Dask scheduler answers at {address} within {WAIT} s: start one with 'dask "
            "scheduler', correct POKEWATCH_DASK, or leave it empty to work on this machine"
        ) from error
    with client:
        try:
            _check_workers(client, address)
            yield client
        except KilledWorker as error:
            raise PokewatchError(
                f"the same work ended several workers of the cluster at {address}: give them more "
                f"memory, or fewer threads each ({error})"
            ) from error
        except (CommClosedError, CancelledError) as error:
            raise PokewatchError(
                f"the cluster at {address} was lost on the way: what was stored stays; look at its "
                f"log and run it again ({str(error).splitlines()[0]})"
            ) from error


def _check_workers(client: Client, address: str) -> None:
    """Raise PokewatchError for a cluster that cannot do our work; warn of other versions."""
    try:
        client.wait_for_workers(1, timeout=WAIT)
        answers = client.run(versions, on_error="return")
    except TimeoutError as error:
        raise PokewatchError(
            f"the Dask scheduler at {address} has no workers: start some with 'dask worker "
            f"{address}'"
        ) from error
    here = versions()
    for worker, found in answers.items():
        if isinstance(found, OSError):  # it died just now: Dask goes on without it
            continue
        if isinstance(found, Exception):
            raise PokewatchError(
                f"worker {worker} cannot run PokeWatch ({found!r}): install the same "
                f"pokewatch[dask] there as here, {here['pokewatch']}"
            ) from found
        if other := [
            f"{name} {found.get(name)} instead of {mine}"
            for name, mine in here.items()
            if found.get(name) != mine
        ]:
            log.warning(
                "worker %s has %s: results may differ; install requirements.lock on both",
                worker,
                ", ".join(other),
            )
    threads = sum(client.nthreads().values())
    log.info("%d workers with %d threads at %s", len(answers), threads, address)


def versions() -> dict[str, str]:
    """Return the versions that results depend on, by package."""
    found = {"python": platform.python_version(), "pokewatch": __version__}
    return found | {name: version(name) for name in PACKAGES}
