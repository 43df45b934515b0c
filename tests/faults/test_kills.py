"""SIGKILL at random moments of collect, backfill, train and report.

POKEWATCH_KILLS sets how many (default 20); POKEWATCH_KILL_SEED other moments.
"""

from __future__ import annotations

import os
import shutil
import time
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
from fault_jobs import JOBS, assert_same, assert_sound, content, run

pytestmark = pytest.mark.slow

SHARES = {"collect": 0.4, "backfill": 0.25, "train": 0.2, "report": 0.15}  # of all kills
KILLS_IN_A_ROW = 2  # of one home, before the job may end
SEED = int(os.environ.get("POKEWATCH_KILL_SEED", "6"))


def start(forks: ForkServerContext, name: str, home: Path) -> ForkServerProcess:
    process = forks.Process(target=run, args=(name, home))
    process.start()
    return process


def files(home: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(home))


def kill_after(process: ForkServerProcess, seconds: float) -> None:
    process.join(seconds)
    process.kill()


def kill_at_file(process: ForkServerProcess, home: Path, count: int) -> None:
    """Kill as soon as so many files have appeared: in the middle of a commit or just after."""
    before = files(home)
    while process.is_alive() and files(home) < before + count:
        time.sleep(0.0005)
    process.kill()


@pytest.mark.parametrize("name", JOBS)
def test_a_kill_at_any_moment_loses_and_doubles_nothing(
    forks: ForkServerContext, tmp_path: Path, kills: int, name: str
) -> None:
    template = tmp_path / "template"
    template.mkdir()
    JOBS[name][0](template)
    before = content(template)
    shutil.copytree(template, tmp_path / "undisturbed")
    started = time.monotonic()
    whole = start(forks, name, tmp_path / "undisturbed")
    whole.join()
    duration = time.monotonic() - started
    assert whole.exitcode == 0
    expected = content(tmp_path / "undisturbed")
    appearing = files(tmp_path / "undisturbed") - files(template)
    rng = np.random.default_rng([SEED, list(JOBS).index(name)])
    wanted = max(1, round(SHARES[name] * kills))
    killed = 0
    for trial in range(wanted):
        home = tmp_path / f"home-{trial}"
        shutil.copytree(template, home)
        for _ in range(KILLS_IN_A_ROW):
            process = start(forks, name, home)
            if rng.random() < 0.5:
                kill_after(process, rng.uniform(0, duration))
            else:
                kill_at_file(process, home, int(rng.integers(1, max(appearing, 1) + 1)))
            process.join()
            killed += process.exitcode == -9
            assert process.exitcode in (0, -9)  # one that was quicker than its kill
            assert_sound(home, before)
        last = start(forks, name, home)
        last.join()
        assert last.exitcode == 0
        assert_same(content(home), expected)
        shutil.rmtree(home)
        if killed >= wanted:
            break
    print(f"{name}: {killed} kills, job of {duration:.1f} s, {appearing} files")  # noqa: T201
