"""The quarantine: rows that were held or refused, and how a person overrules that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pokewatch.errors import UsageError
from pokewatch.quality import rules
from pokewatch.schema import (
    KEY,
    OBSERVATION_COLUMNS,
    QUARANTINE_SCHEMA,
    STORED_COLUMNS,
    VALUES,
    has_key,
    on_time,
    stack,
)
from pokewatch.store.tables import Snapshot, Store, on_days, to_frame


def pending(quarantined: Snapshot, touched: pa.Array) -> pd.DataFrame:
    """Return the rows of these cards that are not decided for good, shaped as new ones are.

    They are held rows, and rows refused for a shared curve, which may go on; ``reason`` says which.
    """
    curve = (ds.field("status") == "refused") & (ds.field("reason") == "shared_curve")
    found = quarantined.read(where=[(ds.field("status") == "held") | curve])
    rows = to_frame(found.filter(pc.is_in(found["card_id"], value_set=touched)))
    return rows[["quarantine_id", "reason", *OBSERVATION_COLUMNS]].assign(
        dated=True,
        refresh=False,
        copy=0,
        problem="",
        raw_price=rows["market_price"],
        raw_date=rows["date"].astype("object"),
        accepted_at=on_time(rows["collected_at"], rows["date"]),
    )


def contains(quarantined: Snapshot, rows: pd.DataFrame) -> pd.Series:
    """Return which rows are in the quarantine already, whatever was decided about them.

    Not those that were refused only because their day had not come, and has now.
    """
    if quarantined.handle is None or rows.empty:
        return pd.Series(False, index=rows.index)
    # The date is part of a row's content: only rows of these days, or of none, can be the same.
    where, _ = on_days(rows["date"])
    known = quarantined.read(["quarantine_id"], [where])["quarantine_id"].to_pandas()
    if known.empty:
        return pd.Series(False, index=rows.index)
    premature = set(of_the_future(quarantined))
    ids = content_ids(rows)
    return ids.isin(set(known)) & ~(ids.isin(premature) & (rows["problem"] == ""))


def of_the_future(quarantined: Snapshot) -> list[str]:
    """Return the ids of rows that were refused because their day had not come yet."""
    where = (ds.field("status") == "refused") & (ds.field("reason") == "date_in_future")
    ids: list[str] = quarantined.read(["quarantine_id"], [where])["quarantine_id"].to_pylist()
    return ids


def content_ids(rows: pd.DataFrame) -> pd.Series:
    """Return an id of each row's content; ``copy`` keeps identical rows of a delivery apart."""
    # Beside rows of the quarantine, which have no copies, the counts turn to fractions.
    text = content(rows) + rows["copy"].astype(int).astype(str)

    def digest(value: str) -> str:  # an id, not a protection; another hash would change all ids
        return hashlib.sha1(value.encode(), usedforsecurity=False).hexdigest()[:16]

    return text.map(digest)


def content(rows: pd.DataFrame) -> pd.Series:
    """Return each row's values as one text; a value that cannot be used stands as received."""
    text = pd.Series("", index=rows.index)
    day = rows["date"].dt.strftime("%Y-%m-%d").fillna(rows["raw_date"].astype("string"))
    usable = rows["market_price"].notna()
    price = rows["market_price"].map(repr).where(usable, rows["raw_price"].astype("string"))
    collected = rows["collected_at"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    collected = collected.where(rows["dated"].astype(bool), "")
    parts = [rows["card_id"], day, price, rows["source"], collected]
    parts += [rows[name].map(repr) for name in VALUES[1:]]
    for part in parts:
        text = text + part.astype("string").fillna("").astype("object") + "\x1f"
    return text


def count_copies(rows: pd.DataFrame) -> pd.Series:
    """Return for each row of a delivery how many identical ones stand before it."""
    copies = pd.Series(0, index=rows.index)
    again = rows.duplicated([*KEY, *VALUES, "problem"], keep=False)
    if again.any():
        text = content(rows[again])
        copies[again] = text.groupby(text).cumcount()
    return copies


def shape(refused: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """Return rows in the shape of the quarantine table."""
    if refused.empty:
        return QUARANTINE_SCHEMA.empty_table().to_pandas()
    names = [name for name in QUARANTINE_SCHEMA.names if name in refused]
    out = refused[names].copy()
    out["quarantine_id"] = content_ids(refused)
    card = out["card_id"].astype("object")
    out["card_id"] = card.where(card.isna(), card.astype(str)).where(card.notna(), None)
    out["quarantined_at"] = now
    dates, prices = refused["raw_date"], refused["raw_price"]
    dates = dates.where(dates.notna(), refused["date"].astype("string"))
    prices = prices.where(prices.notna(), refused["market_price"].astype("string"))
    out["raw"] = [
        json.dumps({"date": str(day), "market_price": str(price)}, ensure_ascii=False)
        for day, price in zip(dates, prices, strict=True)
    ]
    return out.reindex(columns=QUARANTINE_SCHEMA.names)


def settle(
    store: Store, quarantined: Snapshot, new: pd.DataFrame, requalified: pd.DataFrame
) -> None:
    """Add rows to the quarantine and give pending ones their final reason, in one commit."""
    changed = new.iloc[:0]
    if len(requalified):
        decided = requalified.set_index("quarantine_id")
        where = ds.field("quarantine_id").isin(decided.index.tolist())
        old = to_frame(quarantined.read(where=[where]))
        changed = old.assign(**{name: old["quarantine_id"].map(decided[name]) for name in decided})
        changed = changed[(changed[["reason", "status"]] != old[["reason", "status"]]).any(axis=1)]
    store.upsert(quarantined, stack([new, changed]))


def superseded(rows: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """Return rows that left the prices in the shape of the quarantine table.

    rows: columns ``OBSERVATION_COLUMNS``, accepted_at and, if it is not simply superseded,
    ``reason``.
    """
    final = rows.assign(copy=0, dated=True, raw_date=rows["date"], raw_price=rows["market_price"])
    return shape(rules.refuse(final, rows.get("reason", "superseded"), believed=True), now)


def forget(store: Store, ids: list[str]) -> None:
    """Take rows out of the quarantine."""
    if not ids:
        return

    def attempt() -> None:
        quarantined = store.snapshot("quarantine")
        rest = quarantined.read(where=[~ds.field("quarantine_id").isin(ids)])
        store.replace(quarantined, rest, None)

    store.retry(attempt)


def select(
    store: Store, ids: Sequence[str] = (), reason: str | None = None, card_id: str | None = None
) -> pd.DataFrame:
    """Return quarantined rows by id (unique beginnings do), reason and card.

    Raises UsageError for an id that none or several rows have, and for an unknown reason.
    """
    rows = store.quarantine(["held", "refused"])
    if reason is not None:
        if reason not in rules.REASONS:
            raise UsageError(f"unknown reason '{reason}': known are {', '.join(rules.REASONS)}")
        rows = rows[rows["reason"] == reason]
    if card_id is not None:
        rows = rows[rows["card_id"] == card_id]
    if not ids:
        return rows
    chosen = []
    for prefix in ids:
        found = rows[rows["quarantine_id"].str.startswith(prefix.lower())]
        if len(found) != 1:
            raise UsageError(
                f"quarantine id '{prefix}' fits {len(found)} rows: take one that "
                "'pokewatch quarantine list' shows"
            )
        chosen.append(found)
    return pd.concat(chosen).drop_duplicates("quarantine_id")


def release(store: Store, rows: pd.DataFrame, now: pd.Timestamp) -> int:
    """Accept quarantined rows after all; return how many.

    An accepted row of the same card and date makes room and is kept as superseded. Raises
    UsageError for rows without a usable card, date (``rules.FIRST_DAY`` to ``now``) or price: these
    cannot become observations.
    """
    there = rows["date"].between(rules.FIRST_DAY, now.tz_localize(None))
    usable = rows["card_id"].notna() & there & (rows["market_price"] > 0)
    if not usable.all():
        worst = rows[~usable].iloc[0]
        raise UsageError(
            f"row {worst['quarantine_id']} ({worst['reason']}) lacks a usable card, date or price "
            "and cannot be released: collect it again with the right values"
        )
    if rows.duplicated(KEY).any():
        twice = rows[rows.duplicated(KEY)].iloc[0]
        raise UsageError(
            f"several of the rows are for {twice['card_id']} on {twice['date']:%Y-%m-%d}: name the "
            "one to release by its id"
        )
    if rows.empty:
        return 0

    def attempt() -> None:
        prices, quarantined = store.snapshot("prices"), store.snapshot("quarantine")
        first, last = rows["date"].min().date(), rows["date"].max().date()
        known = store.prices(STORED_COLUMNS, since=first, until=last, snapshot=prices)
        settle(store, quarantined, superseded(known[has_key(known, rows)], now), rows.iloc[:0])
        store.upsert(prices, rows.assign(accepted_at=now))

    store.retry(attempt)
    forget(store, rows["quarantine_id"].tolist())
    return len(rows)


def drop(store: Store, rows: pd.DataFrame) -> int:
    """Refuse rows for good; return how many. Collected again, they stay refused."""
    if rows.empty:
        return 0
    gone = rows.assign(status="dropped")
    store.retry(lambda: store.upsert(store.snapshot("quarantine"), gone))
    return len(gone)
