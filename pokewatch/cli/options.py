"""Options that several commands have, and how their values are read."""

from __future__ import annotations

import os
import re
import sys
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Exit, Option

from pokewatch import __version__
from pokewatch.errors import UsageError

if TYPE_CHECKING:
    from pokewatch.formatting import Money
    from pokewatch.settings import Settings

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
CORES = os.cpu_count() or 1


def day(option: str, text: str) -> date:
    """Return the date that an option names; UsageError for a text that is none."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise UsageError(f"{option} '{text}' is no date: write it as YYYY-MM-DD")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option} '{text}' is no date: it is no day of the calendar") from error


def day_option(name: str, help: str) -> Any:
    """Return an option whose value is a day."""
    return Option(name, metavar="YYYY-MM-DD", parser=partial(day, name), help=help)


def columns_of(pairs: list[str] | None) -> dict[str, str]:
    """Return what --map names: our column -> theirs; UsageError for a pair that is none."""
    columns: dict[str, str] = {}
    for pair in pairs or []:
        ours, _, theirs = pair.partition("=")
        if not ours or not theirs:
            raise UsageError(f"--map '{pair}' must read OURS=THEIRS, as market_price=price")
        if ours in columns:
            raise UsageError(f"--map names {ours} twice")
        columns[ours] = theirs
    return columns


JsonFlag = Annotated[bool, Option("--json", help="Print JSON on stdout.")]
DateOption = Annotated[date | None, day_option("--date", "The day; default: the last.")]
JobsOption = Annotated[int, Option("--jobs", min=1, help="Parallel processes.")]
HorizonOption = Annotated[
    list[int] | None, Option("--horizon", min=1, help="Days ahead; may be repeated.")
]
ModelOption = Annotated[str, Option("--model", help="A trained model's name.")]
PathOption = Annotated[
    Path | None, Option("--path", help="The file of source 'file', or a folder of them.")
]
MapOption = Annotated[
    list[str] | None,
    Option("--map", metavar="OURS=THEIRS", help="The file's column for one of ours; repeat."),
]
CurrencyOption = Annotated[
    str | None, Option(metavar="CODE", help="Currency of the file's amounts, such as EUR.")
]


def show_version(wanted: bool) -> None:
    """Print the version and exit, where that is what is asked for."""
    if wanted:
        sys.stdout.write(f"pokewatch {__version__}\n")
        raise Exit


def program(
    version: Annotated[
        bool, Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options that belong to no command."""


def money() -> Money:
    """Return how amounts are written for people."""
    from pokewatch.sources import ecb

    return ecb.display(settings())


def settings() -> Settings:
    """Return the settings; imported here, as ``--help`` needs none."""
    from pokewatch.settings import get_settings

    return get_settings()
