"""What is wrong with an installation, and the repair of what is safe to repair."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pokewatch.errors import PokewatchError
from pokewatch.files import alone
from pokewatch.operations.doctor.environment import (
    check_currency,
    check_packages,
    check_settings,
    check_source,
)
from pokewatch.operations.doctor.findings import Finding, bad, ok
from pokewatch.operations.doctor.home import check_disk, check_home, check_leftovers
from pokewatch.operations.doctor.models import check_databases, check_models
from pokewatch.operations.doctor.nights import check_clock, check_nights
from pokewatch.operations.doctor.tables import check_tables
from pokewatch.settings import PROJECT, Settings


def examine(settings: Settings, deep: bool = False) -> list[Finding]:
    """Run every check; one that fails itself is a finding too. deep: read every stored value."""
    checks = {  # generators: each runs when it is iterated
        "home": check_home(settings),
        "settings": check_settings(PROJECT),
        "disk": check_disk(settings),
        "tables": check_tables(settings, deep),
        "clock": check_clock(settings),
        "source": check_source(settings),
        "currency": check_currency(settings),
        "packages": check_packages(),
        "databases": check_databases(settings),
        "models": check_models(settings),
        "nights": check_nights(settings),
        "leftovers": check_leftovers(settings),
    }
    found: list[Finding] = []
    for name, check in checks.items():
        try:
            found += check
        except (PokewatchError, OSError) as error:
            found.append(bad(name, str(error)))
        except Exception as error:  # a damaged home may break a check in ways nobody foresaw
            found.append(bad(name, f"the check failed: {type(error).__name__}: {error}"))
    return found


def repair(settings: Settings, deep: bool = False) -> list[Finding]:
    """Repair what is safe to repair and return the findings after it, with what was done.

    Nothing is deleted but unfinished files of processes that are gone. Raises PokewatchError while
    a night is running.
    """
    with no_night(settings):
        done = {}
        for finding in examine(settings, deep):
            if finding.fix is not None:
                try:
                    done[finding.name] = finding.fix()
                except (PokewatchError, OSError) as error:
                    done[finding.name] = f"could not be mended: {error}"
        after = examine(settings, deep)
    for finding in after:
        finding.done = done.pop(finding.name, "")
    return after + [ok(name, "mended", done=text) for name, text in done.items()]


@contextmanager
def no_night(settings: Settings) -> Iterator[None]:
    """Hold the lock of the nightly script; PokewatchError where a night holds it."""
    path = settings.make_home() / "logs" / "nightly.lock"
    path.parent.mkdir(exist_ok=True)
    with alone(path) as held:
        if held is False:
            raise PokewatchError(
                "a night is running in this data home: run 'pokewatch doctor --fix' when it is done"
            )
        yield
