"""The project's notebooks, run through papermill with checked parameters."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from pydantic import SecretStr
from traitlets.config import Config

from pokewatch.errors import PokewatchError, UsageError
from pokewatch.files import atomic_write
from pokewatch.settings import PROJECT, Settings

NOTEBOOKS = PROJECT / "notebooks"
LONGEST_SOCKET_FOLDER = 70  # characters; a Unix socket's path holds about 100
FREE_SPACE = "check free space and permissions of the home and TMPDIR, then run it again"
TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


def run_notebook(
    settings: Settings, name: str, parameters: dict[str, Any], progress: bool = False
) -> Path:
    """Run one of the project's notebooks; returns the executed copy in ``reports/notebooks``.

    parameters: values, or their text as typed by a person. Raises UsageError for a notebook or
    a parameter that does not exist and for a value of another type, before anything runs.
    """
    checked = check_parameters(name, parameters)
    target = settings.reports_dir / "notebooks" / f"{name}.ipynb"
    execute(settings, name, checked, target, progress)
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


def check_parameters(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters with the types that the notebook's ``parameters`` cell declares."""
    known = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
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


def execute(
    settings: Settings, name: str, parameters: dict[str, Any], target: Path, progress: bool = False
) -> None:
    """Run a notebook into ``target``, which is replaced only when all went well.

    parameters: as ``check_parameters`` returns them. Raises PokewatchError with the cause where the
    notebook fails; it is kept beside the target, its name ending in .failed.ipynb, then.
    """
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
        executed = Path(folder) / target.name
        short = os.name == "posix" and len(folder) < LONGEST_SOCKET_FOLDER
        kernel = {"transport": "ipc" if short else "tcp"}
        kernel["connection_file"] = f"{folder}/kernel.json"
        manager = type("Kernel", (SameInterpreter,), {"extra_env": _environment(settings, folder)})
        cause = ""
        try:
            papermill.execute_notebook(
                source,
                executed,
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
        except Exception as error:  # a kernel dies in many ways; each is the notebook's failure
            cause = f"{type(error).__name__}: {error}"
        if executed.exists():
            with atomic_write(failed if cause else target) as file:
                file.write_bytes(executed.read_bytes())
        if not cause:
            failed.unlink(missing_ok=True)
            return
        plain = re.sub(r"\x1b\[[0-9;]*m", "", cause).strip()[:500]  # without terminal colours
        where = f"; the notebook with the error is '{failed}'" if executed.exists() else ""
        raise PokewatchError(f"notebook '{name}' failed: {plain}{where}")


class SameInterpreter(AsyncKernelManager):
    """Starts the interpreter that runs this process, whatever kernels are registered."""

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
    secret = {name for name, value in settings if isinstance(value, SecretStr)}
    # A kernel reads these by itself, from the environment or .env.
    for name, value in settings.model_dump(mode="json", exclude=secret).items():
        out[f"POKEWATCH_{name.upper()}"] = value if isinstance(value, str) else json.dumps(value)
    return {name: value.replace("$", "$$") for name, value in out.items()}  # no substitution
