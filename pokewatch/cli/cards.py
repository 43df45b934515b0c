"""The command that finds cards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from pokewatch.cli import options
from pokewatch.cli.options import settings
from pokewatch.cli.rendering import show

app = Typer()


@app.command()
def cards(
    text: Annotated[str | None, Argument(help="Words of an id, alias, name or set.")] = None,
    names: Annotated[
        Path | None,
        Option(metavar="FILE", help="Add a file's names and aliases to the known cards."),
    ] = None,
    json: options.JsonFlag = False,
) -> None:
    """List or search cards: id, aliases, name, set, printing, last price."""
    from pokewatch.analysis.market import list_cards
    from pokewatch.cards.import_names import add_names

    if names is not None:
        show(add_names(settings(), names), json)
    else:
        show(list_cards(settings(), text), json)
