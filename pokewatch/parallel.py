"""Where parallel work runs: on this machine, or on the Dask cluster that ``POKEWATCH_DASK`` names.

The work is the same either way: joblib's ``delayed`` calls. Arguments and results travel pickled
between this process and the cluster's, which trust each other; a cluster executes whatever reaches
its scheduler. Settings stay here: a task gets the values it needs, no keys and no paths.
"""

from __future__ import annotations

import logging
import platform
import socket
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from typing import TYPE_CHECKING, Any

from joblib import Parallel, delayed, effective_n_jobs

from pokewatch import __version__
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.settings import Settings

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

WAIT = 10  # seconds for the scheduler, and as many for its first worker
# Of another version, any of these may change the last digit of a result, or more.
PACKAGES = ["numpy", "pandas", "scikit-learn", "scipy", "py7zr", "joblib", "dask"]


@dataclass(frozen=True)
class Pool:
    """Something that runs ``delayed`` calls.

    run: yields the results in order, and begins with the calls before the first one is taken where
    there is more than one worker. size: how many run at once. remote: whether they run where this
    machine's files are not.
    """

    run: Callable[[Iterable[Any]], Iterator[Any]]
    size: int
    remote: bool


@contextmanager
def pool(
    settings: Settings, jobs: int, shared: Sequence[object] = (), threads: bool = False
) -> Iterator[Pool]:
    """Open the pool that the settings name.

    jobs: processes of this machine, or threads, whose ``run`` may be called again before its
    results are taken; a cluster uses all its own. shared: large arguments of many calls, sent to
    each worker once. Raises UsageError where Dask is missing or its address wrong, PokewatchError
    for a cluster that is away, empty, unable or lost on the way.
    """
    if not settings.dask:
        size = effective_n_jobs(jobs)
        if threads:
            turns = Turns(size)
            try:
                yield Pool(turns.run, size, remote=False)
            finally:
                turns.close()
            return
        with Parallel(n_jobs=size, return_as="generator") as run:
            yield Pool(run, size, remote=False)
        return
    with _cluster(settings.dask) as client:
        # hash=False: a key made of the content would cost a pass over all of it.
        sent = client.scatter(list(shared), broadcast=True, hash=False) if shared else []
        there = {id(here): future for here, future in zip(shared, sent, strict=True)}

        def run(calls: Iterable[Any]) -> Iterator[Any]:
            # Not joblib's "dask" backend: when Dask gives a call up because it ended its workers,
            # joblib 1.6 waits for it for ever.
            waiting = deque(
                client.submit(
                    function,
                    *(there.get(id(value), value) for value in values),
                    **named,
                    pure=False,
                )
                for function, values, named in calls
            )
            return (waiting.popleft().result() for _ in range(len(waiting)))

        yield Pool(run, sum(client.nthreads().values()), remote=True)


@dataclass(frozen=True)
class Rest:
    """Returned by a call in a thread: what is left to do, for which it needs no place of its own.

    Such as what mostly waits for Python's lock, whatever the number of processors.
    """

    work: Callable[[], Any]


class Turns:
    """Calls in threads that begin in their order, and only while fewer than ``places`` are at work.

    Whoever takes the results is at work too, save while waiting for one: with as many calls beside
    it as there are processors each slows the others down, and the one that all wait for most.
    """

    def __init__(self, places: int):
        self._places = places
        self._at_work = 1
        self._begun = 0
        self._numbers = count()
        self._done: set[int] = set()
        self._awaited: int | None = None
        self._closed = False
        self._open: list[Any] = []
        self._changed = threading.Condition()

    def run(self, calls: Iterable[Any]) -> Iterator[Any]:
        """Begin with the calls, after those of earlier runs; yield the results in order.

        Runs are taken one after the other; where a call failed, or results are left, nothing more
        begins. A single place needs no thread: each call is made as its result is taken.
        """
        if self._places == 1:
            return (_finished(function(*values, **named)) for function, values, named in calls)
        numbered = [(next(self._numbers), call) for call in calls]
        if not numbered:
            return iter(())
        # One more than may be at work: it does what a call has left.
        threads = Parallel(n_jobs=self._places + 1, prefer="threads", return_as="generator")
        results = threads(delayed(self._call)(number, *call) for number, call in numbered)
        self._open.append(results)
        return self._taken([number for number, _ in numbered], results)

    def close(self) -> None:
        """Let calls that have not begun fail: nobody takes their results."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib counts what was done in vain
            while self._open:
                self._open.pop().close()

    def _taken(self, numbers: list[int], results: Iterator[Any]) -> Iterator[Any]:
        left = len(numbers)
        try:
            for number in numbers:
                result = self._take(number, results)
                left -= 1
                if not left:
                    next(results, None)  # joblib ends its threads then
                    self._open.remove(results)
                yield result
        finally:
            if left:
                self.close()

    def _take(self, number: int, results: Iterator[Any]) -> Any:
        with self._changed:
            self._refuse_if_closed()
            if number in self._done:
                self._done.remove(number)
            else:
                self._awaited = number
                self._at_work -= 1
                self._changed.notify_all()
        return next(results)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RuntimeError("not done: an earlier call failed, or the pool was left")

    def _may_begin(self, number: int) -> bool:
        return self._begun == number and self._at_work < self._places

    def _call(
        self, number: int, function: Callable[..., Any], values: tuple[Any], named: dict[str, Any]
    ) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._may_begin(number))
            self._refuse_if_closed()
            self._begun += 1
            self._at_work += 1
            self._changed.notify_all()
        try:
            result = function(*values, **named)
        finally:
            with self._changed:
                if number == self._awaited:  # whoever waits for it takes its place over
                    self._awaited = None
                else:
                    self._done.add(number)
                    self._at_work -= 1
                self._changed.notify_all()
        return _finished(result)


def _finished(result: Any) -> Any:
    return result.work() if isinstance(result, Rest) else result


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
            "scheduler', mend POKEWATCH_DASK, or leave it empty to work on this machine"
        ) from error
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
    finally:
        client.close()


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
    own = versions()
    for worker, found in answers.items():
        if isinstance(found, OSError):  # it died just now: Dask goes on without it
            continue
        if isinstance(found, Exception):
            raise PokewatchError(
                f"worker {worker} cannot run PokeWatch ({found!r}): install the same "
                f"pokewatch[dask] there as here, {own['pokewatch']}"
            ) from found
        other = [
            f"{name} {found.get(name)} instead of {own[name]}"
            for name in own
            if found.get(name) != own[name]
        ]
        if other:
            log.warning(
                "worker %s has %s: results may differ; install requirements.lock on both",
                worker,
                ", ".join(other),
            )
    log.info(
        "%d workers with %d threads at %s", len(answers), sum(client.nthreads().values()), address
    )


def versions() -> dict[str, str]:
    """Return the versions that results depend on."""
    own = {"python": platform.python_version(), "pokewatch": __version__}
    return own | {name: version(name) for name in PACKAGES}
