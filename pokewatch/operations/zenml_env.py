"""The environment that keeps ZenML quiet and in the data home; set before ``import zenml``."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pokewatch
from pokewatch.settings import PROJECT, Settings
from pokewatch.sources import ecb
from pokewatch.watchlist.graded import KEPT

QUIET = {
    "ZENML_ANALYTICS_OPT_IN": "false",
    "ZENML_AUTO_OPEN_DASHBOARD": "false",
    # With it on, failing notebook cells pass and papermill's error is blank.
    "ZENML_ENABLE_RICH_TRACEBACK": "false",
    "ZENML_LOGGING_COLORS_DISABLED": "true",
    "ZENML_LOGGING_VERBOSITY": "WARN",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
KEY = "secrets.key"
# Settings that change no model: places, how a source is asked, the service, what a report shows.
IDLE = re.compile(
    r"home|watchlist|contact|\w+_url|request_\w+|retention_days|tracking|dask|api_keys|service_\w+|"
    r"browse_\w+|currency|marketplaces"
)


def folder(settings: Settings) -> Path:
    """Return the folder in the data home that holds all of ZenML's files."""
    return settings.home.resolve() / "zenml"


def prepare(settings: Settings) -> Path:
    """Set what ZenML reads from the environment, unless it is set already; return its folder."""
    for name, value in variables(settings).items():
        os.environ.setdefault(name, value)
    return folder(settings)


def variables(settings: Settings) -> dict[str, str]:
    """Return what ZenML is to read from the environment; its folder and key are made."""
    home = folder(settings)
    settings.make_home()
    home.mkdir(exist_ok=True, mode=0o700)
    inside = QUIET | {
        "ZENML_CONFIG_PATH": str(home / "config"),
        "ZENML_LOCAL_STORES_PATH": str(home / "stores"),
        "ZENML_REPOSITORY_PATH": str(home),
        "ZENML_CUSTOM_SOURCE_ROOT": str(PROJECT),
    }
    if "ZENML_STORE_URL" not in os.environ:  # a store of the user's own has its own secrets
        # Without a key, ZenML's database would hold the MLflow password in base64.
        inside["ZENML_SECRETS_STORE_TYPE"] = "sql"
        inside["ZENML_SECRETS_STORE_ENCRYPTION_KEY"] = _key(home / KEY)
    return inside


def _key(path: Path) -> str:
    """Return the key that secrets are encrypted with; it is made where it is missing."""
    with suppress(FileExistsError):
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(made, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
    return path.read_text(encoding="ascii")


def recipe(settings: Settings) -> str:
    """Return a digest of settings and code that shape a night.

    Two nights with the same recipe and data version give the same model and forecasts.
    """
    given = settings.model_dump(mode="json").items()
    shown = {name: value for name, value in given if not IDLE.fullmatch(name)}
    package, notebooks = Path(pokewatch.__file__).parent, (PROJECT / "notebooks").glob("*.ipynb")
    files = [*package.rglob("*.py"), *(package / "report" / "templates").rglob("*"), *notebooks]
    return _digest(shown | {"store": settings.store_root}, sorted(files))


def page_recipe(settings: Settings) -> str:
    """Return a digest of what a report shows beside forecasts: one a day at least is its own."""
    from pokewatch.store.tables import Store

    store = Store.from_settings(settings)
    shown = [
        f"{datetime.now(UTC):%Y-%m-%d}",  # it says how old the prices are
        ecb.display(settings).note,
        settings.model_dump(mode="json", include={"currency", "marketplaces"}),
        *(store.snapshot(name).version for name in ("cards", "quarantine")),
    ]
    return _digest(shown, [settings.watchlist, settings.home / KEPT])


def _digest(shown: object, files: list[Path]) -> str:
    found = hashlib.sha256(json.dumps(shown, sort_keys=True).encode())
    for path in filter(Path.is_file, files):
        found.update(path.name.encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:16]
