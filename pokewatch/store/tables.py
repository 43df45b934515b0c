"""The price store: Delta tables with atomic, idempotent, concurrent-safe commits."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import cached_property, reduce
from operator import and_
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as fs
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pokewatch import schema
from pokewatch.errors import StoreError, UsageError
from pokewatch.files import alone
from pokewatch.settings import Settings
from pokewatch.store import log as delta_log
from pokewatch.store import s3

log = logging.getLogger(__name__)

T = TypeVar("T")
NIGHT = pd.Timedelta(days=3)  # from the beginning of a day until its night is over for sure
PREDICTION_KEY = ["card_id", "date", "horizon"]
TABLES = {
    "prices": schema.PRICES_SCHEMA,
    "cards": schema.CARDS_SCHEMA,
    "quarantine": schema.QUARANTINE_SCHEMA,
    "predictions": schema.PREDICTIONS_SCHEMA,
}
COMPACT_ABOVE_FILES = 8
SMALL_FILE_BYTES = 16 * 2**20
# Every gzip page ends in a checksum that all readers verify: a flipped bit is an error, where
# Parquet's other compressions would hand out another price.
CHECKED = WriterProperties(compression="GZIP", compression_level=1)
# Prices are packed by their dictionary: gzip gains a quarter and costs three times the reading.
PACKED = WriterProperties(compression="GZIP", compression_level=0)
# A night lies there by horizon and card: of one card a few small groups are read, not the night.
IN_GROUPS = WriterProperties(compression="GZIP", compression_level=0, max_row_group_size=20_000)


class ConflictError(Exception):
    """Another writer committed first: read, decide and write anew."""


@dataclass(frozen=True)
class Snapshot:
    """One table pinned at one version; ``handle`` is None while the table does not exist."""

    name: str
    handle: DeltaTable | None

    @property
    def version(self) -> int:
        """Table version, -1 while the table does not exist."""
        return -1 if self.handle is None else self.handle.version()

    @cached_property
    def dataset(self) -> ds.Dataset:
        """The table for scanning; only while it exists."""
        if self.handle is None:
            raise StoreError(f"table '{self.name}' is empty: collect prices first")
        location = self.handle.table_uri
        # Not deltalake's own file system, for the reason that ``s3.file_system`` names.
        if folder := local_folder(location):
            files: fs.FileSystem = fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())
        else:
            files = s3.file_system(location)
        found = self.handle.to_pyarrow_dataset(filesystem=files)
        return found.replace_schema(pa.schema([*found.schema, *self.added]))

    @cached_property
    def added(self) -> list[pa.Field]:
        """The columns that an earlier version wrote this table without: they read as null."""
        if self.handle is None:
            return []
        stored = {field.name for field in self.handle.schema().fields}
        return [
            field
            for field in TABLES[self.name]
            if field.name in schema.ADDED and field.name not in stored
        ]

    @property
    def committed_at(self) -> pd.Timestamp | None:
        """When this version was committed (UTC), None while the table does not exist."""
        if self.handle is None:
            return None
        # Newer commits come first in the list, whatever version is pinned.
        return pd.Timestamp(self.handle.history(1)[-1]["timestamp"], unit="ms", tz="UTC")

    def simulated(self) -> bool | None:
        """Return whether prices are invented, None without any.

        One row speaks for all: real and simulated ones are never mixed.
        """
        if self.handle is None:
            return None
        with self.reading() as dataset:
            heads = (one.head(1, columns=["source"]) for one in dataset.get_fragments())
            first = next((head for head in heads if len(head)), None)
        return None if first is None else first["source"][0].as_py() == schema.SIMULATED

    def months(self) -> list[str]:
        """Return the months (YYYY-MM) of a table that is kept by month, in their order."""
        if self.handle is None:
            return []
        files = pa.table(self.handle.get_add_actions(flatten=True))
        return sorted(pc.unique(files["partition.month"]).to_pylist())

    def facts(self) -> list[dict[str, Any]]:
        """Return what the log says of each file, as the statistics of its columns."""
        if self.handle is None:
            return []
        return pa.table(self.handle.get_add_actions(flatten=True)).to_pylist()

    def by_month(self, columns: list[str], until: date | None = None) -> Iterator[pa.Table]:
        """Yield prices month after month, in the order of the files, ``card_id`` as codes.

        Only one month is in memory at a time; until is inclusive.
        """
        for month in self.months():
            if until is None or month <= f"{until:%Y-%m}":
                where = [ds.field("month") == month, *date_range(None, until)]
                table = self.read(columns, where)
                if "card_id" in columns:
                    codes = table["card_id"].dictionary_encode()
                    place = table.schema.get_field_index("card_id")
                    table = table.set_column(place, "card_id", codes)
                yield table

    @contextmanager
    def reading(self) -> Iterator[ds.Dataset]:
        """Yield ``dataset``; what it cannot read becomes a StoreError that names the file."""
        dataset = self.dataset
        try:
            yield dataset
        except (DeltaError, OSError, ValueError, pa.ArrowException) as error:
            raise self._unreadable(dataset, error) from error

    def read(
        self, columns: list[str] | None = None, where: Iterable[pc.Expression] = ()
    ) -> pa.Table:
        """Return the rows that meet every expression, in the table's schema."""
        table_schema = TABLES[self.name]
        names = columns or [name for name in table_schema.names if name != "month"]
        if self.handle is None:
            return pa.schema([table_schema.field(name) for name in names]).empty_table()
        conditions = list(where)
        with self.reading() as dataset:
            wanted = reduce(and_, conditions) if conditions else None
            for fragment in dataset.get_fragments(wanted):
                check_columns(fragment, table_schema)
            found = dataset.to_table(columns=names, filter=wanted)
        return found.cast(pa.schema([table_schema.field(name) for name in names]))

    def _unreadable(self, dataset: ds.Dataset, error: Exception) -> StoreError:
        """Return the error that names the damaged file and the version that does without it."""
        start = f"table '{self.name}' at version {self.version} cannot be read"
        if remedy := s3.remedy(error, ""):
            return StoreError(f"{start}: {s3.one_line(error)}; {remedy}")
        for fragment in dataset.get_fragments():
            try:
                check_columns(fragment, TABLES[self.name])
                fragment.to_table()
            except (OSError, ValueError, pa.ArrowException) as trouble:
                folder = local_folder(self.handle.table_uri) if self.handle else None
                since = folder and delta_log.added_by(folder, fragment.path)
                older = (
                    f"version {since - 1} does without it: --data-version {since - 1}"
                    if since
                    else "read an older state with --data-version"
                )
                return StoreError(
                    f"{start}: its file '{fragment.path}' is damaged or missing "
                    f"({s3.one_line(trouble)[:200]}); restore it from a back-up; {older}"
                )
        return StoreError(f"{start}: {error}; restore its files from a back-up")


class Store:
    """The Delta tables ``prices``, ``cards``, ``quarantine`` and ``predictions``."""

    def __init__(self, root: str | Path, retention_days: int = 30):
        """Open the store at a folder or URL; nothing is written until the first commit."""
        self.root = str(root).removeprefix("file://")
        if "%" in self.root:  # Delta would decode it as a URL and look elsewhere
            raise UsageError(f"the data home '{root}' has a '%' in its name: choose another folder")
        self.retention_days = retention_days
        self._options = s3.options(self.root)

    @classmethod
    def from_settings(cls, settings: Settings) -> Store:
        """Open the store that the settings name."""
        return cls(settings.store_root, settings.retention_days)

    def location(self, table: str) -> str:
        """Return the folder or URL of a table."""
        return f"{self.root}/{table}"

    def snapshot(self, table: str, version: int | None = None) -> Snapshot:
        """Pin a table at ``version`` (default: the newest).

        Raises StoreError where the table is there but cannot be read, UsageError for a version
        that does not exist.
        """
        location = self.location(table)
        try:
            if folder := local_folder(location):
                delta_log.check(table, folder, version)
            return Snapshot(table, DeltaTable(location, version, storage_options=self._options))
        except TableNotFoundError as error:
            if self._has_files(location):
                with suppress(DeltaError):  # another writer made it between the two looks
                    pinned = DeltaTable(location, version, storage_options=self._options)
                    return Snapshot(table, pinned)
                raise StoreError(
                    f"'{location}' holds files but no readable Delta log: restore its _delta_log "
                    "from a back-up, or move the folder away to start an empty table"
                ) from error
            if version is not None and version >= 0:
                raise UsageError(
                    f"data version {version} does not exist: the store is empty"
                ) from error
            return Snapshot(table, None)
        except (DeltaError, OSError, ValueError, OverflowError) as error:
            if version is not None:
                raise UsageError(
                    f"data version {version} of '{table}' is not readable: the newest is "
                    f"{self.snapshot(table).version}, versions are kept for "
                    f"{self.retention_days} days"
                ) from error
            remedy = s3.remedy(error, "restore its _delta_log from a back-up")
            raise StoreError(
                f"table '{location}' cannot be opened: {s3.one_line(error)}; {remedy}"
            ) from error

    @staticmethod
    def _has_files(location: str) -> bool:
        folder = local_folder(location)
        if folder is None:
            return s3.holds_files(location)
        # An empty _delta_log is another writer's table at its very beginning; a name with "#" is an
        # entry that a writer has not finished, and never will where it was killed.
        return any(path.is_file() and "#" not in path.name for path in folder.rglob("*"))

    @property
    def data_version(self) -> int:
        """Version of the prices table, -1 while it is empty."""
        return self.snapshot("prices").version

    def prices(
        self,
        columns: list[str] | None = None,
        card_ids: Iterable[str] | None = None,
        since: date | None = None,
        until: date | None = None,
        data_version: int | None = None,
        snapshot: Snapshot | None = None,
    ) -> pd.DataFrame:
        """Return accepted observations, sorted by card and date.

        columns: any of ``STORED_COLUMNS`` (default ``OBSERVATION_COLUMNS``); since and until are
        inclusive; snapshot: of the prices, in place of ``data_version``.
        """
        snapshot = snapshot or self.snapshot("prices", data_version)
        where = list(date_range(since, until))
        if card_ids is not None:
            where.append(ds.field("card_id").isin(pa.array(list(card_ids), pa.string())))
        names = columns or schema.OBSERVATION_COLUMNS
        needed = {"collected_at", "date"} - set(names) if "accepted_at" in names else set()
        table = snapshot.read([*names, *needed], where)
        order = [(name, "ascending") for name in schema.KEY if name in table.column_names]
        found = to_frame(table.sort_by(order) if order else table)
        if "accepted_at" in names:  # null in what earlier versions stored
            earlier = schema.on_time(found["collected_at"], found["date"])
            found["accepted_at"] = found["accepted_at"].fillna(earlier)
        return found[names]

    def recent_prices(
        self,
        snapshot: Snapshot,
        card_ids: Iterable[str],
        since: date = date.max,
        priced: Callable[[set[str]], Iterable[str]] = lambda ids: ids,
    ) -> pd.DataFrame:
        """Return all prices after a day, and of each card the last one up to it at least.

        Columns card_id, date, market_price, sorted. Months of a pinned prices table are read from
        the newest back, until every card has what it needs; priced: asked once for those of some
        cards that have any price.
        """
        missing = set(card_ids)
        columns = [*schema.KEY, "market_price"]
        parts = [pa.schema([schema.PRICES_SCHEMA.field(name) for name in columns]).empty_table()]
        for back, month in enumerate(reversed(snapshot.months())):
            missing = set(priced(missing)) if missing and back == 2 else missing
            if not missing:
                break
            among = ds.field("card_id").isin(pa.array(sorted(missing), pa.string()))
            part = snapshot.read(columns, [ds.field("month") == month, among])
            parts.append(part)
            there = part.filter(pc.field("date") <= pa.scalar(since, pa.date32()))
            missing -= set(pc.unique(there["card_id"]).to_pylist())
        order = [(name, "ascending") for name in schema.KEY]
        return to_frame(pa.concat_tables(parts).sort_by(order))

    def last_day(
        self,
        until: date | None = None,
        where: Iterable[pc.Expression] = (),
        snapshot: Snapshot | None = None,
    ) -> date | None:
        """Return the newest day with a price that meets every expression, None without one.

        Only the newest month that has one is read. snapshot: of the prices; default: the newest.
        """
        pinned = snapshot or self.snapshot("prices")
        for month in reversed(pinned.months()):
            narrow = [ds.field("month") == month, *date_range(None, until), *where]
            if (day := pc.max(pinned.read(["date"], narrow)["date"]).as_py()) is not None:
                return day
        return None

    def sources(self, snapshot: Snapshot, until: date | None = None) -> dict[str, int]:
        """Return how many prices of each source a pinned prices table holds, most first."""
        seen: Counter[str] = Counter()
        files = [] if until else snapshot.facts()
        if all(one.get("min.source") == one.get("max.source") is not None for one in files):
            for one in files:  # of one source each: the log knows how many rows
                seen[one["min.source"]] += one["num_records"]
        if seen:
            return dict(seen.most_common())
        for table in snapshot.by_month(["source"], until):
            counted = pc.value_counts(table["source"]).to_pylist()
            seen.update({row["values"]: row["counts"] for row in counted})
        return dict(seen.most_common())

    def cards(self) -> pd.DataFrame:
        """Return all known cards, columns ``CARD_COLUMNS``, sorted by card_id."""
        table = self.snapshot("cards").read(schema.CARD_COLUMNS)
        return table.sort_by("card_id").to_pandas()

    def quarantine(self, statuses: Iterable[str] | None = None) -> pd.DataFrame:
        """Return quarantined rows, newest decision first; ``statuses`` narrows them."""
        where = [] if statuses is None else [ds.field("status").isin(list(statuses))]
        table = self.snapshot("quarantine").read(where=where)
        order = [("quarantined_at", "descending"), ("quarantine_id", "ascending")]
        return to_frame(table.sort_by(order))

    def replaced(
        self, columns: list[str], until: date | None = None, by: pd.Timestamp | None = None
    ) -> pa.Table:
        """Return prices that were believed until a better one came, ``card_id`` as codes.

        columns: any of ``STORED_COLUMNS``; until is inclusive; by: only those replaced by then.
        """
        where = [ds.field("accepted_at").is_valid()]
        where += [] if by is None else [ds.field("quarantined_at") <= pa.scalar(by)]
        where += [] if until is None else [ds.field("date") <= pa.scalar(until)]
        table = self.snapshot("quarantine").read(columns, where)
        codes = table["card_id"].combine_chunks().dictionary_encode()
        return table.set_column(columns.index("card_id"), "card_id", codes)

    def predictions(
        self,
        on: date | None = None,
        since: date | None = None,
        until: date | None = None,
        horizon: int | None = None,
        card_ids: Iterable[str] | None = None,
        first: bool = False,
        columns: Iterable[str] = schema.PREDICTION_COLUMNS,
        in_time: bool = False,
        basis: str | None = None,
    ) -> pd.DataFrame:
        """Return stored predictions, one a card, date and horizon.

        columns: of ``PREDICTION_COLUMNS``, with card_id, date and horizon. on: of one date only;
        since and until are inclusive; horizon: of one only (days); card_ids: of these cards only;
        first: of a date that was predicted again the first prediction, not the last;
        in_time: only what was made at most ``NIGHT`` after its date began; basis: only what came
        from this.
        """
        begin, end = on or since, on or until
        where = [] if begin is None else [ds.field("date") >= pa.scalar(begin)]
        where += [] if end is None else [ds.field("date") <= pa.scalar(end)]
        where += [] if horizon is None else [ds.field("horizon") == horizon]
        where += [] if basis is None else [ds.field("basis") == basis]
        if card_ids is not None:
            where.append(ds.field("card_id").isin(pa.array(list(card_ids), pa.string())))
        found = to_frame(self.snapshot("predictions").read([*columns, "made_at"], where))
        if in_time:  # earlier versions did not write down when
            limit = found["date"].dt.tz_localize("UTC") + NIGHT
            found = found[~(found["made_at"] > limit)].reset_index(drop=True)
        return one_each(found, first)

    def count_predictions(self, since: date, until: date, basis: str | None = None) -> int:
        """Return how many predictions of some days are stored, made again or not.

        basis: only those that came from this.
        """
        pinned = self.snapshot("predictions")
        where = (ds.field("date") >= pa.scalar(since)) & (ds.field("date") <= pa.scalar(until))
        where = where if basis is None else where & (ds.field("basis") == basis)
        if pinned.handle is None:
            return 0
        with pinned.reading() as dataset:
            return int(dataset.count_rows(filter=where))

    def replace(
        self, snapshot: Snapshot, rows: pd.DataFrame | pa.Table, predicate: str | None
    ) -> None:
        """Replace what meets ``predicate`` (all where None) by ``rows`` in one atomic commit.

        ``rows`` must contain whatever of the old rows is to stay. Raises ConflictError if another
        writer changed the table after ``snapshot`` was taken. The predicate is SQL: build it
        from dates, months and quoted ids of our own only.
        """
        table = to_table(rows, TABLES[snapshot.name])
        try:
            # Two first writers would both win: the empty table comes first, then a commit that
            # is checked like every other one. "true" is checked too, no predicate would not be.
            target = snapshot.handle or self._create(snapshot.name)
            if snapshot.added:
                names = ", ".join(field.name for field in snapshot.added)
                found = f"table '{snapshot.name}' of an earlier version gets the column {names}"
                log.info("%s; what it holds already counts as known on its day", found)
            write_deltalake(
                target,
                table,
                mode="overwrite",
                predicate=predicate or "true",
                schema_mode="merge" if snapshot.added else None,
                storage_options=self._options,
                writer_properties=writing(snapshot.name),
            )
        except CommitFailedError as error:
            raise ConflictError(str(error)) from error
        except (DeltaError, OSError) as error:
            remedy = s3.remedy(error, "check free space and permissions, then run it again")
            raise StoreError(
                f"table '{self.location(snapshot.name)}' could not be written: "
                f"{s3.one_line(error)}; the last committed state is intact: {remedy}"
            ) from error

    def _create(self, name: str) -> DeltaTable:
        """Create an empty table; ConflictError if another writer has done so meanwhile."""
        table_schema = TABLES[name]
        try:
            if "://" not in self.root:  # often the data home: for this user only
                Path(self.root).mkdir(mode=0o700, parents=True, exist_ok=True)
            return DeltaTable.create(
                self.location(name),
                table_schema,
                mode="error",
                partition_by=["month"] if "month" in table_schema.names else None,
                configuration={
                    "delta.logRetentionDuration": f"interval {self.retention_days} days"
                },
                storage_options=self._options,
            )
        except (DeltaError, OSError) as error:
            if DeltaTable.is_deltatable(self.location(name), self._options):
                raise ConflictError(str(error)) from error
            raise

    def upsert(self, snapshot: Snapshot, rows: pd.DataFrame) -> None:
        """Write rows over those of the same key, in one commit.

        snapshot: of the prices, whose key is card and date, or of the quarantine, whose key is the
        id; the date is part of what makes an id, so what is written over lies on the same days.
        """
        if rows.empty:
            return
        table_schema, prices = TABLES[snapshot.name], snapshot.name == "prices"
        where, predicate = on_days(rows["date"])
        old = snapshot.read(table_schema.names, [where])
        if prices:
            again = schema.has_key(to_frame(old.select(schema.KEY)), rows)
        else:
            again = old["quarantine_id"].to_pandas().isin(rows["quarantine_id"]).to_numpy()
        new = pa.concat_tables([old.filter(pa.array(~again)), to_table(rows, table_schema)])
        if prices:
            new = new.sort_by([("date", "ascending"), ("card_id", "ascending")])
        self.replace(snapshot, new, predicate)

    def retry(self, attempt: Callable[[], T], tries: int = 12) -> T:
        """Run ``attempt`` anew while another writer was faster; StoreError after ``tries``."""
        retrying = Retrying(
            retry=retry_if_exception_type(ConflictError),
            wait=wait_random_exponential(multiplier=0.05, max=2),
            stop=stop_after_attempt(tries),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except ConflictError as error:
            raise StoreError(
                f"other writers changed '{self.root}' {tries} times during this one: not all of it "
                "was stored; run it again when they are done, nothing is doubled"
            ) from error

    def save_predictions(self, predictions: pd.DataFrame, now: pd.Timestamp | None = None) -> None:
        """Store predictions beside those that were made before for the same date and horizon.

        What was once said stays; the same again adds nothing, and only its ``basis`` is written
        anew. now: when they were made.
        """
        days = sorted(pd.to_datetime(predictions["date"]).dt.date.unique())
        horizons = [int(horizon) for horizon in predictions["horizon"].unique()]
        dates = ", ".join(f"'{day.isoformat()}'" for day in days)
        predicate = f"date in ({dates}) and horizon in ({', '.join(map(str, horizons))})"
        where = ds.field("date").isin(pa.array(days, pa.date32())) & ds.field("horizon").isin(
            pa.array(horizons, pa.int32())
        )
        unknown = dict.fromkeys({*schema.CHANCES, "basis"} - set(predictions.columns))
        made = predictions.assign(**unknown, made_at=now or pd.Timestamp.now(tz="UTC"))
        new = to_table(made, schema.PREDICTIONS_SCHEMA)

        def attempt() -> bool:
            snapshot = self.snapshot("predictions")
            old = snapshot.read(where=[where])
            if old.num_rows:
                kept = to_frame(old)
                said = one_each(kept.copy(), first=False).set_index(PREDICTION_KEY).sort_index()
                again = to_frame(new).drop(columns="made_at").set_index(PREDICTION_KEY).sort_index()
                if said.drop(columns="basis").equals(again.drop(columns="basis")):
                    if said.equals(again) or again["basis"].isna().all():
                        return False  # what was said of some horizons only bears no stamp
                    last = kept.iloc[order_made(kept["made_at"])]
                    last = last.drop_duplicates(PREDICTION_KEY, keep="last")[PREDICTION_KEY]
                    stamps = again["basis"].reindex(pd.MultiIndex.from_frame(last))
                    kept.loc[last.index, "basis"] = stamps.to_numpy()
                    self.replace(snapshot, kept, predicate)
                    return True
            self.replace(snapshot, pa.concat_tables([old, new]), predicate)
            return True

        if days:
            changed = self.retry(attempt)
            if changed:
                self.maintain("predictions")

    def maintain(self, table: str) -> None:
        """Compact and vacuum a table in a folder, unless another process does.

        Two compactions at once double every row, and in an object store nothing keeps them apart.
        """
        folder = local_folder(self.location(table))
        if folder is None or not folder.is_dir():
            return
        with alone(folder) as held:
            if held:  # else another writer is at it
                self.compact(table)

    def compact(self, table: str) -> None:
        """Compact small files where that pays, and vacuum what is older than the retention.

        For one process at a time.
        """
        snapshot = self.snapshot(table)  # pinned after the lock: not before another compaction
        handle = snapshot.handle
        if handle is None:
            return
        small = [one for one in snapshot.facts() if one["size_bytes"] < SMALL_FILE_BYTES]
        counted = Counter(one.get("partition.month") for one in small)
        crowded = [month for month, count in counted.items() if count > COMPACT_ABOVE_FILES]
        months = None if crowded == [None] else [("month", "in", crowded)]
        hours = self.retention_days * 24
        try:
            if crowded:
                handle.optimize.compact(months, writer_properties=writing(table))
            elif len(handle.vacuum(hours)) <= COMPACT_ABOVE_FILES:  # how many could go
                return
            handle.vacuum(hours, dry_run=False)
        except (DeltaError, OSError) as error:
            # Maintenance is no part of the delivery: the next commit tries again.
            log.warning("table '%s' was not compacted this time: %s", table, s3.one_line(error))


def one_each(predictions: pd.DataFrame, first: bool) -> pd.DataFrame:
    """Return the first or the last made of a card's predictions for a date and horizon."""
    made = predictions.pop("made_at")
    if predictions.duplicated(PREDICTION_KEY).any():
        keep = "first" if first else "last"
        predictions = predictions.iloc[order_made(made)]
        predictions = predictions.drop_duplicates(PREDICTION_KEY, keep=keep)
        predictions = predictions.sort_index(ignore_index=True)
    return predictions


def order_made(made: pd.Series) -> np.ndarray:
    """Return the order in which predictions were made; without a time: by an earlier version."""
    return np.asarray(np.argsort(made.fillna(pd.Timestamp(0, tz="UTC")), kind="stable"))


def writing(table: str) -> WriterProperties:
    """Return how the files of a table are written."""
    return {"prices": PACKED, "predictions": IN_GROUPS}.get(table, CHECKED)


def local_folder(location: str) -> Path | None:
    """Return a table's folder, None where it lies in an object store."""
    path = url2pathname(urlparse(location).path) if location.startswith("file:") else location
    return None if "://" in path else Path(path)


def check_columns(fragment: ds.Fragment, table_schema: pa.Schema) -> None:
    """Raise ValueError for a file without all columns: Arrow would read a lost one as null."""
    # A partition's value stands in the path only.
    expected = {column.name: column.type for column in table_schema if column.name != "month"}
    found = {column.name: column.type for column in fragment.physical_schema}
    wrong = sorted(
        name
        for name, kind in expected.items()
        if found.get(name, kind if name in schema.ADDED else None) != kind
    )
    if wrong:
        raise ValueError(f"column {', '.join(wrong)} is missing or of another type")


def on_days(dates: pd.Series) -> tuple[pc.Expression, str]:
    """Return the condition that a row lies on one of these days, for Arrow and as SQL.

    A missing date is one of them where ``dates`` has one.
    """
    days = sorted(day.date() for day in dates.dropna().unique())
    where, sql = ds.field("date").isin(pa.array(days, pa.date32())), []
    if days:
        listed = ", ".join(f"'{day}'" for day in days)
        gaps = len(days) <= (days[-1] - days[0]).days
        every = f"date >= '{days[0]}' and date <= '{days[-1]}'"
        sql.append(f"{every} and date in ({listed})" if gaps else every)
    if dates.isna().any():
        where |= ds.field("date").is_null()
        sql.append("date is null")
    return where, " or ".join(f"({part})" for part in sql)


def date_range(since: date | None, until: date | None) -> Iterable[pc.Expression]:
    """Yield the expressions of an inclusive date range, months first so that files are skipped."""
    if since is not None:
        yield ds.field("month") >= f"{since:%Y-%m}"
        yield ds.field("date") >= pa.scalar(since)
    if until is not None:
        yield ds.field("month") <= f"{until:%Y-%m}"
        yield ds.field("date") <= pa.scalar(until)


def to_table(rows: pd.DataFrame | pa.Table, table_schema: pa.Schema) -> pa.Table:
    """Return ``rows`` as an Arrow table of exactly this schema; ``month`` is derived."""
    if isinstance(rows, pa.Table):
        return rows.cast(table_schema)
    given = pa.schema([field for field in table_schema if field.name != "month"])
    table = pa.Table.from_pandas(rows[given.names], schema=given, preserve_index=False)
    if "month" in table_schema.names:
        day = table["date"].combine_chunks().dictionary_encode()  # few days, many rows
        months = pc.strftime(day.dictionary, "%Y-%m").take(day.indices)
        table = table.append_column("month", months)
    return table.select(table_schema.names)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return a pandas frame with ``date`` as datetime64 instead of objects."""
    if "date" in table.column_names:
        place = table.column_names.index("date")
        table = table.set_column(place, "date", table["date"].cast(pa.timestamp("us")))
    return table.to_pandas()
