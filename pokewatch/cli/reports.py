"""Commands about the night and what it wrote: run, runs, status, report and notebook."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from pokewatch.cli import options
from pokewatch.cli.options import settings
from pokewatch.cli.rendering import show
from pokewatch.errors import GateError

app = Typer()


@app.command()
def run(
    source: Annotated[str | None, Option(help="Where prices come from.")] = None,
    path: options.PathOption = None,
    date: options.DateOption = None,
    no_train: Annotated[
        bool, Option("--no-train", help="Forecast with the champion as it is.")
    ] = False,
    jobs: options.JobsOption = options.CORES,
    json: options.JsonFlag = False,
) -> None:
    """Do the whole night in one process: collect, train, predict, report."""
    from pokewatch.operations import night

    progress = sys.stderr.isatty()
    done = night.run(settings(), source, date, jobs, progress, path, training=not no_train)
    show(done, json, done["report"])
    if problems := [text for text in (done["champion_problem"], done["incomplete"]) if text]:
        raise GateError("; ".join(problems))


@app.command()
def runs(
    run: Annotated[
        str | None, Argument(metavar="ID", help="One run: its id, or the beginning of it.")
    ] = None,
    limit: Annotated[int, Option(min=1, help="How many runs to list.")] = 10,
    json: options.JsonFlag = False,
) -> None:
    """Show the pipeline's last runs, or one of them with its steps."""
    import pandas as pd

    from pokewatch.operations import runs as pipeline

    if run is None:
        listed = pipeline.list_runs(settings(), limit)
        names = ["run", "status", "started", "seconds", "data_version", "model"]
        nothing = "no run yet: start one with 'python pipelines/ml_pipeline.py'"
        show(listed, json, pd.DataFrame(listed)[names] if listed else nothing, limit=None)
        return
    found = pipeline.show_run(settings(), run)
    about = {key: value for key, value in found.items() if key != "steps"}
    show(found, json, about, pd.DataFrame(found["steps"]), limit=None)


@app.command()
def status(json: options.JsonFlag = False) -> None:
    """Show coverage, freshness, quarantine, data version and the champion's score."""
    from pokewatch.operations import status as states

    found = states.status(settings())
    show(found, json, {name.replace("_", " "): value for name, value in found.items()})


@app.command()
def report(
    date: options.DateOption = None,
    output: Annotated[Path | None, Option(help="Also copy the HTML file here.")] = None,
    json: options.JsonFlag = False,
) -> None:
    """Write the nightly report: one self-contained HTML file."""
    from pokewatch.report import page

    progress = sys.stderr.isatty()
    written = page.write_report(settings(), date, copy_to=output, progress=progress)
    show({"report": str(written), "latest": str(written.parent / "latest.html")}, json, written)


@app.command()
def notebook(
    name: Annotated[str, Argument(help="A notebook's name, as 04_nightly_report.")],
    parameter: Annotated[
        list[str] | None,
        Option("-p", "--parameter", metavar="KEY=VALUE", help="A parameter; repeat."),
    ] = None,
    json: options.JsonFlag = False,
) -> None:
    """Run a notebook through papermill, its parameters checked first."""
    from pokewatch.report import notebooks

    parameters = notebooks.parse_parameters(parameter or [])
    written = notebooks.run_notebook(settings(), name, parameters, progress=sys.stderr.isatty())
    show({"notebook": str(written)}, json, written)
