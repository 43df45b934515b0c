"""One archive with everything that cannot be had again; ``restore`` brings it back."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pokewatch import __version__
from pokewatch.errors import PokewatchError, StoreError, UsageError
from pokewatch.settings import Settings
from pokewatch.store.content import hash_rows
from pokewatch.store.tables import TABLES, Snapshot, Store

FORMAT = 1
MANIFEST = "manifest.json"
# In this order: a row that moves to the prices meanwhile is in both tables rather than in none.
SNAPSHOTS = ("quarantine", "prices", "cards", "predictions")
# Prices last: until then, an interrupted import shows none.
RESTORED = ("cards", "quarantine", "predictions", "prices")
# All that an archive may hold. No name begins with a dot or a slash: none leaves the home.
MEMBER = re.compile(
    rf"tables/({'|'.join(TABLES)})\.parquet|models/champion\.json"
    r"|models/\w[\w.+-]*/\w[\w.+-]*|alerts\.json|watchlist\.yaml",
    re.ASCII,
)


def export(settings: Settings, target: Path) -> dict[str, Any]:
    """Write the back-up archive, complete or not at all; return its manifest without the files.

    It holds the current version of every table, models, champion, told alerts and watchlist. It
    holds no secrets: neither .env nor what ZenML and MLflow keep, nor reports and downloads.
    """
    if target.suffix != ".tar":
        raise UsageError(f"'{target}' must end in .tar")
    store = Store.from_settings(settings)
    pinned = {name: store.snapshot(name) for name in SNAPSHOTS}
    if pinned["prices"].handle is None:
        raise UsageError("there are no prices to export: run 'pokewatch collect' first")
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "tables": {},
        "files": {},
    }
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
            draft = Path(folder) / "backup.tar"
            draft.touch(0o600)
            with draft.open("wb") as file:
                with tarfile.open(fileobj=file, mode="w") as tar:
                    for name in RESTORED:
                        path = Path(folder) / f"{name}.parquet"
                        manifest["tables"][name] = _write_table(pinned[name], path)
                        _add(tar, manifest, f"tables/{name}.parquet", path)
                        path.unlink()
                    for member, path in _files(settings):
                        _add(tar, manifest, member, path)
                    text = json.dumps(manifest, indent=1).encode()
                    tar.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
    except OSError as error:
        raise PokewatchError(
            f"'{target}' could not be written: {error}; what was there before is untouched"
        ) from error
    return told(manifest, target)


def _write_table(snapshot: Snapshot, path: Path) -> dict[str, Any]:
    """Write a table's rows as one Parquet file; return version, rows and content hash."""
    schema = TABLES[snapshot.name]

    def written() -> Iterator[pa.RecordBatch]:
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            if snapshot.handle is not None:
                for batch in snapshot.dataset.to_batches(columns=schema.names):
                    batch = batch.cast(schema)
                    writer.write_batch(batch)
                    yield batch

    try:
        found, rows = hash_rows(written())
    except pa.ArrowException as error:
        raise StoreError(
            f"table '{snapshot.name}' cannot be read ({error}): 'pokewatch doctor' says what to do"
        ) from error
    return {"version": snapshot.version, "rows": rows, "content": found}


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield member name and path of every file, the champion's pointer before the models."""
    models = settings.models_dir
    wanted = {
        "watchlist.yaml": settings.watchlist,
        "alerts.json": settings.home / "alerts.json",
        "models/champion.json": models / "champion.json",
    }
    yield from ((name, path) for name, path in wanted.items() if path.is_file())
    for path in sorted(models.glob("*/*")):
        name = path.relative_to(models.parent).as_posix()
        if path.is_file() and not path.is_symlink() and MEMBER.fullmatch(name):
            yield name, path


def _add(tar: tarfile.TarFile, manifest: dict[str, Any], name: str, path: Path) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        file.seek(0)
        # Models are known by when they were written.
        tar.addfile(_member(name, size, path.stat().st_mtime), file)
    manifest["files"][name] = {"bytes": size, "sha256": digest}


def _member(name: str, size: int, written: float = 0) -> tarfile.TarInfo:
    out = tarfile.TarInfo(name)
    out.size, out.mode, out.mtime = size, 0o600, written
    return out


def told(manifest: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what 'export' and 'import' answer: the manifest without its list of files."""
    kept = {name: value for name, value in manifest.items() if name != "files"}
    return {"file": str(path), "files": len(manifest["files"]), **kept}


def shown(told: dict[str, Any]) -> dict[str, Any]:
    """Return what 'export' and 'import' print for people."""
    tables = {
        name: f"{said['rows']:,} rows, content {said['content']}"
        for name, said in told["tables"].items()
    }
    return {"file": told["file"], **tables, "files": told["files"], "notes": told.get("notes", [])}
