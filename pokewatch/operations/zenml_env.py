"""The environment that keeps ZenML quiet and in the data home; set before ``import zenml``."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

import pokewatch
from pokewatch.settings import PROJECT, Settings
from pokewatch.sources import ecb

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
# Settings that change neither a model nor a report: places, and how a source is asked.
IDLE = {
    "home",
    "contact",
    "tcgcsv_url",
    "request_interval",
    "request_timeout",
    "request_attempts",
    "retention_days",
    "tracking",
    "cache_url",
    "dask",
}


def folder(settings: Settings) -> Path:
    """Return the folder in the data home that holds all of ZenML's files."""
    return settings.home.resolve() / "zenml"


def prepare(settings: Settings) -> Path:
    """Set what ZenML reads from the environment, unless it is set already; return its folder."""
    home = folder(settings)
    settings.make_home()
    home.mkdir(exist_ok=True, mode=0o700)
    inside = {
        "ZENML_CONFIG_PATH": str(home / "config"),
        "ZENML_LOCAL_STORES_PATH": str(home / "stores"),
        "ZENML_REPOSITORY_PATH": str(home),
        "ZENML_CUSTOM_SOURCE_ROOT": str(PROJECT),
    }
    if "ZENML_STORE_URL" not in os.environ:  # a store of the user's own has its own secrets
        # Without a key, ZenML's database would hold the MLflow password in base64.
        inside["ZENML_SECRETS_STORE_TYPE"] = "sql"
        inside["ZENML_SECRETS_STORE_ENCRYPTION_KEY"] = _key(home / KEY)
    for name, value in (QUIET | inside).items():
        os.environ.setdefault(name, value)
    return home


def _key(path: Path) -> str:
    """Return the key that secrets are encrypted with; it is made where it is missing."""
    with suppress(FileExistsError):
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(made, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
    return path.read_text(encoding="ascii")


def recipe(settings: Settings) -> str:
    """Return a digest of settings, watch list, exchange rate and code that shape a night.

    Two nights with the same recipe and the same data version give the same model and report.
    """
    found = hashlib.sha256()
    shown = settings.model_dump(mode="json", exclude=IDLE) | {"store": settings.store_root}
    found.update(json.dumps(shown, sort_keys=True).encode())
    found.update(ecb.display(settings).note.encode())  # a newer rate makes another report
    package = Path(pokewatch.__file__).parent
    templates = package / "report" / "templates"
    files = [
        *package.rglob("*.py"),
        *templates.rglob("*"),
        *(PROJECT / "notebooks").glob("*.ipynb"),
    ]
    for path in [*sorted(files), settings.watchlist]:
        if path.is_file():
            found.update(path.name.encode())
            found.update(path.read_bytes())
    return found.hexdigest()[:16]
