from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from pokewatch.settings import PROJECT

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
# The import that once hid failing cells from nbval comes first in every canary.
IMPORTS = "import pokewatch.operations.zenml_env, zenml"


def nbval(path: Path) -> subprocess.CompletedProcess[str]:
    """Test a notebook the way `make test` does."""
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    exported = dict(re.findall(r"^export (\w+) := (\w+)$", makefile, re.M))
    command = [sys.executable, "-m", "pytest", "-p", "no:fugue_test", "-p", "no:cacheprovider"]
    options = ["--nbval", "--nbval-current-env", "--nbval-sanitize-with"]
    sanitize = str(PROJECT / "tests" / "nbval_sanitize.cfg")
    return subprocess.run(
        [*command, *options, sanitize, "-o", "addopts=", str(path)],
        cwd=path.parent,
        env=os.environ | exported,
        capture_output=True,
        text=True,
        check=False,
    )


def canary(path: Path, source: str, stored: str) -> Path:
    text = {"output_type": "stream", "name": "stdout", "text": stored}
    first = new_code_cell(IMPORTS, execution_count=1)
    second = new_code_cell(source, execution_count=2, outputs=[nbformat.from_dict(text)])
    nbformat.write(new_notebook(cells=[first, second], metadata=KERNEL), path)
    return path


@pytest.mark.parametrize(
    ("source", "stored", "fails"),
    [
        ("print('rMAE 0.93, in 2.5 s')", "rMAE 0.93, in 7.1 s\n", False),
        ("print('rMAE 0.94')", "rMAE 0.93\n", True),
        ("print('rMAE 0.93'); raise ValueError('broken')", "rMAE 0.93\n", True),
    ],
    ids=["same figures pass", "a changed number fails", "a raising cell fails"],
)
def test_canary(tmp_path, source, stored, fails):
    done = nbval(canary(tmp_path / "canary.ipynb", source, stored))
    assert done.returncode == (1 if fails else 0), done.stdout + done.stderr
    assert ("1 failed, 1 passed" if fails else "2 passed") in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestCommitted:
    def test_holds_the_outputs_it_is_compared_with(self, path):
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        counts = [cell.execution_count for cell in cells if cell.source.strip()]
        assert counts == list(range(1, len(counts) + 1))
        assert any(cell.outputs for cell in cells)
        assert not [out for cell in cells for out in cell.outputs if out.output_type == "error"]

    def test_names_nobody_s_folders(self, path):
        text = path.read_text(encoding="utf-8")
        assert str(PROJECT) not in text
        assert not re.search(r"/(home|root|tmp|Users)/\w", text)

    def test_begins_with_a_title_and_typed_parameters(self, path):
        first = nbformat.read(path, 4).cells[0]
        assert first.cell_type == "markdown"
        assert first.source.startswith("# ")
        for name, about in papermill.inspect_notebook(str(path)).items():
            assert about["inferred_type_name"] in {"str", "int", "float", "bool"}, name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_nothing_past_the_facade(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for node in (node for cell in cells for node in ast.walk(ast.parse(cell.source))):
        if isinstance(node, ast.Import):
            assert all(not name.name.startswith("pokewatch.") for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] != "pokewatch"


def test_an_error_of_ours_is_one_line_in_a_notebook(tmp_path):
    code = (
        "from IPython.core.interactiveshell import InteractiveShell as Shell\n"
        "Shell.instance().run_cell('import pokewatch as pw; pw.market()')"
    )
    env = os.environ | {"POKEWATCH_HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "UsageError: no prices are stored: run 'pokewatch collect' first\n"
