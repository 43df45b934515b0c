"""No secret is written anywhere, and no text that we write is run by a spreadsheet."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from builders import market
from nbformat.v4 import new_code_cell, new_notebook
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pokewatch.operations import exports
from pokewatch.settings import PROJECT

pytestmark = pytest.mark.slow

LONG = bool(os.environ.get("POKEWATCH_LONG_TESTS"))
SECRETS = {
    name: f"qq{name}qq{number}zz"
    for number, name in enumerate(
        ["mlflow", "redis", "notify", "heartbeat", "tcgcsv", "aws", "apikey", "jupyter"]
    )
}
# Each line is one command; all run in one process, as every import of pandas takes seconds.
SESSION = """
import shlex, sys
from pokewatch.cli.main import main
for line in sys.stdin.read().splitlines():
    sys.argv = ["pokewatch", *shlex.split(line)]
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    print("exit", code, line, flush=True)
"""
COMMANDS = """\
collect --source file --path prices.parquet
collect --source tcgcsv
collect --source tcgcsv --date 2025-01-20
backfill --since 2025-01-20 --until 2025-01-20 --jobs 1
train --jobs 1
predict --all --horizon 7 --output out/predictions.csv
predict 0:Normal --horizon 7 --json
predict nobody
report
notebook 99_fails
status --json
doctor --deep
doctor --json
export out/backup.tar
import out/backup.tar
cards --json
quarantine list
watch list
"""
SHOWS_ITS_SETTINGS = """
from pokewatch.settings import get_settings
from pokewatch.operations.tracking import Server
from pokewatch.operations.notify import Recipients
print(get_settings(), Server().shown, Recipients())
"""
FAILS = "from pokewatch.quality.ingest import collect\ncollect(get_settings(), 'tcgcsv')\n"


def write_notebook(path: Path, *cells: str) -> None:
    about = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python"}}
    parameters = new_code_cell('date: str = "2025-01-01"', metadata={"tags": ["parameters"]})
    made = new_notebook(cells=[parameters, *map(new_code_cell, cells)], metadata=about)
    nbformat.write(made, path)


@pytest.fixture
def project(tmp_path: Path, httpserver: HTTPServer) -> Path:
    """A copy of the project whose .env holds secrets of every kind, of services that fail."""
    copy = tmp_path / "project"
    parts = ["pokewatch", "notebooks", *(["pipelines", "scripts"] if LONG else [])]
    for name in parts:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "watchlist.yaml", ".env.example"):
        shutil.copy(PROJECT / name, copy)
    if not LONG:
        write_notebook(copy / "notebooks" / "04_nightly_report.ipynb", SHOWS_ITS_SETTINGS)
    write_notebook(copy / "notebooks" / "99_fails.ipynb", SHOWS_ITS_SETTINGS, FAILS)
    market(6, 60, momentum=0.8).to_parquet(copy / "prices.parquet")
    host = f"127.0.0.1:{httpserver.port}"
    (copy / ".env").write_text(
        f"POKEWATCH_TCGCSV_URL=http://me:{SECRETS['tcgcsv']}@{host}/tcgcsv\n"
        f"POKEWATCH_CACHE_URL=redis://:{SECRETS['redis']}@127.0.0.1:1/0\n"
        f"POKEWATCH_NOTIFY=json://me:{SECRETS['notify']}@{host}/note\n"
        f"POKEWATCH_HEARTBEAT_URL=http://{host}/{SECRETS['heartbeat']}\n"
        f"POKEWATCH_POKEMONTCG_KEY={SECRETS['apikey']}\n"
        f"MLFLOW_TRACKING_URI=http://{host}/mlflow\n"
        "MLFLOW_TRACKING_USERNAME=me\n"
        f"MLFLOW_TRACKING_PASSWORD={SECRETS['mlflow']}\n"
    )
    (copy / ".env").chmod(0o600)

    def quote(request: Request) -> Response:  # a server that shows what it was sent
        return Response(f"{request.headers} {request.get_data(as_text=True)}", status=500)

    def web_page(request: Request) -> Response:
        return Response(f"<html>{request.headers}</html>")

    archive = "/tcgcsv/archive/tcgplayer/prices-2025-01-20.ppmd.7z"
    httpserver.expect_request(archive).respond_with_handler(web_page)
    for path in ("/tcgcsv/last-updated.txt", "/note"):
        httpserver.expect_request(path).respond_with_handler(quote)
    httpserver.expect_request(re.compile("/mlflow.*")).respond_with_handler(quote)
    return copy


def run(project: Path, command: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("POKEWATCH_", "ZENML_", "MLFLOW_", "JUPYTER_"))
    }
    own = {
        "PYTHONPATH": f"{project}{os.pathsep}{os.environ['PYTHONPATH']}",
        "HOME": str(project / "user"),
        "POKEWATCH_REQUEST_ATTEMPTS": "1",
        "POKEWATCH_REQUEST_INTERVAL": "0",
        "AWS_SECRET_ACCESS_KEY": SECRETS["aws"],
        "JUPYTER_TOKEN": SECRETS["jupyter"],
        "OMP_NUM_THREADS": "1",
        "POKEWATCH_DEBUG": "",
    }
    return subprocess.run(
        command,
        cwd=project,
        env=kept | own,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def contents(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a file's bytes, and what it holds compressed or in pieces."""
    yield name, data
    if data[:4] == b"PAR1":
        yield f"{name}:rows", pd.read_parquet(io.BytesIO(data)).to_csv().encode()
    elif data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                yield from contents(f"{name}:{member}", archive.read(member))
    elif name.endswith(".tar"):
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                file = tar.extractfile(member)
                yield from contents(f"{name}:{member.name}", file.read() if file else b"")


def leaks(folder: Path, *texts: str) -> list[str]:
    """Return where secrets lie in texts and in all files of a folder but .env and the code."""
    found = [(f"text {number}", text.encode()) for number, text in enumerate(texts)]
    for path in folder.rglob("*"):
        if path.is_file() and path != folder / ".env" and path.suffix != ".pyc":
            data = path.read_bytes()
            found += contents(str(path.relative_to(folder)), data)
            if data.startswith(b"SQLite format 3"):
                with closing(sqlite3.connect(path)) as database:
                    dump = "\n".join(database.iterdump())
                found.append((f"{path.name}:rows", dump.encode()))
    shapes = {
        name: (secret.encode(), base64.b64encode(secret.encode()).rstrip(b"="))
        for name, secret in SECRETS.items()
    }
    return [
        f"{name} in {place}"
        for place, data in found
        for name, known in shapes.items()
        if any(shape in data for shape in known)
    ]


def test_the_search_finds_what_is_hidden_in_files(tmp_path):
    secret = SECRETS["aws"]
    hidden = pd.DataFrame({"text": ["x" * 500, secret]})
    hidden.to_parquet(tmp_path / "rows.parquet", compression="zstd")
    with zipfile.ZipFile(tmp_path / "model.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", "x" * 500 + secret)
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        hidden.to_sql("hidden", database)
    (tmp_path / "a.txt").write_bytes(base64.b64encode(secret.encode()))
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.add(tmp_path / "rows.parquet", "rows.parquet")
    places = {place.split(" in ")[1].partition(":")[0] for place in leaks(tmp_path)}
    assert places == {"rows.parquet", "model.npz", "a.db", "a.txt", "b.tar"}


def test_no_secret_is_written_anywhere(project):
    done = run(project, [sys.executable, "-c", SESSION], COMMANDS)
    codes = {
        line.split(maxsplit=2)[2]: int(line.split()[1])
        for line in done.stdout.splitlines()
        if line.startswith("exit ")
    }
    assert list(codes) == COMMANDS.splitlines(), done.stderr
    failing = {"collect --source tcgcsv", "predict nobody", "notebook 99_fails"}
    wrong = {line for line, code in codes.items() if code and not line.startswith("train")}
    assert failing <= wrong <= failing | {line for line in codes if "2025-01-20" in line}
    assert "sent something else than an archive" in done.stderr
    assert "MLflow server" in done.stderr
    assert (project / "data" / "mlflow.db").exists()
    assert (project / "data" / "reports" / "notebooks" / "99_fails.failed.ipynb").exists()
    assert leaks(project, done.stdout, done.stderr) == []


@pytest.mark.skipif(not LONG, reason="takes a minute: POKEWATCH_LONG_TESTS=1 runs it")
def test_no_secret_is_written_by_the_pipeline(project):
    night = [sys.executable, "pipelines/ml_pipeline.py", "--jobs", "1", "--retries", "0"]
    done = run(project, [*night, "--source", "file", "--path", "prices.parquet"])
    assert done.returncode == 0, done.stderr
    failed = run(project, [*night, "--source", "tcgcsv"])
    assert failed.returncode == 1, failed.stderr
    texts = [done.stdout, done.stderr, failed.stdout, failed.stderr]
    assert leaks(project, *texts) == []


@pytest.mark.skipif(not LONG, reason="takes 20 seconds: POKEWATCH_LONG_TESTS=1 runs it")
def test_the_password_of_an_mlflow_database_is_not_kept_by_zenml(project):
    env = (project / ".env").read_text().splitlines()
    kept = [line for line in env if not line.startswith("MLFLOW_")]
    address = f"MLFLOW_TRACKING_URI=postgresql://me:{SECRETS['mlflow']}@127.0.0.1:1/mlflow"
    (project / ".env").write_text("\n".join([*kept, address]))
    done = run(project, [sys.executable, "-m", "pipelines.stack"])
    assert done.returncode == 0, done.stderr
    assert leaks(project, done.stdout, done.stderr) == []


FORMULAS = ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\n=1", "＝1"]


def test_text_in_a_csv_file_is_no_formula_and_numbers_stay_numbers(tmp_path):
    harmless = ["Mew", "a=b", "", "1-1", "'=1", " x", None]
    frame = pd.DataFrame(
        {
            "card_id": pd.Series([*FORMULAS, *harmless], dtype="string"),
            "name": [*FORMULAS, *harmless],
            "price": [-1.5] * (len(FORMULAS) + len(harmless)),
        }
    )
    exports.write_frame(frame, tmp_path / "out.csv")
    exports.write_frame(pd.DataFrame({"name": ["\r=1", "Mew\r=1"]}), tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_bytes() == b"name\n =1\nMew =1\n"
    read = pd.read_csv(tmp_path / "out.csv", dtype={"name": str, "card_id": str}, na_values=[])
    for column in ("card_id", "name"):
        assert read[column].tolist()[: len(FORMULAS)] == [f"'{text}" for text in FORMULAS]
        rest = read[column].iloc[len(FORMULAS) :].fillna("").tolist()
        assert rest == [text or "" for text in harmless]
    assert read["price"].tolist() == frame["price"].tolist()
    exports.write_frame(frame, tmp_path / "out.parquet")
    assert pd.read_parquet(tmp_path / "out.parquet")["name"].tolist() == frame["name"].tolist()
