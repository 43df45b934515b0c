"""The nightly report: its notebook run, and made one HTML file that loads nothing from outside."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import nbformat

from pokewatch.errors import UsageError
from pokewatch.files import atomic_write
from pokewatch.models.panel import check_ahead
from pokewatch.report.notebooks import execute
from pokewatch.settings import Settings
from pokewatch.store.tables import Store

REPORT = "04_nightly_report"
ONLY_IN_NOTEBOOK = "notebook-only"  # tag of cells that the exported page leaves out


def write_report(
    settings: Settings, on: date | None = None, copy_to: Path | None = None, progress: bool = False
) -> Path:
    """Write the report of a day (default: the newest) and return the HTML file's path.

    ``reports/`` gets YYYY-MM-DD.html, latest.html and the executed YYYY-MM-DD.ipynb, each replaced
    in one step and only when everything worked. Raises UsageError where no price is stored by then
    or the day lies far ahead, and PokewatchError with the cause where the notebook fails; it is
    kept as YYYY-MM-DD.failed.ipynb then.
    """
    if copy_to is not None and copy_to.is_dir():
        raise UsageError(f"--output '{copy_to}' is a folder: name a file in it")
    store = Store.from_settings(settings)
    newest = store.last_day()
    if newest is None or store.last_day(until=on) is None:
        when = f" up to {on}" if on else ""
        raise UsageError(f"no prices are stored{when}: run 'pokewatch collect' first")
    day, folder = on or newest, settings.reports_dir
    check_ahead(day, newest)
    target, notebook = folder / f"{day}.html", folder / f"{day}.ipynb"
    execute(settings, REPORT, {"date": f"{day}"}, notebook, progress)
    page = to_html(notebook, f"PokeWatch report, {day}")
    latest = folder / "latest.html"
    shown = [latest] if day >= newest or not latest.exists() else []
    for path in (target, *shown, *([copy_to] if copy_to else [])):
        with atomic_write(path) as file:
            file.write_bytes(page.encode())
    return target


def to_html(notebook: Path, title: str) -> str:
    """Return an executed notebook's outputs as one page that loads nothing from anywhere."""
    from markupsafe import Markup
    from nbconvert import HTMLExporter

    from pokewatch.report.script import table_script
    from pokewatch.report.templating import read_template, render

    content = nbformat.read(notebook, as_version=4)
    content.cells = [
        cell
        for cell in content.cells
        if ONLY_IN_NOTEBOOK not in cell.metadata.get("tags", []) and cell.cell_type != "raw"
    ]
    for cell in content.cells:
        if cell.cell_type == "code":  # what was logged stays in the notebook
            cell.outputs = [out for out in cell.outputs if out.output_type != "stream"]
    exporter = HTMLExporter(
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        mathjax_url="",
        require_js_url="",
    )
    body, _ = exporter.from_notebook_node(content)
    css = Markup(read_template("report.css"))  # noqa: S704 (a file of the package)
    script, script_hash = table_script()
    return render(
        "report_shell.html",
        title=title,
        css=css,
        body=Markup(body),  # noqa: S704 (nbconvert's HTML; our cells escape what they show)
        script=Markup(script),  # noqa: S704 (a file of the package)
        script_hash=script_hash,
    )
