"""The market as matrices: long observations become dates x cards, gaps filled causally."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pokewatch.errors import UsageError
from pokewatch.rounding import log
from pokewatch.settings import Settings
from pokewatch.store.tables import Snapshot, Store

Matrix = np.ndarray
MATRICES = ("price", "age", "low", "mid", "volume")
PANEL_COLUMNS = ["card_id", "date", "market_price", "low_price", "mid_price", "volume"]
PANEL_VALUES = PANEL_COLUMNS[2:]
READ_COLUMNS = [*PANEL_COLUMNS, "accepted_at"]
Late = tuple[int, int, int, dict[str, float]]  # day from which known, day, card, values
MAX_AGE = 3  # days; older prices are no fair start or end of a change
AHEAD = timedelta(days=30)  # after the last price there is nothing to say about a day


@dataclass(frozen=True)
class Panel:
    """Daily prices of many cards, each day as it was known at its end; matrices (days, cards).

    A price that was held back until others confirmed it counts from that day on, a correction from
    the day on which it came: what a day shows never changes later.

    dates: every calendar day from the first to the last.
    price: market price in USD, the last one known on that day; NaN before the first.
    age: days since that price was observed; low, mid, volume: NaN where not delivered that day.
    cards: frame indexed by card_id (name, set_name, product_kind, release_date, ...).
    """

    dates: pd.DatetimeIndex
    card_ids: np.ndarray
    price: Matrix
    age: Matrix
    low: Matrix
    mid: Matrix
    volume: Matrix
    cards: pd.DataFrame = field(repr=False)

    @classmethod
    def from_prices(
        cls, prices: pd.DataFrame, cards: pd.DataFrame | None = None, until: date | None = None
    ) -> Panel:
        """Build the panel of all observations up to ``until``.

        prices: columns ``READ_COLUMNS`` (low_price, mid_price, volume, accepted_at may be missing),
        one row a card and date. Raises UsageError where no observation is left.
        """
        if until is not None:
            prices = prices[prices["date"] <= pd.Timestamp(until)]
        columns = [name for name in READ_COLUMNS if name in prices]
        table = pa.Table.from_pandas(prices[columns], preserve_index=False)
        date_, ids = table["date"].cast(pa.date32()), table["card_id"].dictionary_encode()
        table = table.set_column(0, "card_id", ids).set_column(1, "date", date_)
        return cls.from_tables([table], cards, until)

    @classmethod
    def from_tables(
        cls,
        tables: Iterable[pa.Table],
        cards: pd.DataFrame | None = None,
        until: date | None = None,
        replaced: pa.Table | None = None,
        past: bool = False,
    ) -> Panel:
        """Build the panel of observations that come as tables one after the other, in any order.

        tables: columns ``READ_COLUMNS`` (low_price, mid_price, volume, accepted_at may be missing),
        ``card_id`` as codes; nothing after ``until``; no day within one table's span is in another.
        replaced: prices that were believed until better ones came, the same columns. past: newer
        days are stored; what was accepted after ``until`` was not known yet. Raises UsageError
        where there is no observation.
        """
        numbers: dict[str, int] = {}
        late: list[Late] = []
        before: list[Late] = []
        blocks = [_block(table, numbers, late) for table in tables if len(table)]
        if replaced is not None and len(replaced):
            _late(replaced, numbers, before, np.ones(len(replaced), dtype=bool))
        if not blocks and not late:
            when = f" up to {until}" if until else ""
            raise UsageError(f"no prices are stored{when}: run 'pokewatch collect' first")
        late = [*before, *late]  # of one day the better price counts, which comes later
        days = [day for day, _ in blocks] + [since for since, *_ in late]
        ends = [day + len(parts["market_price"]) for day, parts in blocks if parts]
        first, last = min(days), max([*ends, *(day + 1 for _, day, _, _ in late)]) - 1
        if until is not None:
            last = max(last, (until - date(1970, 1, 1)).days)
        dates = pd.date_range(
            np.datetime64(first, "D").astype("datetime64[us]"), periods=last - first + 1, freq="D"
        )
        ids = np.array(list(numbers), dtype=object)
        order = np.argsort(ids)
        place = np.argsort(order)
        shape = len(dates), len(ids)
        given: dict[str, Matrix] = {"market_price": np.full(shape, np.nan)}
        for name in PANEL_VALUES:
            parts = [(day, block.pop(name)) for day, block in blocks if name in block]
            if parts or any(name in values for *_, values in late):
                given.setdefault(name, np.full(shape, np.nan))
            while parts:
                day, part = parts.pop()
                given[name][day - first : day - first + len(part), place[: part.shape[1]]] = part
        known: dict[int, list[Late]] = {}
        for number, (since, day, card, values) in enumerate(late):
            row = since - first
            righted = not np.isnan(given["market_price"][day - first, place[card]])
            if number < len(before) and righted:
                continue
            if row >= len(dates) and not past:
                row = len(dates) - 1  # known by now, which is the panel's end
            known.setdefault(row, []).append((since, day - first, int(place[card]), values))
        return cls._filled(dates, ids[order], given, cards, known)

    @classmethod
    def _filled(
        cls,
        dates: pd.DatetimeIndex,
        card_ids: np.ndarray,
        given: dict[str, Matrix],
        cards: pd.DataFrame | None,
        late: dict[int, list[Late]],
    ) -> Panel:
        """Return the panel of what was observed; a day without a price keeps the one before.

        late: prices by the row on which they became known.
        """
        price = given["market_price"]
        nothing = np.broadcast_to(np.nan, price.shape)
        age = np.where(np.isnan(price), np.nan, 0.0)
        for day in range(len(price)):
            if day:
                gap = np.isnan(price[day])
                price[day, gap] = price[day - 1, gap]
                age[day, gap] = age[day - 1, gap] + 1
            for _, row, card, values in sorted(late.get(day, []), key=lambda one: one[:2]):
                if not age[day, card] < day - row:  # else something newer is known
                    price[day, card], age[day, card] = values["market_price"], day - row
                    if row == day:
                        for name, value in values.items():
                            given[name][day, card] = value
        known = pd.DataFrame(index=pd.Index(card_ids, name="card_id"))
        if cards is not None:
            known = known.join(cards.set_index("card_id"))
        return cls(
            dates=dates,
            card_ids=card_ids,
            price=price,
            age=age,
            low=given.get("low_price", nothing),
            mid=given.get("mid_price", nothing),
            volume=given.get("volume", nothing),
            cards=known.reindex(
                columns=["name", "set_name", "rarity", "product_kind", "release_date"]
            ),
        )

    def day(self, on: date | pd.Timestamp) -> int:
        """Return the row of a date; UsageError where the panel does not have it."""
        position = int(self.dates.get_indexer(pd.DatetimeIndex([pd.Timestamp(on)]))[0])
        if position < 0:
            raise UsageError(
                f"no prices for {pd.Timestamp(on):%Y-%m-%d}: the store covers "
                f"{self.dates[0]:%Y-%m-%d} to {self.dates[-1]:%Y-%m-%d}"
            )
        return position

    def until(self, row: int) -> Panel:
        """Return the panel as it was known at the end of day ``row``: nothing later is in it."""
        cut = {name: getattr(self, name)[: row + 1] for name in ("dates", *MATRICES)}
        return replace(self, **cut)

    def cards_only(self, block: slice | np.ndarray) -> Panel:
        """Return the panel of some cards in memory of its own; block: their columns, or a mask."""
        cut = {name: np.ascontiguousarray(getattr(self, name)[:, block]) for name in MATRICES}
        return replace(self, card_ids=self.card_ids[block], cards=self.cards.iloc[block], **cut)

    def first_days(self) -> Matrix:
        """Return the row of each card's first observation (the number of rows: none)."""
        alive = ~np.isnan(self.price)
        return np.where(alive[-1], alive.argmax(axis=0), len(alive))

    def last_priced(self) -> int:
        """Return the row of the last day on which any price was observed; the last one if none."""
        rows = range(len(self.dates) - 1, -1, -1)
        return next((row for row in rows if (self.age[row] == 0).any()), rows[0])

    def repeated_days(self, min_cards: int = 20) -> list[pd.Timestamp]:
        """Return the days on which not one of many cards differs from the day before.

        A source that serves yesterday again does this; a real day of ``min_cards`` cards and more
        does not.
        """
        fresh, same = self.age == 0, self.price[1:] == self.price[:-1]
        both = fresh[1:] & fresh[:-1]
        repeated = (both.sum(axis=1) >= min_cards) & (same | ~both).all(axis=1)
        return list(self.dates[1:][repeated])

    def history_days(self) -> Matrix:
        """Return days since each card's first observation (-1 before it)."""
        return np.maximum(np.arange(len(self.price))[:, None] - self.first_days(), -1)

    def target(self, horizon: int) -> Matrix:
        """Return log price changes over ``horizon`` days, NaN where either end is not known.

        A price counts that was observed at most ``MAX_AGE`` days before, the later one after the
        earlier day: else it would be the earlier one again.
        """
        log_price = log(self.price)
        out = np.full(log_price.shape, np.nan)
        out[:-horizon] = log_price[horizon:] - log_price[:-horizon]
        out[self.age > MAX_AGE] = np.nan
        out[:-horizon][self.age[horizon:] > outcome_age(horizon)] = np.nan
        return out


def outcome_age(horizon: int | np.ndarray) -> Any:
    """Return how old a price may be that is what came of a forecast ``horizon`` days before."""
    return np.minimum(MAX_AGE, horizon - 1)


def _block(
    table: pa.Table, numbers: dict[str, int], late: list[Late]
) -> tuple[int, dict[str, Matrix]]:
    """Return the first day of a table and its values, days x cards in the order of ``numbers``.

    Cards that are new are given the next numbers; columns without a single value are left out.
    Prices that were not known on their own day go to ``late`` instead.
    """
    day = table["date"].cast(pa.int32()).to_numpy()
    first = int(day.min())
    if "accepted_at" in table.column_names:
        after = _known(table, day) > day
        if after.any():
            _late(table, numbers, late, after)
            table, day = table.filter(pa.array(~after)), day[~after]
            if not len(table):
                return first, {}
    column = _numbered(table, numbers)
    shape = (int(day.max()) - first + 1, len(numbers))
    out = {}
    for name in PANEL_VALUES:
        if name in table.column_names and table[name].null_count < len(table):
            out[name] = np.full(shape, np.nan)
            out[name][day - first, column] = table[name].to_numpy()
    return first, out


def _known(table: pa.Table, day: np.ndarray) -> np.ndarray:
    """Return the day (since 1970) from which each price of a table was known."""
    moment = table["accepted_at"].cast(pa.timestamp("us", "UTC"))
    accepted = moment.cast(pa.int64()).fill_null(0).to_numpy() // 86_400_000_000
    return np.maximum(accepted, day)


def _numbered(table: pa.Table, numbers: dict[str, int]) -> np.ndarray:
    """Return the number of each row's card."""
    codes = table["card_id"].combine_chunks()
    known = codes.dictionary.to_pylist()
    present = np.unique(codes.indices.to_numpy())
    number = np.full(len(known), -1)
    number[present] = [numbers.setdefault(known[code], len(numbers)) for code in present]
    return number[codes.indices.to_numpy()]


def _late(table: pa.Table, numbers: dict[str, int], late: list[Late], which: np.ndarray) -> None:
    """Add these rows of a table to ``late``."""
    rows = table.filter(pa.array(which))
    day = rows["date"].cast(pa.int32()).to_numpy()
    known, card = _known(rows, day), _numbered(rows, numbers)
    names = [name for name in PANEL_VALUES if name in rows.column_names]
    columns = [rows[name].to_numpy() for name in names]
    for place in range(len(rows)):
        values = {
            name: float(column[place])
            for name, column in zip(names, columns, strict=True)
            if not np.isnan(column[place])
        }
        late.append((int(known[place]), int(day[place]), int(card[place]), values))


def read_panel(
    store: Store, snapshot: Snapshot, cards: pd.DataFrame, until: date | None = None
) -> Panel:
    """Return the panel of a pinned prices table up to a day, each day as it was known.

    cards: all known ones, columns ``CARD_COLUMNS``.
    """
    newest = until and store.last_day(snapshot=snapshot)
    if until and newest:
        check_ahead(until, newest)
    pinned = snapshot.version < store.data_version  # what came later is not known at this version
    return Panel.from_tables(
        snapshot.by_month(READ_COLUMNS, until),
        cards,
        until,
        store.replaced(READ_COLUMNS, until, snapshot.committed_at if pinned else None),
        past=bool(until and newest and pd.Timestamp(until) < pd.Timestamp(newest)),
    )


def check_ahead(day: date, newest: date) -> None:
    """Raise UsageError for a day more than ``AHEAD`` after the newest price."""
    if day > newest + AHEAD:
        raise UsageError(
            f"{day} lies more than {AHEAD.days} days after the last price ({newest}): collect "
            "newer prices first"
        )


def open_panel(
    settings: Settings, until: date | None = None, data_version: int | None = None
) -> tuple[Panel, int]:
    """Return the panel of all prices up to a day, and the data version it was read at."""
    store = Store.from_settings(settings)
    snapshot = store.snapshot("prices", data_version)
    panel = read_panel(store, snapshot, store.cards(), until)
    return panel, snapshot.version


def price_sources(settings: Settings, data_version: int | None = None) -> list[str]:
    """Return the names of the sources whose prices are in the store."""
    store = Store.from_settings(settings)
    return sorted(store.sources(store.snapshot("prices", data_version)))
