"""Price sources: one file a source, one ``fetch`` each, all returning a ``Delivery``."""

from __future__ import annotations

from datetime import date
from importlib import import_module
from pathlib import Path

from pokewatch.errors import UsageError
from pokewatch.schema import Delivery, Wanted
from pokewatch.settings import Settings

SOURCES = ("simulated", "file", "tcgcsv")
SELECTIVE = ("tcgcsv",)  # can be asked for a part of a day


def fetch(
    source: str,
    settings: Settings,
    on: date | None = None,
    path: Path | None = None,
    columns: dict[str, str] | None = None,
    id_template: str | None = None,
    progress: bool = False,
    wanted: Wanted | None = None,
) -> Delivery:
    """Return what ``source`` delivers.

    on: the day of the snapshot (default: the source's newest).
    path, columns, id_template: for the source ``file`` only.
    wanted: only these cards; None asks for all that the source has.
    Raises UsageError for an unknown source or an option that it does not take, SourceError where
    the source fails.
    """
    if source not in SOURCES:
        raise UsageError(f"unknown source '{source}': choose one of {', '.join(SOURCES)}")
    module = import_module(f"pokewatch.sources.{source}")
    if source == "file":
        if path is None:
            raise UsageError("source 'file' needs the file: add --path FILE.csv or FILE.parquet")
        return module.fetch(path, on=on, columns=columns, id_template=id_template)
    if path is not None or columns or id_template:
        raise UsageError(f"source '{source}' takes no --path, --map or --id: use --source file")
    if source == "tcgcsv":
        return module.fetch(settings, on=on, progress=progress, wanted=wanted)
    return module.fetch(settings, on=on)
