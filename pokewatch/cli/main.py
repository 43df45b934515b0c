"""The command line ``pokewatch``: one app, its commands in one file a group."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

from pokewatch import __version__
from pokewatch.cards.spelling import printable

if TYPE_CHECKING:
    from typer import Typer


def main() -> None:
    """Run ``pokewatch`` with the arguments of the process."""
    if sys.argv[1:] == ["--version"]:  # answered before anything heavy is imported
        sys.stdout.write(f"pokewatch {__version__}\n")
        return
    from pokewatch.parallel import keep_freed_memory

    keep_freed_memory()
    logging.basicConfig(handlers=[log_handler()])
    logging.getLogger("pokewatch").setLevel(logging.INFO)
    execute(build_app())


def build_app() -> Typer:
    """Return the app with all commands, in the panels and the order that ``--help`` shows."""
    from typer import Typer

    from pokewatch.cli import cards, care, collection, models, options, prices, reports, service

    app = Typer(
        callback=options.program,
        help="Watches Pokémon trading-card prices: fair values, signals and an honest back-test.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings=options.HELP_OPTIONS,
    )
    panels = {
        "Every night": reports.app,
        "Prices": prices.app,
        "Cards": cards.app,
        "Models and signals": models.app,
        "Service": service.app,
        "Maintenance": care.app,
    }
    for panel, group in panels.items():
        for command in group.registered_commands:
            command.rich_help_panel = panel
        app.add_typer(group)
        if group is cards.app:
            app.add_typer(collection.app, name="watch", rich_help_panel=panel)
        if group is service.app:
            app.add_typer(service.keys, name="keys", rich_help_panel=panel)
    return app


def execute(app: Typer, on_failure: Callable[[str], object] | None = None) -> NoReturn:
    """Run an app with the arguments of the process, and exit.

    Exit codes: 0 done, 1 failed, 2 the request was wrong, 3 a gate said no. What failed is one
    line on stderr. on_failure: called with that line before an exit with 1.
    """
    from pokewatch.errors import PokewatchError

    show_any_text()
    try:
        sys.exit(app())
    except PokewatchError as error:
        code, text = error.exit_code, str(error)
    except SystemExit as ended:
        if ended.code != 130:  # typer's answer to Ctrl-C
            raise
        code, text = 1, "interrupted: what was committed stays, run it again to go on"
    except Exception as error:
        if os.environ.get("POKEWATCH_DEBUG"):
            raise
        code, text = 1, f"unexpected {type(error).__name__}: {error}"
        text += "; POKEWATCH_DEBUG=1 shows where it came from"
    text = " ".join(printable(text).split())
    if code == 1 and on_failure:
        on_failure(text)
    sys.stderr.write(f"error: {text}\n")
    sys.exit(code)


class _Printable(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        return printable(super().formatMessage(record))


def log_handler() -> logging.Handler:
    """Return what writes log lines on stderr, without signs that a terminal would act on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
    return handler


def show_any_text() -> None:
    """Let stdout and stderr write what their encoding lacks as escapes, rather than fail on it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
