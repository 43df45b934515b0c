"""The doctor's look at what is stored: tables, dates against the clock, the last nights."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
from deltalake import DeltaTable

from pokewatch.errors import StoreError
from pokewatch.operations.doctor.home import MIB, Finding, State
from pokewatch.settings import Settings
from pokewatch.store import log as delta_log
from pokewatch.store import repair
from pokewatch.store.tables import TABLES, Store

SKEW = timedelta(minutes=5)


def check_tables(settings: Settings, deep: bool) -> Iterator[Finding]:
    """Whether each table opens, its log has no holes, and every file is there as it was written."""
    store = Store.from_settings(settings)
    for name in TABLES:
        yield from _check_table(settings, store, name, deep)


def _check_table(settings: Settings, store: Store, name: str, deep: bool) -> Iterator[Finding]:
    title, folder = f"table {name}", Path(store.location(name))
    if "://" in store.root:
        yield _remote(store, name, deep)
        return
    if not folder.exists():
        yield Finding(title, State.ok, "empty: nothing was stored yet")
        return

    def fix() -> str:
        rescued = repair.rescue_folder(settings.home)
        done = [repair.restore_log(store, name, rescued)]
        done.append(repair.restore_files(store, name, rescued, deep))
        said = "; ".join(text for text in done if text)
        return f"{said}; damaged files are in '{rescued}'" if rescued.exists() else said

    log = delta_log.examine(folder)
    if log.denied:
        seen = f"{', '.join(log.denied[:3])} may not be read by this user"
        yield Finding(title, State.bad, seen, "mend owner and permissions of the data home")
        return
    if log.entries or log.checkpoints:
        what = [f"log entry {version}" for version in log.entries[:5]]
        what += [path.name for path in log.checkpoints]
        back = repair.last_readable(store, name, min([*log.entries, log.newest + 1]))
        until = f"; the last readable version is {back}" if back is not None else ""
        yield Finding(
            title,
            State.bad,
            f"damaged or missing: {', '.join(what)}{until}",
            _way_back(back),
            fix if back is not None or not log.entries else None,
        )
        return
    handle = store.snapshot(name).handle
    if handle is None:
        yield Finding(title, State.ok, "empty: nothing was stored yet")
        return
    if damaged := repair.damaged_files(folder, handle, deep):
        one = damaged[0]
        back = repair.last_readable(store, name, handle.version())
        until = f"; the last whole version is {back}" if back is not None else ""
        seen = f"{len(damaged)} files of version {handle.version()} are damaged: '{one.path}' "
        mendable = not any(file.denied for file in damaged)
        yield Finding(
            title,
            State.bad,
            f"{seen}{one.problem}{until}",
            _way_back(back) if mendable else "mend owner and permissions of the data home",
            fix if mendable else None,
        )
        return
    if deep and (twice := repair.count_duplicates(store, name)):
        yield Finding(
            title,
            State.bad,
            f"{twice:,} rows stand there twice, as two compactions at once left them",
            "pokewatch doctor --deep --fix keeps one of each",
            lambda: repair.drop_duplicates(store, name),
        )
        return
    files = len(handle.file_uris())
    read = "read in full" if deep else "each there with its size and footer"
    yield Finding(title, State.ok, f"version {handle.version()}, {files} files, {read}")
    if log.old:
        seen = f"log entry {log.old[0]} is damaged, which only versions before it need"
        yield Finding(f"{title} history", State.warn, seen, "nothing: it leaves with the retention")
    yield from _orphans(store, name, handle)


def _orphans(store: Store, name: str, handle: DeltaTable) -> Iterator[Finding]:
    hours = store.retention_days * 24
    unused = handle.vacuum(retention_hours=hours, dry_run=True, full=True)
    folder = Path(store.location(name))
    size = sum((folder / path).stat().st_size for path in unused if (folder / path).exists())
    if size < MIB:
        return

    def fix() -> str:
        fresh = store.snapshot(name).handle
        gone = fresh.vacuum(retention_hours=hours, dry_run=False, full=True) if fresh else []
        return f"{len(gone)} unused files of table '{name}' deleted"

    seen = f"{len(unused)} files older than {store.retention_days} days belong to no version"
    seen += f": {size / MIB:,.0f} MiB"
    yield Finding(f"table {name} files", State.warn, seen, "pokewatch doctor --fix", fix)


def _way_back(version: int | None) -> str:
    if version is None:
        return "restore a back-up: docs/operations.md, 'A table is damaged'"
    return "pokewatch doctor --fix goes back as little as possible, or restore a back-up"


def _remote(store: Store, name: str, deep: bool) -> Finding:
    snapshot = store.snapshot(name)
    if deep and snapshot.handle is not None:
        for _ in snapshot.dataset.to_batches():
            pass
    read = "read in full" if deep else "its files are not looked at without --deep"
    return Finding(f"table {name}", State.ok, f"version {snapshot.version} opens; {read}")


def check_clock(settings: Settings) -> Iterator[Finding]:
    """Whether prices come from the future, as they do where the clock was moved back."""
    try:
        rows = Store.from_settings(settings).snapshot("prices").read(["date", "collected_at"])
    except StoreError:  # the table's own check says so
        return
    if not len(rows):
        return
    now = datetime.now(UTC)
    collected, last = pc.max(rows["collected_at"]).as_py(), pc.max(rows["date"]).as_py()
    if collected > now + SKEW:
        seen = f"the newest price was collected at {collected:%Y-%m-%d %H:%M} UTC, the clock says "
        seen += f"{now:%Y-%m-%d %H:%M}"
        mend = "set the clock (timedatectl); until it has passed that moment new prices lose to it"
        yield Finding("clock", State.bad, seen, mend)
    elif last > now.date():
        seen = f"prices of {last} are stored, and today is {now.date()} (UTC)"
        yield Finding("clock", State.bad, seen, "set the clock (timedatectl)")
    else:
        yield Finding("clock", State.ok, f"{now:%Y-%m-%d %H:%M} UTC, after everything stored")


def check_nights(settings: Settings) -> Iterator[Finding]:
    """Whether prices and report are fresh, and how the last logged night ended."""
    try:
        days = Store.from_settings(settings).prices(["date"])["date"]
    except StoreError:
        return
    if days.empty:
        yield Finding("nights", State.ok, "no prices yet: run 'pokewatch run'")
        return
    last = days.max()
    old = (pd.Timestamp.now(tz="UTC").tz_localize(None).normalize() - last).days
    stale = old > settings.stale_days
    yield Finding(
        "nights",
        State.warn if stale else State.ok,
        f"the last prices are of {last:%Y-%m-%d}, {old} days ago",
        "scripts/install_cron.sh --show; 'pokewatch collect' fetches today's" if stale else "",
    )
    yield from _check_report(settings, f"{last:%Y-%m-%d}")
    logs = sorted((settings.home / "logs").glob("nightly-????-??-??.log"))
    lines = logs[-1].read_text(encoding="utf-8", errors="replace").splitlines() if logs else []
    if lines and " failed with exit " in lines[-1]:
        seen = f"{logs[-1].name} ends with: {lines[-1][:300]}"
        yield Finding("last night", State.warn, seen, "docs/operations.md, by symptom")


def _check_report(settings: Settings, last: str) -> Iterator[Finding]:
    folder = settings.reports_dir
    newest = max((path.stem for path in folder.glob("????-??-??.html")), default=None)
    failed = [path for path in folder.glob("*.failed.ipynb") if path.stem[:10] >= (newest or "")]
    mend = "run 'pokewatch report', which says what fails"
    if failed:
        yield Finding("report", State.warn, f"the last one failed: '{failed[-1]}'", mend)
    elif newest is None or newest < last:
        seen = f"the newest is of {newest}" if newest else "there is none"
        yield Finding("report", State.warn, f"{seen}, prices are of {last}", mend)
    else:
        yield Finding("report", State.ok, f"the newest is of {newest}")
