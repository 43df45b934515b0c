"""From a source to the store: fetch, check against what is known, one commit a table."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pandas.api.types import CategoricalDtype
from tqdm import tqdm

from pokewatch import sources
from pokewatch.cards import frames as card_frames
from pokewatch.cards.import_names import withdraw_aliases
from pokewatch.errors import SourceError, UsageError
from pokewatch.quality import completeness, quarantine, rules
from pokewatch.quality.completeness import Completeness
from pokewatch.quality.jumps import RECENT
from pokewatch.schema import (
    CARD_COLUMNS,
    CARDS_SCHEMA,
    KEY,
    SIMULATED,
    STORED_COLUMNS,
    VALUES,
    Delivery,
    Wanted,
    on_time,
    parse_dates,
    stack,
)
from pokewatch.settings import Settings
from pokewatch.store.tables import Snapshot, Store, date_range, to_frame, to_table

log = logging.getLogger(__name__)

MANY_CARDS = 2000  # above it cards are picked in memory instead of by name


@dataclass
class Counts:
    """What became of a delivery: received = accepted + quarantined + unchanged.

    accepted and quarantined count rows that are new to the store, unchanged those it had already;
    released counts rows held by earlier nights that are accepted now, superseded stored rows that
    made room for others. reasons: why rows were quarantined, with their number; dates: days
    (YYYY-MM-DD) of accepted rows; incomplete: what a day below the coverage floor lacks.
    """

    source: str
    received: int = 0
    accepted: int = 0
    quarantined: int = 0
    unchanged: int = 0
    released: int = 0
    superseded: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    dates: list[str] = field(default_factory=list)
    data_version: int = -1
    notes: list[str] = field(default_factory=list)
    incomplete: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return asdict(self)

    def add(self, other: Counts) -> None:
        """Add the counts of a later delivery."""
        for name in ("received", "accepted", "quarantined", "unchanged", "released", "superseded"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.reasons = dict(Counter(self.reasons) + Counter(other.reasons))
        self.dates = sorted({*self.dates, *other.dates})
        self.data_version = other.data_version
        self.notes += other.notes
        self.incomplete = other.incomplete


def collect(
    settings: Settings,
    source: str | None = None,
    fallbacks: Sequence[str] | None = None,
    on: date | None = None,
    **options: Any,
) -> Counts:
    """Fetch one delivery from a source and bring it into the store; see ``sources.fetch``.

    fallbacks (default: the others of ``settings.fallback``, for ``sources.SELECTIVE`` only): asked
    in turn for the cards that the last good day had and this day still lacks. Of a day that is
    stored already only the rest is asked for. A source that fails is noted if another one
    delivers. Raises SourceError where no source delivers, UsageError for a source that is named
    twice, is no fallback or takes none.
    """
    name = source or settings.source
    given = settings.fallback if name in sources.SELECTIVE else []
    others = [one for one in given if one != name] if fallbacks is None else list(fallbacks)
    if len({name, *others}) <= len(others):
        raise UsageError(f"{', '.join([name, *others])} names a source twice: name each once")
    settings = sources.home_of(name, others, settings)
    store, floor = Store.from_settings(settings), settings.coverage_floor
    if name == "file" and options.get("path") is not None and options["path"].is_dir():
        return collect_folder(store, settings, on=on, **options)
    counts = Counts(name, data_version=store.data_version)
    errors: list[SourceError | ImportError] = []
    failed, unpriced, day = 0, 0, on
    today = datetime.now(tz=UTC).date()
    for one in [name, *others]:
        try:
            day = day or newest_day(settings, one)
            wanted: Wanted | None = None
            cards = store.cards() if one in sources.SELECTIVE else None
            if cards is not None:
                found = completeness.of_day(store, day or today, floor)
                asked = what_to_ask(found, cards, one, first=one == name)
                if isinstance(asked, str):
                    counts.notes.append(asked)
                    log.info("%s: %s", one, asked)
                    continue
                wanted = asked
            known = cards if one in sources.BY_ALIAS else None
            delivery = sources.fetch(one, settings, on=on, wanted=wanted, known=known, **options)
        except (SourceError, ImportError) as error:  # the latter: a package of its client is broken
            errors.append(error)
            counts.notes.append(f"{one} failed: {error}")
            log.warning("%s failed: %s", one, error)
            continue
        counts.add(ingest(store, delivery, settings))
        failed += len(delivery.failed)
        unpriced += len(delivery.unpriced)
        if day is None:
            seen = delivery.observations.reindex(columns=["date", "market_price"])
            days = parse_dates(seen.loc[seen["market_price"].notna(), "date"]).dropna()
            days = days[days <= pd.Timestamp(today)]  # a date in the future is a mistake
            day = days.max().date() if len(days) else None
    if len(errors) > len(others):
        raise SourceError("; ".join(map(str, errors))) from errors[0]
    if name not in completeness.UNMEASURED:
        found = completeness.of_day(store, day or today, floor)
        counts.incomplete = found.complaint or found.first_complaint(failed, unpriced)
        if counts.incomplete and errors:
            counts.incomplete += "; " + "; ".join(map(str, errors))
    return counts


def collect_folder(store: Store, settings: Settings, path: Path, **options: Any) -> Counts:
    """Bring a folder's Parquet and CSV files into the store, in the order of their names.

    Only one file is in memory at a time, and each is committed by itself.
    """
    from pokewatch.sources import file

    total = Counts("file", data_version=store.data_version)
    quiet = not options.get("progress")
    # With a mapped date the files' own column of that name is no date of ours.
    on = None if "date" in (options.get("columns") or {}) else options.get("on")
    for one in tqdm(file.files(path, on), "collect", unit=" files", disable=quiet):
        total.add(ingest(store, sources.fetch("file", settings, path=one, **options), settings))
    total.notes = list(dict.fromkeys(total.notes))
    return total


def newest_day(settings: Settings, source: str) -> date | None:
    """Return the day that a source serves now, None where only its answers tell."""
    if source != "tcgcsv":
        return None
    from pokewatch.sources import tcgcsv

    return tcgcsv.last_updated(settings).date()


def what_to_ask(
    found: Completeness, cards: pd.DataFrame, source: str, first: bool
) -> Wanted | str | None:
    """Return what to ask a source for: None for all it has, a text that says why nothing.

    found: of the day; cards: all known ones; first: it is the main source, which is asked for all
    that a day without prices should hold.
    """
    if not found.cards and (first or not found.expected):
        return None
    by_set = source == "tcgcsv"
    # Archives hold no names: of a day that one brought the snapshot is asked for as well. A few
    # cards stay without a name (code cards, which snapshots leave out).
    named = cards.loc[cards["card_id"].isin(list(found.present)), "set_name"].notna()
    if by_set and named.sum() < len(named) / 2:
        return None
    if not found.expected and not by_set:  # the first day: there is none to compare it with
        return None if first else f"it is not known what {found.day} lacks: not asked"
    done = not found.missing or (
        by_set and found.enough and not completeness.silent_sets(found, cards)
    )
    if found.expected and done:
        return f"the snapshot of {found.day} is stored already: nothing was pulled"
    return completeness.lacking(found, cards)


def backfill(
    settings: Settings,
    since: date,
    until: date,
    path: Path | None = None,
    jobs: int = 1,
    progress: bool = False,
    again: bool = False,
) -> Iterator[tuple[date, Counts]]:
    """Bring the tcgcsv archives of a range of days into the store, a commit a day.

    Days already stored are skipped, so an interrupted run goes on where it stopped; days below the
    coverage floor are read again, with ``again`` all are.
    """
    from pokewatch.sources import tcgcsv

    if since > until:
        raise UsageError(f"--since {since} lies after --until {until}")
    store = Store.from_settings(settings)
    done = set() if again else stored_days(store, settings, "tcgcsv", since, until)
    for day, delivery in tcgcsv.archives(
        settings, since, until, folder=path, skip=done, jobs=jobs, progress=progress
    ):
        yield day, ingest(store, delivery, settings)


def stored_days(
    store: Store, settings: Settings, source: str, since: date, until: date
) -> set[date]:
    """Return the days that ``source`` has delivered and that reach the coverage floor."""
    lead = since - timedelta(completeness.LOOK_BACK)
    rows = store.prices(completeness.COLUMNS, since=lead, until=until)
    seen = rows.loc[(rows["source"] == source) & (rows["date"] >= pd.Timestamp(since)), "date"]
    short = completeness.short_days(rows, settings.coverage_floor)
    return set(seen.drop_duplicates().dt.date) - set(short)


def ingest(
    store: Store, delivery: Delivery, settings: Settings, now: pd.Timestamp | None = None
) -> Counts:
    """Check a delivery and commit the verdict; doing it again changes nothing.

    now: the moment of collection of rows that carry none, and of the decisions.
    """
    now = now or pd.Timestamp.now(tz="UTC")
    rows = rules.normalise(delivery.observations, delivery.source, now)
    rows["copy"] = quarantine.count_copies(rows)
    refuse_mixture(store.snapshot("prices"), rows)
    withdraw_aliases(store, delivery.withdrawn)
    # Cards first: killed in between, a card without a price is harmless, the reverse is not.
    store.retry(lambda: save_cards(store, delivery.cards, rows))
    if len(delivery.elsewhere):
        market = Store.from_settings(sources.home_of(sources.MARKET, [], settings))
        if market.data_version >= 0:
            none = rows.head(0)
            market.retry(lambda: save_cards(market, delivery.elsewhere, none))
    counts = store.retry(lambda: _check_and_commit(store, delivery, rows, settings, now))
    if counts.accepted or counts.quarantined or counts.released:
        for name in ("prices", "quarantine", "cards"):
            store.maintain(name)
    counts.data_version = store.data_version
    counts.notes = delivery.notes
    for note in delivery.notes:
        log.info("%s: %s", delivery.source, note)
    return counts


def _check_and_commit(
    store: Store, delivery: Delivery, rows: pd.DataFrame, settings: Settings, now: pd.Timestamp
) -> Counts:
    """Decide about normalised rows by what is stored; ConflictError if that changes meanwhile."""
    prices, quarantined = store.snapshot("prices"), store.snapshot("quarantine")
    refuse_mixture(prices, rows)
    touched = pc.unique(pa.array(rows["card_id"].dropna(), pa.string()))
    pending = quarantine.pending(quarantined, touched)
    # As categories card ids are compared, sorted and grouped as numbers are.
    cards = CategoricalDtype(touched.take(pc.array_sort_indices(touched)).to_pandas())
    rows, pending = (frame.astype({"card_id": cards}) for frame in (rows, pending))
    known = recent_prices(prices, rows, pending, cards)
    same, later = already_stored(rows, known)
    rows = rows.assign(refresh=later)
    fresh = rows[~same | later]
    fresh = fresh[~quarantine.contains(quarantined, fresh)]
    if fresh.empty and not half_released(pending, known):
        return Counts(delivery.source, received=len(rows), unchanged=len(rows))
    named = delivery.cards.reindex(columns=["card_id", "set_name"]).dropna()
    sets = dict(zip(named["card_id"], named["set_name"], strict=True))
    verdict = rules.check(fresh, known, pending, settings, sets)
    refused = quarantine.shape(verdict.refused, now)
    superseded = quarantine.superseded(verdict.superseded, now)
    # First the quarantine, then the prices: killed in between, nothing is lost.
    quarantine.settle(store, quarantined, stack([refused, superseded]), verdict.requalified)
    store.upsert(prices, verdict.accepted)
    due = set(quarantine.of_the_future(quarantined))
    if due:
        due &= set(quarantine.content_ids(fresh)) - set(refused["quarantine_id"])
    quarantine.forget(store, [*verdict.released, *due])
    new = verdict.accepted[verdict.accepted["refresh"].eq(False)]
    accepted = len(new) - len(verdict.released)
    return Counts(
        source=delivery.source,
        received=len(rows),
        accepted=accepted,
        quarantined=len(refused),
        unchanged=len(rows) - accepted - len(refused),
        released=len(verdict.released),
        superseded=len(superseded),
        reasons={str(name): int(n) for name, n in refused["reason"].value_counts().items()},
        dates=sorted(day.strftime("%Y-%m-%d") for day in new["date"].unique()),
    )


def half_released(pending: pd.DataFrame, known: pd.DataFrame) -> bool:
    """Return whether a run was killed between accepting held rows and forgetting them."""
    row = [*KEY, "market_price", "source"]
    return not pending[row].merge(known[row], on=row).empty


def refuse_mixture(prices: Snapshot, rows: pd.DataFrame) -> None:
    """Raise UsageError before simulated prices get into a store of real ones, or the reverse."""
    count = int((rows["source"] == SIMULATED).sum())
    if 0 < count < len(rows):
        raise UsageError(
            f"the delivery holds {count:,} simulated prices among {len(rows):,}, which must not be "
            "mixed: collect each kind into a home of its own (POKEWATCH_HOME)"
        )
    if prices.handle is None or rows.empty:
        return
    incoming = bool(count)
    stored = prices.simulated()
    if stored is not None and stored != incoming:
        new, old = (SIMULATED, "real") if incoming else ("real", SIMULATED)
        raise UsageError(
            f"this data home holds {old} prices and must not be mixed with {new} ones: set "
            "POKEWATCH_HOME to another folder"
        )


def recent_prices(
    prices: Snapshot, rows: pd.DataFrame, pending: pd.DataFrame, cards: CategoricalDtype
) -> pd.DataFrame:
    """Return the accepted rows of the touched cards from a while before the first new one on.

    Of cards of which nothing is pending only what makes their level is needed from before it: the
    last rows. cards: the touched ones, each once; the type of ``card_id`` in all frames.
    """
    touched = pa.array(cards.categories, pa.string())
    waiting = pending.loc[pending["reason"] != "shared_curve", "date"]
    fresh = rows.loc[rows["problem"] == "", "date"]
    first = min(fresh.min(), waiting.min(), key=lambda day: (pd.isna(day), day))
    if pd.isna(first):
        first = pd.Timestamp.max.normalize()
    since = (first - timedelta(days=rules.HISTORY_DAYS)).date()
    where = list(date_range(since, None))
    if len(touched) <= MANY_CARDS:
        where.append(ds.field("card_id").isin(touched))
    found = prices.read(STORED_COLUMNS, where)
    card = pc.index_in(found["card_id"], value_set=touched).fill_null(-1).to_numpy()
    ago = (first - pd.Timestamp(0)).days - found["date"].cast(pa.int32()).to_numpy()
    awaited = np.isin(np.arange(len(touched)), pending["card_id"].cat.codes)
    keep = (ago <= 0) | np.append(awaited, False)[card]
    # Counted back from the first new one, day after day; at most HISTORY_DAYS, so small numbers.
    old = np.flatnonzero((ago > 0) & (card >= 0))
    old = old[np.argsort(ago[old].astype(np.int16), kind="stable")]
    counted = np.zeros(len(touched), dtype=np.int64)
    for here in np.split(old, np.flatnonzero(np.diff(ago[old])) + 1):
        keep[here] |= counted[card[here]] < RECENT
        counted[card[here]] += 1
    keep &= card >= 0
    known = to_frame(found.drop_columns("card_id").filter(pa.array(keep)))
    known.insert(0, "card_id", pd.Categorical.from_codes(card[keep], dtype=cards))
    earlier = on_time(known["collected_at"], known["date"])  # of versions that did not keep it
    return known.assign(accepted_at=known["accepted_at"].fillna(earlier))


def already_stored(rows: pd.DataFrame, known: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return which rows repeat the stored ones, and which of these were collected later.

    A missing value contradicts nothing. A later collection of the same price, or one of a source
    that is trusted more, is worth its timestamp: it must win over what was collected in between.
    """
    columns = [*KEY, *VALUES, "collected_at", "source"]
    known = known.loc[known["date"].isin(rows["date"].unique()), columns]
    if known.empty:
        never = pd.Series(False, rows.index)
        return never, never
    both = rows[columns].merge(known, on=KEY, how="left", suffixes=("", "_known"))
    same = both["market_price"] == both["market_price_known"]
    for name in VALUES[1:]:
        same &= both[name].isna() | (both[name] == both[f"{name}_known"])
    complete = both[VALUES].notna() | both[[f"{name}_known" for name in VALUES]].isna().to_numpy()
    mine, other = rules.trust(both["source"]), rules.trust(both["source_known"])
    newer = both["collected_at"] > both["collected_at_known"]
    later = same & complete.all(axis=1) & ((mine > other) | ((mine == other) & newer))
    later &= rows["dated"].to_numpy()
    return pd.Series(same.to_numpy(), rows.index), pd.Series(later.to_numpy(), rows.index)


def save_cards(store: Store, described: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Add what a delivery says about its cards; every delivered card_id gets a row."""
    snapshot = store.snapshot("cards")
    table = snapshot.read(CARD_COLUMNS)
    given = [
        name for name in CARD_COLUMNS[1:] if name in described and described[name].notna().any()
    ]
    stored = table.select(["card_id", *given]).to_pandas()
    more = card_frames.tidy(described[card_frames.differs(described, stored)])
    delivered = pc.unique(pa.array(rows.loc[rows["problem"] == "", "card_id"], pa.string()))
    absent = delivered.filter(pc.invert(pc.is_in(delivered, value_set=table["card_id"])))
    mentioned = pa.array(more["card_id"], pa.string())
    known = table.filter(pc.is_in(table["card_id"], value_set=mentioned)).to_pandas()
    ids = {*more.loc[card_frames.differs(more, known), "card_id"], *absent.to_pylist()}
    if not ids:
        return
    bare = pd.DataFrame({"card_id": pd.Series(absent.to_pylist(), dtype="object")})
    fresh = pd.concat([bare, more[more["card_id"].isin(ids)]])
    touched = pc.is_in(table["card_id"], value_set=pa.array(list(ids), pa.string()))
    merged = card_frames.merge(table.filter(touched).to_pandas(), fresh)
    cards = pa.concat_tables([table.filter(pc.invert(touched)), to_table(merged, CARDS_SCHEMA)])
    store.replace(snapshot, cards.sort_by("card_id"), None)
