"""Notebooks through papermill, and the nightly one as a single self-contained HTML file."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from pokewatch.errors import PokewatchError, UsageError
from pokewatch.files import atomic_write
from pokewatch.settings import PROJECT, Settings
from pokewatch.store.tables import Store

log = logging.getLogger(__name__)

REPORT = "04_nightly_report"
NOTEBOOKS = PROJECT / "notebooks"
ONLY_IN_NOTEBOOK = "notebook-only"  # tag of cells that the exported page leaves out
LONGEST_SOCKET_FOLDER = 70  # characters; a Unix socket's path holds about 100
FREE_SPACE = "check free space and permissions of the home and TMPDIR, then run it again"
TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


def write_report(
    settings: Settings,
    on: date | None = None,
    copy_to: Path | None = None,
    progress: bool = False,
) -> Path:
    """Write the report of a day (default: the newest) and return the HTML file's path.

    ``reports/`` gets YYYY-MM-DD.html, latest.html and the executed YYYY-MM-DD.ipynb, each replaced
    in one step and only when everything worked. Raises PokewatchError with the cause where the
    notebook fails; it stays as YYYY-MM-DD.failed.ipynb then.
    """
    if copy_to is not None and copy_to.is_dir():
        raise UsageError(f"--output '{copy_to}' is a folder: name a file in it")
    day = _last_day(settings, on)
    folder = settings.reports_dir
    target = folder / f"{day}.html"
    notebook = folder / f"{day}.ipynb"
    _execute(settings, REPORT, {"date": f"{day}"}, notebook, progress)
    page = to_html(notebook, f"PokeWatch report, {day}")
    newest = max(path.stem for path in [target, *folder.glob("????-??-??.html")])
    latest = [folder / "latest.html"] if newest == target.stem else []
    for path in (target, *latest, *([copy_to] if copy_to else [])):
        _write(path, page.encode())
    return target


def run_notebook(
    settings: Settings, name: str, parameters: dict[str, Any], progress: bool = False
) -> Path:
    """Run one of the project's notebooks; returns the executed copy in ``reports/notebooks``.

    parameters: values, or their text as typed by a person. Raises UsageError for a notebook or
    a parameter that does not exist and for a value of another type, before anything runs.
    """
    checked = check_parameters(name, parameters)
    target = settings.reports_dir / "notebooks" / f"{name}.ipynb"
    _execute(settings, name, checked, target, progress)
    return target


def parse_parameters(pairs: Sequence[str]) -> dict[str, str]:
    """Return ``["key=value"]`` as a dict of text; ``run_notebook`` gives the text its type."""
    parsed: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"parameter '{pair}' must read KEY=VALUE, as top=5")
        if key in parsed:
            raise UsageError(f"parameter '{key}' is named twice")
        parsed[key] = value
    return parsed


def notebook_names() -> list[str]:
    """Return the names of the project's notebooks."""
    return sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def check_parameters(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with the types that the notebook's ``parameters`` cell declares."""
    known = notebook_names()
    if name not in known:
        raise UsageError(f"unknown notebook '{name}': there are {', '.join(known) or 'none'}")
    declared = papermill.inspect_notebook(NOTEBOOKS / f"{name}.ipynb")
    checked: dict[str, Any] = {}
    for key, value in parameters.items():
        if key not in declared:
            takes = ", ".join(declared) or "none"
            raise UsageError(f"'{name}' has no parameter '{key}': it takes {takes}")
        kind = declared[key]["inferred_type_name"]
        if kind not in TYPES:
            raise UsageError(f"parameter '{key}' of '{name}' needs a type, as in '{key}: int = 1'")
        checked[key] = _typed(key, value, TYPES[kind])
    return checked


def _typed(key: str, value: Any, kind: type) -> Any:
    if isinstance(value, str) and kind is not str:
        with suppress(ValueError):  # text that is no such value fails the check below
            value = json.loads(value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise UsageError(f"parameter {key}={value!r} must be of type {kind.__name__}")
    return value


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


def _last_day(settings: Settings, on: date | None) -> date:
    """Return ``on`` or the newest day with a price; UsageError where there is none by then."""
    newest = Store.from_settings(settings).last_day(until=on)
    if newest is None:
        when = f" up to {on}" if on else ""
        raise UsageError(f"no prices are stored{when}: run 'pokewatch collect' first")
    return on or newest


class OwnKernel(AsyncKernelManager):
    """Starts the interpreter that runs us, whatever kernels are registered."""

    extra_env: dict[str, str] = {}  # noqa: RUF012 (traitlets reads annotated mutable defaults)

    @property
    def kernel_spec(self) -> KernelSpec:
        """What to start, with which environment."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, language="python", env=self.extra_env)


def _environment(settings: Settings, folder: str) -> dict[str, str]:
    """Return the variables that make a kernel see these settings and leave no trace."""
    out = {
        "ZENML_ENABLE_RICH_TRACEBACK": "false",
        "IPYTHONDIR": os.environ.get("IPYTHONDIR") or f"{folder}/ipython",
        "JUPYTER_RUNTIME_DIR": folder,
        # Kept, because finding the fonts anew takes seconds.
        "MPLCONFIGDIR": os.environ.get("MPLCONFIGDIR") or str(settings.home / "cache"),
    }
    # A kernel reads the address of Redis, which holds a password, by itself.
    for name, value in settings.model_dump(mode="json", exclude={"cache_url"}).items():
        out[f"POKEWATCH_{name.upper()}"] = value if isinstance(value, str) else json.dumps(value)
    return {name: value.replace("$", "$$") for name, value in out.items()}  # no substitution


def _execute(
    settings: Settings, name: str, parameters: dict[str, Any], target: Path, progress: bool
) -> None:
    """Run a notebook into ``target``; PokewatchError names the cause where it fails."""
    source = NOTEBOOKS / f"{name}.ipynb"
    settings.make_home()
    if not source.exists():
        raise PokewatchError(f"notebook '{source}' is missing: run from a checkout of the project")
    failed = target.with_suffix(".failed.ipynb")
    try:
        temporary = tempfile.TemporaryDirectory(prefix="pokewatch-")
    except OSError as error:
        raise PokewatchError(f"notebook '{name}' cannot be run: {error}; {FREE_SPACE}") from error
    with temporary as folder:
        draft = Path(folder) / target.name
        short = os.name == "posix" and len(folder) < LONGEST_SOCKET_FOLDER
        kernel = {"transport": "ipc" if short else "tcp"}
        kernel["connection_file"] = f"{folder}/kernel.json"
        manager = type("Kernel", (OwnKernel,), {"extra_env": _environment(settings, folder)})
        try:
            papermill.execute_notebook(
                source,
                draft,
                parameters,
                kernel_name="python3",
                progress_bar=progress,
                cwd=str(NOTEBOOKS),
                kernel_manager_class=manager,
                config=Config({"KernelManager": kernel}),
            )
        except PapermillExecutionError as error:
            cause = f"{error.ename}: {error.evalue}"
        except DeadKernelError:
            cause = "its kernel died, most often for want of memory: free some and run it again"
        except OSError as error:
            cause = f"{error}; {FREE_SPACE}"
        except Exception as error:  # a kernel dies in many ways; each is the report's failure
            cause = f"{type(error).__name__}: {error}"
        else:
            _write(target, draft.read_bytes())
            failed.unlink(missing_ok=True)
            return
        where = ""
        if draft.exists():
            _write(failed, draft.read_bytes())
            where = f"; the notebook with the error is '{failed}'"
        raise PokewatchError(f"notebook '{name}' failed: {_plain(cause)}{where}")


def _plain(text: str) -> str:
    """Return a message without terminal colours, its first lines only."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).strip()[:500]


def _write(path: Path, content: bytes) -> None:
    """Write a file complete or not at all."""
    with atomic_write(path) as part:
        part.write_bytes(content)
