"""Checks of the stored tables: logs, data files, doubled rows, files without a version."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from deltalake import DeltaTable

from pokewatch.operations.doctor.findings import MIB, Finding, bad, ok, warn
from pokewatch.settings import Settings
from pokewatch.store import log as delta_log
from pokewatch.store import repair
from pokewatch.store.tables import TABLES, Store

PERMISSIONS = "mend owner and permissions of the data home"


def check_tables(settings: Settings, deep: bool) -> Iterator[Finding]:
    """Whether each table opens, its log has no holes, and every file is as it was written."""
    store = Store.from_settings(settings)
    for name in TABLES:
        if "://" in store.root:
            yield _remote(store, name, deep)
        else:
            yield from _local(settings, store, name, deep)


def _remote(store: Store, name: str, deep: bool) -> Finding:
    snapshot = store.snapshot(name)
    if deep and snapshot.handle is not None:
        deque(snapshot.dataset.to_batches(), maxlen=0)
    read = "read in full" if deep else "its files are not looked at without --deep"
    return ok(f"table {name}", f"version {snapshot.version} opens; {read}")


def _local(settings: Settings, store: Store, name: str, deep: bool) -> Iterator[Finding]:
    title, folder = f"table {name}", Path(store.location(name))

    def fix() -> str:
        rescued = repair.rescue_folder(settings.home)
        done = [repair.restore_log(store, name, rescued)]
        done.append(repair.restore_files(store, name, rescued, deep))
        done += [f"damaged files are in '{rescued}'"] if rescued.exists() else []
        return "; ".join(filter(None, done))

    log = delta_log.examine(folder)
    if log.denied:
        message = f"{', '.join(log.denied[:3])} may not be read by this user"
        yield bad(title, message, PERMISSIONS)
        return
    if log.entries or log.checkpoints:
        what = [f"log entry {version}" for version in log.entries[:5]]
        what += [path.name for path in log.checkpoints]
        back = repair.last_readable(store, name, min([*log.entries, log.newest + 1]))
        possible = back is not None or not log.entries
        until, remedy = _way_back(back)
        message = f"damaged or missing: {', '.join(what)}{until}"
        yield bad(title, message, remedy, fix if possible else None)
        return
    handle = store.snapshot(name).handle
    if handle is None:
        yield ok(title, "empty: nothing was stored yet")
        return
    if damaged := repair.damaged_files(folder, handle, deep):
        until, remedy = _way_back(repair.last_readable(store, name, handle.version()))
        message = f"{len(damaged)} files of version {handle.version()} are damaged: "
        message += f"'{damaged[0].path}' {damaged[0].problem}{until}"
        if any(file.denied for file in damaged):
            yield bad(title, message, PERMISSIONS)
        else:
            yield bad(title, message, remedy, fix)
        return
    if deep and (twice := repair.count_duplicates(store, name)):
        message = f"{twice:,} rows stand there twice, as two compactions at once left them"
        remedy = "pokewatch doctor --deep --fix keeps one of each"
        yield bad(title, message, remedy, lambda: repair.drop_duplicates(store, name))
        return
    read = "read in full" if deep else "each there with its size and footer"
    yield ok(title, f"version {handle.version()}, {len(handle.file_uris())} files, {read}")
    if log.old:
        message = f"log entry {log.old[0]} is damaged, which only versions before it need"
        yield warn(f"{title} history", message, "nothing: it leaves with the retention")
    yield from _unused(store, name, handle)


def _way_back(version: int | None) -> tuple[str, str]:
    """Return the end of a message about damage, and the remedy."""
    if version is None:
        return "", "restore a back-up: docs/operations.md, 'A table is damaged'"
    remedy = "pokewatch doctor --fix goes back as little as possible, or restore a back-up"
    return f"; the last readable version is {version}", remedy


def _unused(store: Store, name: str, handle: DeltaTable) -> Iterator[Finding]:
    hours = store.retention_days * 24
    unused = handle.vacuum(retention_hours=hours, dry_run=True, full=True)
    paths = [Path(store.location(name)) / path for path in unused]
    size = sum(path.stat().st_size for path in paths if path.exists())
    if size < MIB:
        return

    def fix() -> str:
        fresh = store.snapshot(name).handle
        gone = fresh.vacuum(retention_hours=hours, dry_run=False, full=True) if fresh else []
        return f"{len(gone)} unused files of table '{name}' deleted"

    message = f"{len(unused)} files older than {store.retention_days} days belong to no version"
    message += f": {size / MIB:,.0f} MiB"
    yield warn(f"table {name} files", message, "pokewatch doctor --fix", fix)
