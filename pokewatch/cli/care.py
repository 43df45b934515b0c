"""Commands that keep an installation healthy: doctor, export and import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from pokewatch.cli import options
from pokewatch.cli.options import settings
from pokewatch.cli.rendering import show
from pokewatch.errors import PokewatchError

app = Typer()


@app.command()
def doctor(
    fix: Annotated[bool, Option("--fix", help="Repair what is safe to repair.")] = False,
    deep: Annotated[bool, Option("--deep", help="Read every stored value.")] = False,
    json: options.JsonFlag = False,
) -> None:
    """Check home, tables, disk, clock, source, packages, models; name each repair."""
    from pokewatch.operations import doctor as checks

    found = (checks.repair if fix else checks.examine)(settings(), deep)
    bad = [one.name for one in found if one.state == "bad"]
    width = max(len(one.name) for one in found)
    lines = []
    for one in found:
        lines.append(f"{one.state:4}  {one.name:{width}}  {one.message}")
        if one.remedy and one.state != "ok":
            lines.append(f"{'':{width + 6}}  mend: {one.remedy}")
        if one.done:
            lines.append(f"{'':{width + 6}}  did: {one.done}")
    show({"healthy": not bad, "checks": [one.as_dict() for one in found]}, json, *lines)
    if bad:
        raise PokewatchError(f"{len(bad)} checks are bad: {', '.join(bad)}")


@app.command()
def export(
    file: Annotated[Path, Argument(help="The archive to write, ending in .tar.")],
    json: options.JsonFlag = False,
) -> None:
    """Write tables, models and the watchlist into one archive."""
    from pokewatch.store import backup

    done = backup.export(settings(), file)
    show(done, json, backup.display(done))


@app.command("import")
def import_(
    file: Annotated[Path, Argument(help="An archive that 'export' wrote.")],
    json: options.JsonFlag = False,
) -> None:
    """Restore an archive into an empty data home; everything in it is verified first."""
    from pokewatch.store import backup

    done = backup.restore(settings(), file)
    show(done, json, backup.display(done))
