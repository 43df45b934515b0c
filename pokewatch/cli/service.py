"""Commands that serve: the prediction service, its keys, and the pages for a browser."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from typer import Argument, Option, Typer

from pokewatch.cli import options
from pokewatch.cli.options import settings
from pokewatch.cli.rendering import show

app = Typer()
keys = Typer(help="Make, list, revoke and rotate the service's keys.", no_args_is_help=True)
NameArgument = Annotated[str, Argument(help="The key's name, or its id.")]


@app.command()
def serve(
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    workers: Annotated[int, Option(min=1, help="Processes; each holds the market.")] = 1,
    metrics_port: Annotated[
        int | None, Option(min=1, max=65535, help="Port of /metrics, on this machine only.")
    ] = None,
    proxy_headers: Annotated[
        list[str] | None,
        Option(metavar="ADDRESS", help="A proxy whose X-Forwarded-* are believed; repeat."),
    ] = None,
) -> None:
    """Serve prices, forecasts and signals over HTTP; needs a key."""
    from pokewatch.service import server

    server.run(settings(), host, port, workers, metrics_port, proxy_headers)


@app.command()
def browse(
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(min=1, max=65535, help="Port to listen on.")] = 5007,
) -> None:
    """Serve cards, market and portfolio as pages for a browser."""
    from pokewatch.browse import server

    server.run(settings(), host, port)


@keys.command()
def create(
    name: Annotated[str, Argument(help="Who or what uses it.")],
    scope: Annotated[
        list[str] | None, Option(help="read, portfolio or admin; repeat. Default: read.")
    ] = None,
    days: Annotated[int | None, Option(min=1, max=36_500, help="Days until it expires.")] = None,
    json: options.JsonFlag = False,
) -> None:
    """Make a key and show it, this once."""
    from pokewatch.service.keys import Keys

    _shown(name, Keys(settings()).create(name, scope or ["read"], days), json)


@keys.command("list")
def list_(json: options.JsonFlag = False) -> None:
    """Show all keys: name, scopes, when made, last used and expiring."""
    import pandas as pd

    from pokewatch.service.keys import Keys

    found = Keys(settings()).listed()
    nothing: Any = "there is no key: make one with 'pokewatch keys create NAME'"
    show(found, json, pd.DataFrame(found) if found else nothing)


@keys.command()
def revoke(name: NameArgument) -> None:
    """Let a key open nothing any more, at once."""
    from pokewatch.service.keys import Keys

    Keys(settings()).revoke(name)
    sys.stdout.write(f"revoked: {name}\n")


@keys.command()
def rotate(name: NameArgument, json: options.JsonFlag = False) -> None:
    """Make a new key in place of one that stops at once, and show it, this once."""
    from pokewatch.service.keys import Keys

    _shown(name, Keys(settings()).rotate(name), json)


def _shown(name: str, text: str, json: bool) -> None:
    show({"name": name, "key": text}, json, text)
    if not json:
        sys.stderr.write("keep it now: it is stored as a hash and cannot be shown again\n")
