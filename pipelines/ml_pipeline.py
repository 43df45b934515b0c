"""Do the night as a ZenML pipeline: collect, train, validate, promote, predict, report."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script, only this folder is on the path
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from pokewatch import errors
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.parallel import keep_freed_memory

EPILOG = "exit codes: 0 done, 1 failed, 2 the request was wrong, 3 a gate said no"


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options; a wrong one exits with 2."""
    parser = argparse.ArgumentParser(
        prog="ml_pipeline.py", description=__doc__, epilog=EPILOG, allow_abbrev=False
    )
    parser.add_argument("--source", default="", help="see 'pokewatch sources'")
    parser.add_argument("--path", type=Path, help="the file of source 'file'")
    parser.add_argument("--date", type=_day, metavar="YYYY-MM-DD", help="default: the newest")
    parser.add_argument(
        "--horizon", type=int, action="append", metavar="DAYS", help="repeatable; default: all"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="parallel processes")
    parser.add_argument("--retries", type=int, default=2, help="of a failed collection")
    parser.add_argument(
        "--retry-delay", type=int, default=20, metavar="SECONDS", help="before the first retry"
    )
    parser.add_argument("--no-cache", action="store_true", help="do every step anew")
    parser.add_argument(
        "--strict-gate", action="store_true", help="a gate that says no ends the run with exit 3"
    )
    options = parser.parse_args(arguments)
    if options.jobs < 1 or options.retries < 0 or options.retry_delay < 1:
        parser.error("--jobs and --retry-delay must be 1 or more, --retries 0 or more")
    return options


def _day(text: str) -> date:
    try:
        if len(text) != len("2026-01-31"):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no date: write YYYY-MM-DD") from error


def check(options: argparse.Namespace, source: str) -> None:
    """Raise UsageError for a request that cannot work, before anything is started."""
    from pokewatch.schema import HORIZONS
    from pokewatch.sources import SOURCES

    if source not in SOURCES:
        raise UsageError(f"unknown source '{source}': choose one of {', '.join(SOURCES)}")
    unknown = sorted(set(options.horizon or []) - set(HORIZONS))
    if unknown:
        listed = ", ".join(str(horizon) for horizon in HORIZONS)
        raise UsageError(f"--horizon {unknown[0]}: choose among {listed}")
    if (source == "file") != (options.path is not None):
        raise UsageError("source 'file' needs --path FILE, and only it takes one")
    if options.path is not None and not options.path.is_file():
        raise UsageError(f"--path '{options.path}' is no file")


def run(options: argparse.Namespace) -> int:
    """Run the pipeline, print what each step did; returns the exit code."""
    from pokewatch.settings import get_settings

    settings = get_settings()
    check(options, options.source or settings.source)
    from pipelines import stack

    for line in stack.ensure(settings):
        logging.getLogger("pokewatch.pipeline").info(line)
    from zenml.client import Client

    from pipelines.steps import pokewatch_training_pipeline
    from pokewatch.operations import runs

    name = f"night-{datetime.now(tz=UTC):%Y%m%d-%H%M%S-%f}"
    night = pokewatch_training_pipeline.with_options(run_name=name, **_configuration(options))
    trouble = ""
    try:
        night(
            source=options.source,
            path=str(options.path.resolve()) if options.path else "",
            on=options.date.isoformat() if options.date else "",
            strict=options.strict_gate,
            horizons=sorted(set(options.horizon or [])),
        )
    except Exception as error:  # ZenML wraps what a step raised; the cause is with the step
        trouble = f"{type(error).__name__}: {error}"
    try:
        made = Client().get_pipeline_run(name)
    except KeyError:
        raise PokewatchError(f"the pipeline did not start: {trouble}") from None
    show(runs.row(made))
    return conclude(made, trouble)


def _configuration(options: argparse.Namespace) -> dict[str, Any]:
    """Return what configures a run without being part of a step's cache key."""
    out: dict[str, Any] = {"extra": {"jobs": options.jobs}}
    if options.retries:
        retry = {"max_retries": options.retries, "delay": options.retry_delay, "backoff": 3}
        out["steps"] = {"collect_data_step": {"retry": retry}}
    if options.no_cache:
        out["enable_cache"] = False
    return out


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
    from pokewatch.operations import runs

    sys.stdout.flush()
    for step in made.steps.values():
        if step.status.value == "failed":
            kind, said = runs.error_of(step)
            known = getattr(errors, kind, PokewatchError)
            sys.stderr.write(f"error: {step.name} failed: {said or trouble}\n")
            return int(getattr(known, "exit_code", 1))
    written = runs.output(made, "report_step", "report_path")
    if trouble or written is None:
        sys.stderr.write(f"error: the run did not finish: {trouble or made.status.value}\n")
        return 1
    sys.stdout.write(f"{written}\n")
    if lacking := runs.incomplete(made):
        from pipelines import notify

        notify.send("PokeWatch: the day is incomplete", lacking, failed=True)
        sys.stdout.flush()
        sys.stderr.write(f"error: {lacking}\n")
        return errors.GateError.exit_code
    return 0


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    ours = logging.getLogger("pokewatch")
    ours.setLevel(logging.INFO)
    ours.addHandler(handler)
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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, _stopped)
    _log_to_stderr()
    try:
        return run(options)
    except PokewatchError as error:
        said, code = str(error), error.exit_code
    except Exception as error:
        if os.environ.get("POKEWATCH_DEBUG"):
            raise
        said, code = f"unexpected {type(error).__name__}: {error}", 1
    except KeyboardInterrupt:
        said, code = "interrupted: what was committed stays, run it again to go on", 1
    if code == 1:  # a failing step has told by itself already
        from pipelines import notify

        notify.send("PokeWatch: the night failed", said, failed=True)
    sys.stderr.write(f"error: {' '.join(said.split())}\n")
    return code


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main())
