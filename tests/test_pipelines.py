from __future__ import annotations

import ast
import base64
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from builders import market
from nbformat.v4 import new_code_cell, new_notebook
from werkzeug import Response

from pokewatch.evaluation import registry
from pokewatch.settings import PROJECT, load_settings
from pokewatch.store.tables import Store

pytestmark = pytest.mark.slow

MARKET = market(6, 60, momentum=0.8).replace({"card_id": {"0:Normal": "6:Normal"}})  # no product 0
AFTER_COLLECTION = [
    "train_model_step",
    "validate_model_step",
    "promote_model_step",
    "predict_step",
    "report_step",
]
GUIDE = PROJECT / "docs" / "zenml_guide.md"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the project: with its own data home, no .env, and a report that is quick."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("pokewatch", "pipelines", "scripts"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "watchlist.yaml"):
        shutil.copy(PROJECT / name, copy)
    (copy / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "zenml"):
        command = copy / ".venv" / "bin" / name
        real = Path(sys.executable).with_name(name)
        command.write_text(f'#!/bin/sh\nexec "{real}" "$@"\n', encoding="utf-8")
        command.chmod(0o755)
    cell = new_code_cell('date: str = "2025-01-01"', metadata={"tags": ["parameters"]})
    (copy / "notebooks").mkdir()
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python"}}
    quick = new_notebook(cells=[cell, new_code_cell("print(date)")], metadata=kernel)
    nbformat.write(quick, copy / "notebooks" / "04_nightly_report.ipynb")
    MARKET[MARKET["date"] < MARKET["date"].max()].to_parquet(copy / "first.parquet")
    MARKET.to_parquet(copy / "second.parquet")
    MARKET[MARKET["date"] < MARKET["date"].min() + pd.Timedelta(days=15)].to_parquet(
        copy / "short.parquet"
    )
    return copy


def run(project: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the copy with nothing of a developer's own set-up."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("POKEWATCH_", "ZENML_"))}
    quiet = {"POKEWATCH_TRACKING": "false", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    path = {"PYTHONPATH": f"{project}{os.pathsep}{os.environ['PYTHONPATH']}"}
    return subprocess.run(
        command,
        cwd=project,
        env=kept | quiet | path | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def night(project: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(
        project,
        sys.executable,
        "pipelines/ml_pipeline.py",
        *("--jobs", "1", "--retries", "0"),
        *options,
        **environment,
    )


def from_file(
    project: Path, name: str, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    path = str(project / name)
    return night(project, "--source", "file", "--path", path, *options, **environment)


def statuses(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^(\w+_step) +(\w+)", done.stdout, re.M))


@pytest.fixture(scope="module")
def first(project) -> subprocess.CompletedProcess[str]:
    return from_file(project, "first.parquet", POKEWATCH_TRACKING="true")


def test_a_night_does_every_step_and_ends_with_the_report(project, first):
    assert statuses(first) == dict.fromkeys(["collect_data_step", *AFTER_COLLECTION], "completed")
    assert re.search(r"^run [0-9a-f-]{36}  completed$", first.stdout, re.M)
    written = Path(first.stdout.splitlines()[-1])
    assert written == project / "data" / "reports" / "2025-02-28.html"
    assert written.is_file()


def test_the_same_night_again_trains_nothing(project, first):
    again = from_file(project, "first.parquet")
    expected = dict.fromkeys(AFTER_COLLECTION, "cached")
    assert statuses(again) == {"collect_data_step": "completed", **expected}
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
    assert len(models(project)) == 1


def test_a_model_that_was_deleted_is_trained_again(project, first):
    (name,) = models(project)
    shutil.rmtree(project / "data" / "models" / name)
    (project / "data" / "models" / "champion.json").unlink(missing_ok=True)
    again = from_file(project, "first.parquet")
    assert statuses(again)["train_model_step"] == "completed"
    assert f"{name} made by an earlier run: gone" in again.stderr
    assert models(project) == [name]


def test_a_new_day_trains_anew_and_runs_are_listed(project, first):
    done = from_file(project, "second.parquet")
    assert statuses(done)["train_model_step"] == "completed"
    assert done.stdout.splitlines()[-1].endswith("2025-03-01.html")
    assert len(models(project)) == 2
    code = (
        "import json; from pokewatch.operations import runs\n"
        "from pokewatch.settings import get_settings\n"
        "rows = runs.list_runs(get_settings(), 2)\n"
        "print(json.dumps([rows, runs.show_run(get_settings(), rows[1]['run'][:8])]))"
    )
    (newest, before), shown = json.loads(run(project, sys.executable, "-c", code).stdout)
    assert shown == before
    assert newest["status"] == "completed"
    assert newest["data_version"] > before["data_version"]
    assert [step["name"] for step in newest["steps"]] == ["collect_data_step", *AFTER_COLLECTION]
    assert newest["metrics"]["horizon"] == 7
    assert newest["model"] in models(project)


def ask(project: Path, code: str, **environment: str) -> Any:
    """Return what code that prints JSON printed, run beside the copy's ZenML."""
    begin = (
        "import json; from pokewatch.operations import zenml_env\n"
        "from pokewatch.settings import get_settings\n"
        "zenml_env.prepare(get_settings())\nfrom zenml.client import Client\n"
    )
    done = run(project, sys.executable, "-c", begin + code, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_mlflow_and_zenml_know_the_model_and_its_scores(project, first):
    (name,) = [name for name in models(project) if name.endswith("v1")]
    code = (
        f"version = Client().get_model_version('pokewatch-fair-value', '{name}')\n"
        "print(json.dumps([version.run_metadata, sorted(version.data_artifacts)]))"
    )
    about, artifacts = ask(project, code)
    assert {"metrics", "score_table"} <= set(artifacts)
    assert about["data_version"] == 1
    with sqlite3.connect(project / "data" / "mlflow.db") as connection:
        logged = dict(connection.execute("select key, value from params").fetchall())
        (run_name,) = connection.execute("select name from runs").fetchone()
    assert run_name == name
    assert logged["data_version"] == "1"


def test_without_the_cache_every_step_is_done_anew_and_nothing_is_doubled(project, first):
    store = Store.from_settings(load_settings(home=project / "data"))
    before = store.data_version, len(store.prices(["card_id"])), models(project)
    again = from_file(project, "second.parquet")
    anew = from_file(project, "second.parquet", "--no-cache")
    assert set(statuses(again).values()) == {"completed", "cached"}
    assert set(statuses(anew).values()) == {"completed"}
    assert (store.data_version, len(store.prices(["card_id"])), models(project)) == before
    predictions = pd.read_parquet([str(p) for p in store_files(project, "predictions")])
    last = predictions[predictions["date"] == predictions["date"].max()]
    assert not last.duplicated(["card_id", "date", "horizon"]).any()


def store_files(project: Path, table: str) -> list[Path]:
    from deltalake import DeltaTable

    return [Path(uri) for uri in DeltaTable(str(project / "data" / table)).file_uris()]


def test_a_strict_gate_that_says_no_ends_the_night_with_3(project):
    done = from_file(project, "short.parquet", "--strict-gate", POKEWATCH_HOME="strict")
    assert done.returncode == 3, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: validate_model_step failed: 'fair-value-2025-01-15-v1' is no ")
    assert not (project / "strict" / "models" / "champion.json").exists()
    assert not (project / "strict" / "reports").exists()


def test_a_collection_that_fails_once_is_tried_again(project, httpserver):
    answers = ["a busy server", "2025-01-20T20:05:33+0000"]

    def stamp(_request):
        broken = len(answers) > 1
        return Response(answers.pop(0) if broken else answers[0], status=500 if broken else 200)

    alerts: list[str] = []

    def receive(request):
        alerts.append(request.get_json()["message"])
        return Response("{}")

    rows = {
        "groups": [{"groupId": 1, "name": "Base", "publishedOn": "1999-01-09T00:00:00"}],
        "1/products": [{"productId": 7, "name": "Mew", "cleanName": None, "extendedData": []}],
        "1/prices": [{"productId": 7, "marketPrice": 3.5, "subTypeName": "Normal"}],
    }
    httpserver.expect_request("/last-updated.txt").respond_with_handler(stamp)
    httpserver.expect_request("/alert").respond_with_handler(receive)
    for page, results in rows.items():
        answer = {"success": True, "errors": [], "results": results}
        httpserver.expect_request(f"/tcgplayer/3/{page}").respond_with_json(answer)
    done = night(
        project,
        *("--source", "tcgcsv", "--retries", "1", "--retry-delay", "1"),
        POKEWATCH_HOME="busy",
        POKEWATCH_TCGCSV_URL=httpserver.url_for("").rstrip("/"),
        POKEWATCH_TCGCSV_CATEGORIES="[3]",
        POKEWATCH_REQUEST_ATTEMPTS="1",
        POKEWATCH_REQUEST_INTERVAL="0",
        POKEWATCH_NOTIFY=f"json://localhost:{httpserver.port}/alert",
    )
    assert len(answers) == 1
    prices = Store.from_settings(load_settings(home=project / "busy")).prices(["card_id"])
    assert prices["card_id"].tolist() == ["7:Normal"], done.stderr
    assert not [alert for alert in alerts if "collect_data_step failed" in alert]


def test_a_night_that_is_stopped_says_so(project, httpserver):
    alerts: list[str] = []

    def receive(request):
        alerts.append(request.get_json()["message"])
        return Response("{}")

    httpserver.expect_request("/alert").respond_with_handler(receive)
    command = [sys.executable, "pipelines/ml_pipeline.py", "--source", "simulated", "--jobs", "1"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("POKEWATCH_", "ZENML_"))}
    own = {
        "POKEWATCH_HOME": "stopped",
        "POKEWATCH_NOTIFY": f"json://localhost:{httpserver.port}/alert",
        "OMP_NUM_THREADS": "1",
    }
    started = subprocess.Popen(
        command, cwd=project, env=kept | own, stderr=subprocess.PIPE, text=True
    )
    assert started.stderr is not None
    first_line = started.stderr.readline()
    started.terminate()
    said = started.stderr.read()
    assert started.wait(60) == 1, first_line + said
    assert "stopped by SIGTERM" in said.splitlines()[-1]
    assert len(alerts) == 1
    assert "stopped by SIGTERM" in alerts[0]


def models(project: Path) -> list[str]:
    return sorted(registry.names(load_settings(home=project / "data")))


def test_a_source_that_fails_ends_the_night_with_its_name(project, first, httpserver):
    store = Store.from_settings(load_settings(home=project / "data"))
    before = store.data_version
    httpserver.expect_request("/last-updated.txt").respond_with_data("broken", status=500)
    alerts: list[dict[str, str]] = []

    def receive(request):
        alerts.append(request.get_json())
        return Response("{}")

    httpserver.expect_request("/alert").respond_with_handler(receive)
    done = night(
        project,
        *("--source", "tcgcsv"),
        POKEWATCH_TCGCSV_URL=httpserver.url_for("").rstrip("/"),
        POKEWATCH_REQUEST_ATTEMPTS="1",
        POKEWATCH_NOTIFY=f"json://me:hidden-word@localhost:{httpserver.port}/alert",
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: collect_data_step failed: ")
    assert "500" in last
    assert "Traceback" not in done.stdout + done.stderr
    assert "hidden-word" not in done.stdout + done.stderr
    (alert,) = alerts
    assert "collect_data_step" in alert["message"]
    assert "500" in alert["message"]
    assert store.data_version == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--source", "nowhere"], "unknown source 'nowhere'"),
        (["--source", "file"], "needs --path"),
        (["--date", "2025-02-30"], "no date"),
        (["--horizon", "8"], "choose among 1, 7, 14, 30"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_starts(project, options, said):
    done = night(project, *options, POKEWATCH_HOME="untouched")
    assert done.returncode == 2
    assert said in done.stderr
    assert not (project / "untouched").exists()


BREAK = """
from pokewatch.operations import zenml_env
from pokewatch.settings import get_settings
zenml_env.prepare(get_settings())
from zenml.client import Client
from zenml.enums import StackComponentType as Kind
client = Client()
client.activate_stack("default")
client.delete_stack("local_stack")
client.delete_stack_component("local_mlflow", Kind.EXPERIMENT_TRACKER)
client.update_stack_component(
    "local_store", Kind.ARTIFACT_STORE, configuration={"path": "/nowhere"}
)
"""


def test_set_up_is_done_once_and_mends_what_is_broken(project):
    def set_up(*options: str) -> list[str]:
        done = run(project, "sh", "scripts/setup_zenml.sh", *options, POKEWATCH_HOME="fresh")
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert "stack 'local_stack' made" in set_up()
    nothing = ["stack 'local_stack' is as it should be: nothing changed"]
    assert set_up() == nothing
    broken = run(project, sys.executable, "-c", BREAK, POKEWATCH_HOME="fresh")
    assert broken.returncode == 0, broken.stderr
    assert set_up() == [
        "artifact store 'local_store' mended: path",
        "experiment tracker 'local_mlflow' made",
        "stack 'local_stack' made",
        "stack 'local_stack' set active",
    ]
    rebuilt = set_up("--reset")
    assert rebuilt[0] == "stack 'local_stack' deleted"
    assert rebuilt[-1] == "stack 'local_stack' set active"
    assert set_up() == nothing


def test_lines_for_the_zenml_command_hold_only_what_is_set_here(project):
    command = ("sh", "scripts/setup_zenml.sh", "--env")
    done = run(
        project, *command, ZENML_STORE_API_KEY="s3cret", ZENML_STORE_URL="http://localhost:1"
    )
    assert done.returncode == 0, done.stderr
    assert "export ZENML_CONFIG_PATH=" in done.stdout
    assert "ZENML_STORE" not in done.stdout


def test_the_password_of_a_server_is_kept_encrypted(project):
    server = {
        "MLFLOW_TRACKING_URI": "https://mlflow.example/me",
        "MLFLOW_TRACKING_USERNAME": "me",
        "MLFLOW_TRACKING_PASSWORD": "hidden-word",
    }
    done = run(project, "sh", "scripts/setup_zenml.sh", POKEWATCH_HOME="server", **server)
    assert done.returncode == 0, done.stderr
    assert "experiment tracker 'dagshub_mlflow' made" in done.stdout
    (database,) = (project / "server" / "zenml").rglob("zenml.db")
    with sqlite3.connect(database) as connection:
        ((values,),) = connection.execute('select "values" from secret').fetchall()
    assert b"hidden-word" not in base64.b64decode(values)
    for path in (project / "server").rglob("*"):
        assert path.is_dir() or b"hidden-word" not in path.read_bytes()
    (project / "server" / "zenml" / "secrets.key").unlink()  # a lost key: the secret is kept anew
    done = run(project, "sh", "scripts/setup_zenml.sh", POKEWATCH_HOME="server", **server)
    assert done.returncode == 0, done.stderr
    assert "secret 'pokewatch_mlflow' kept" in done.stdout


def test_recipients_are_parted_but_not_their_commas():
    from pipelines.notify import Recipients

    both = Recipients(notify="json://host/a,b, mailto://me:x@host?to=a,b  discord://1/2")
    assert both.urls() == ["json://host/a,b", "mailto://me:x@host?to=a,b", "discord://1/2"]
    assert "me:x" not in repr(both)


def commands() -> list[str]:
    """Return the guide's commands that need no server."""
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    return [block for block in blocks if block.strip()]


def test_the_guide_marks_what_its_blocks_need():
    fences = re.findall(r"^```(.+)$", GUIDE.read_text(encoding="utf-8"), re.M)
    assert set(fences) <= {"sh", "sh server", "text"}
    assert commands()


def test_the_commands_of_the_guide_work(project, first):
    there = [block for block in commands() if missing(project, block) is None]
    assert there
    for block in there:
        done = run(project, "sh", "-euc", block, POKEWATCH_HOME="data")
        assert done.returncode == 0, f"{block}\n{done.stderr}"


def missing(project: Path, block: str) -> str | None:
    """Return a file of the project that a block calls and that the copy does not have."""
    called = re.findall(r"(?:scripts|pipelines)/[\w.]+|\.venv/bin/\w+", block)
    return next((name for name in called if not (project / name).exists()), None)


def test_every_step_is_short():
    tree = ast.parse((PROJECT / "pipelines" / "steps.py").read_text(encoding="utf-8"))
    steps = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno for node in steps}
    assert {name for name in lengths if name.endswith("_step")} == {
        "collect_data_step",
        *AFTER_COLLECTION,
    }
    assert max(lengths.values()) <= 40
