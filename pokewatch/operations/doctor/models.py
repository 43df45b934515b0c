"""Checks of the trained models, and of the databases in which MLflow and ZenML keep them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pokewatch.errors import PokewatchError
from pokewatch.evaluation import registry
from pokewatch.operations.doctor.findings import Finding, bad, ok, warn
from pokewatch.settings import Settings
from pokewatch.store import repair


def check_databases(settings: Settings) -> Iterator[Finding]:
    """Whether the SQLite databases of MLflow and ZenML are intact; they may be missing."""
    path = settings.home / "mlflow.db"
    if path.exists():
        remedy = "move it away: trainings are logged anew, what it held is lost"
        yield _database("mlflow", path, remedy)
    else:
        yield ok("mlflow", "no 'mlflow.db' yet")
    found = sorted((settings.home / "zenml").rglob("zenml.db"))
    for path in found:
        remedy = "move zenml/ away: runs are forgotten, prices and models stay"
        yield _database("zenml", path, remedy)
    if not found:
        yield ok("zenml", "not set up yet: the first pipeline run does it")


def _database(name: str, path: Path, remedy: str) -> Finding:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            answer = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:  # locked, or not ours: nothing is known of it
        return warn(name, f"'{path}' cannot be opened: {error}", "try again later")
    except sqlite3.DatabaseError as error:
        answer = str(error)
    if answer != "ok":
        return bad(name, f"'{path}' is damaged: {answer}", remedy)
    return ok(name, f"'{path.name}' is intact")


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
            why = registry.why_none(settings)
            if why:
                yield warn("champion", why, "wait, or look at 'pokewatch record'")
            else:
                yield ok("champion", "none yet: fair values are naive")
        elif name not in known:
            trouble = f"the champion '{name}' is not in '{settings.models_dir}'"
        else:
            registry.load(settings, "champion").model.check_features()
            yield ok("champion", f"'{name}' loads")
    except PokewatchError as error:
        trouble = str(error)
    if trouble:
        remedy = "restore models/ from a back-up, or pokewatch doctor --fix: naive until 'train'"
        yield bad("champion", trouble, remedy, fix)
    broken = []
    for name in known[-registry.KEEP_BACKTESTS :]:
        try:
            registry.load(settings, name)
        except PokewatchError as error:
            broken.append(str(error))
    if broken:
        message = f"{len(broken)} of {len(known)} cannot be loaded: {broken[0]}"
        yield warn("models", message, "train again, or restore from a back-up")
    else:
        yield ok("models", f"{len(known)}, the newest load")
