"""Back-ups: tables, models and watchlist in one archive, verified before they come back.

A content hash of each table proves that what is restored is what was exported: it is the same for
the same rows, in whatever order and files.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pokewatch import __version__
from pokewatch.errors import PokewatchError, StoreError, UsageError
from pokewatch.schema import ADDED
from pokewatch.settings import Settings
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
MANIFEST_LIMIT = 64 * 2**20
MEMBERS_LIMIT = 100_000
FILE_LIMIT = 2**30
ROWS_LIMIT = 10**9
NULL = np.uint64(0x9E3779B97F4A7C15)


def export(settings: Settings, target: Path) -> dict[str, Any]:
    """Write the back-up archive, complete or not at all; return its summary.

    It holds the current version of every table, models, champion, sent alerts and watchlist, no
    secrets, downloads or reports; ``notes`` name a home of Cardmarket's prices, which is exported
    by itself. Raises UsageError without prices or for a name that does not end in .tar,
    PokewatchError where it cannot be written or a table cannot be read.
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
                        manifest["files"][f"tables/{name}.parquet"] = _add(
                            tar, f"tables/{name}.parquet", path
                        )
                        path.unlink()
                    for member, path in _files(settings):
                        manifest["files"][member] = _add(tar, member, path)
                    text = json.dumps(manifest, indent=1).encode()
                    tar.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
    except OSError as error:
        raise PokewatchError(
            f"'{target}' could not be written: {error}; what was there before is untouched"
        ) from error
    apart = settings.home / "cardmarket"
    export_it = f"POKEWATCH_HOME='{apart}' pokewatch export FILE.tar"
    notes = [f"'{apart}' is a home of its own and not in it: {export_it}"] if apart.is_dir() else []
    return _summary(manifest, target) | {"notes": notes}


def _write_table(snapshot: Snapshot, path: Path) -> dict[str, Any]:
    """Write a table's rows as one Parquet file; return version, rows and content hash."""
    with pq.ParquetWriter(path, TABLES[snapshot.name], compression="zstd") as writer:
        content, rows = hash_rows(
            batch for batch in _batches(snapshot) if writer.write_batch(batch) is None
        )
    return {"version": snapshot.version, "rows": rows, "content": content}


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


def _add(tar: tarfile.TarFile, name: str, path: Path) -> dict[str, Any]:
    """Add a file to the archive; return what the manifest says of it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        file.seek(0)
        # Models are known by when they were written.
        tar.addfile(_member(name, size, path.stat().st_mtime), file)
    return {"bytes": size, "sha256": digest}


def _member(name: str, size: int, written: float = 0) -> tarfile.TarInfo:
    out = tarfile.TarInfo(name)
    out.size, out.mode, out.mtime = size, 0o600, written
    return out


def _summary(manifest: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what 'export' and 'import' answer: the manifest with the number of its files."""
    return {"file": str(path), **manifest, "files": len(manifest["files"])}


def display(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what 'export' and 'import' print for people, from what they return."""
    tables = {
        name: f"{about['rows']:,} rows, content {about['content']}"
        for name, about in summary["tables"].items()
    }
    counted = {"files": summary["files"], "notes": summary.get("notes", [])}
    return {"file": summary["file"], **tables, **counted}


def restore(settings: Settings, source: Path) -> dict[str, Any]:
    """Restore an archive into an empty data home; return its summary, with ``notes``.

    All of it is verified before anything is written. What is there with the same content is left
    alone, so that an interrupted import goes on when it is run again. Raises UsageError for a home
    that holds something else, PokewatchError for an archive that is cut, damaged or not ours.
    """
    store = Store.from_settings(settings)
    with _opened(source) as tar:
        members = _checked_members(tar, source)
        manifest = _manifest(tar, members, source)
        for name, about in manifest["files"].items():
            with _content(tar, members[name]) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            if digest != about["sha256"]:
                raise PokewatchError(f"'{name}' in '{source}' is damaged: take another back-up")
        missing = _missing_tables(store, manifest)
        settings.make_home()
        with tempfile.TemporaryDirectory(prefix=".import-", dir=settings.home) as folder:
            staged = Path(folder)
            for name in members.keys() - {MANIFEST}:
                _unpack(tar, members[name], staged / name)
            for name, about in manifest["tables"].items():
                _verify_table(staged / "tables" / f"{name}.parquet", name, about)
            notes = _place_files(settings, staged)
            for name in missing:
                _commit(store, name, staged / "tables" / f"{name}.parquet")
    for name, about in manifest["tables"].items():
        if (found := content_hash(store, name)) != about["content"]:
            raise StoreError(
                f"table '{name}' has content {found} after the import, the archive says "
                f"{about['content']}: somebody else wrote to it meanwhile"
            )
    return _summary(manifest, source) | {"notes": notes}


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(source, "r:") as tar:  # "r:" takes no compression, so nothing inflates
            yield tar
    except tarfile.TarError as error:
        raise PokewatchError(
            f"'{source}' is no complete archive ({error}): take another one"
        ) from error
    except OSError as error:
        raise PokewatchError(f"'{source}' cannot be imported: {error}") from error


def _checked_members(tar: tarfile.TarFile, source: Path) -> dict[str, tarfile.TarInfo]:
    """Return the members by name; only plain files of names that we write ourselves."""
    out: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        name = member.name
        if member.type != tarfile.REGTYPE or member.issparse():
            raise PokewatchError(f"'{source}' holds '{name}', which is no plain file: not imported")
        if name in out or not (name == MANIFEST or MEMBER.fullmatch(name)):
            raise PokewatchError(f"'{source}' holds '{name}', which 'export' never writes")
        if len(out) == MEMBERS_LIMIT:
            raise PokewatchError(f"'{source}' holds more than {MEMBERS_LIMIT:,} files")
        if member.size > FILE_LIMIT and not name.startswith("tables/"):
            raise PokewatchError(f"'{source}' holds '{name}' of {member.size:,} bytes: too large")
        out[name] = member
    return out


def _manifest(
    tar: tarfile.TarFile, members: dict[str, tarfile.TarInfo], source: Path
) -> dict[str, Any]:
    """Return the manifest, if it names exactly what is there."""
    try:
        if members[MANIFEST].size > MANIFEST_LIMIT:
            raise ValueError("its manifest is too large")
        found: dict[str, Any] = json.loads(_content(tar, members[MANIFEST]).read())
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']!r}, this version reads {FORMAT}")
        files, tables = found["files"], found["tables"]
        if set(files) != members.keys() - {MANIFEST} or set(tables) != set(TABLES):
            raise ValueError("its manifest and its files differ")
        if {f"tables/{name}.parquet" for name in TABLES} - members.keys():
            raise ValueError("a table is missing")
        rows = [about["rows"] for about in tables.values() if about["content"]]
        digests = [about["sha256"] for about in files.values()]
        if not all(isinstance(one, str) for one in digests) or sum(rows) > ROWS_LIMIT:
            raise ValueError("its manifest is malformed")
    except (KeyError, TypeError, ValueError) as error:
        raise PokewatchError(f"'{source}' is no back-up of PokeWatch ({error})") from error
    return found


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    if file is None:
        raise KeyError(member.name)
    return file


def _missing_tables(store: Store, manifest: dict[str, Any]) -> list[str]:
    """Return the tables to write; UsageError where the store holds other rows."""
    out = []
    for name in RESTORED:
        about = manifest["tables"][name]
        if store.snapshot(name).read(["card_id"]).num_rows:
            if content_hash(store, name) != about["content"]:
                raise UsageError(
                    f"'{store.root}' holds other {name}: import into an empty home, as in "
                    "POKEWATCH_HOME=data/restored pokewatch import ..."
                )
        elif about["rows"]:
            out.append(name)
    return out


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        shutil.copyfileobj(_content(tar, member), file)
    os.utime(target, (member.mtime, member.mtime))


def _verify_table(path: Path, name: str, about: dict[str, Any]) -> None:
    """Refuse a Parquet file whose rows are not those of the manifest."""
    try:
        with pq.ParquetFile(path) as file:
            found = file.schema_arrow
            there = {*TABLES[name].names} - ADDED | {*found.names}
            if not found.equals(pa.schema([f for f in TABLES[name] if f.name in there])):
                raise ValueError("its columns are not those of this version")
            if file.metadata.num_rows != about["rows"]:
                raise ValueError(f"it has {file.metadata.num_rows:,} rows, not {about['rows']:,}")
            if hash_rows(file.iter_batches())[0] != about["content"]:
                raise ValueError("its content hash is another one")
    except (ValueError, OSError, pa.ArrowException) as error:
        raise PokewatchError(f"table '{name}' of the archive is damaged: {error}") from error


def _commit(store: Store, name: str, path: Path) -> None:
    rows = pq.read_table(path)
    for field in TABLES[name]:
        if field.name not in rows.column_names:  # of an archive that an earlier version wrote
            rows = rows.append_column(field, pa.nulls(len(rows), field.type))
    rows = rows.select(TABLES[name].names)
    store.retry(lambda: store.replace(store.snapshot(name), rows, None))


def _place_files(settings: Settings, staged: Path) -> list[str]:
    """Move models, sent alerts and watchlist to their places; return what was there and stays."""
    models, notes = settings.models_dir, []
    models.mkdir(exist_ok=True)
    folders = sorted(path for path in (staged / "models").glob("*") if path.is_dir())
    places = {path: models / path.name for path in [*folders, staged / "models" / "champion.json"]}
    places[staged / "alerts.json"] = settings.home / "alerts.json"
    places[staged / "watchlist.yaml"] = settings.watchlist
    for path, target in places.items():
        if not path.exists():
            continue
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
        elif not _same(path, target):
            notes.append(f"'{target}' was there and is left as it is")
    return notes


def _same(path: Path, target: Path) -> bool:
    if not path.is_dir():
        return target.is_file() and path.read_bytes() == target.read_bytes()
    return all(_same(one, target / one.name) for one in path.iterdir())


def content_hash(store: Store, table: str = "prices", version: int | None = None) -> str:
    """Return the hash of a stored table's rows, that of no rows while it does not exist."""
    return hash_rows(_batches(store.snapshot(table, version)))[0]


def _batches(snapshot: Snapshot) -> Iterator[pa.RecordBatch]:
    """Yield all of a pinned table in its own schema."""
    schema = TABLES[snapshot.name]
    if snapshot.handle is not None:
        with snapshot.reading() as dataset:
            for batch in dataset.to_batches(columns=schema.names):
                yield batch.cast(schema)


def hash_rows(batches: Iterable[pa.RecordBatch]) -> tuple[str, int]:
    """Return hash and number of rows.

    Each row becomes 64 bits, added up in two ways: the order of rows is of no account, how often
    each comes is. It finds damage and is no signature; NumPy's and pandas' own hashes may change.
    """
    total, mixed, count = np.uint64(0), np.uint64(0), 0
    with np.errstate(over="ignore"):
        for batch in batches:
            rows = np.zeros(len(batch), dtype=np.uint64)
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if name not in ADDED:  # so that archives of earlier versions keep their hash
                    rows = _mix(rows * np.uint64(31) + _bits(column))
            total += rows.sum(dtype=np.uint64)
            mixed += _mix(rows ^ NULL).sum(dtype=np.uint64)
            count += len(rows)
    return f"{count}-{int(total):016x}{int(mixed):016x}", count


def _bits(column: pa.Array) -> np.ndarray:
    """Return 64 bits of each value; equal values of a type have equal bits."""
    kind = column.type
    missing = pc.is_null(column).to_numpy(zero_copy_only=False)
    if pa.types.is_list(kind):  # only the aliases of the cards
        texts = [None if value is None else "\x1f".join(value) for value in column.to_pylist()]
        column, kind = pa.array(texts, pa.string()), pa.string()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        coded = column.dictionary_encode()
        digests = (
            hashlib.blake2b(text.encode(), digest_size=8).digest()
            for text in coded.dictionary.to_pylist()
        )
        known = [int.from_bytes(digest, "little") for digest in digests] or [0]
        codes = pc.fill_null(coded.indices, 0).to_numpy(zero_copy_only=False)
        bits = np.array(known, dtype=np.uint64)[codes]
    elif pa.types.is_floating(kind):
        numbers = pc.fill_null(column, 0.0).to_numpy(zero_copy_only=False).astype(np.float64)
        bits = np.where(np.isnan(numbers), np.nan, numbers + 0.0).view(np.uint64)
    else:
        width = pa.int32() if pa.types.is_date32(kind) else pa.int64()
        integers = pc.fill_null(column.cast(width), 0).to_numpy(zero_copy_only=False)
        bits = integers.astype(np.int64).view(np.uint64)
    return np.where(missing, NULL, _mix(bits))


def _mix(bits: np.ndarray) -> np.ndarray:
    """Scatter 64 bits (the finaliser of splitmix64, Steele and others 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
