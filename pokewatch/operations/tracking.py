"""Every training in MLflow: the server of ``MLFLOW_TRACKING_URI``, or SQLite in the data home."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from pokewatch.evaluation import gate, track_record
from pokewatch.evaluation.registry import TrainedModel
from pokewatch.files import json_values
from pokewatch.models.panel import Panel
from pokewatch.operations import mlflow_model
from pokewatch.schema import MODEL, SIGNAL_HORIZON, SIMULATED
from pokewatch.settings import Settings

if TYPE_CHECKING:  # importing MLflow takes seconds: only a training pays for it
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

EXPERIMENT = "pokewatch"
PARAMS = {"seed", "fee", "good_move", "signal_lift", "stale_days", "jump_factor", "jump_floor"}
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
}
# Short for the first request, which shows whether a server answers; uploads may take longer.
FIRST_CONTACT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
AFTERWARDS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


class Server(BaseSettings):
    """Where MLflow is, with credentials: ``MLFLOW_TRACKING_*`` of the environment or ``.env``."""

    model_config = SettingsConfigDict(
        env_prefix="MLFLOW_TRACKING_", env_file=Settings.model_config["env_file"], extra="ignore"
    )

    uri: str = ""
    username: str = ""
    password: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")

    @property
    def web(self) -> bool:
        """Whether it is a server, and not a database that MLflow opens itself."""
        return self.uri.startswith(("http://", "https://"))

    @property
    def shown(self) -> str:
        """The address without anything that may be a credential, for people."""
        return re.sub(r"//.*@", "//", self.uri).partition("?")[0]

    @property
    def address(self) -> str:
        """The address for MLflow: a web server's goes without the credentials in it."""
        parts = urlsplit(self.uri)
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        return bare.geturl() if self.web else self.uri

    def variables(self) -> dict[str, str]:
        """Return what MLflow reads from the environment; credentials in the address move there."""
        parts = urlsplit(self.uri)
        values = {
            "USERNAME": unquote(parts.username or "") or self.username,
            "PASSWORD": unquote(parts.password or "") or self.password.get_secret_value(),
            "TOKEN": self.token.get_secret_value(),
        }
        return {f"MLFLOW_TRACKING_{name}": value for name, value in values.items() if value}


@dataclass(frozen=True)
class Logged:
    """Where a training went; version: of the registered model, None without a registry there."""

    run_id: str
    version: str | None
    uri: str


def log_training(
    settings: Settings, trained: TrainedModel, past: pd.DataFrame, panel: Panel
) -> Logged | None:
    """Log a saved training: parameters, scores, charts, model; move the alias if it passed.

    past: the model's walk-forward forecasts; panel: what it was fitted on.

    A server that is away or refuses is replaced by the local store, with one warning. Nothing is
    raised, since the training itself is saved; None where even the local store failed.
    """
    home = settings.home.resolve()
    local, artifacts = home / "mlflow.db", (home / "mlruns").as_uri()
    quiet = QUIET | _unless_set({"MPLCONFIGDIR": str(home / ".matplotlib")})
    first, afterwards = _unless_set(FIRST_CONTACT), _unless_set(AFTERWARDS)

    def log_to(
        uri: str, location: str | None, shown: str, credentials: Mapping[str, str]
    ) -> Logged:
        with _environment({**quiet, **credentials, **first}):
            from mlflow import MlflowClient

            client = MlflowClient(uri, registry_uri=uri)
            experiment = _experiment(client, location)
            os.environ.update(afterwards)
            run_id, version = _log(client, experiment, settings, trained, past, panel)
        log.info("MLflow: run %s, version %s of the model, in '%s'", run_id, version, shown)
        return Logged(run_id, version, shown)

    server = Server()
    if server.uri:
        try:
            location = None if server.web else artifacts
            return log_to(server.address, location, server.shown, server.variables())
        except Exception as error:  # whatever a server does, the night goes on
            log.warning("%s; logged in '%s' instead", _explain(error, server.shown), local)
    try:
        return log_to(f"sqlite:///{local}", artifacts, str(local), {})
    except Exception as error:  # a full disk or a damaged store must not cost the training either
        log.warning(
            "model '%s' is saved, but MLflow could not log it in '%s' (%s): mend or delete that "
            "file",
            *(trained.name, local, " ".join(repr(error).split())[:300]),
        )
        return None


def _unless_set(values: Mapping[str, str]) -> dict[str, str]:
    return {name: os.environ.get(name, value) for name, value in values.items()}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that MLflow reads; it and its HTTP client log errors only meanwhile."""
    before = {name: os.environ.get(name) for name in {*values, *AFTERWARDS}}
    levels = {name: logging.getLogger(name).level for name in ("mlflow", "alembic", "urllib3")}
    os.environ.update(values)
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name, value in before.items():  # and no other: threads may have set theirs meanwhile
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _explain(error: Exception, address: str) -> str:
    """Return what a server did and the remedy; nothing is quoted that could hold a secret."""
    text, start = str(error), f"MLflow server '{address}'"
    answer = re.search(r"(?:error code|too many) (\d{3})", text)
    status = answer[1] if answer else str(getattr(error, "get_http_status_code", str)())
    if status in ("401", "403"):
        names = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN)"
        return f"{start} refused the credentials ({status}): check {names}"
    if answer:
        return f"{start} answered {status}: see its log, or unset MLFLOW_TRACKING_URI"
    if "HTTP" in text and "Pool" in text:
        found = re.search(
            r"\[Errno -?\d+\] ([A-Za-z ]+)|(timed out|certificate verify failed)", text
        )
        why = next(filter(None, found.groups())) if found else "no answer"
        return f"{start} cannot be reached ({why}): start it, or correct MLFLOW_TRACKING_URI"
    return f"{start} failed ({type(error).__name__}): see its log, or unset MLFLOW_TRACKING_URI"


def _log(
    client: MlflowClient,
    experiment: str,
    settings: Settings,
    trained: TrainedModel,
    past: pd.DataFrame,
    panel: Panel,
) -> tuple[str, str | None]:
    """Log a training as a run of an experiment; return the run's id and the model's version."""
    from mlflow.entities import Metric, Param

    simulated = SIMULATED in trained.sources
    tags = {
        "simulated": str(simulated).lower(),
        "verdict": "passed" if trained.verdict.passed else "refused",
        "verdict_reasons": "; ".join(trained.verdict.reasons),
        "code_version": trained.code_version,
    }
    name = trained.name + " (simulated)" * simulated
    git = {"mlflow.source.git.commit": trained.code_version}
    run = client.create_run(experiment, tags=tags | git, run_name=name).info
    try:
        with tempfile.TemporaryDirectory(prefix=".tracking-", dir=settings.home) as temporary:
            folder = Path(temporary)
            model_id, place = mlflow_model.log_model(
                client, run, settings, trained, panel, tags, folder
            )
            now = int(time.time() * 1000)
            client.log_batch(
                run.run_id,
                [
                    Metric(key, value, now, 0, model_id)
                    for key, value in (flat(trained) | published(settings, panel)).items()
                ],
                [Param(key, value) for key, value in params(settings, trained, panel).items()],
            )
            write_artifacts(trained, past, folder / "artifacts")
            client.log_artifacts(run.run_id, str(folder / "artifacts"))
        version = mlflow_model.register(client, run.run_id, model_id, place, trained, tags)
    except Exception:
        with suppress(Exception):
            client.set_terminated(run.run_id, "FAILED")
        raise
    client.set_terminated(run.run_id)
    return run.run_id, version


def _experiment(client: MlflowClient, location: str | None) -> str:
    """Return the experiment's id; it is made where it is missing."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found and location and found.artifact_location != location:
        # The home was copied or moved: its new runs must not write into the old one.
        client.rename_experiment(found.experiment_id, f"{EXPERIMENT}-moved-{found.experiment_id}")
        found = None
    if not found:
        try:
            return client.create_experiment(EXPERIMENT, artifact_location=location)
        except MlflowException:
            found = client.get_experiment_by_name(EXPERIMENT)  # another training was quicker
            if not found:
                raise
    return found.experiment_id


def published(settings: Settings, panel: Panel) -> dict[str, float]:
    """Return how the forecasts of past nights turned out, as MLflow's metrics."""
    ended = track_record.live(settings, panel, SIGNAL_HORIZON, gate.RECENT)
    record = track_record.of_nights(ended)
    if record is None:
        return {}
    values = {f"live_{name}": float(value) for name, value in asdict(record).items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}


def params(settings: Settings, trained: TrainedModel, panel: Panel) -> dict[str, str]:
    """Return the settings that matter and the data, as MLflow's parameters."""
    values = settings.model_dump(include=PARAMS) | {
        "horizons": ", ".join(str(horizon) for horizon in trained.model.horizons),
        "as_of": trained.as_of,
        "data_version": trained.data_version,
        "sources": ", ".join(trained.sources),
        "cards": len(panel.card_ids),
        "days": len(panel.dates),
    }
    return {name: str(value) for name, value in values.items()}


def flat(trained: TrainedModel) -> dict[str, float]:
    """Return the score table as ``rmae_7``, ``baseline_rmae_7``, ...; unknown ones are left out."""
    return {
        f"{'' if row['model'] == MODEL else row['model'] + '_'}{name}_{row['horizon']}": value
        for row in trained.scores
        for name, value in row.items()
        if name != "horizon" and isinstance(value, int | float) and np.isfinite(value)
    }


def write_artifacts(trained: TrainedModel, past: pd.DataFrame, folder: Path) -> None:
    """Write the score table as JSON and HTML, and charts as PNG, into a new folder."""
    folder.mkdir()
    scores = json_values(trained.scores)
    (folder / "scores.json").write_text(json.dumps(scores, indent=1), encoding="utf-8")
    pd.DataFrame(scores).to_html(folder / "scores.html", index=False, float_format="%.4g")
    if len(past):
        from pokewatch.charts import scores as charts
        from pokewatch.charts.style import png

        past = past.copy(deep=False)
        past.attrs["simulated"] = SIMULATED in trained.sources
        png(charts.calibration, past, folder / "interval_reliability.png")
        png(charts.by_month, past, folder / "skill_by_month.png")
        png(charts.rank_ic, past, folder / "rank_ic_by_origin.png")
