"""Execute notebooks in place and keep their outputs, for `make notebooks`.

What may differ between two runs (tests/nbval_sanitize.cfg) changes no file: a notebook is written
again only where its source or an output that counts has changed.
"""

from __future__ import annotations

import configparser
import json
import re
import sys
from pathlib import Path

import nbformat

from pokewatch.report.notebooks import run_notebook
from pokewatch.settings import get_settings

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ("image/png", "image/svg+xml")


def rules() -> list[tuple[str, str]]:
    """Return the pairs of pattern and replacement that nbval is run with."""
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "tests" / "nbval_sanitize.cfg")
    return [(parser[name]["regex"], parser[name]["replace"]) for name in parser.sections()]


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a notebook without what only tells when and where it was executed."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        for name in ("papermill", "execution", "ExecuteTime"):
            cell.metadata.pop(name, None)
        cell.metadata["tags"] = list(cell.metadata.get("tags", []))
        if not cell.metadata["tags"]:
            del cell.metadata["tags"]
    return notebook


def essence(notebook: nbformat.NotebookNode) -> str:
    """Return what two executions must have in common, as text."""
    cells = []
    for cell in notebook.cells:
        outputs = []
        for output in cell.get("outputs", []):
            data = {k: v for k, v in output.get("data", {}).items() if k not in PICTURES}
            outputs.append([output["output_type"], output.get("text", ""), data])
        cells.append([cell.cell_type, cell.source, cell.get("metadata", {}), outputs])
    text = json.dumps(cells, sort_keys=True, ensure_ascii=False)
    for pattern, replacement in rules():
        text = re.sub(pattern, replacement, text)
    return text


def execute(path: Path) -> bool:
    """Execute a notebook; returns whether its file was written anew."""
    before = nbformat.read(path, as_version=4)
    after = clean(nbformat.read(run_notebook(get_settings(), path.stem, {}), as_version=4))
    if essence(before) == essence(after):
        return False
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(nbformat.writes(after) + "\n", encoding="utf-8")
    draft.replace(path)
    return True


def main(names: list[str]) -> int:
    """Execute the named notebooks (default: all); returns the exit code."""
    folder = ROOT / "notebooks"
    for path in [folder / f"{name}.ipynb" for name in names] or sorted(folder.glob("*.ipynb")):
        print(f"{path.name}: {'written' if execute(path) else 'as it was'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
