"""Checks of what is around the data home: settings, source of prices, installed packages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from dotenv import dotenv_values
from packaging.requirements import Requirement

from pokewatch import sources
from pokewatch.operations import source_status
from pokewatch.operations.doctor.findings import Finding, bad, chmod, ok, warn
from pokewatch.settings import Settings
from pokewatch.sources import SOURCES, ecb

SECRETS = ("KEY", "PASSWORD", "TOKEN", "SECRET", "NOTIFY", "CACHE_URL", "HEARTBEAT")


def check_settings(project: Path) -> Iterator[Finding]:
    """Whether only its owner can read keys in .env, and every POKEWATCH_* variable is a setting."""
    path, example = project / ".env", project / ".env.example"
    values = dotenv_values(path, interpolate=False) if path.is_file() else {}
    keys = [name for name, value in values.items() if value and any(s in name for s in SECRETS)]
    if keys and os.name == "posix" and path.stat().st_mode & 0o077:
        message = f".env holds {', '.join(keys)} and can be read by others"
        yield bad("settings keys", message, *chmod(path, 0o600))
    if example.is_file():
        text = example.read_text(encoding="utf-8")
        known = {"POKEWATCH_DEBUG", *re.findall(r"^# ?(POKEWATCH_\w+)=", text, re.M)}
        names = {name for name in {*os.environ, *values} if name.startswith("POKEWATCH_")}
        if unknown := sorted(names - known):
            message = f"{', '.join(unknown)}: not a setting, so without effect"
            yield warn("settings names", message, "see .env.example for the names")
    yield ok("settings", f"valid; {len(values)} from .env" if values else "valid; no .env")


def check_source(settings: Settings) -> Iterator[Finding]:
    """Whether the source of the settings exists, and has its key where it needs one."""
    source = settings.source
    if source not in SOURCES:
        remedy = f"POKEWATCH_SOURCE must be one of {', '.join(SOURCES)}"
        yield bad("source", f"'{source}' is no source", remedy)
        return
    about = sources.about(source)
    if source_status.key_state(about, settings) == "missing":
        yield bad(
            "source", f"'{source}' needs a key and has none", f"set {about.key_setting} in .env"
        )
        return
    yield ok("source", f"'{source}' is asked every night")
    for one in dict.fromkeys([source, *settings.fallback]):
        if one in SOURCES and (notice := (found := sources.about(one)).notice):
            finding = bad if found.ends and datetime.now(UTC).date() >= found.ends else warn
            remedy = "set POKEWATCH_SOURCE or POKEWATCH_FALLBACK to tcgcsv or tcgdex"
            yield finding("source ends", f"'{one}' {notice}", remedy)


def check_currency(settings: Settings) -> Iterator[Finding]:
    """Whether the rate of the currency that amounts are shown in is known, and of these days."""
    stored, wanted = ecb.stored_currency(settings), settings.currency
    if wanted == stored:
        return
    kept = ecb.read(settings)
    if kept is None or kept.of(wanted, stored) is None:
        message = f"no rate of {wanted} is known: amounts are shown in {stored}"
        yield warn("currency", message, "pokewatch rates")
    elif kept.days_old > ecb.OLD:
        message = f"the rate of {wanted} is {kept.days_old} days old, of {kept.day}"
        yield warn("currency", message, "pokewatch rates")
    else:
        yield ok("currency", f"amounts are shown in {wanted} at the rate of {kept.day}")


def check_packages() -> Iterator[Finding]:
    """Whether every package is installed in a version that pyproject.toml allows."""
    needed = [Requirement(line) for line in metadata.requires("pokewatch") or []]
    needed = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = []
    for one in needed:
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
        else:
            if not one.specifier.contains(version, prereleases=True):
                wrong.append(f"{one.name} is {version}, wanted {one.specifier}")
    if wrong:
        yield bad("packages", "; ".join(wrong), "make setup")
    else:
        yield ok("packages", f"{len(needed)} packages within their bounds")
