"""The return of a back-up to an empty data home, verified before anything is written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pokewatch.errors import PokewatchError, StoreError, UsageError
from pokewatch.settings import Settings
from pokewatch.store.backup import FORMAT, MANIFEST, MEMBER, RESTORED, told
from pokewatch.store.content import content_hash, hash_rows
from pokewatch.store.tables import TABLES, Store

MANIFEST_LIMIT = 64 * 2**20
MEMBERS_LIMIT = 100_000
FILE_LIMIT = 2**30
ROWS_LIMIT = 10**9


def restore(settings: Settings, source: Path) -> dict[str, Any]:
    """Restore an archive into an empty data home; return its manifest without the files.

    All of it is verified before anything is written. What is there with the same content is left
    alone, so that an interrupted import goes on when it is run again. Raises UsageError for a home
    that holds something else, PokewatchError for an archive that is not whole.
    """
    store = Store.from_settings(settings)
    with _opened(source) as tar:
        members = _checked_members(tar, source)
        manifest = _manifest(tar, members, source)
        for name, said in manifest["files"].items():
            _verify(tar, members[name], said, source)
        missing = _missing_tables(store, manifest)
        settings.make_home()
        with tempfile.TemporaryDirectory(prefix=".import-", dir=settings.home) as draft:
            staged = Path(draft)
            for name in members.keys() - {MANIFEST}:
                _unpack(tar, members[name], staged / name)
            for name, said in manifest["tables"].items():
                _verify_table(staged / "tables" / f"{name}.parquet", name, said)
            notes = _place_files(settings, staged)
            for name in missing:
                _commit(store, name, staged / "tables" / f"{name}.parquet")
    for name, said in manifest["tables"].items():
        if (found := content_hash(store, name)) != said["content"]:
            raise StoreError(
                f"table '{name}' has content {found} after the import, the archive says "
                f"{said['content']}: somebody else wrote to it meanwhile"
            )
    return told(manifest, source) | {"notes": notes}


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(source, "r:") as tar:  # "r:" takes no compression, so nothing inflates
            yield tar
    except tarfile.TarError as error:
        raise PokewatchError(
            f"'{source}' is no whole archive ({error}): take another one"
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
        if set(found["files"]) != members.keys() - {MANIFEST} or set(found["tables"]) != set(
            TABLES
        ):
            raise ValueError("its manifest and its files differ")
        digests = [said["sha256"] for said in found["files"].values()]
        rows = [said["rows"] for said in found["tables"].values() if said["content"]]
        if {f"tables/{name}.parquet" for name in TABLES} - members.keys():
            raise ValueError("a table is missing")
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


def _verify(
    tar: tarfile.TarFile, member: tarfile.TarInfo, said: dict[str, Any], source: Path
) -> None:
    digest = hashlib.sha256()
    file = _content(tar, member)
    while chunk := file.read(2**20):
        digest.update(chunk)
    if digest.hexdigest() != said["sha256"]:
        raise PokewatchError(f"'{member.name}' in '{source}' is damaged: take another back-up")


def _missing_tables(store: Store, manifest: dict[str, Any]) -> list[str]:
    """Return the tables to write; UsageError where the store holds other rows."""
    out = []
    for name in RESTORED:
        said = manifest["tables"][name]
        there = store.snapshot(name)
        if there.handle is not None and there.dataset.count_rows():
            if content_hash(store, name) != said["content"]:
                raise UsageError(
                    f"'{store.root}' holds other {name}: import into an empty home, as in "
                    "POKEWATCH_HOME=data/restored pokewatch import ..."
                )
        elif said["rows"]:
            out.append(name)
    return out


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        shutil.copyfileobj(_content(tar, member), file)
    os.utime(target, (member.mtime, member.mtime))


def _verify_table(path: Path, name: str, said: dict[str, Any]) -> None:
    """Refuse a Parquet file whose rows are not those of the manifest."""
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(TABLES[name]):
                raise ValueError("its columns are not those of this version")
            if file.metadata.num_rows != said["rows"]:
                raise ValueError(f"it has {file.metadata.num_rows:,} rows, not {said['rows']:,}")
            if hash_rows(file.iter_batches())[0] != said["content"]:
                raise ValueError("its content hash is another one")
    except (ValueError, OSError, pa.ArrowException) as error:
        raise PokewatchError(f"table '{name}' of the archive is damaged: {error}") from error


def _commit(store: Store, name: str, path: Path) -> None:
    rows = pq.read_table(path)
    store.retry(lambda: store.replace(store.snapshot(name), rows, None))


def _place_files(settings: Settings, staged: Path) -> list[str]:
    """Move models, told alerts and watchlist to their places; what is there stays."""
    notes: list[str] = []
    models = staged / "models"
    settings.models_dir.mkdir(exist_ok=True)
    folders = sorted(path for path in models.glob("*") if path.is_dir())
    places = [(path, settings.models_dir / path.name) for path in folders]
    places += [
        (models / "champion.json", settings.models_dir / "champion.json"),
        (staged / "alerts.json", settings.home / "alerts.json"),
        (staged / "watchlist.yaml", settings.watchlist),
    ]
    for path, target in places:
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
