"""The command that finds cards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from pokewatch.cli import options
from pokewatch.cli.options import settings
from pokewatch.cli.rendering import show
from pokewatch.errors import UsageError

app = Typer()


@app.command()
def cards(
    text: Annotated[
        list[str] | None,
        Argument(help="Words of an id, alias, name or set; with --remove: alias [CARD]."),
    ] = None,
    names: Annotated[
        Path | None,
        Option(metavar="FILE", help="Add a file's names and aliases to the known cards."),
    ] = None,
    remove: Annotated[
        str | None,
        Option(
            metavar="ALIAS", help="'cards alias --remove ALIAS [CARD]': take it from its cards."
        ),
    ] = None,
    json: options.JsonFlag = False,
) -> None:
    """List or search cards: id, aliases, name, set, printing, last price."""
    from pokewatch.analysis.market import list_cards

    if names is not None or remove is not None:
        from pokewatch.cards.import_names import add_names, remove_alias

    words = text or []
    if names is not None and (words or remove is not None):
        raise UsageError("--names takes no words and no --remove: give them a command of their own")
    if remove is not None:
        if words[:1] != ["alias"] or len(words) > 2:
            raise UsageError("--remove takes an alias: pokewatch cards alias --remove ALIAS [CARD]")
        show(remove_alias(settings(), remove, *words[1:]), json)
    elif names is not None:
        show(add_names(settings(), names), json)
    else:
        show(list_cards(settings(), " ".join(words) or None), json, money=options.money())
