"""The night as a ZenML pipeline, as cron and ``make run`` start it: its options and its output."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from typer import Exit, Option, Typer

if __name__ == "__main__":  # as a script, only this folder is on the path
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pokewatch import errors
from pokewatch.cli import options
from pokewatch.cli.main import execute, log_handler
from pokewatch.cli.rendering import printable
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.parallel import keep_freed_memory
from pokewatch.settings import Settings

# Without rich, whose boxes hide the cause: of a failed night the last line is what is passed on.
app = Typer(
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=options.HELP_OPTIONS,
)


@app.command(epilog="exit codes: 0 done, 1 failed, 2 the request was wrong, 3 a gate said no")
def main(
    source: Annotated[str, Option(help="See 'pokewatch sources'.")] = "",
    path: Annotated[Path | None, Option(help="The file of source 'file'.")] = None,
    date: options.DateOption = None,
    horizon: Annotated[
        list[int] | None, Option(metavar="DAYS", help="Repeatable; default: all.")
    ] = None,
    jobs: options.JobsOption = options.CORES,
    retries: Annotated[int, Option(min=0, help="Of a failed collection.")] = 2,
    retry_delay: Annotated[
        int, Option(min=1, metavar="SECONDS", help="Before the first retry.")
    ] = 20,
    no_cache: Annotated[bool, Option("--no-cache", help="Do every step anew.")] = False,
    strict_gate: Annotated[
        bool, Option("--strict-gate", help="A gate that says no ends the run with exit 3.")
    ] = False,
) -> None:
    """Do the night as a ZenML pipeline: collect, train, validate, promote, predict, report."""
    signal.signal(signal.SIGTERM, _stopped)
    _log_to_stderr()
    settings = options.settings()
    check(settings, source or settings.source, path, horizon or [])
    from pipelines import stack

    for line in stack.ensure(settings):
        logging.getLogger("pokewatch.pipeline").info(line)
    from zenml.client import Client

    from pipelines.steps import pokewatch_training_pipeline
    from pokewatch.operations import runs

    # What configures a run without being part of a step's cache key.
    configuration: dict[str, Any] = {"extra": {"jobs": jobs}}
    if retries:
        retry = {"max_retries": retries, "delay": retry_delay, "backoff": 3}
        configuration["steps"] = {"collect_data_step": {"retry": retry}}
    if no_cache:
        configuration["enable_cache"] = False
    name = f"night-{datetime.now(tz=UTC):%Y%m%d-%H%M%S-%f}"
    night = pokewatch_training_pipeline.with_options(run_name=name, **configuration)
    trouble = ""
    try:
        night(
            source=source,
            path=str(path.resolve()) if path else "",
            on=date.isoformat() if date else "",
            strict=strict_gate,
            horizons=sorted(set(horizon or [])),
        )
    except Exception as error:  # ZenML wraps what a step raised; the cause is with the step
        trouble = f"{type(error).__name__}: {error}"
    try:
        made = Client().get_pipeline_run(name)
    except KeyError:
        raise PokewatchError(f"the pipeline did not start: {trouble}") from None
    show(runs.row(made))
    raise Exit(conclude(made, trouble))


def check(settings: Settings, source: str, path: Path | None, horizons: list[int]) -> None:
    """Raise UsageError for a request that cannot work, before anything is started."""
    from pokewatch.operations.night import check_home
    from pokewatch.schema import HORIZONS
    from pokewatch.sources import SOURCES

    if source not in SOURCES:
        raise UsageError(f"unknown source '{source}': choose one of {', '.join(SOURCES)}")
    for unknown in sorted(set(horizons) - set(HORIZONS)):
        raise UsageError(f"--horizon {unknown}: choose among {', '.join(map(str, HORIZONS))}")
    if (source == "file") != (path is not None):
        raise UsageError("source 'file' needs --path FILE, and only it takes one")
    if path is not None and not path.is_file():
        raise UsageError(f"--path '{path}' is no file")
    check_home(settings, source)


def show(row: dict[str, Any]) -> None:
    """Print the run's id, then each step's status and seconds."""
    sys.stdout.write(f"run {row['run']}  {row['status']}\n")
    for step in row["steps"]:
        seconds = "" if step["seconds"] is None else f"{step['seconds']:8.1f} s"
        sys.stdout.write(f"{step['name']:20} {step['status']:10} {seconds}\n")
    if row["verdict"]:
        said = "passed" if row["verdict"]["passed"] else "no: the champion stays"
        sys.stdout.write(f"gate {said}; {row['verdict']['reasons']}\n")


def conclude(made: Any, trouble: str) -> int:
    """Print the report's path, or on the last line what failed; returns the exit code."""
    from pokewatch.evaluation import registry
    from pokewatch.operations import notify, runs
    from pokewatch.settings import get_settings

    sys.stdout.flush()
    for step in made.steps.values():
        if step.status.value == "failed":
            kind, said = runs.error_of(step)
            known = getattr(errors, kind, PokewatchError)
            sys.stderr.write(f"error: {step.name} failed: {printable(said or trouble)}\n")
            return int(getattr(known, "exit_code", 1))
    written = runs.output(made, "report_step", "report_path")
    if trouble or written is None:
        sys.stderr.write(f"error: the run did not finish: {trouble or made.status.value}\n")
        return 1
    sys.stdout.write(f"{written}\n")
    _, unusable = registry.try_champion(get_settings())
    lacking = runs.incomplete(made)
    notify.tell_trouble(unusable, lacking)
    for text in filter(None, (unusable, lacking)):
        sys.stdout.flush()
        sys.stderr.write(f"error: {text}\n")
    return errors.GateError.exit_code if unusable or lacking else 0


def _log_to_stderr() -> None:
    ours = logging.getLogger("pokewatch")
    ours.setLevel(logging.INFO)
    ours.addHandler(log_handler())
    ours.propagate = False  # ZenML's handler on the root would say everything twice


def _stopped(number: int, _frame: Any) -> None:
    """Say that the run was told to end: a time limit and an operator send SIGTERM."""
    said = f"stopped by {signal.Signals(number).name}: what was committed stays, run it again"
    # In a process of its own: this one may be in the middle of an import.
    code = "import sys; from pipelines import notify; notify.send(*sys.argv[1:], failed=True)"
    told = [sys.executable, "-c", code, "PokeWatch: the night failed", said]
    project = Path(__file__).resolve().parent.parent
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(told, cwd=project, timeout=45, check=False)  # noqa: S603 (our own code)
    sys.stderr.write(f"error: {said}\n")
    sys.stderr.flush()
    os._exit(1)  # a step's retry must not go on


def _failed(text: str) -> None:
    """Tell the recipients of the settings; a failing step has done so by itself already."""
    from pipelines import notify

    notify.send("PokeWatch: the night failed", text, failed=True)


if __name__ == "__main__":
    keep_freed_memory()
    execute(app, _failed)
