from __future__ import annotations

import base64
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest
from builders import delivery, market
from matplotlib.figure import Figure

from pokewatch.charts import scores
from pokewatch.evaluation.registry import GateVerdict
from pokewatch.formatting import percent
from pokewatch.operations import night as nightly
from pokewatch.operations import tracking
from pokewatch.operations.mlflow_model import CHAMPION, FORECAST_COLUMNS, NEEDED, REGISTERED
from pokewatch.quality.ingest import ingest
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store

pytestmark = pytest.mark.slow

PASSWORD = "planted-" + secrets.token_urlsafe(16)
TOKEN = "planted-" + secrets.token_urlsafe(16)
SECRETS = [PASSWORD, TOKEN, base64.b64encode(f"admin:{PASSWORD}".encode()).decode()]
CHARTS = ["interval_reliability", "rank_ic_by_origin", "skill_by_month"]


@dataclass
class MlflowServer:
    """`mlflow server` with basic authentication, starting while the first tests run."""

    folder: Path
    lines: list[str] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        ini = self.folder / "auth.ini"
        ini.write_text(
            "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
            f"admin_password = {PASSWORD}\ndatabase_uri = sqlite:///{self.folder}/auth.db\n"
            "auth_cache_ttl_seconds = 60\n"  # hashing the password anew takes a while
        )
        options = {
            "--host": "127.0.0.1",
            "--port": str(self.port),
            "--workers": "1",
            "--backend-store-uri": f"sqlite:///{self.folder}/server.db",
            "--artifacts-destination": str(self.folder / "artifacts"),
        }
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
        self.process = subprocess.Popen(
            [*command, *(word for pair in options.items() for word in pair)],
            cwd=self.folder,
            env=os.environ
            | {
                "MLFLOW_AUTH_CONFIG_PATH": str(ini),
                "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.append(line)
            if "Application startup complete" in line:
                self.started.set()

    @property
    def uri(self) -> str:
        assert self.started.wait(120), "".join(self.lines)
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture(scope="module", autouse=True)
def mlflow_server(tmp_path_factory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def _no_server(monkeypatch) -> None:
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # wins over a developer's .env
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@dataclass
class Night:
    """A home that was trained once, and what that training handed to MLflow."""

    settings: Settings
    given: tuple
    logged: tracking.Logged
    outside: list[Path]

    def log(self, settings: Settings | None = None, **changes) -> tracking.Logged | None:
        """Log the training again, with changes to the trained model."""
        _, trained, tested, panel = self.given
        model = replace(trained, **changes)
        return tracking.log_training(settings or self.settings, model, tested, panel)


@pytest.fixture(scope="module")
def night(tmp_path_factory, mlflow_server) -> Night:
    root = tmp_path_factory.mktemp("night")
    outside = [root / "cwd", root / "user"]
    for folder in outside:
        folder.mkdir()
    settings = load_settings(home=root / "data home")
    ingest(Store.from_settings(settings), delivery(market(30, 160, momentum=0.8)), settings)
    given, logged = [], []
    real = tracking.log_training

    def spy(*arguments):
        given.extend(arguments)
        logged.append(real(*arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")
        patch.setenv("HOME", str(outside[1]))
        patch.chdir(outside[0])
        patch.setattr(tracking, "log_training", spy)
        nightly.train(settings)
    return Night(settings, tuple(given), logged[0], outside)


@pytest.fixture(scope="module")
def second_home(night, tmp_path_factory) -> Settings:
    """A home with the same models and no MLflow of its own yet."""
    settings = load_settings(home=tmp_path_factory.mktemp("second"))
    shutil.copytree(night.settings.models_dir, settings.models_dir)
    return settings


def client(uri: str):
    from mlflow import MlflowClient

    return MlflowClient(uri, registry_uri=uri)


def local(settings: Settings):
    return client(f"sqlite:///{settings.home}/mlflow.db")


def champion(store) -> str:
    return str(store.get_model_version_by_alias(REGISTERED, CHAMPION).version)


def path_of(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def assert_no_secret(home: Path, *said: str) -> None:
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) > 3
    for secret in SECRETS:
        assert not [path for path in files if secret.encode() in path.read_bytes()]
        assert not [text for text in said if secret in text]


def test_a_training_is_logged_in_the_data_home(night):
    store = local(night.settings)
    run = store.get_run(night.logged.run_id)
    _, trained, _, panel = night.given
    assert run.info.status == "FINISHED"
    assert run.data.params["as_of"] == trained.as_of
    assert run.data.params["data_version"] == str(trained.data_version)
    assert run.data.params["sources"] == "file"
    assert run.data.params["seed"] == "7"
    assert run.data.params["horizons"] == ", ".join(map(str, trained.model.horizons))
    assert run.data.params["cards"] == str(len(panel.card_ids))
    assert run.data.tags["code_version"] == trained.code_version
    assert run.data.tags["simulated"] == "false"
    row = trained.score(7)
    for name in ("rmae", "rmae_low", "rmae_high", "coverage", "rank_ic"):
        assert run.data.metrics[f"{name}_7"] == pytest.approx(row[name])
    assert run.data.metrics["baseline_rmae_7"] == pytest.approx(
        trained.score(7, "baseline")["rmae"]
    )
    assert run.data.metrics["naive_rmae_7"] == 1


def test_score_table_and_charts_are_artifacts(night):
    run = local(night.settings).get_run(night.logged.run_id)
    folder = night.settings.home / "mlruns" / night.logged.run_id / "artifacts"
    assert not list((night.settings.home / "mlruns").rglob("backtest.parquet"))  # read by nobody
    assert run.info.artifact_uri == folder.as_uri()
    table = json.loads((folder / "scores.json").read_text())
    assert len(table) == len(night.given[1].scores)
    assert "baseline" in (folder / "scores.html").read_text()
    drawn = sorted(folder.glob("*.png"))
    assert {path.stem for path in drawn} >= {*CHARTS}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_charts_hold_what_the_metrics_say(night):
    _, trained, past, _ = night.given
    axes = scores.calibration(past, ax=Figure().subplots())
    coverage = trained.score(7)["coverage"]
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    fifths = lines[f"7 days: {percent(coverage)} inside"]
    assert len(fifths) == 5
    assert fifths.mean() == pytest.approx(coverage, abs=0.005)  # fifths differ by one forecast
    _, ic = scores.rank_ic(past, ax=Figure().subplots()).get_lines()
    assert pd.Series(ic.get_xdata()).diff().dropna().min() >= pd.Timedelta(days=1)
    assert ic.get_ydata().mean() == pytest.approx(trained.score(7)["rank_ic"], abs=0.1)


def test_the_model_is_registered_with_signature_example_and_verdict(night):
    from mlflow.models import Model

    store = local(night.settings)
    version = store.get_model_version(REGISTERED, night.logged.version)
    _, trained, _, _ = night.given
    assert version.run_id == night.logged.run_id
    assert version.tags["model"] == trained.name
    assert version.description == f"Gate passed: {'; '.join(trained.verdict.reasons)}"
    folder = path_of(version.source)
    about = Model.load(str(folder / "MLmodel"))
    assert about.signature.inputs.input_names()[:3] == NEEDED
    assert about.signature.outputs.input_names() == FORECAST_COLUMNS
    assert about.load_input_example(str(folder)).columns.tolist() == NEEDED
    assert "scikit-learn==" in (folder / "requirements.txt").read_text()
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} & {
        ".pkl",
        ".pickle",
        ".joblib",
    } == set()


def test_nothing_is_written_outside_the_home(night):
    assert [path for folder in night.outside for path in folder.rglob("*")] == []
    assert not list(night.settings.home.glob(".tracking-*"))


LOAD = """
import sys
import mlflow
import pandas as pd
uri = "models:/pokewatch-fair-value@champion"
rows = pd.read_parquet(sys.argv[1])
model = mlflow.pyfunc.load_model(uri)
model.predict(rows).to_parquet(sys.argv[2])
model.predict(rows, params={"horizons": [7]}).to_parquet(sys.argv[3])
# Libraries may unpickle when they are first imported; what the model does shows the second time.
unpickled = []
sys.addaudithook(lambda event, args: unpickled.append(args) if "pickle.find" in event else None)
mlflow.pyfunc.load_model(uri).predict(rows)
assert not unpickled, unpickled
import pickle
pickle.loads(pickle.dumps(model.metadata.get_model_info))
assert unpickled
"""


def test_a_fresh_process_loads_the_champion_without_unpickling(night, tmp_path):
    _, trained, _, panel = night.given
    files = [tmp_path / name for name in ("rows.parquet", "all.parquet", "week.parquet")]
    columns = [*NEEDED, "low_price", "mid_price", "volume"]
    prices = Store.from_settings(night.settings).prices(columns)
    prices.to_parquet(files[0])
    uri = f"sqlite:///{night.settings.home}/mlflow.db"
    subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, files)],
        check=True,
        cwd=night.outside[0],
        env=os.environ | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    expected = trained.model.predict(panel)[FORECAST_COLUMNS]
    pd.testing.assert_frame_equal(pd.read_parquet(files[1]), expected, check_dtype=False)
    assert set(pd.read_parquet(files[2])["horizon"]) == {7}


def test_the_alias_moves_only_through_the_gate(night):
    store = local(night.settings)
    before = champion(store)
    refused = night.log(verdict=GateVerdict(False, ["worse than the champion"]))
    version = store.get_model_version(REGISTERED, refused.version)
    assert version.tags["verdict"] == "refused"
    assert version.description == "Gate refused: worse than the champion"
    assert champion(store) == before
    passed = night.log(verdict=GateVerdict(True, ["better"]))
    assert champion(store) == passed.version


def test_a_simulated_market_says_so_and_never_replaces_a_real_champion(night):
    store = local(night.settings)
    logged = night.log(sources=["simulated"])
    run = store.get_run(logged.run_id)
    assert run.data.tags["simulated"] == "true"
    assert "simulated" in run.info.run_name
    assert store.get_model_version(REGISTERED, logged.version).tags["simulated"] == "true"
    assert champion(store) != logged.version


def test_a_copied_home_does_not_write_into_the_first(night, tmp_path):
    copy = load_settings(home=tmp_path / "copy")
    shutil.copytree(night.settings.home, copy.home)
    before = sorted(night.settings.home.rglob("*"))
    logged = night.log(copy)
    assert (copy.home / "mlruns" / logged.run_id / "artifacts" / "scores.json").exists()
    assert sorted(night.settings.home.rglob("*")) == before


def test_a_damaged_store_costs_a_warning_and_not_the_training(night, tmp_path, caplog):
    broken = load_settings(home=tmp_path)
    shutil.copytree(night.settings.models_dir, broken.models_dir)
    (tmp_path / "mlflow.db").write_text("no database" * 100)
    assert night.log(broken) is None
    assert len(warnings(caplog)) == 1
    assert "mlflow.db" in warnings(caplog)[0]


def test_an_older_server_gets_the_model_with_the_run(night, monkeypatch):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def missing(*_, **__):
        error = MlflowException("no such endpoint")
        error.error_code = "ENDPOINT_NOT_FOUND"
        raise error

    monkeypatch.setattr(MlflowClient, "create_logged_model", missing)
    logged = night.log()
    version = local(night.settings).get_model_version(REGISTERED, logged.version)
    assert (path_of(version.source) / "MLmodel").exists()
    monkeypatch.setattr(MlflowClient, "create_registered_model", missing)
    assert night.log().version is None


def test_a_server_that_answers_5xx_is_replaced(night, second_home, monkeypatch, caplog, httpserver):
    httpserver.expect_request("/", method="GET")
    httpserver.no_handler_status_code = 503
    uri = httpserver.url_for("").rstrip("/")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    logged = night.log(second_home)
    assert logged.uri == str(second_home.home / "mlflow.db")
    assert warnings(caplog) == [
        f"MLflow server '{uri}' answered 503: see its log, or unset MLFLOW_TRACKING_URI; "
        f"logged in '{second_home.home}/mlflow.db' instead"
    ]


def test_a_silent_server_is_given_up_soon(night, second_home, monkeypatch, caplog):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        assert night.log(second_home).uri.endswith("mlflow.db")
    assert "cannot be reached (timed out)" in warnings(caplog)[0]
    assert len(warnings(caplog)) == 1


def test_a_wrong_password_falls_back_and_says_so(
    night, second_home, mlflow_server, monkeypatch, caplog, capfd
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD + "-wrong")
    logged = night.log(second_home)
    assert logged.uri.endswith("mlflow.db")
    assert local(second_home).get_run(logged.run_id).info.status == "FINISHED"
    (said,) = warnings(caplog)
    assert said.startswith(f"MLflow server '{mlflow_server.uri}' refused the credentials (401)")
    assert "MLFLOW_TRACKING_PASSWORD" in said
    assert_no_secret(second_home.home, caplog.text, *capfd.readouterr())


def test_a_wrong_token_falls_back_and_stays_secret(
    night, second_home, mlflow_server, monkeypatch, caplog, capfd
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    assert night.log(second_home).uri.endswith("mlflow.db")
    assert len(warnings(caplog)) == 1
    assert_no_secret(second_home.home, caplog.text, *capfd.readouterr())


@pytest.fixture
def with_password(mlflow_server, monkeypatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    return mlflow_server.uri


def test_a_server_with_credentials_gets_everything(
    night, second_home, with_password, caplog, capfd
):
    caplog.set_level(logging.INFO)
    before = dict(os.environ)
    runs = sorted((second_home.home / "mlruns").glob("*"))
    logged = night.log(second_home)
    assert logged.uri == with_password
    assert dict(os.environ) == before
    assert sorted((second_home.home / "mlruns").glob("*")) == runs
    server = client(with_password)
    assert server.get_run(logged.run_id).info.status == "FINISHED"
    assert {item.path for item in server.list_artifacts(logged.run_id)} >= {
        "scores.json",
        "scores.html",
        "skill_by_month.png",
    }
    assert champion(server) == logged.version
    (output,) = server.get_run(logged.run_id).outputs.model_outputs
    assert output.model_id in server.get_model_version(REGISTERED, logged.version).source
    paths = {item.path for item in server.list_logged_model_artifacts(output.model_id)}
    assert {"MLmodel", "data", "input_example.json"} <= paths
    assert warnings(caplog) == []
    assert_no_secret(second_home.home, caplog.text, *capfd.readouterr())


def test_credentials_in_the_address_work_and_are_not_shown(
    night, second_home, mlflow_server, monkeypatch, caplog, capfd
):
    caplog.set_level(logging.INFO)
    address = mlflow_server.uri.replace("http://", f"http://admin:{PASSWORD}@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    logged = night.log(second_home)
    assert logged.uri == mlflow_server.uri
    assert mlflow_server.uri in caplog.text
    assert_no_secret(second_home.home, caplog.text, *capfd.readouterr())


@pytest.mark.parametrize(
    ("uri", "shown", "address"),
    [
        ("https://u:p%40@a.org/x.mlflow", "https://a.org/x.mlflow", "https://a.org/x.mlflow"),
        ("https://u:p/q@a.org/x?token=t", "https://a.org/x", None),
        ("postgresql://u:p@a.org/x", "postgresql://a.org/x", "postgresql://u:p@a.org/x"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
    ],
)
def test_an_address_is_shown_without_credentials(uri, shown, address):
    server = tracking.Server(uri=uri)
    assert server.shown == shown
    assert address in (None, server.address)


def test_credentials_come_from_the_env_file_too(tmp_path):
    file = tmp_path / ".env"
    file.write_text(f"MLFLOW_TRACKING_USERNAME=admin\nMLFLOW_TRACKING_PASSWORD={PASSWORD}\n")
    server = tracking.Server(_env_file=file)
    assert server.variables() == {
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    }
    assert PASSWORD not in repr(server)


def test_a_server_that_dies_on_the_way_falls_back(
    night, second_home, mlflow_server, with_password, monkeypatch, caplog, capfd
):
    real = tracking.write_artifacts

    def killing(*arguments):
        mlflow_server.kill()
        real(*arguments)

    monkeypatch.setattr(tracking, "write_artifacts", killing)
    logged = night.log(second_home)
    assert logged.uri.endswith("mlflow.db")
    assert local(second_home).get_run(logged.run_id).info.status == "FINISHED"
    (said,) = warnings(caplog)
    assert said.startswith(f"MLflow server '{with_password}' cannot be reached")
    caplog.clear()
    assert night.log(second_home).uri.endswith("mlflow.db")  # and it is still away
    (said,) = warnings(caplog)
    assert (
        "cannot be reached (Connection refused): start it, or correct MLFLOW_TRACKING_URI" in said
    )
    assert_no_secret(second_home.home, said, caplog.text, *capfd.readouterr())
