"""The pipeline's runs, as plain rows from ZenML's database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pokewatch.errors import UsageError
from pokewatch.evaluation import registry
from pokewatch.operations import zenml_env
from pokewatch.settings import Settings

if TYPE_CHECKING:  # ZenML takes seconds to import, and reads its environment then
    from zenml.client import Client
    from zenml.models import PipelineRunResponse

INCOMPLETE = "incomplete"  # metadata of the collecting step
PIPELINE = "pokewatch_training_pipeline"
SEARCHED = 50  # runs in which a result that is gone is looked for


def list_runs(settings: Settings, limit: int = 10) -> list[dict[str, Any]]:
    """Return the last runs, the newest first, each as ``show_run`` does."""
    if not (zenml_env.folder(settings) / "config").exists():
        return []
    found = _client(settings).list_pipeline_runs(pipeline=PIPELINE, size=limit, hydrate=True)
    return [row(run) for run in found.items]


def show_run(settings: Settings, name: str) -> dict[str, Any]:
    """Return one run by its id, the beginning of it, or its name; UsageError for an unknown one.

    Keys: pipeline, run, name, status, started (ISO, UTC), seconds, data_version, model, report,
    metrics (the 7-day row of the score table), steps (name, status, seconds, error).
    """
    if (zenml_env.folder(settings) / "config").exists():
        try:
            return row(_client(settings).get_pipeline_run(name))
        except (KeyError, ValueError):  # unknown, or the beginning of several
            pass
    known = ", ".join(one["run"][:8] for one in list_runs(settings, 5)) or "none yet"
    raise UsageError(f"no single run '{name}': the last ones are {known}")


def row(run: PipelineRunResponse) -> dict[str, Any]:
    """Return a run as plain values."""
    steps = sorted(run.steps.values(), key=lambda step: step.start_time or step.created)
    started = run.start_time or run.created
    return {
        "pipeline": run.pipeline.name if run.pipeline else PIPELINE,
        "run": str(run.id),
        "name": run.name,
        "status": run.status.value,
        "started": started.isoformat(timespec="seconds"),
        "seconds": _seconds(started, run.end_time),
        "data_version": output(run, "collect_data_step", "data_version"),
        "model": output(run, "train_model_step", "model_name"),
        "verdict": output(run, "validate_model_step", "verdict"),
        "metrics": output(run, "train_model_step", "metrics"),
        "report": output(run, "report_step", "report_path"),
        "steps": [
            {
                "name": step.name,
                "status": step.status.value,
                "seconds": _seconds(step.start_time, step.end_time),
                "error": error_of(step)[1],
            }
            for step in steps
        ],
    }


def incomplete(run: PipelineRunResponse) -> str:
    """Return why a day is below the coverage floor, "" if it reaches it."""
    done = run.steps.get("collect_data_step")
    return str(done.run_metadata.get(INCOMPLETE, "")) if done is not None else ""


def output(run: PipelineRunResponse, step: str, name: str) -> Any:
    """Return the value of a step's output, None where there is none."""
    done = run.steps.get(step)
    if done is None or name not in done.outputs:
        return None
    try:
        return done.outputs[name][0].load()
    except (OSError, ValueError):  # its file was deleted from the artifact store
        return None


def error_of(step: Any) -> tuple[str, str | None]:
    """Return the name of the exception's class and the message of a failed step."""
    info = step.exception_info
    if info is None:
        return "", None
    kind = (info.source or "Exception").rpartition(".")[2]
    message = info.message or info.traceback.strip().splitlines()[-1]
    return kind, " ".join(message.split())[:500]


def lost(settings: Settings, data_version: int) -> list[str]:
    """Return models and reports that earlier runs at a data version made and that are gone."""
    found = _client(settings).list_pipeline_runs(pipeline=PIPELINE, size=SEARCHED, hydrate=True)
    same = [
        run.run_metadata
        for run in found.items
        if run.run_metadata.get("data_version") == data_version
    ]
    models = {str(metadata["model"]) for metadata in same if "model" in metadata}
    reports = {str(metadata["report"]) for metadata in same if "report" in metadata}
    kept = {path.name for path in settings.reports_dir.glob("*.html")}
    return sorted((models - set(registry.names(settings))) | (reports - kept))


def _client(settings: Settings) -> Client:
    zenml_env.prepare(settings)
    from zenml.client import Client

    return Client()


def _seconds(start: Any, end: Any) -> float | None:
    return round((end - start).total_seconds(), 1) if start and end else None
