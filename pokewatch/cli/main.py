"""The command line: a thin skin; every command is one call into the package."""

from __future__ import annotations

import logging
import os
import sys

from pokewatch import __version__


def main() -> None:
    """Run the command line; errors of ours become one line on stderr and an exit code."""
    if sys.argv[1:] == ["--version"]:  # answered before anything heavy is imported
        sys.stdout.write(f"pokewatch {__version__}\n")
        return
    from typer.main import get_command, get_group

    from pokewatch.cli.care import care
    from pokewatch.cli.commands import app
    from pokewatch.cli.scale import scale
    from pokewatch.cli.sources import sources
    from pokewatch.cli.watch import watch
    from pokewatch.errors import PokewatchError
    from pokewatch.parallel import keep_freed_memory

    keep_freed_memory()
    commands = get_group(app)
    commands.add_command(get_command(watch), "watch")
    commands.add_command(get_command(sources), "sources")
    for group in (care, scale):
        for name, command in get_group(group).commands.items():
            commands.add_command(command, name)

    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("pokewatch").setLevel(logging.INFO)
    try:
        commands()
    except PokewatchError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        if os.environ.get("POKEWATCH_DEBUG"):
            raise
        kind = type(error).__name__
        sys.stderr.write(
            f"error: unexpected {kind}: {error}; POKEWATCH_DEBUG=1 shows where it came from\n"
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was committed stays, run it again to go on\n")
        sys.exit(1)
