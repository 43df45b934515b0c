"""The command that makes a market of any size, to see how fast and how far PokeWatch goes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pokewatch.cli.commands import JsonFlag, day, on_terminal

scale = typer.Typer()


@scale.command()
def simulate(
    cards: Annotated[int, typer.Option(min=1, help="Price series.")],
    days: Annotated[int, typer.Option(min=1, help="Days of history.")],
    output: Annotated[Path, typer.Option(help="A new folder for the Parquet files.")],
    until: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Last day; default: today.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another market.")] = 7,
    json: JsonFlag = False,
) -> None:
    """Write an invented market of any size: Parquet files for 'collect --source file'."""
    from pokewatch.cli import rendering as out
    from pokewatch.sources.simulated import large

    said = large.write(output, cards, days, day(until, "--until"), seed, on_terminal())
    if json:
        out.show_json(said)
        return
    out.show_pairs(said)
    sys.stderr.write(f"store it with: pokewatch collect --source file --path {output}\n")
