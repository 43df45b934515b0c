"""A full disk and a read-only one, on small file systems of the tests' own."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from fault_jobs import JOBS, assert_same, assert_sound, content, prepare, run

from pokewatch.errors import PokewatchError

pytestmark = pytest.mark.slow

MENDS = ("free space", "permissions", "could not be written")


def attempt(name: str, home: Path, limit: int | None, said: Connection) -> None:
    """Run a job, no file of which may grow beyond ``limit`` bytes; tell how it ended."""
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        run(name, home)
        said.send(("done", ""))
    except PokewatchError as error:
        said.send(("refused", str(error)))
    except BaseException as error:
        said.send((type(error).__name__, traceback.format_exc()))


@pytest.fixture
def tried(forks) -> Callable[..., tuple[str, str]]:
    def started(name: str, home: Path, limit: int | None = None) -> tuple[str, str]:
        here, there = forks.Pipe(duplex=False)
        process = forks.Process(target=attempt, args=(name, home, limit, there))
        process.start()
        there.close()
        ended = here.recv()
        process.join()
        return ended

    return started


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of 50 MB; only root may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mounts")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


def writable(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(4096)):
            pass


def clear(disk: Path) -> None:
    (disk / "ballast").unlink()


@pytest.mark.parametrize("name", JOBS)
def test_a_full_or_read_only_disk_costs_nothing_that_was_there(tried, disk, tmp_path, name):
    home = disk / "home"
    home.mkdir()
    JOBS[name][0](home)
    before = content(home)
    shutil.copytree(home, tmp_path / "undisturbed")
    assert tried(name, tmp_path / "undisturbed")[0] == "done"
    for spoil, mend in ((read_only, writable), (fill, clear)):
        spoil(disk)
        how, said = tried(name, home)
        mend(disk)
        assert how == "refused", said
        assert any(words in said for words in MENDS), said
        assert_sound(home, before)
    assert tried(name, home)[0] == "done"
    assert_same(content(home), content(tmp_path / "undisturbed"))


def texts(home: Path) -> dict[Path, str]:
    """Return what people read: reports and exported forecasts, and any draft that was left."""
    wanted = (".html", ".csv", ".tmp")
    return {path: path.read_text() for path in home.rglob("*") if path.suffix in wanted}


@pytest.mark.parametrize("name", ["collect", "train", "report", "predict"])
def test_a_limit_on_file_sizes_is_no_worse(tried, tmp_path, name):
    home = tmp_path / "home"
    home.mkdir()
    prepare(name, home)
    before, shown = content(home), texts(home)
    for limit in (0, 500, 1000):
        how, said = tried(name, home, limit)
        assert how == "refused", said
        assert any(words in said for words in MENDS), said
        assert_sound(home, before)
        assert texts(home) == shown
    assert tried(name, home)[0] == "done"
