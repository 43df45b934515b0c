"""The steps of a night and their order: each calls pokewatch and holds no logic of its own."""

import contextlib
import logging
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from zenml import Model, get_step_context, link_artifact_to_model, log_metadata, pipeline, step
from zenml.client import Client
from zenml.exceptions import EntityExistsError
from zenml.types import HTMLString

from pipelines import notify
from pokewatch.errors import GateError
from pokewatch.evaluation import gate, predictions, training
from pokewatch.files import json_values
from pokewatch.operations import night as nightly
from pokewatch.operations import runs, zenml_env
from pokewatch.operations.notify import check_targets
from pokewatch.report.page import write_report
from pokewatch.settings import get_settings

log = logging.getLogger("pokewatch.pipeline")

MODEL = "pokewatch-fair-value"


@step(enable_cache=False)
def collect_data_step(
    source: str, path: str, on: str
) -> tuple[Annotated[int, "data_version"], Annotated[str, "night"], Annotated[str, "page"]]:
    """Bring the day's prices into the store; return the data version and what to cache on."""
    settings = get_settings()
    counts = nightly.collect_night(
        settings, source or None, on=_day(on), path=Path(path) if path else None, jobs=_jobs()
    )
    _remember(data_version=counts.data_version)
    check_targets(settings, _day(on))  # here, because later steps may come from the cache
    kept = ("source", "received", "accepted", "quarantined", "unchanged", "data_version")
    log_metadata({name: getattr(counts, name) for name in kept})
    if counts.incomplete:
        log_metadata({runs.INCOMPLETE: counts.incomplete})
    night = f"{zenml_env.recipe(settings)}-v{counts.data_version}"
    if gone := runs.lost(settings, counts.data_version):
        log.warning("%s made by an earlier run: gone, so nothing is cached", ", ".join(gone))
        night += f"-{get_step_context().pipeline_run.id}"
    return counts.data_version, night, zenml_env.page_recipe(settings)


@step
def train_model_step(
    data_version: int, night: str, on: str
) -> tuple[
    Annotated[str, "model_name"],
    Annotated[dict[str, Any], "metrics"],
    Annotated[HTMLString, "score_table"],
]:
    """Fit and score a challenger; return its name and its 7-day walk-forward scores."""
    nightly.rehearse(get_settings(), _day(on), _jobs())
    trained = training.fit(get_settings(), _day(on), data_version, _jobs())
    _remember(model=trained.name)
    metrics = _known(trained.score(gate.GATE_HORIZON))
    log_metadata({"model": trained.name, "as_of": trained.as_of, **metrics})
    _new_version(trained.name, {"data_version": data_version, "as_of": trained.as_of, **metrics})
    return trained.name, metrics, HTMLString(pd.DataFrame(trained.scores).to_html(index=False))


@step
def validate_model_step(
    model_name: str, night: str, strict: bool
) -> Annotated[dict[str, Any], "verdict"]:
    """Return the gate's verdict with its reasons; strict: a no fails the run."""
    verdict = training.validate(get_settings(), model_name).verdict
    because = "; ".join(verdict.reasons)
    log_metadata({"passed": verdict.passed, "reasons": because})
    log.info("the gate says %s to '%s': %s", "yes" if verdict.passed else "no", model_name, because)
    if strict and not verdict.passed:
        raise GateError(f"'{model_name}' is no champion: {because}")
    return {"passed": verdict.passed, "reasons": because}


@step
def promote_model_step(
    model_name: str, verdict: dict[str, Any], night: str
) -> Annotated[bool, "promoted"]:
    """Make the model champion if the gate said yes; log the training to MLflow either way."""
    promoted = nightly.promote(get_settings(), model_name)
    _link_scores(model_name)
    if promoted:
        Client().update_model_version(MODEL, model_name, stage="production", force=True)
    log_metadata({"promoted": promoted, "reasons": verdict["reasons"]})
    return promoted


@step
def predict_step(
    data_version: int, promoted: bool, night: str, on: str, horizons: list[int]
) -> Annotated[dict[str, int], "signals"]:
    """Predict every card and keep it in the store; return how many cards each signal got."""
    predicted = nightly.predict(get_settings(), _day(on), horizons or None)
    signals = predictions.signal_counts(predicted)
    log_metadata({"cards": int(predicted["card_id"].nunique()), **signals})
    return signals


@step(on_success=notify.finished)
def report_step(
    signals: dict[str, int], night: str, page: str, on: str
) -> tuple[Annotated[str, "report_path"], Annotated[HTMLString, "report"]]:
    """Write the nightly report; return its path and the page."""
    written = write_report(get_settings(), _day(on))
    _remember(report=written.name)
    log_metadata({"report": str(written), **signals})
    return str(written), HTMLString(written.read_text(encoding="utf-8"))


@pipeline(name=runs.PIPELINE, enable_cache=True, on_failure=notify.failed)
def pokewatch_training_pipeline(
    source: str = "",
    path: str = "",
    on: str = "",
    strict: bool = False,
    horizons: list[int] = [],  # noqa: B006  (ZenML wants a plain value)
) -> None:
    """Do the whole night. Empty: the source of the settings, the newest day, every horizon."""
    data_version, night, page = collect_data_step(source, path, on)
    name, _, _ = train_model_step(data_version, night, on)
    verdict = validate_model_step(name, night, strict)
    promoted = promote_model_step(name, verdict, night)
    signals = predict_step(data_version, promoted, night, on, horizons)
    report_step(signals, night, page, on)


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def _jobs() -> int:
    return int(get_step_context().pipeline_run.config.extra.get("jobs", 1))


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in json_values(values).items() if value is not None}


def _remember(**values: Any) -> None:
    """Note on the run what ``runs.lost`` looks for."""
    log_metadata(metadata=values, run_id_name_or_prefix=get_step_context().pipeline_run.id)


def _new_version(name: str, about: dict[str, Any]) -> None:
    """Give ZenML's model a version of the trained model's name; trained again, it keeps it."""
    client = Client()
    with contextlib.suppress(EntityExistsError):
        client.create_model(MODEL, description="Fair value of every card, 80 % interval, signals")
    with contextlib.suppress(EntityExistsError):
        client.create_model_version(MODEL, name)
    log_metadata(metadata=about, model_name=MODEL, model_version=name)


def _link_scores(name: str) -> None:
    """Show what the training gave with ZenML's version of the model."""
    run = Client().get_pipeline_run(get_step_context().pipeline_run.id)
    outputs = run.steps["train_model_step"].outputs
    for output in ("metrics", "score_table"):
        link_artifact_to_model(outputs[output][0], Model(name=MODEL, version=name))
