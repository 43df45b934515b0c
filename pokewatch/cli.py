"""The command line: a thin skin; every command is one call into the package."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Annotated

from pokewatch import __version__

if TYPE_CHECKING:
    import typer


def main() -> None:
    """Run the command line; errors of ours become one line on stderr and an exit code."""
    if sys.argv[1:] == ["--version"]:  # answered before anything heavy is imported
        sys.stdout.write(f"pokewatch {__version__}\n")
        return
    from pokewatch.errors import PokewatchError

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("pokewatch").setLevel(logging.INFO)
    try:
        build_app()()
    except PokewatchError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was committed stays, run it again to go on\n")
        sys.exit(1)


def build_app() -> typer.Typer:
    """Return the typer application with every command."""
    import typer

    from pokewatch import commands

    app = typer.Typer(
        help="Watches Pokémon trading-card prices: fair values, signals and an honest back-test.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def options(
        version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    ) -> None:
        if version:
            sys.stdout.write(f"pokewatch {__version__}\n")
            raise typer.Exit

    commands.register(app)
    return app
