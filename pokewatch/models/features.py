"""Causal features: row t of every matrix is computed from rows up to t only.

A feature looks along one card's days or across one day's cards. The first kind is computed for a
few cards at a time, the second for a few days: the arrays at work stay in the processor's cache,
and only what was asked for is kept. However it is cut, the numbers are the same to the last bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import chain, pairwise

import bottleneck as bn
import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from pokewatch.models.panel import Panel
from pokewatch.rounding import log

Features = dict[str, np.ndarray]

SPANS = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60)
MEANS = (3, 7, 14, 30, 60)
FACTOR_SPANS = (3, 7, 14, 30, 60)
QUIET_DAYS = 30
CARDS_AT_ONCE, DAYS_AT_ONCE = 128, 32
LOOK_BACK = 120  # days, the longest span
LONG_AGO = 99  # days since the last change of a card that never changed
# Sealed products of one form move together; the first form that a name contains is its form.
FORMS = (
    "booster box case",
    "booster box",
    "elite trainer box case",
    "elite trainer box",
    "booster bundle",
    "booster pack",
    "blister",
    "tin",
    "collection",
    "deck",
    "case",
)


def build(panel: Panel, rows: Sequence[int] | None = None, jobs: int = 1) -> Features:
    """Return named feature matrices of shape (days, cards), float32, finite everywhere.

    rows: the days wanted, ascending (default: all); a matrix has one row each. jobs: threads.

    Missing inputs (short history, no quotes, no volume, no names) become neutral values, never
    NaN: momenta, distances and raw gaps 0, quotes and volume at their usual place. Units: log
    price changes, shares of days, days. The highest listing is never used: sellers park absurd
    ones.
    """
    wanted = np.arange(len(panel.dates)) if rows is None else np.asarray(rows)
    shape, facts = (len(wanted), len(panel.card_ids)), Facts.of(panel)
    out = {name: np.empty(shape, np.float32) for name in names()}

    def of_cards(block: slice) -> None:
        for name, matrix in chain(*_by_card(panel, facts, block, wanted)):
            _put(matrix, out[name][:, block])

    def of_days(here: np.ndarray) -> None:
        first, last = int(here[0]), int(here[-1]) + 1
        for name, matrix in chain(*_by_day(panel, facts, wanted[first:last])):
            _put(matrix, out[name][first:last])

    edges = pairwise(_edges(shape[1], CARDS_AT_ONCE))
    tasks = [delayed(of_cards)(slice(*edge)) for edge in edges]
    days = _cut(wanted, len(panel.dates), DAYS_AT_ONCE)
    tasks += [delayed(of_days)(here) for _, here in days]
    Parallel(n_jobs=jobs, require="sharedmem")(tasks)
    return out


def cases(panel: Panel, day: np.ndarray, card: np.ndarray, jobs: int = 1) -> np.ndarray:
    """Return the features of (day, card) pairs: shape (pairs, features), columns as ``names``.

    They are what ``build`` puts there, but without the matrices; jobs: threads.
    """
    first, second, third, _ = np.cumsum([len(part) for part in layout()]).tolist()
    out, facts = np.empty((len(day), len(names())), dtype=np.float32), Facts.of(panel)
    columns = (slice(0, first), slice(first, second), slice(second, third), slice(third, None))

    def put(parts: tuple[int, int], at: tuple[np.ndarray, ...], found: tuple[Named, Named]) -> None:
        here, place, column = at
        for part, of_part in zip(parts, found, strict=True):
            values = [matrix[place, column] for _, matrix in of_part]
            out[here, columns[part]] = zero_unknown(np.stack(values, axis=1).astype(np.float32))

    def of_cards(block: slice, here: np.ndarray) -> None:
        rows = np.unique(day[here])
        at = here, np.searchsorted(rows, day[here]), card[here] - block.start
        put((0, 2), at, _by_card(panel, facts, block, rows))

    def of_days(days: slice, here: np.ndarray) -> None:
        rows = np.unique(day[here])
        at = here, np.searchsorted(rows, day[here]), card[here]
        put((1, 3), at, _by_day(panel, facts, rows))

    tasks = [delayed(of_cards)(*one) for one in _cut(card, len(panel.card_ids), CARDS_AT_ONCE)]
    tasks += [delayed(of_days)(*one) for one in _cut(day, len(panel.dates), DAYS_AT_ONCE)]
    Parallel(n_jobs=jobs, require="sharedmem")(tasks)
    return out


@cache
def layout() -> list[list[str]]:
    """Return the names of the features, part by part: prices, quotes, sales, factors."""
    one = pd.DataFrame({"card_id": ["1:Normal"], "date": pd.Timestamp("2025-01-01")})
    panel, rows = Panel.from_prices(one.assign(market_price=1.0)), np.array([0])
    facts = Facts.of(panel)
    by_card, by_day = _by_card(panel, facts, slice(0, 1), rows), _by_day(panel, facts, rows)
    parts = (by_card[0], by_day[0], by_card[1], by_day[1])
    return [[name for name, _ in part] for part in parts]


def names() -> list[str]:
    """Return the names of all features in the order of their columns."""
    return [name for part in layout() for name in part]


def volatility(panel: Panel) -> np.ndarray:
    """Return the one feature that intervals need of every day, shape (days, cards)."""
    rows = np.arange(len(panel.dates))
    out = np.empty(panel.price.shape, dtype=np.float32)
    for a, b in pairwise(_edges(len(panel.card_ids), CARDS_AT_ONCE)):
        daily = zero_unknown(change(log(panel.price[:, a:b]), 1, rows))
        out[:, a:b] = trailing(np.minimum(np.abs(daily), 0.5), QUIET_DAYS, rows)
    return out


def _edges(size: int, step: int) -> list[int]:
    return [*range(0, size, step), size]


def _cut(place: np.ndarray, size: int, step: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of columns or rows and which of the pairs lie in each, empty ones left out."""
    order = np.argsort(place, kind="stable")
    edges = _edges(size, step)
    stops = np.searchsorted(place[order], edges)
    for (a, b), (first, last) in zip(pairwise(edges), pairwise(stops.tolist()), strict=True):
        if first < last:
            yield slice(a, b), order[first:last]


Named = Iterable[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class Facts:
    """What is known of the cards on every day alike; arrays of shape (cards,)."""

    released: np.ndarray  # days since 1970, minus infinity where unknown
    sealed: np.ndarray  # 1.0 or 0.0
    sets: np.ndarray  # number of the set
    forms: np.ndarray  # number of the form of sealed products

    @classmethod
    def of(cls, panel: Panel) -> Facts:
        """Return what a panel says of its cards."""
        cards = panel.cards
        sealed = cards["product_kind"].eq("sealed")
        released = pd.to_datetime(cards["release_date"], errors="coerce").to_numpy()
        days = (released - np.datetime64(0, "D")) / np.timedelta64(1, "D")
        return cls(
            released=np.where(np.isnan(days), -np.inf, days),
            sealed=sealed.to_numpy(dtype=float),
            sets=pd.factorize(cards["set_name"].fillna("").astype(str))[0],
            forms=pd.factorize(cards["name"].where(sealed).map(form))[0],
        )


def _by_card(panel: Panel, facts: Facts, block: slice, rows: np.ndarray) -> tuple[Named, Named]:
    """Return the parts ``prices`` and ``sales`` of some cards."""
    some = panel.cards_only(block)
    part = replace(facts, released=facts.released[block], sealed=facts.sealed[block])
    return prices(some, part, rows), sales(some, rows)


def _by_day(panel: Panel, facts: Facts, rows: np.ndarray) -> tuple[Named, Named]:
    """Return the parts ``quotes`` and ``factors`` of some days."""
    first = max(int(rows[0]) - FACTOR_SPANS[-1], 0)
    price, place = log(panel.price[first : rows[-1] + 1]), rows - first
    return quotes(panel, at(price, place), rows), factors(price, place, facts)


def _put(matrix: np.ndarray, out: np.ndarray) -> None:
    """Write a matrix to its place as float32, 0 where nothing is known."""
    np.copyto(out, matrix, casting="same_kind")
    zero_unknown(out)


def zero_unknown(matrix: np.ndarray) -> np.ndarray:
    """Return the matrix itself, 0 put where nothing is known."""
    if matrix.size and np.isnan(matrix.min()):  # the minimum of a matrix with a NaN is NaN
        matrix[np.isnan(matrix)] = 0
    return matrix


def at(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some rows of a matrix, ascending; not a copy where they follow each other."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return matrix[rows[0] : rows[-1] + 1]
    return matrix[rows]


def prices(panel: Panel, facts: Facts, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what a card's own prices say: momenta, distances, volatility, calm, age."""
    first = max(int(rows[0]) - LOOK_BACK, 0)
    price, place = panel.price[first : rows[-1] + 1], rows - first
    log_price = log(price)
    now = at(log_price, place)
    for span in SPANS:
        yield f"momentum_{span}", clip(change(log_price, span, place))
    for span in MEANS:
        yield f"above_mean_{span}", clip(now - trailing(log_price, span, place))
    moves = np.minimum(np.abs(daily(log_price)), 0.5)
    sign = np.sign(daily(price)).astype(np.float32)
    for span in (7, 14, QUIET_DAYS, 90):
        yield f"volatility_{span}", trailing(moves, span, place)
        yield f"unchanged_{span}", 1 - trailing(np.abs(sign), span, place)
    for span in (7, 14, 30):
        yield f"net_rises_{span}", trailing(sign, span, place)
    last = last_change(panel.price[: rows[-1] + 1], first)[place]
    yield "days_since_change", np.minimum(rows[:, None] - last, LONG_AGO)
    # Of a card that never changed that is the change of the first row, which is none.
    last = np.maximum(last, 0)
    before = log(np.take_along_axis(panel.price, np.maximum(last - 1, 0), axis=0))
    yield "last_change", clip(log(np.take_along_axis(panel.price, last, axis=0)) - before)
    for name, quote in (("low", panel.low), ("mid", panel.mid)):
        listed = log(np.maximum(at(quote, rows), 0.01))
        then = log(np.maximum(np.take_along_axis(quote, last, axis=0), 0.01))
        yield f"{name}_since_change", clip(listed - then)
        yield f"{name}_raw_gap", np.clip(listed - now, -2, 2)
    for span in (14, 30, 60, LOOK_BACK):
        for name, extreme in (("below_high", bn.move_max), ("above_low", bn.move_min)):
            reached = extreme(log_price, min(span, len(log_price)), min_count=1, axis=0)
            yield f"{name}_{span}", clip(now - at(reached, place))
    yield "level", now
    yield "history", np.minimum(at(panel.history_days(), rows), 400)
    yield "age", np.minimum(at(panel.age, rows), 60)
    dates = panel.dates.to_numpy()[rows].astype("datetime64[D]").astype(float)
    age = np.clip(dates[:, None] - facts.released, -60, 1500)
    yield "since_release", age
    yield "sealed", np.broadcast_to(facts.sealed, now.shape)


def daily(matrix: np.ndarray) -> np.ndarray:
    """Return the change from row to row, 0 in the first row and where it is not known."""
    out = np.zeros(matrix.shape)
    np.subtract(matrix[1:], matrix[:-1], out=out[1:])
    return zero_unknown(out)


def quotes(panel: Panel, price: np.ndarray, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield where the day's low and mid listings stand against the price, and their moves."""
    first, now = max(int(rows[0]) - 7, 0), []
    for name, quote in (("low", panel.low), ("mid", panel.mid)):
        listed = log(np.maximum(quote[first : rows[-1] + 1], 0.01))
        now.append(at(listed, rows - first))
        yield f"{name}_gap", less_median(np.clip(now[-1] - price, -2, 2))
        for span in (3, 7):
            yield f"{name}_momentum_{span}", clip(change(listed, span, rows - first))
    yield "spread", less_median(np.clip(now[1] - now[0], 0, 3))


def sales(panel: Panel, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield how much was sold, and whether sales rise."""
    spans = (3, 7, 14, 30)
    mean = {span: np.zeros((len(rows), panel.volume.shape[1])) for span in spans}
    first = max(int(rows[0]) - LOOK_BACK, 0)
    recent = panel.volume[first : rows[-1] + 1]
    counted = ~np.isnan(recent).all(axis=0)  # most sources count no sales
    if counted.any():
        some = slice(None) if counted.all() else np.flatnonzero(counted)
        volume = recent[:, some]
        for span, matrix in mean.items():
            matrix[:, some] = log(1 + zero_unknown(trailing(volume, span, rows - first)))
    for span, matrix in mean.items():
        yield f"sales_{span}", matrix
    yield "sales_rise_3", mean[3] - mean[14]
    yield "sales_rise_7", mean[7] - mean[30]


def factors(price: np.ndarray, rows: np.ndarray, facts: Facts) -> Iterator[tuple[str, np.ndarray]]:
    """Yield momenta of the market, of a card's set and of its form, and cross-sectional ranks."""
    alive = ~np.isnan(at(price, rows))
    sets, forms = Groups(facts.sets, alive), Groups(facts.forms, alive)
    for span in FACTOR_SPANS:
        momentum = zero_unknown(clip(change(price, span, rows)))  # 0 where the card is not alive
        total = momentum.sum(axis=1, keepdims=True)
        mean = total / np.maximum(alive.sum(axis=1, keepdims=True), 1)
        yield f"market_momentum_{span}", np.broadcast_to(mean, momentum.shape)
        if span in (7, 14, 30):
            yield f"set_momentum_{span}", sets.others_mean(momentum)
            yield f"form_momentum_{span}", forms.others_mean(momentum)
        if span in (7, 30):
            yield f"rank_{span}", ranks(momentum, alive) - 0.5


@lru_cache(maxsize=2**17)  # a market has about as many names as cards, and is asked for often
def form(name: object) -> str:
    """Return the form of a sealed product by its name, "" for all others."""
    text = str(name).lower()
    return next((known for known in FORMS if re.search(rf"\b{known}", text)), "")


def clip(matrix: np.ndarray, limit: float = 1.5) -> np.ndarray:
    """Limit new log changes to +-``limit``, in their place: one wild card must not bend a fit."""
    return np.clip(matrix, -limit, limit, out=matrix)


def change(matrix: np.ndarray, span: int, rows: np.ndarray) -> np.ndarray:
    """Return the change over ``span`` rows at some rows (NaN where there is none so early)."""
    early = int(np.searchsorted(rows, span))
    out = np.empty((len(rows), matrix.shape[1]))
    out[:early] = np.nan
    np.subtract(at(matrix, rows[early:]), at(matrix, rows[early:] - span), out=out[early:])
    return out


def ranks(matrix: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Return each value's rank among its row's living ones, as a share; ties share their mean.

    Values count as float32, as they are kept; NaN where a card is not alive.
    """
    ranked = bn.nanrankdata(np.where(alive, matrix, np.nan).astype(np.float32), axis=1)
    return ranked / np.maximum(alive.sum(axis=1, keepdims=True), 1)


def last_change(price: np.ndarray, first: int) -> np.ndarray:
    """Return for every row from ``first`` on which row's price was the last to change.

    -LONG_AGO where none has by then. Two windows that overlap give a longer one.
    """
    moved = price[1:] != price[:-1]
    moved &= ~np.isnan(price[:-1])
    last = np.full((len(price) - first, price.shape[1]), -LONG_AGO, dtype=np.int32)
    begin = max(first, 1)
    days = np.arange(begin, len(price), dtype=np.int32)[:, None]
    np.copyto(last[begin - first :], days, where=moved[begin - 1 :])
    if first > 1:
        earlier = moved[: first - 1][::-1]
        row = np.where(earlier.any(axis=0), first - 1 - earlier.argmax(axis=0), -LONG_AGO)
        np.maximum(last[0], row, out=last[0], casting="same_kind")
    step = 1
    while step < len(last):
        np.maximum(last[step:], last[:-step], out=last[step:])
        step *= 2
    return last


def trailing(matrix: np.ndarray, span: int, rows: np.ndarray) -> np.ndarray:
    """Return the means of the known values of ``span`` rows that end with each of ``rows``.

    NaN where none is known. Of values on a grid, as ``log`` returns them, sums are exact: what lies
    before these rows has no part in them, not even in the last digit.
    """
    size = min(span, len(matrix))
    total = at(bn.move_sum(matrix, size, min_count=1, axis=0), rows)
    if not np.isnan(matrix.min(initial=0)):
        return total / np.minimum(rows + 1, size)[:, None].astype(total.dtype)
    known = bn.move_sum((~np.isnan(matrix)).astype(np.float32), size, min_count=1, axis=0)
    with np.errstate(invalid="ignore"):
        return total / at(known, rows)


class Groups:
    """Cards by group, on some days."""

    def __init__(self, code: np.ndarray, alive: np.ndarray):
        """Group cards by the number of their group; alive: who counts, shape (days, cards)."""
        self.code = code
        self.order = np.argsort(code, kind="stable")
        self.starts = np.searchsorted(code[self.order], np.arange(code.max() + 1))
        if alive.all():
            counts = np.bincount(code)[None, code].astype(float)
        else:
            counts = self._total(alive.astype(float))
        self.others = np.maximum(counts - alive, 1)

    def _total(self, matrix: np.ndarray) -> np.ndarray:
        sums = np.add.reduceat(matrix.take(self.order, axis=1), self.starts, axis=1)
        return sums.take(self.code, axis=1)

    def others_mean(self, matrix: np.ndarray) -> np.ndarray:
        """Return each day's mean over the other cards of the same group, 0 where there is none.

        matrix: 0 where a card does not count.
        """
        return (self._total(matrix) - matrix) / self.others


def less_median(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix less each day's median over the cards, 0 where nothing is known."""
    return zero_unknown(matrix - bn.nanmedian(matrix, axis=1)[:, None])
