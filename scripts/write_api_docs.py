"""Write docs/api.md from the signatures and docstrings of what `import pokewatch as pw` offers."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pokewatch as pw

PATH = Path(__file__).resolve().parent.parent / "docs" / "api.md"
HEAD = """# `import pokewatch as pw`

Frames in, frames or matplotlib Axes out; all of it runs the code that the nightly run uses. Every
docstring has a runnable example: `help(pw.market)`. Days are written YYYY-MM-DD, prices are USD,
changes are fractions, horizons are days ahead. `frame.attrs["simulated"]` tells simulated prices.
This page is made by `scripts/write_api_docs.py`.
"""


def signature(thing: Any) -> str:
    """Return the parameters with their defaults, and what is returned; types are in ``help``."""
    made = inspect.signature(thing)
    bare = [
        each.replace(annotation=inspect.Parameter.empty)
        for name, each in made.parameters.items()
        if name != "self"
    ]
    returns = str(made.return_annotation).strip("'").replace("pd.", "")
    return f"{inspect.Signature(bare)} -> {returns}"


def first_line(thing: Any) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(thing) or "").splitlines()[0]


def row(name: str, thing: Any) -> str:
    """Return one line of a list: name, signature, what it does."""
    if isinstance(thing, property) or not callable(thing):
        return f"- `{name}`: {first_line(thing)}"
    return f"- `{name}{signature(thing)}`: {first_line(thing)}"


def members(kind: type) -> list[str]:
    """Return a line for each public property and method of a class, in the order written."""
    lines = []
    for name, thing in vars(kind).items():
        made = isinstance(thing, property) or inspect.isfunction(thing) or hasattr(thing, "func")
        if not name.startswith("_") and made:
            lines.append(row(name, thing))
    return lines


def public(module: ModuleType) -> dict[str, Any]:
    """Return the functions that a module offers, by name."""
    names = getattr(module, "__all__", None) or [
        name
        for name, thing in vars(module).items()
        if getattr(thing, "__module__", "") == module.__name__
    ]
    found = {name: getattr(module, name) for name in names if not name.startswith("_")}
    return {name: thing for name, thing in found.items() if inspect.isfunction(thing)}


def page() -> str:
    """Return the page's text."""
    offered = {name: getattr(pw, name) for name in pw.__all__}
    functions = [
        row(f"pw.{name}", thing) for name, thing in offered.items() if inspect.isfunction(thing)
    ]
    parts = [HEAD, "## Functions\n", "\n".join(functions) + "\n"]
    for name, thing in offered.items():
        if inspect.isclass(thing):
            parts += [
                f"## `pw.{name}`\n",
                first_line(thing) + "\n",
                "\n".join(members(thing)) + "\n",
            ]
    for name, thing in offered.items():
        if isinstance(thing, ModuleType):
            lines = [row(f"pw.{name}.{each}", found) for each, found in public(thing).items()]
            parts += [f"## `pw.{name}`\n", first_line(thing) + "\n", "\n".join(lines) + "\n"]
    return "\n".join(parts)


def main() -> int:
    """Write the page; returns the exit code."""
    PATH.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
