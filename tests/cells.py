"""A notebook's cells run in this process: quick, where no kernel is what is tested."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path
from typing import Any

import nbformat
from matplotlib import pyplot as plt


def run_cells(path: Path, **parameters: Any) -> nbformat.NotebookNode:
    """Return the notebook with the outputs of its cells, each what its last expression shows."""
    content = nbformat.read(path, 4)
    space: dict[str, Any] = {}
    for cell in content.cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        cell.outputs = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(tree, path.name, "exec"), space)
            if "parameters" in cell.metadata.get("tags", []):
                space |= parameters
            if last is not None:
                shown = eval(compile(ast.Expression(last.value), path.name, "eval"), space)
                data = {"text/plain": repr(shown)}
                for kind in ("html", "markdown"):
                    if hasattr(shown, f"_repr_{kind}_"):
                        data[f"text/{kind}"] = getattr(shown, f"_repr_{kind}_")()
                output = {"output_type": "display_data", "data": data, "metadata": {}}
                cell.outputs = [nbformat.from_dict(output)]
    plt.close("all")
    return content
