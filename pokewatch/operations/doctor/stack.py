"""The doctor's look at what PokeWatch stands on: source, packages, databases, models."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module, metadata
from pathlib import Path

from packaging.requirements import Requirement

from pokewatch.errors import PokewatchError
from pokewatch.evaluation import registry
from pokewatch.operations.doctor.home import Finding, State
from pokewatch.settings import Settings
from pokewatch.sources import SOURCES
from pokewatch.store import repair


def check_source(settings: Settings) -> Iterator[Finding]:
    """Whether the source of the settings exists, and has its key where it needs one."""
    if settings.source not in SOURCES:
        mend = f"POKEWATCH_SOURCE must be one of {', '.join(SOURCES)}"
        yield Finding("source", State.bad, f"'{settings.source}' is no source", mend)
        return
    about = getattr(import_module(f"pokewatch.sources.{settings.source}"), "ABOUT", None)
    name = about.key_setting if about is not None and about.key_needed else ""
    key = getattr(settings, name.removeprefix("POKEWATCH_").lower(), None) if name else None
    if name and not (key and key.get_secret_value()):
        seen = f"'{settings.source}' needs a key and has none"
        yield Finding("source", State.bad, seen, f"set {name} in .env")
    else:
        yield Finding("source", State.ok, f"'{settings.source}' is asked every night")


def check_packages() -> Iterator[Finding]:
    """Whether every package is installed in a version that pyproject.toml allows."""
    wanted = [Requirement(line) for line in metadata.requires("pokewatch") or []]
    wrong, count = [], 0
    for one in wanted:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{one.name} is missing")
            continue
        if not one.specifier.contains(version, prereleases=True):
            wrong.append(f"{one.name} is {version}, wanted {one.specifier}")
    if wrong:
        yield Finding("packages", State.bad, "; ".join(wrong), "make setup")
    else:
        yield Finding("packages", State.ok, f"{count} packages within their bounds")


def check_databases(settings: Settings) -> Iterator[Finding]:
    """Whether the SQLite databases of MLflow and ZenML are whole; they may be missing."""
    zenml = settings.home / "zenml"
    aside = "move it away: trainings are logged anew, what it held is lost"
    yield from _check_database("mlflow", settings.home / "mlflow.db", aside)
    found = sorted(zenml.rglob("zenml.db"))
    aside = "move zenml/ away: runs are forgotten, prices and models stay"
    for path in found:
        yield from _check_database("zenml", path, aside)
    if not found:
        yield Finding("zenml", State.ok, "not set up yet: the first pipeline run does it")


def _check_database(name: str, path: Path, mend: str) -> Iterator[Finding]:
    if not path.exists():
        yield Finding(name, State.ok, f"no '{path.name}' yet")
        return
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            said = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:  # locked, or not ours: nothing is known of it
        yield Finding(name, State.warn, f"'{path}' cannot be opened: {error}", "try again later")
        return
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said == "ok":
        yield Finding(name, State.ok, f"'{path.name}' is whole")
    else:
        yield Finding(name, State.bad, f"'{path}' is damaged: {said}", mend)


def check_models(settings: Settings) -> Iterator[Finding]:
    """Whether the champion is there, and the newest models can be loaded."""
    known = registry.names(settings)
    pointer = settings.models_dir / "champion.json"

    def fix() -> str:
        rescued = repair.rescue_folder(settings.home)
        return f"champion.json is now '{repair.set_aside(pointer, settings.home, rescued)}'"

    trouble = ""
    try:
        name = registry.champion_name(settings)
        if name is None:
            yield Finding("champion", State.ok, "none yet: fair values are naive")
        elif name not in known:
            trouble = f"the champion '{name}' is not in '{settings.models_dir}'"
        else:
            registry.load(settings, "champion")
            yield Finding("champion", State.ok, f"'{name}' loads")
    except PokewatchError as error:
        trouble = str(error)
    if trouble:
        mend = "restore models/ from a back-up, or pokewatch doctor --fix: naive until 'train'"
        yield Finding("champion", State.bad, trouble, mend, fix)
    broken = []
    for name in known[-registry.KEEP_BACKTESTS :]:
        try:
            registry.load(settings, name)
        except PokewatchError as error:
            broken.append(str(error))
    if broken:
        seen = f"{len(broken)} of {len(known)} cannot be loaded: {broken[0]}"
        yield Finding("models", State.warn, seen, "train again, or restore from a back-up")
    else:
        yield Finding("models", State.ok, f"{len(known)}, the newest load")
