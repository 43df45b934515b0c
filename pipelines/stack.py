"""Make ZenML's local stack in the data home; doing it again changes nothing."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option, Typer

from pokewatch.cli.main import execute
from pokewatch.cli.options import HELP_OPTIONS
from pokewatch.errors import PokewatchError
from pokewatch.operations import zenml_env
from pokewatch.settings import PROJECT, Settings, get_settings

if TYPE_CHECKING:
    from zenml.client import Client

STACK = "local_stack"
ARTIFACT_STORE = "local_store"
ORCHESTRATOR = "local_orchestrator"
TRACKERS = ("local_mlflow", "dagshub_mlflow")
SECRET = "pokewatch_mlflow"  # noqa: S105 (the name of a secret, not one itself)
app = Typer(
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
)


def ensure(settings: Settings, reset: bool = False) -> list[str]:
    """Make, mend and activate the stack; return what was done, nothing where all was well.

    reset: take the stack apart first. Runs and their artifacts stay.
    """
    home = zenml_env.prepare(settings)
    did: list[str] = []
    _quiet()
    from zenml.client import Client

    if not Client.is_repository_directory(home):
        Client.initialize(root=home)
        did.append(f"ZenML's folder made: {home}")
    client = Client()
    if reset:
        did += _take_apart(client)
    wanted = _wanted(settings, home, client, did)
    ids = {kind: _component(client, kind, *one, did) for kind, one in wanted.items()}
    found = client.list_stacks(name=STACK, hydrate=True)
    if not found.items:
        client.create_stack(STACK, ids)
        did.append(f"stack '{STACK}' made")
    elif {str(k): [one.id for one in v] for k, v in found.items[0].components.items()} != {
        str(kind): [one] for kind, one in ids.items()
    }:
        client.update_stack(STACK, component_updates={k: [one] for k, one in ids.items()})
        did.append(f"stack '{STACK}' mended: it has its own components again")
    if client.active_stack_model.name != STACK:
        client.activate_stack(STACK)
        did.append(f"stack '{STACK}' set active")
    return did


def _wanted(
    settings: Settings, home: Path, client: Client, did: list[str]
) -> dict[Any, tuple[str, str, dict[str, str]]]:
    """Return name, flavour and configuration of each component."""
    from zenml.enums import StackComponentType as Kind

    return {
        Kind.ORCHESTRATOR: (ORCHESTRATOR, "local", {}),
        Kind.ARTIFACT_STORE: (ARTIFACT_STORE, "local", {"path": str(home / "artifacts")}),
        Kind.EXPERIMENT_TRACKER: _tracker(settings, client, did),
    }


def _tracker(settings: Settings, client: Client, did: list[str]) -> tuple[str, str, dict[str, str]]:
    """Return the tracker: the server if its credentials are there, else SQLite in the home."""
    own = f"sqlite:///{settings.home.resolve()}/mlflow.db"
    if not _names_a_server():
        return TRACKERS[0], "mlflow", {"tracking_uri": own}
    from pokewatch.operations.tracking import Server

    server = Server()
    known = {
        name.removeprefix("MLFLOW_TRACKING_").lower(): value
        for name, value in server.variables().items()
    }
    if "token" in known:
        known = {"token": known["token"]}
    elif {"username", "password"} - set(known):
        known = {}
    if not (server.web and known):
        # ZenML keeps the address in the clear: one with a password is for our own logging only.
        address = "" if server.web or "@" in server.uri else server.uri
        return TRACKERS[0], "mlflow", {"tracking_uri": address or own}
    if _stored(client) != known:
        for unreadable in client.list_secrets(name=SECRET).items:
            client.zen_store.delete_secret(unreadable.id)  # by id: its key may be gone
        client.create_secret(SECRET, known)
        did.append(f"secret '{SECRET}' kept, encrypted, for the MLflow server")
    references = {f"tracking_{name}": f"{{{{{SECRET}.{name}}}}}" for name in known}
    return TRACKERS[1], "mlflow", {"tracking_uri": server.address, **references}


def _stored(client: Client) -> dict[str, str]:
    """Return the secret that is kept, empty where there is none or its key is gone."""
    try:
        return dict(client.get_secret(SECRET).secret_values)
    except Exception:  # decryption fails in several ways; each means: write it anew
        return {}


def _names_a_server() -> bool:
    """Return whether operations.tracking, which takes seconds to import, has a server to use."""
    dotenv = PROJECT / ".env"
    text = dotenv.read_text(encoding="utf-8") if dotenv.is_file() else ""
    return "MLFLOW_TRACKING_URI" in os.environ or "MLFLOW_TRACKING_URI" in text.upper()


def _component(
    client: Client, kind: Any, name: str, flavor: str, wanted: dict[str, str], did: list[str]
) -> Any:
    """Return the id of a component, made or mended as needed."""
    found = client.list_stack_components(name=name, type=kind, hydrate=True)
    label = kind.value.replace("_", " ")
    if found.items and found.items[0].flavor_name != flavor:
        raise PokewatchError(
            f"{label} '{name}' is of flavour '{found.items[0].flavor_name}', not '{flavor}': "
            "rebuild the stack with --reset"
        )
    if not found.items:
        made = client.create_stack_component(
            name=name, flavor=flavor, component_type=kind, configuration=wanted
        )
        did.append(f"{label} '{name}' made")
        return made.id
    have = found.items[0].configuration
    if any(have.get(key) != value for key, value in wanted.items()):
        client.update_stack_component(name, kind, configuration=wanted)
        did.append(f"{label} '{name}' mended: {', '.join(sorted(wanted))}")
    return found.items[0].id


def _take_apart(client: Client) -> list[str]:
    """Delete the stack and its components; what is not there is passed over."""
    from zenml.enums import StackComponentType as Kind

    did = []
    if client.list_stacks(name=STACK).items:
        if client.active_stack_model.name == STACK:  # the active one cannot be deleted
            client.activate_stack("default")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SQLAlchemy's, about rows that are gone already
            client.delete_stack(STACK)
        did.append(f"stack '{STACK}' deleted")
    parts = [(Kind.ORCHESTRATOR, ORCHESTRATOR), (Kind.ARTIFACT_STORE, ARTIFACT_STORE)]
    for kind, name in [*parts, *((Kind.EXPERIMENT_TRACKER, name) for name in TRACKERS)]:
        if client.list_stack_components(name=name, type=kind).items:
            client.delete_stack_component(name, kind)
            did.append(f"{kind.value.replace('_', ' ')} '{name}' deleted")
    return did


def _quiet() -> None:
    """Keep ZenML's remarks about a stack that is not there yet to itself, its logs on stderr."""
    from zenml.logger import ZenMLConsoleHandler

    for name in ("alembic", "zenml.client", "zenml.config.global_config", "zenml.zen_stores"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, ZenMLConsoleHandler):
            handler.setStream(sys.stderr)
            handler.addFilter(_no_traceback)


def _no_traceback(record: logging.LogRecord) -> bool:
    """Drop ZenML's tracebacks: the cause is told in one line, the rest is kept with the step."""
    debug = bool(os.environ.get("POKEWATCH_DEBUG"))
    return debug or not (record.exc_info or "Traceback (most recent" in record.getMessage())


def exports(settings: Settings) -> list[str]:
    """Return shell lines that let the ``zenml`` command see this data home."""
    zenml_env.prepare(settings)
    names = sorted(name for name in zenml_env.variables(settings) if name.startswith("ZENML_"))
    key = "ZENML_SECRETS_STORE_ENCRYPTION_KEY"
    lines = [f"export {name}={shlex.quote(os.environ[name])}" for name in names if name != key]
    kept = zenml_env.folder(settings) / zenml_env.KEY
    if kept.exists():  # named, not shown
        lines.append(f'export {key}="$(cat {shlex.quote(str(kept))})"')
    return lines


@app.command()
def main(
    reset: Annotated[
        bool, Option("--reset", help="Take the stack apart first, and rebuild it.")
    ] = False,
    env: Annotated[
        bool, Option("--env", help="Print export lines for the zenml command, and stop.")
    ] = False,
) -> None:
    """Make ZenML's local stack in the data home; doing it again changes nothing."""
    nothing = [f"stack '{STACK}' is as it should be: nothing changed"]
    lines = exports(get_settings()) if env else ensure(get_settings(), reset) or nothing
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    execute(app)
