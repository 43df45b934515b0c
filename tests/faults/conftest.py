"""Processes for fault tests: forked from a server that has imported everything, so they are quick.

A forked process cannot use a Delta table that its parent had open: the server opens none.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.context import ForkServerContext

import pytest
import time_machine

IMPORTED = [
    "pokewatch.operations.night",
    "pokewatch.report",
    "pokewatch.sources.tcgcsv",
    "nbconvert",
]


@pytest.fixture(scope="session")
def forks() -> ForkServerContext:
    """Context whose processes start in a few milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    first = context.Process(target=int)  # what it imports is not to count as a job's time
    first.start()
    first.join()
    return context


@pytest.fixture(scope="session")
def kills() -> int:
    """How many processes are killed altogether: POKEWATCH_KILLS, or a few."""
    return int(os.environ.get("POKEWATCH_KILLS", "20"))


@pytest.fixture(autouse=True, scope="module")
def _full_models_elsewhere() -> Iterator[None]:
    """Give other tests back the models that ``run_train`` makes smaller in this process."""
    from pokewatch.models import fair_value

    options = [(kind, dict(kind)) for kind in (fair_value.BOOSTING, fair_value.SMALL)]
    yield
    for kind, kept in options:
        kind.update(kept)


@pytest.fixture
def time_machine_at() -> Iterator[Callable[[str], None]]:
    """Function that sets the clock; it is right again after the test."""
    with ExitStack() as stack:
        yield lambda moment: stack.enter_context(time_machine.travel(moment, tick=False))
