"""The commands that keep an installation well: doctor, export and import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pokewatch.cli.commands import JsonFlag
from pokewatch.errors import PokewatchError
from pokewatch.settings import get_settings

care = typer.Typer(add_completion=False)


@care.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is safe to mend.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read every stored value.")] = False,
    json: JsonFlag = False,
) -> None:
    """Check home, tables, disk, clock, source, packages and models; say how to mend what is bad."""
    from pokewatch.cli import rendering
    from pokewatch.operations import doctor as checks

    settings = get_settings()
    found = checks.repair(settings, deep) if fix else checks.examine(settings, deep)
    bad = [one.name for one in found if one.state == "bad"]
    if json:
        rendering.show_json({"healthy": not bad, "checks": [one.as_dict() for one in found]})
    else:
        width = max(len(one.name) for one in found)
        for one in found:
            sys.stdout.write(f"{one.state:4}  {one.name:{width}}  {one.message}\n")
            for label, text in (("mend", one.remedy), ("did", one.done)):
                if text and (one.state != "ok" or label == "did"):
                    sys.stdout.write(f"{'':{width + 6}}  {label}: {text}\n")
    if bad:
        raise PokewatchError(f"{len(bad)} checks are bad: {', '.join(bad)}")


@care.command()
def export(
    file: Annotated[Path, typer.Argument(help="The archive to write, ending in .tar.")],
    json: JsonFlag = False,
) -> None:
    """Write prices, cards, quarantine, predictions, models and watchlist into one archive."""
    from pokewatch.cli import rendering
    from pokewatch.store import backup

    done = backup.export(get_settings(), file)
    rendering.show_json(done) if json else rendering.show_pairs(backup.shown(done))


@care.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="An archive that 'export' wrote.")],
    json: JsonFlag = False,
) -> None:
    """Restore an archive into an empty data home; everything in it is verified first."""
    from pokewatch.cli import rendering
    from pokewatch.store import backup, restore

    done = restore.restore(get_settings(), file)
    rendering.show_json(done) if json else rendering.show_pairs(backup.shown(done))
