from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pytest
import time_machine
from builders import delivery, market
from deltalake import DeltaTable

from pokewatch.errors import PokewatchError
from pokewatch.operations import doctor
from pokewatch.operations.doctor import environment, models, nights
from pokewatch.operations.doctor.findings import MIB, Finding
from pokewatch.quality.ingest import collect, ingest
from pokewatch.settings import PROJECT, Settings, load_settings
from pokewatch.sources import tcgcsv
from pokewatch.store.backup import content_hash
from pokewatch.store.tables import TABLES, Store

posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX systems")
MARKET = market(4, 75)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with prices of January to March 2025: data versions 1, 2 and 3."""
    settings = load_settings(home=tmp_path / "home", watchlist=tmp_path / "watchlist.yaml")
    store = Store.from_settings(settings)
    for days in (40, 60, 75):
        until = MARKET["date"].min() + pd.Timedelta(days=days)
        ingest(store, delivery(MARKET[MARKET["date"] < until]), settings)
    assert store.data_version == 3
    return settings


def found(settings: Settings, deep: bool = False) -> dict[str, Finding]:
    return {one.name: one for one in doctor.examine(settings, deep)}


def bad(settings: Settings, deep: bool = False) -> list[str]:
    return [name for name, one in found(settings, deep).items() if one.state == "bad"]


def data_files(settings: Settings, month: str) -> list[Path]:
    return sorted((settings.home / "prices" / f"month={month}").glob("*.parquet"))


def log_entry(settings: Settings, version: int) -> Path:
    return settings.home / "prices" / "_delta_log" / f"{version:020}.json"


def test_a_sound_home_is_well_and_looking_changes_nothing(settings):
    before = {path: path.stat().st_mtime_ns for path in settings.home.rglob("*")}
    assert bad(settings, deep=True) == []
    assert {path: path.stat().st_mtime_ns for path in settings.home.rglob("*")} == before


def test_a_home_that_is_not_there_yet_is_no_fault_and_is_not_made(tmp_path):
    settings = load_settings(home=tmp_path / "none")
    assert bad(settings) == []
    assert not settings.home.exists()


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "gone": Path.unlink,
    "overwritten": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_data_file_is_named_and_the_last_readable_version_with_it(settings, how):
    paths = data_files(settings, "2025-03")
    for path in paths:
        DAMAGE[how](path)
    table = found(settings)["table prices"]
    assert table.state == "bad"
    assert any(path.name in table.message for path in paths)
    assert table.message.endswith("; the last readable version is 1")
    readable = Store.from_settings(settings).prices(data_version=1)
    assert len(readable) == 4 * 40


def test_values_damaged_between_sound_ends_are_found_by_a_deep_look(settings):
    (path,) = data_files(settings, "2025-01")
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    assert bad(settings) == []
    assert "table prices" in bad(settings, deep=True)


@pytest.mark.parametrize("name", ["prices", "cards"])
def test_rows_that_two_compactions_doubled_are_there_once_again(settings, name):
    store = Store.from_settings(settings)
    before = content_hash(store, name)
    snapshot = store.snapshot(name)
    rows = snapshot.read(TABLES[name].names)
    store.replace(snapshot, pa.concat_tables([rows, rows]), None)
    assert content_hash(store, name) != before
    table = found(settings, deep=True)[f"table {name}"]
    assert table.state == "bad"
    assert f"{rows.num_rows:,} rows stand there twice" in table.message
    repaired = {one.name: one for one in doctor.repair(settings, deep=True)}[f"table {name}"]
    assert repaired.state == "ok"
    assert content_hash(store, name) == before


def test_rows_of_a_damaged_file_come_back_from_an_older_version(settings):
    store = Store.from_settings(settings)
    whole = content_hash(store)
    store.snapshot("prices").handle.optimize.compact()  # new files, the old versions keep theirs
    (path,) = [uri for uri in DeltaTable(store.location("prices")).file_uris() if "2025-02" in uri]
    DAMAGE["cut"](Path(path))
    assert bad(settings) == ["table prices"]
    done = {one.name: one for one in doctor.repair(settings)}
    assert "112 of 112 rows of 1 damaged files" in done["table prices"].done
    assert bad(settings, deep=True) == []
    assert content_hash(store) == whole
    (kept,) = (settings.home / "rescued").rglob("*.parquet")
    assert "month=2025-02" in str(kept)


def test_where_no_version_has_the_rows_all_others_stay(settings):
    store = Store.from_settings(settings)
    before = store.prices()
    (path,) = data_files(settings, "2025-01")
    DAMAGE["overwritten"](path)
    done = {one.name: one for one in doctor.repair(settings)}
    assert "0 of 124 rows" in done["table prices"].done
    assert "2025-01 must be collected again" in done["table prices"].done
    left = before[before["date"] >= "2025-02-01"].reset_index(drop=True)
    pd.testing.assert_frame_equal(store.prices(), left)
    ingest(store, delivery(MARKET), settings)
    pd.testing.assert_frame_equal(
        store.prices()[["card_id", "date", "market_price"]],
        before[["card_id", "date", "market_price"]],
    )


@pytest.mark.parametrize("how", [*DAMAGE, "empty"])
def test_a_damaged_log_entry_is_named_and_the_table_goes_back_one_version(settings, how):
    store = Store.from_settings(settings)
    before = store.prices(data_version=2)
    entry = log_entry(settings, 3)
    content = entry.read_bytes()
    (DAMAGE | {"empty": lambda path: path.write_bytes(b"")})[how](entry)
    table = found(settings)["table prices"]
    if how == "gone":  # nothing tells that there was one
        assert table.state == "ok"
        return
    assert table.state == "bad"
    assert table.message == "damaged or missing: log entry 3; the last readable version is 2"
    damaged = entry.read_bytes()
    doctor.repair(settings)
    assert bad(settings, deep=True) == []
    assert store.data_version == 4  # no number is used twice: results are cached by it
    pd.testing.assert_frame_equal(store.prices(), before)
    (kept,) = (settings.home / "rescued").rglob(entry.name)
    assert kept.read_bytes() == damaged != content
    ingest(store, delivery(MARKET), settings)
    assert len(store.prices()) == len(MARKET)


def test_a_hole_in_the_log_takes_the_entries_after_it_with_it(settings):
    store = Store.from_settings(settings)
    before = store.prices(data_version=1)
    log_entry(settings, 2).unlink()
    assert "log entry 2; the last readable version is 1" in found(settings)["table prices"].message
    doctor.repair(settings)
    pd.testing.assert_frame_equal(store.prices(), before)
    assert [path.name for path in (settings.home / "rescued").rglob("*.json")] == [
        log_entry(settings, 3).name
    ]


def test_a_damaged_checkpoint_is_set_aside_and_costs_nothing(settings):
    store = Store.from_settings(settings)
    whole = content_hash(store)
    DeltaTable(store.location("prices")).create_checkpoint()
    (checkpoint,) = (settings.home / "prices" / "_delta_log").glob("*.checkpoint.parquet")
    checkpoint.write_bytes(b"no parquet")
    assert "table prices" in bad(settings)
    doctor.repair(settings)
    assert bad(settings) == []
    assert (content_hash(store), store.data_version) == (whole, 3)


def test_a_damaged_entry_before_a_checkpoint_is_only_a_warning(settings):
    DeltaTable(Store.from_settings(settings).location("prices")).create_checkpoint()
    log_entry(settings, 1).write_text("{")
    assert bad(settings) == []
    assert found(settings)["table prices history"].state == "warn"


@posix
def test_what_others_may_read_is_closed(settings, tmp_path):
    settings.home.chmod(0o755)
    env = tmp_path / ".env"
    env.write_text("POKEWATCH_NOTIFY=json://me:secret@host\n")
    env.chmod(0o644)
    (seen, *_) = environment.check_settings(tmp_path)
    assert seen.state == "bad"
    assert "secret" not in seen.message
    assert seen.fix is not None
    seen.fix()
    assert env.stat().st_mode & 0o777 == 0o600
    assert found(settings)["home access"].state == "warn"
    doctor.repair(settings)
    assert settings.home.stat().st_mode & 0o777 == 0o700


@posix
def test_the_home_is_made_for_its_user_alone(settings):
    assert settings.home.stat().st_mode & 0o777 == 0o700


def test_a_misspelt_setting_is_named(monkeypatch):
    monkeypatch.setenv("POKEWATCH_STALE_DAY", "5")
    (warning,) = [
        one for one in environment.check_settings(PROJECT) if one.name == "settings names"
    ]
    assert "POKEWATCH_STALE_DAY:" in warning.message


def test_a_clock_that_went_back_is_noticed(settings):
    after = MARKET["date"].max()
    with time_machine.travel(after - pd.Timedelta(days=2), tick=False):
        (clock,) = nights.check_clock(settings)
    assert clock.state == "bad"
    assert "the newest price was collected at 2025-03-16 00:00 UTC" in clock.message
    assert "the clock says 2025-03-14 00:00" in clock.message
    with time_machine.travel(after + pd.Timedelta(minutes=1), tick=False):
        assert [one.state for one in nights.check_clock(settings)] == ["ok"]


@pytest.mark.parametrize("moment", ["2026-03-05T00:00:30Z", "2026-03-05T23:59:00Z"])
def test_the_simulated_market_is_well_at_any_hour(tmp_path, moment):
    config = load_settings(home=tmp_path / "home", tracking=False)
    with time_machine.travel(moment, tick=True):
        collect(config, "simulated")
        assert [one.state for one in nights.check_clock(config)] == ["ok"]


def test_unfinished_files_of_dead_processes_go_and_those_at_work_stay(settings):
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (settings.home / "archives").mkdir()
    (settings.models_dir / ".draft-old").mkdir(parents=True)
    (settings.models_dir / ".draft-old" / "model.json").touch()
    stale = [
        settings.home / "archives" / f"prices-2025-01-01.ppmd.7z.{gone}.part",
        settings.home / f".alerts.json.{gone}.tmp",
    ]
    fresh = [settings.home / f".new.json.{gone}.tmp", settings.models_dir / ".draft-new"]
    busy = settings.home / f".busy.json.{os.getpid()}.tmp"
    mine = settings.home / "notes.tmp"
    for path in [*stale, *fresh, busy, mine]:
        path.touch()
    two_hours_ago, long_ago = time.time() - 7200, time.time() - 90000
    for path in [*stale, busy]:
        os.utime(path, (two_hours_ago, two_hours_ago))
    for path in [settings.models_dir / ".draft-old", mine]:
        os.utime(path, (long_ago, long_ago))
    assert found(settings)["leftovers"].message.startswith("3 unfinished files")
    doctor.repair(settings)
    left = [path for path in [*stale, *fresh, busy, mine] if path.exists()]
    assert left == [*fresh, busy, mine]
    assert not (settings.models_dir / ".draft-old").exists()


def test_a_damaged_database_is_named(settings):
    path = settings.home / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("create table runs (name text)")
        database.executemany("insert into runs values (?)", [("x" * 500,)] * 200)
    assert next(models.check_databases(settings)).state == "ok"
    data = bytearray(path.read_bytes())
    data[4096:12288] = os.urandom(8192)
    path.write_bytes(data)
    damaged = next(models.check_databases(settings))
    assert (damaged.name, damaged.state) == ("mlflow", "bad")
    assert "move it away" in damaged.remedy


@pytest.mark.parametrize("pointer", ['{"name": "nobody"}', "{"])
def test_a_champion_that_is_gone_no_longer_stops_the_night(settings, pointer):
    settings.models_dir.mkdir()
    (settings.models_dir / "champion.json").write_text(pointer)
    assert bad(settings) == ["champion"]
    done = {one.name: one for one in doctor.repair(settings)}
    assert bad(settings) == []
    assert "champion.json is now" in done["champion"].done
    (kept,) = (settings.home / "rescued").rglob("champion.json")
    assert kept.read_text() == pointer


@pytest.mark.parametrize(("day", "state"), [("2027-02-28", "warn"), ("2027-03-01", "bad")])
@pytest.mark.parametrize("names", [{"source": "pokemontcg"}, {"fallback": ["pokemontcg"]}])
def test_a_source_that_ends_is_named_with_the_date(settings, names, day, state):
    with time_machine.travel(day):
        *_, found = environment.check_source(settings.model_copy(update=names))
    assert (found.state, found.name) == (state, "source ends")
    assert found.message == "'pokemontcg' ends on 2027-03-01, new keys are not given out"
    assert "tcgcsv or tcgdex" in found.remedy


def test_a_source_that_is_unknown_or_lacks_its_key_is_named(settings, monkeypatch):
    def state(name: str) -> str:
        (one,) = environment.check_source(settings.model_copy(update={"source": name}))
        return f"{one.state}: {one.message}; {one.remedy}"

    assert state("ebay").startswith("bad: 'ebay' is no source; POKEWATCH_SOURCE must be one of sim")
    assert state("tcgcsv").startswith("ok")
    about = SimpleNamespace(key_setting="POKEWATCH_CACHE_URL", key_needed=True)
    monkeypatch.setattr(tcgcsv, "ABOUT", about, raising=False)
    expected = "bad: 'tcgcsv' needs a key and has none; set POKEWATCH_CACHE_URL in .env"
    assert state("tcgcsv") == expected


def test_packages_are_held_against_what_the_project_asks_for(monkeypatch):
    assert [one.state for one in environment.check_packages()] == ["ok"]
    monkeypatch.setattr(environment.metadata, "version", lambda name: "0.0.1")
    (wrong,) = environment.check_packages()
    assert wrong.state == "bad"
    assert "pandas is 0.0.1, wanted <3,>=2.3.3" in wrong.message


@posix
def test_nothing_is_mended_while_a_night_runs(settings):
    settings.home.chmod(0o755)
    with doctor.no_night(settings), pytest.raises(PokewatchError, match="a night is running"):
        doctor.repair(settings)
    assert settings.home.stat().st_mode & 0o777 == 0o755


def test_the_command_exits_1_when_something_is_bad(settings):
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                "-c",
                "from pokewatch.cli.main import main; main()",
                "doctor",
                *options,
            ],
            env=os.environ | {"POKEWATCH_HOME": str(settings.home)},
            capture_output=True,
            text=True,
            check=False,
        )

    log_entry(settings, 3).write_text("{")
    done = run("--json")
    assert done.returncode == 1
    assert done.stderr.startswith("error: 1 checks are bad: table prices")
    shown = json.loads(done.stdout)
    assert shown["healthy"] is False
    (table,) = [one for one in shown["checks"] if one["name"] == "table prices"]
    assert (table["state"], table["fixable"]) == ("bad", True)
    repaired = run("--fix")
    assert repaired.returncode == 0, repaired.stderr
    assert "did: table 'prices' is again what it was at version 2" in repaired.stdout


def test_files_that_no_version_needs_are_deleted_after_the_retention_only(settings):
    whole = content_hash(Store.from_settings(settings))
    folder = settings.home / "prices" / "month=2025-01"
    old, new = folder / "part-killed-old.parquet", folder / "part-killed-new.parquet"
    long_ago = time.time() - (settings.retention_days + 1) * 86400
    for path in (old, new):
        path.write_bytes(bytes(2 * MIB))
    os.utime(old, (long_ago, long_ago))
    assert found(settings)["table prices files"].message.startswith("1 files older than 30 days")
    doctor.repair(settings)
    assert (old.exists(), new.exists()) == (False, True)
    assert content_hash(Store.from_settings(settings)) == whole
