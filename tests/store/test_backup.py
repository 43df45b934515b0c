from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from builders import curve, delivery, market

from pokewatch.errors import PokewatchError, UsageError
from pokewatch.evaluation.registry import names
from pokewatch.quality.ingest import ingest
from pokewatch.settings import Settings, load_settings
from pokewatch.store import backup
from pokewatch.store.backup import content_hash, hash_rows
from pokewatch.store.tables import TABLES, Store

Members = list[tuple[tarfile.TarInfo, bytes]]


def settings_in(folder: Path, **overrides: object) -> Settings:
    return load_settings(home=folder / "home", watchlist=folder / "watchlist.yaml", **overrides)


def hashes(settings: Settings) -> dict[str, str]:
    store = Store.from_settings(settings)
    return {name: content_hash(store, name) for name in TABLES}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with prices, quarantine, predictions, two models and a watchlist."""
    settings = settings_in(tmp_path_factory.mktemp("full"))
    store = Store.from_settings(settings)
    rows = pd.concat([market(4, 50), curve("bad:Normal", [9.0, 0.0])])
    named = {"card_id": ["0:Normal"], "name": ["Mew"], "aliases": [["b-1", "a-1"]]}
    ingest(store, delivery(rows, **named), settings)
    ingest(store, delivery(rows.assign(date=rows["date"] + pd.Timedelta(days=50))), settings)
    forecasts = {
        **{"card_id": ["0:Normal"], "date": [pd.Timestamp("2025-04-01")], "horizon": [7]},
        **dict.fromkeys(["market_price", "fair_value", "lower", "upper", "deviation"], 1.5),
        **{"signal": "BUY", "reason": "it rises", "thin": True, "stale": False},
        **{"model": "second", "data_version": 2},
    }
    store.save_predictions(pd.DataFrame(forecasts))
    for number, name in enumerate(["second", "first"]):
        (settings.models_dir / name).mkdir(parents=True)
        (settings.models_dir / name / "trees.npz").write_bytes(bytes(range(200)))
        (settings.models_dir / name / "about.json").write_text(json.dumps({"name": name}))
        os.utime(settings.models_dir / name / "about.json", (number + 1e9, number + 1e9))
    (settings.models_dir / "champion.json").write_text('{"name": "second"}')
    (settings.models_dir / ".draft-1").mkdir()
    (settings.models_dir / ".draft-1" / "about.json").write_text("half")
    (settings.home / "zenml").mkdir()
    (settings.home / "zenml" / "secrets.key").write_text("the-very-key")
    (settings.home / "mlflow.db").write_text("a password")
    settings.watchlist.write_text("- card: 0:Normal\n")
    return settings


@pytest.fixture
def archive(full: Settings, tmp_path: Path) -> Path:
    backup.export(full, tmp_path / "backup.tar")
    return tmp_path / "backup.tar"


def test_a_backup_comes_back_with_the_same_content(full, archive, tmp_path):
    empty = settings_in(tmp_path / "empty")
    told = backup.restore(empty, archive)
    assert hashes(empty) == hashes(full)
    assert {name: said["content"] for name, said in told["tables"].items()} == hashes(full)
    old, new = Store.from_settings(full), Store.from_settings(empty)
    pd.testing.assert_frame_equal(new.prices(), old.prices())
    pd.testing.assert_frame_equal(new.cards(), old.cards())
    pd.testing.assert_frame_equal(new.quarantine(), old.quarantine())
    assert names(empty) == names(full) == ["second", "first"]
    for path in ("models/first/trees.npz", "models/champion.json"):
        assert (empty.home / path).read_bytes() == (full.home / path).read_bytes()
    assert empty.watchlist.read_text() == "- card: 0:Normal\n"
    assert empty.home.stat().st_mode & 0o777 == 0o700
    assert backup.restore(empty, archive)["notes"] == []
    assert new.data_version == 1
    assert not list(empty.home.glob(".import-*"))


def test_an_archive_holds_no_secret_and_no_draft_and_is_its_owners(archive):
    with tarfile.open(archive) as tar:
        listed = tar.getnames()
    assert not [name for name in listed if "zenml" in name or "mlflow" in name or "draft" in name]
    assert b"the-very-key" not in archive.read_bytes()
    assert archive.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in archive.parent.iterdir()] == ["backup.tar"]


def test_what_is_not_in_an_archive_is_said(full, tmp_path):
    assert backup.export(full, tmp_path / "a.tar")["notes"] == []
    kept = full.home / "cardmarket"
    kept.mkdir()
    said = backup.display(backup.export(full, tmp_path / "b.tar"))["notes"]
    kept.rmdir()
    (note,) = said
    assert f"POKEWATCH_HOME='{kept}' pokewatch export" in note


def test_a_home_with_other_prices_is_left_alone(archive, tmp_path):
    other = settings_in(tmp_path / "other")
    store = Store.from_settings(other)
    ingest(store, delivery(curve("1:Normal", [3.0])), other)
    before = hashes(other)
    with pytest.raises(UsageError, match="holds other cards: import into an empty home"):
        backup.restore(other, archive)
    assert hashes(other) == before
    assert not other.models_dir.exists()


def test_an_interrupted_import_shows_no_prices_and_goes_on(full, archive, tmp_path, monkeypatch):
    empty = settings_in(tmp_path / "empty")
    commit = backup._commit

    def killed(store: Store, name: str, path: Path) -> None:
        if name == "prices":
            raise KeyboardInterrupt
        commit(store, name, path)

    monkeypatch.setattr(backup, "_commit", killed)
    with pytest.raises(KeyboardInterrupt):
        backup.restore(empty, archive)
    assert Store.from_settings(empty).data_version == -1
    monkeypatch.undo()
    backup.restore(empty, archive)
    assert hashes(empty) == hashes(full)


def test_an_export_that_fails_keeps_the_archive_before(full, archive, monkeypatch):
    before = archive.read_bytes()

    def no_space(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(PokewatchError, match="No space left on device"):
        backup.export(full, archive)
    assert archive.read_bytes() == before
    assert not list(archive.parent.glob(".export-*"))


def rewritten(archive: Path, change: Callable[[Members], Members], resign: bool = False) -> Path:
    """Return the archive with other members; resign: with a manifest that fits them."""
    with tarfile.open(archive) as tar:
        members = [(m, f.read() if (f := tar.extractfile(m)) else b"") for m in tar]
    members = change(members)
    if resign:
        manifest = json.loads(members.pop()[1])
        manifest["files"] = {
            m.name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for m, data in members
        }
        text = json.dumps(manifest).encode()
        members.append((named("manifest.json", len(text)), text))
    out = archive.with_name("changed.tar")
    with tarfile.open(out, "w") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out


def named(
    name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tarfile.TarInfo:
    out = tarfile.TarInfo(name)
    out.size, out.type, out.linkname = size, kind, link
    return out


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (named("../outside"), "which 'export' never writes"),
        (named("/etc/outside"), "which 'export' never writes"),
        (named("models/../../outside"), "which 'export' never writes"),
        (named("models/m/.hidden"), "which 'export' never writes"),
        (named("models/champion.json"), "which 'export' never writes"),  # a second one
        (named("models/m/link", kind=tarfile.SYMTYPE, link="/etc/passwd"), "no plain file"),
        (named("models/m/hard", kind=tarfile.LNKTYPE, link="/etc/passwd"), "no plain file"),
        (named("models/m/pipe", kind=tarfile.FIFOTYPE), "no plain file"),
        (named("models/m/sparse", kind=tarfile.GNUTYPE_SPARSE), "no plain file"),
        (named("models/m/unlisted"), "manifest and its files differ"),
    ],
)
def test_what_no_export_writes_is_refused_before_anything_is_written(
    archive, tmp_path, member, said
):
    changed = rewritten(archive, lambda members: [(member, b""), *members])
    empty = settings_in(tmp_path / "empty")
    with pytest.raises(PokewatchError, match=said):
        backup.restore(empty, changed)
    assert not empty.home.exists()
    assert not (tmp_path / "outside").exists()


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("name", ["tables/prices.parquet", "models/first/trees.npz"])
def test_a_damaged_member_is_named_before_anything_is_written(archive, tmp_path, name):
    def damage(members: Members) -> Members:
        return [(m, flipped(data) if m.name == name else data) for m, data in members]

    empty = settings_in(tmp_path / "empty")
    with pytest.raises(PokewatchError, match=f"'{name}' in .* is damaged"):
        backup.restore(empty, rewritten(archive, damage))
    assert not empty.home.exists()


def test_rows_that_differ_from_the_manifest_are_refused_though_the_files_fit(archive, tmp_path):
    def other_prices(members: Members) -> Members:
        import pyarrow.parquet as pq

        def halved(data: bytes) -> bytes:
            table = pq.read_table(io.BytesIO(data))
            prices = pa.array([price / 2 for price in table["market_price"].to_pylist()])
            table = table.set_column(2, table.schema.field("market_price"), prices)
            out = io.BytesIO()
            pq.write_table(table, out)
            return out.getvalue()

        return [(m, halved(d) if m.name == "tables/prices.parquet" else d) for m, d in members]

    empty = settings_in(tmp_path / "empty")
    with pytest.raises(PokewatchError, match="'prices' of the archive is damaged: its content"):
        backup.restore(empty, rewritten(archive, other_prices, resign=True))
    assert Store.from_settings(empty).data_version == -1
    assert not empty.models_dir.exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_a_cut_archive_and_what_is_none_are_refused(archive, tmp_path, share):
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)] or b"<html>" * 200)
    with pytest.raises(PokewatchError, match=r"no complete archive|no back-up"):
        backup.restore(settings_in(tmp_path / "empty"), archive)


def test_the_hash_is_of_the_rows_and_of_nothing_else():
    def of(*rows: tuple[str | None, float | None], split: int = 99) -> str:
        table = pa.table({"a": [row[0] for row in rows], "b": [row[1] for row in rows]})
        return hash_rows(table.to_batches(max_chunksize=split))[0]

    one, two, three = ("x", 1.0), ("y", 2.0), (None, None)
    assert of(one, two, three) == of(three, one, two, split=1)
    different = [
        of(one, two, three),
        of(one, two),
        of(one, two, two),
        of(one, one, two),
        of(("x", 2.0), ("y", 1.0), three),
        of(("", 1.0), two, three),
        of(one, two, (None, 0.0)),
    ]
    assert len(set(different)) == len(different)
