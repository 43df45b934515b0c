"""Checks of the nights: the clock, how fresh prices and report are, how the last night ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow.compute as pc

from pokewatch.errors import StoreError
from pokewatch.operations.doctor.findings import Finding, bad, ok, warn
from pokewatch.settings import Settings
from pokewatch.store.tables import Store

SKEW = timedelta(minutes=5)


def check_clock(settings: Settings) -> Iterator[Finding]:
    """Whether prices come from the future, as they do where the clock was moved back."""
    try:
        store = Store.from_settings(settings)
        pinned = store.snapshot("prices")
        last = store.last_day(snapshot=pinned)
        times = [pc.max(rows["collected_at"]).as_py() for rows in pinned.by_month(["collected_at"])]
    except StoreError:  # the table's check reports it
        return
    if last is None:
        return
    now, collected = datetime.now(UTC), max(filter(None, times))
    if collected > now + SKEW:
        message = f"the newest price was collected at {collected:%Y-%m-%d %H:%M} UTC, the clock "
        message += f"says {now:%Y-%m-%d %H:%M}"
        remedy = (
            "set the clock (timedatectl); until it has passed that moment new prices lose to it"
        )
        yield bad("clock", message, remedy)
    elif last > now.date():
        message = f"prices of {last} are stored, and today is {now.date()} (UTC)"
        yield bad("clock", message, "set the clock (timedatectl)")
    else:
        yield ok("clock", f"{now:%Y-%m-%d %H:%M} UTC, after everything stored")


def check_nights(settings: Settings) -> Iterator[Finding]:
    """Whether prices and report are fresh, and how the last logged night ended."""
    try:
        last = Store.from_settings(settings).last_day()
    except StoreError:
        return
    if last is None:
        yield ok("nights", "no prices yet: run 'pokewatch run'")
        return
    old = (datetime.now(UTC).date() - last).days
    message = f"the last prices are of {last}, {old} days ago"
    if old > settings.stale_days:
        remedy = "scripts/install_cron.sh --show; 'pokewatch collect' fetches today's"
        yield warn("nights", message, remedy)
    else:
        yield ok("nights", message)
    yield _report(settings, f"{last}")
    logs = sorted((settings.home / "logs").glob("nightly-????-??-??.log"))
    lines = logs[-1].read_text(encoding="utf-8", errors="replace").splitlines() if logs else []
    if lines and " failed with exit " in lines[-1]:
        message = f"{logs[-1].name} ends with: {lines[-1][:300]}"
        yield warn("last night", message, "docs/operations.md, by symptom")


def _report(settings: Settings, last: str) -> Finding:
    folder = settings.reports_dir
    newest = max((path.stem for path in folder.glob("????-??-??.html")), default="")
    failed = [path for path in folder.glob("*.failed.ipynb") if path.stem[:10] >= newest]
    remedy = "run 'pokewatch report', which says what fails"
    if failed:
        return warn("report", f"the last one failed: '{failed[-1]}'", remedy)
    message = f"the newest is of {newest}" if newest else "there is none"
    if newest < last:
        return warn("report", f"{message}, prices are of {last}", remedy)
    return ok("report", message)
