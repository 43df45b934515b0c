"""The scripts for cron, run as cron runs them: by /bin/sh, in an empty environment."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dotenv import dotenv_values
from pytest_httpserver import HTTPServer

from pokewatch import settings
from pokewatch.errors import UsageError

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
SHELLS = [shell for shell in ("/bin/sh", "/bin/dash", "/bin/bash") if Path(shell).exists()]

# Stands in for the pipeline: writes down what it was given, then does what it was told.
PIPELINE = """
import json, os, signal, sys, time
from pathlib import Path

options = sys.argv[1:]
seen = {"arguments": options, "environment": dict(os.environ), "folder": os.getcwd()}
Path("seen.json").write_text(json.dumps(seen | {"pid": os.getpid()}))
if "--stubborn" in options:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
Path("going").touch()
until = time.monotonic() + (30 if "--wait" in options else 0)
while time.monotonic() < until and not Path("go on").exists():
    time.sleep(0.02)
if "--killed" in options:
    os.kill(os.getpid(), signal.SIGKILL)
print("10%\\r\\x1b[32m100% report: r.html\\x1b[0m\\n")
sys.exit(int(options[options.index("--code") + 1]) if "--code" in options else 0)
"""

pytestmark = pytest.mark.skipif(
    not (shutil.which("flock") and shutil.which("timeout")), reason="no flock or timeout here"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with the real scripts and packages, and a pipeline that obeys."""
    folder = tmp_path / "cards & 100% o'clock"
    (folder / "pipelines").mkdir(parents=True)
    (folder / "pipelines" / "ml_pipeline.py").write_text(PIPELINE)
    shutil.copytree(SCRIPTS, folder / "scripts")
    (folder / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    return folder


def night(
    project: Path, *arguments: str, shell: str = "/bin/sh", script: Path | None = None, **env: str
) -> list[str]:
    """Return the command that cron would run: nothing in the environment but ``env``."""
    run = script or project / "scripts" / "run_zenml_pipeline.sh"
    assignments = [f"{key}={value}" for key, value in env.items()]
    line = shlex.join([shell, str(run), *arguments])
    return ["env", "-i", *assignments, shell, "-c", line]


def ran(command: list[str], code: int = 0) -> list[str]:
    """Run to the end; return the lines of both streams."""
    done = subprocess.run(
        command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30
    )
    assert done.returncode == code, done.stdout
    return done.stdout.splitlines()


def seen(project: Path) -> dict:
    return json.loads((project / "seen.json").read_text())


def log(project: Path) -> str:
    (path,) = (project / "data" / "logs").glob("nightly-*.log")
    return path.read_text()


def soon(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 15
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def ended(pid: int) -> bool:
    """Whether no such process runs; an orphan may wait for long to be reaped."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return state.stdout.strip()[:1] in ("", "Z")


@pytest.fixture
def going(project: Path):
    """Start nights that wait; end what is left of them."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **env: str) -> subprocess.Popen[str]:
        (project / "going").unlink(missing_ok=True)
        # exec: the process is the script itself, not the shell around it
        command = night(project, "--wait", *arguments, **env)
        command[-1] = f"exec {command[-1]}"
        process = subprocess.Popen(
            command, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        soon((project / "going").exists)
        return process

    yield start
    (project / "go on").touch()
    for process in started:
        process.communicate(timeout=15)


@pytest.mark.parametrize("name", ["run_zenml_pipeline.sh", "install_cron.sh"])
def test_scripts_are_executable_and_posix(name: str) -> None:
    assert os.access(SCRIPTS / name, os.X_OK)
    for shell in SHELLS:
        subprocess.run([shell, "-n", str(SCRIPTS / name)], check=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_night_in_an_empty_environment(project: Path, shell: str) -> None:
    first, last = ran(night(project, "--date", "2026-06-30", "two words", shell=shell))
    assert "start, at most 2h" in first
    assert last.split(" ", 1)[0].endswith("Z")
    assert " done in " in last
    assert last.endswith(" s: 100% report: r.html")
    assert log(project).splitlines()[-1] == last
    given = seen(project)
    assert given["arguments"] == ["--date", "2026-06-30", "two words"]
    assert given["folder"] == str(project)
    assert given["environment"]["POKEWATCH_HOME"] == str(project / "data")
    assert Path(given["environment"]["HOME"]).is_dir()
    assert "/usr/bin" in given["environment"]["PATH"]


def test_found_through_links(project: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "first").symlink_to(project / "scripts" / "run_zenml_pipeline.sh")
    (tmp_path / "links" / "second").symlink_to("first")
    ran(night(project, script=tmp_path / "links" / "second"))
    assert seen(project)["folder"] == str(project)


def test_help_runs_nothing(project: Path) -> None:
    text = "\n".join(ran(night(project, "--help")))
    assert "--strict" in text
    assert "POKEWATCH_HEARTBEAT_URL" in text
    assert not (project / "seen.json").exists()


@pytest.mark.parametrize("home", ["elsewhere/x y", "{project}/away", "~/cards"])
def test_the_data_home_holds_the_logs(project: Path, home: str) -> None:
    (project / ".env").write_text(f'POKEWATCH_HOME="{home.format(project=project)}"\n')
    ran(night(project, HOME=str(project / "user")))
    expected = {
        "elsewhere/x y": project / "elsewhere" / "x y",
        "~/cards": project / "user" / "cards",
    }.get(home, project / "away")
    assert seen(project)["environment"]["POKEWATCH_HOME"] == str(expected)
    assert len(list((expected / "logs").glob("nightly-*.log"))) == 1
    assert not (project / "data").exists()


ENV_FILE = """\
# a comment
PLAIN=one
 SPACED = two words \t
export EXPORTED=three
SINGLE='a "b" # c'   # said why
DOUBLE="a 'b' # c"
COMMENTED=four # five
SHARP=#no-comment
EMPTY=
EQUALS=a=b==
JSON=["x", 3]
URL=https://example.test/?a=1&b=2;c
STAR=*
TICK=`touch pwned`
PAREN=$(touch pwned)
DOLLAR=$HOME
SEMICOLON=a; touch pwned
TWICE=first
TWICE=second
UMLAUT=Pokémon
BACKSLASH=a\\nb
WINDOWS=eight\r
TAIL=last"""


def test_env_file_is_read_as_the_settings_read_it_and_never_executed(project: Path) -> None:
    bad = "\n$(touch pwned)\nA B=1\n`touch pwned`=1\nX$(touch pwned)=1\n1X=1\n=1\ntouch pwned\n"
    (project / ".env").write_text(bad + ENV_FILE, "utf-8", newline="")
    ran(night(project, TWICE="the environment's", POKEWATCH_TIME_LIMIT="1m"))
    expected = dotenv_values(project / ".env", interpolate=False) | {"TWICE": "the environment's"}
    environment = seen(project)["environment"]
    names = [line.split("=")[0].split()[-1] for line in ENV_FILE.splitlines() if "=" in line]
    assert {name: environment[name] for name in names} == {name: expected[name] for name in names}
    assert not list(project.parent.rglob("pwned"))
    assert not Path("/pwned").exists()
    assert {"A", "B", "X", "1X"}.isdisjoint(environment)


HOMES = [
    "\ufeffPOKEWATCH_HOME={away}\r\n",
    "\ufeff# first\r\nexport POKEWATCH_HOME='{away}'   # said why\r\n",
    "\ufeff\r\nPOKEWATCH_SEED=1\rPOKEWATCH_HOME={away}\r",
    "'POKEWATCH_HOME'={away}",
    "pokewatch_home={away}",
    "POKEWATCH_HOME=x\npokewatch_home={away}",
    "POKEWATCH_HOME=",
    "POKEWATCH_HOME=${{HOME}}/cards",
    'POKEWATCH_HOME="{away}\\"b"',
    "POKEWATCH_HOME='{away}\\b'",
    'A="open\nPOKEWATCH_HOME=in\nB="',
    'A="open\nPOKEWATCH_HOME={away}\n',
    "POKEWATCH_HOME={away}\nPOKEWATCH_HOME=${{NONE-}}\n",
    "POKEWATCH_HOME=a b c#d%20é",
]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("text", HOMES)
def test_the_night_and_the_commands_have_one_home(
    project: Path, text: str, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project / ".env"
    file.write_text(text.format(away=project / "away"), "utf-8", newline="")
    monkeypatch.delenv("POKEWATCH_HOME", raising=False)
    monkeypatch.setenv("HOME", str(project / "user"))
    monkeypatch.setattr(settings, "PROJECT", project)
    wanted = settings.Settings(_env_file=file).home
    ran(night(project, shell=shell, HOME=str(project / "user")))
    assert seen(project)["environment"]["POKEWATCH_HOME"] == str(wanted)
    assert list((wanted / "logs").glob("nightly-*.log"))


def test_a_dotenv_of_another_encoding_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes("POKEWATCH_HOME=é".encode("latin-1"))
    with pytest.raises(UsageError, match=r"'\.env' is no UTF-8 text .*save it as UTF-8"):
        settings.load_settings(_env_file=file)


def test_the_last_of_two_lines_of_env_wins(project: Path) -> None:
    (project / ".env").write_text("TWICE=first\nTWICE=second\n")
    ran(night(project))
    assert seen(project)["environment"]["TWICE"] == "second"


def test_what_only_the_settings_can_read_is_left_to_them(project: Path) -> None:
    (project / ".env").write_text('A=${HOME}/x\nB="a\\"b"\nC="open\nD=\'open\nE="a" b\n')
    ran(night(project))
    assert {"A", "B", "C", "D", "E"}.isdisjoint(seen(project)["environment"])


@pytest.mark.parametrize("code", [1, 2, 3])
def test_exit_codes_pass_through(project: Path, code: int) -> None:
    *_, last = ran(night(project, "--code", str(code)), code)
    assert last.endswith(f" failed with exit {code}: 100% report: r.html")
    assert log(project).splitlines()[-1] == last


def test_any_other_end_is_exit_1(project: Path) -> None:
    assert "killed by signal 9" in ran(night(project, "--killed"), 1)[-1]
    assert "failed with exit 1" in ran(night(project, "--code", "77"), 1)[-1]


def test_two_at_once(project: Path, going) -> None:
    first = going()
    (line,) = ran(night(project))
    assert line.endswith("another run is going: nothing done")
    (line,) = ran(night(project, "--strict"), 75)
    assert "another run is going" in line
    (project / "go on").touch()
    assert " done in " in first.communicate(timeout=15)[0]
    assert first.returncode == 0
    assert log(project).count("start, at most") == 1
    ran(night(project, "--strict"))
    assert seen(project)["arguments"] == []


@pytest.mark.parametrize("options", [[], ["--stubborn"]])
def test_time_limit(project: Path, options: list[str]) -> None:
    *_, last = ran(night(project, "--wait", *options, POKEWATCH_TIME_LIMIT="1s"), 1)
    assert "failed with exit 1: over its time limit of 1s" in last
    soon(lambda: ended(seen(project)["pid"]))


@pytest.mark.parametrize("limit", ["soon", "0", "1.5h", "2 h", "-1", "h"])
def test_bad_time_limit_is_a_usage_error(project: Path, limit: str) -> None:
    *_, last = ran(night(project, POKEWATCH_TIME_LIMIT=limit), 2)
    assert f"POKEWATCH_TIME_LIMIT={limit}" in last
    assert not (project / "seen.json").exists()


def test_after_kill_9_a_living_pipeline_is_not_doubled_and_a_dead_one_blocks_nothing(
    project: Path, going
) -> None:
    script = going()
    script.send_signal(signal.SIGKILL)
    script.wait(15)
    assert "another run is going" in ran(night(project))[-1]
    os.killpg(os.getpgid(seen(project)["pid"]), signal.SIGKILL)
    soon(lambda: "another" not in ran(night(project))[-1])
    assert seen(project)["arguments"] == []
    assert " done in " in log(project).splitlines()[-1]


def test_a_stopped_script_stops_its_pipeline(project: Path, going) -> None:
    script = going()
    script.send_signal(signal.SIGTERM)
    output, _ = script.communicate(timeout=15)
    assert script.returncode == 1
    assert "stopped by a signal" in output.splitlines()[-1]
    soon(lambda: ended(seen(project)["pid"]))


def test_a_script_that_is_updated_in_the_middle_ends_well(project: Path, going) -> None:
    running = going()
    script = project / "scripts" / "run_zenml_pipeline.sh"
    script.write_text("exit 99\n" * (len(script.read_text()) // 4))
    (project / "go on").touch()
    assert " done in " in running.communicate(timeout=15)[0].splitlines()[-1]
    assert running.returncode == 0


def test_rotation_keeps_30_nights(project: Path) -> None:
    logs = project / "data" / "logs"
    logs.mkdir(parents=True)
    days = [f"nightly-2020-0{month}-{day:02}.log" for month in (1, 2) for day in range(1, 21)]
    for name in [*days, "nightly-notes.log", "other.txt"]:
        (logs / name).touch()
    ran(night(project))
    left = sorted(path.name for path in logs.glob("nightly-2*.log"))
    assert len(left) == 30
    assert left[:29] == days[-29:]
    assert (logs / "nightly-notes.log").exists()
    assert (logs / "other.txt").exists()


@pytest.mark.parametrize(("options", "code", "end"), [([], 0, ""), (["--code", "3"], 3, "/fail")])
def test_heartbeat(
    project: Path, httpserver: HTTPServer, options: list[str], code: int, end: str
) -> None:
    for path in ("/ping/key", "/ping/key/start", "/ping/key/fail"):
        httpserver.expect_request(path, method="GET").respond_with_data("OK")
    (project / ".env").write_text(f"POKEWATCH_HEARTBEAT_URL={httpserver.url_for('/ping/key')}\n")
    lines = ran(night(project, *options), code)
    asked = [request.path for request, _ in httpserver.log]
    assert asked == ["/ping/key/start", f"/ping/key{end}"]
    assert "ping" not in "\n".join([*lines, log(project)])
    assert "not delivered" not in log(project)


def test_a_heartbeat_that_is_away_fails_nothing(project: Path, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/key/start").respond_with_data("no", status=500)
    url = httpserver.url_for("/key")
    lines = ran(night(project, POKEWATCH_HEARTBEAT_URL=url))
    assert "heartbeat start not delivered" in log(project)
    assert " done in " in lines[-1]
    assert url not in "\n".join([*lines, log(project)])
    lines = ran(night(project, POKEWATCH_HEARTBEAT_URL="http://127.0.0.1:1/key"))
    assert " done in " in lines[-1]


def test_without_packages_it_says_what_to_do(project: Path, httpserver: HTTPServer) -> None:
    (project / ".venv").unlink()
    *_, last = ran(night(project, "--strict"), 1)
    assert last.endswith(f"no .venv in {project}: run 'make setup' there")
    if shutil.which("curl"):
        httpserver.expect_request("/key/fail").respond_with_data("OK")
        ran(night(project, POKEWATCH_HEARTBEAT_URL=httpserver.url_for("/key")), 1)
        assert [request.path for request, _ in httpserver.log] == ["/key/fail"]


def test_a_home_that_cannot_be_written_to(project: Path) -> None:
    (project / "data").write_text("a file")
    *_, last = ran(night(project), 1)
    assert "failed with exit 1: cannot write to" in last
    assert not (project / "seen.json").exists()


# -- install_cron.sh -----------------------------------------------------------------

CRONTAB = """#!/bin/sh
case $1 in
  -l) [ -f "$TABLE" ] || { echo 'no crontab for ash' >&2; exit 1; }; cat "$TABLE" ;;
  -) cat >"$TABLE"; echo write >>"$TABLE.writes" ;;
  *) exit 2 ;;
esac
"""
OTHERS = b"""# my jobs

MAILTO=ash
  5 4 * * *\ttidy  'a b' \\%x # pokewatch nightly: /other
\xff
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "crontab"
    program.write_text(CRONTAB)
    program.chmod(0o755)
    return tmp_path / "table"


def cron(project: Path, table: Path, *arguments: str, code: int = 0) -> str:
    command = ["/bin/sh", str(project / "scripts" / "install_cron.sh"), *arguments]
    environment = {"PATH": f"{table.parent / 'bin'}:/usr/bin:/bin", "TABLE": str(table)}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 and done.stdout else done.stderr


def writes(table: Path) -> int:
    return len(table.with_name("table.writes").read_text().splitlines())


def test_install_keep_change_and_remove(project: Path, table: Path) -> None:
    table.write_bytes(OTHERS)
    assert cron(project, table).startswith("added to the crontab: 0 3 * * * ")
    assert table.read_bytes().startswith(OTHERS)
    assert len(table.read_bytes().splitlines()) == len(OTHERS.splitlines()) + 1
    assert cron(project, table).startswith("already")
    assert writes(table) == 1
    with table.open("ab") as file:
        file.write(b"@daily after\n")
    assert cron(project, table, "--at", " 30  2 * * mon-FRI ").startswith("changed")
    assert b"\n30 2 * * mon-FRI /bin/sh " in table.read_bytes()
    assert cron(project, table).startswith("already in the crontab, unchanged: 30 2 * * mon-FRI")
    assert cron(project, table, "--show").startswith("30 2 * * mon-FRI /bin/sh ")
    assert cron(project, table, "--remove").startswith("removed")
    assert table.read_bytes() == OTHERS + b"@daily after\n"
    assert cron(project, table, "--remove").startswith("not in the crontab")
    assert cron(project, table, "--show").startswith("not in the crontab")
    assert writes(table) == 3


def test_the_line_runs_as_cron_runs_it(project: Path, table: Path) -> None:
    cron(project, table)
    (line,) = table.read_text().splitlines()
    command = line.split(maxsplit=5)[5]
    assert "%" not in command.replace("\\%", "")
    lines = ran(["env", "-i", "/bin/sh", "-c", command.replace("\\%", "%")])
    assert " done in " in lines[-1]


def test_two_checkouts_do_not_meet(project: Path, table: Path) -> None:
    # Its path ends in the path of the first one.
    other = Path(f"{project}/copy{project}")
    shutil.copytree(project / "scripts", other / "scripts")
    cron(project, table, "--at=1 1 * * *")
    first = table.read_text()
    cron(other, table, "--at=2 2 * * *")
    assert len(table.read_text().splitlines()) == 2
    cron(other, table, "--remove")
    assert table.read_text() == first


@pytest.mark.parametrize(
    "at",
    [
        *("", "0 3 * *", "0 3 * * * *", "60 3 * * *", "0 24 * * *", "0 3 0 * *", "0 3 * 13 *"),
        *("0 3 * * 8", "x 3 * * *", "0 3 * * *\n* * * * * evil", "5-1 3 * * *", "*/0 3 * * *"),
        *("1,, 3 * * *", "0 3 * * mo", "0 3 1-2-3 * *", "@daily", "0 3 * feb-jan *"),
        *("5/2 3 * * *", "0 3 * * monday", "0 3 * mon *", "0 3 * * *; evil", "0 3 * * %"),
    ],
)
def test_bad_times_are_refused(project: Path, table: Path, at: str) -> None:
    assert "--at" in cron(project, table, "--at", at, code=2)
    assert not table.exists()


@pytest.mark.parametrize(
    "at", ["*/15 0-23/2 1,15 jan,JUL 0-7", "0 3 31 12 sun", "59 23 1-31 1-12 sat"]
)
def test_good_times(project: Path, table: Path, at: str) -> None:
    cron(project, table, "--at", at)
    assert table.read_text().startswith(f"{at} /bin/sh ")


def test_a_crontab_that_cannot_be_read_is_not_overwritten(project: Path, table: Path) -> None:
    table.write_bytes(OTHERS)
    program = table.parent / "bin" / "crontab"
    program.write_text(CRONTAB.replace("-l) ", "-l) echo 'not allowed' >&2; exit 1; "))
    assert "not allowed" in cron(project, table, code=1)
    assert table.read_bytes() == OTHERS


def test_without_cron_it_says_so(project: Path, table: Path) -> None:
    if shutil.which("crontab", path="/usr/local/bin:/usr/bin:/bin"):
        pytest.skip("cron is installed")
    (table.parent / "bin" / "crontab").unlink()
    assert "no 'crontab' here" in cron(project, table, code=1)


def test_unknown_options_are_refused(project: Path, table: Path) -> None:
    assert "'--now'" in cron(project, table, "--now", code=2)
