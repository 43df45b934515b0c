"""The command ``pokewatch sources``: a call into the package plus its printing."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pokewatch.cli.commands import JsonFlag
from pokewatch.settings import get_settings

sources = typer.Typer(add_completion=False)


@sources.command()
def list_sources(
    check: Annotated[
        bool, typer.Option("--check", help="Ask each service once whether it answers.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """List where prices come from: what each source needs and serves, and what came so far."""
    import pandas as pd

    from pokewatch.cli import rendering
    from pokewatch.cli.source_list import listed

    found = listed(get_settings(), check)
    if json:
        rendering.show_json(found)
        return
    table = pd.DataFrame(found)
    rendering.show_table(table[["source", "key", "rows", "newest", "currency", "history"]])
    for one in found:
        sys.stdout.write(f"\n{one['source']}: {one['serves']}\n  limits: {one['limits']}\n")
        if one["key"] == "missing":
            sys.stdout.write(f"  needs a key: set {one['key_setting']} in .env\n")
        if check:
            sys.stdout.write(f"  check: {one['check']}\n")
