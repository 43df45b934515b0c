"""Causal features: row t of every matrix is computed from rows up to t only.

A feature looks along one card's days or across one day's cards. The first kind is computed for a
few cards at a time, the second for a few days: what is at work stays in the processor's cache, and
no more is held than was asked for. However it is cut, the numbers are the same to the last bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from pokewatch.panel import Panel

Features = dict[str, np.ndarray]

SPANS = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60)
MEANS = (3, 7, 14, 30, 60)
QUIET_DAYS = 30
CARDS_AT_ONCE, DAYS_AT_ONCE = 256, 32
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


def build(panel: Panel, rows: Sequence[int] | None = None) -> Features:
    """Return named feature matrices of shape (days, cards), float32, finite everywhere.

    rows: the days wanted, ascending (default: all); a matrix has one row each.

    Missing inputs (short history, no quotes, no volume, no names) become neutral values, never
    NaN: momenta and distances 0, quotes and volume at their usual place. Units: log price
    changes, shares of days, days. The highest listing is never used: sellers park absurd ones.
    """
    wanted = np.arange(len(panel.dates)) if rows is None else np.asarray(rows)
    shape = (len(wanted), len(panel.card_ids))
    parts: list[Features] = [{}, {}, {}, {}]
    blocks = [slice(a, b) for a, b in pairwise(_edges(shape[1], CARDS_AT_ONCE))]
    for block in blocks:
        for part, of_part in zip((0, 2), _alone(panel, block, wanted), strict=True):
            for name, matrix in of_part:
                parts[part].setdefault(name, np.empty(shape, np.float32))[:, block] = matrix
    for chunk in (slice(a, b) for a, b in pairwise(_edges(shape[0], DAYS_AT_ONCE))):
        for part, of_part in zip((1, 3), _together(panel, wanted[chunk]), strict=True):
            for name, matrix in of_part:
                parts[part].setdefault(name, np.empty(shape, np.float32))[chunk] = matrix
    return parts[0] | parts[1] | parts[2] | parts[3]


def cases(panel: Panel, day: np.ndarray, card: np.ndarray, jobs: int = 1) -> np.ndarray:
    """Return the features of (day, card) pairs: shape (pairs, features), columns as ``names``.

    They are what ``build`` puts there, but the matrices are never held; jobs: threads.
    """
    first, second, third, _ = np.cumsum([len(part) for part in layout()]).tolist()
    out = np.empty((len(day), len(names())), dtype=np.float32)
    columns = (slice(0, first), slice(first, second), slice(second, third), slice(third, None))

    def of_cards(block: slice, here: np.ndarray) -> None:
        rows = np.unique(day[here])
        place, column = np.searchsorted(rows, day[here]), card[here] - block.start
        for part, of_part in zip((0, 2), _alone(panel, block, rows), strict=True):
            values = [matrix[place, column] for _, matrix in of_part]
            out[here, columns[part]] = np.stack(values, axis=1)

    def of_days(days: slice, here: np.ndarray) -> None:
        rows = np.unique(day[here])
        place, column = np.searchsorted(rows, day[here]), card[here]
        for part, of_part in zip((1, 3), _together(panel, rows), strict=True):
            values = [matrix[place, column] for _, matrix in of_part]
            out[here, columns[part]] = np.stack(values, axis=1)

    tasks = [delayed(of_cards)(*one) for one in _cut(card, len(panel.card_ids), CARDS_AT_ONCE)]
    tasks += [delayed(of_days)(*one) for one in _cut(day, len(panel.dates), DAYS_AT_ONCE)]
    Parallel(n_jobs=jobs, require="sharedmem")(tasks)
    return out


@cache
def layout() -> list[list[str]]:
    """Return the names of the features, part by part: own, quotes, sales, factors."""
    one = pd.DataFrame({"card_id": ["1:Normal"], "date": pd.Timestamp("2025-01-01")})
    panel, rows = Panel.from_prices(one.assign(market_price=1.0)), np.array([0])
    alone, together = _alone(panel, slice(0, 1), rows), _together(panel, rows)
    parts = (alone[0], together[0], alone[1], together[1])
    return [[name for name, _ in part] for part in parts]


def names() -> list[str]:
    """Return the names of all features in the order of their columns."""
    return [name for part in layout() for name in part]


def volatility(panel: Panel) -> np.ndarray:
    """Return the one feature that intervals need of every day, shape (days, cards)."""
    rows = np.arange(len(panel.dates))
    out = np.empty(panel.price.shape, dtype=np.float32)
    for a, b in pairwise(_edges(len(panel.card_ids), CARDS_AT_ONCE)):
        daily = np.nan_to_num(change(np.log(panel.cards_only(slice(a, b)).price), 1, rows))
        out[:, a:b] = Trailing(np.minimum(np.abs(daily), 0.5)).mean(QUIET_DAYS, rows)
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


def _alone(panel: Panel, block: slice, rows: np.ndarray) -> tuple[Named, Named]:
    """Return the parts ``own`` and ``sales`` of some cards, finite float32."""
    some = panel.cards_only(block)
    return _finite(own(some, rows)), _finite(sales(some, rows))


def _together(panel: Panel, rows: np.ndarray) -> tuple[Named, Named]:
    """Return the parts ``quotes`` and ``factors`` of some days, finite float32."""
    return _finite(quotes(panel, rows)), _finite(factors(panel, rows))


def _finite(part: Named) -> Named:
    return ((name, np.nan_to_num(matrix).astype(np.float32)) for name, matrix in part)


def until(built: Features, row: int) -> Features:
    """Return the features as they were known at the end of day ``row``."""
    return {name: matrix[: row + 1] for name, matrix in built.items()}


def own(panel: Panel, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what a card's own prices say: momenta, distances, volatility, calm, age."""
    log_price = np.log(panel.price)
    now = log_price[rows]
    for span in SPANS:
        yield f"momentum_{span}", clip(change(log_price, span, rows))
    level = Trailing(log_price, rows)
    for span in MEANS:
        yield f"above_mean_{span}", clip(now - level.mean(span, rows))
    daily = np.zeros(log_price.shape)
    np.subtract(log_price[1:], log_price[:-1], out=daily[1:])
    np.nan_to_num(daily, copy=False)
    moves = Trailing(np.minimum(np.abs(daily), 0.5), rows)
    # Sums of whole numbers are the same from wherever they begin.
    first = max(int(rows[0]) - LOOK_BACK, 0)
    recent, place = daily[first : rows[-1] + 1], rows - first
    changed, signs = Trailing((recent != 0).astype(float)), Trailing(np.sign(recent))
    for span in (7, 14, QUIET_DAYS, 90):
        yield f"volatility_{span}", moves.mean(span, rows)
        yield f"unchanged_{span}", 1 - changed.mean(span, place)
    for span in (7, 14, 30):
        yield f"net_rises_{span}", signs.mean(span, place)
    day = np.arange(first, first + len(recent))[:, None]
    earlier = (daily[:first] != 0)[::-1]
    start = np.full(daily.shape[1], -1)
    if first:
        start = np.where(earlier.any(axis=0), first - 1 - earlier.argmax(axis=0), -1)
    last = np.maximum.accumulate(np.where(recent != 0, day, start), axis=0)[place]
    since = np.minimum(rows[:, None] - last, LONG_AGO)
    yield "days_since_change", np.where(last < 0, LONG_AGO, since)
    latest = np.take_along_axis(daily, np.maximum(last, 0), axis=0)
    yield "last_change", clip(np.where(last < 0, 0.0, latest))
    spans = (14, 30, 60, LOOK_BACK)
    prices = log_price[first : rows[-1] + 1]
    highest, lowest = extremes(prices, spans, np.fmax), extremes(prices, spans, np.fmin)
    for span in spans:
        yield f"below_high_{span}", clip(now - highest[span][place])
        yield f"above_low_{span}", clip(now - lowest[span][place])
    yield "level", now
    yield "history", np.minimum(panel.history_days()[rows], 400)
    yield "age", np.minimum(panel.age[rows], 60)
    released = pd.to_datetime(panel.cards["release_date"], errors="coerce")
    dates = panel.dates.to_numpy()[rows]
    age = (dates[:, None] - released.to_numpy()[None, :]) / np.timedelta64(1, "D")
    yield "since_release", np.clip(np.where(np.isnan(age), 1500.0, age), -60, 1500)
    sealed = panel.cards["product_kind"].eq("sealed").to_numpy(dtype=float)
    yield "sealed", np.broadcast_to(sealed, now.shape)


def quotes(panel: Panel, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield where the day's low and mid listings stand against the price, and their moves."""

    def logs(quote: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(quote[at], 0.01))

    low, mid, price = logs(panel.low, rows), logs(panel.mid, rows), np.log(panel.price[rows])
    for name, quote, now in (("low", panel.low, low), ("mid", panel.mid, mid)):
        yield f"{name}_gap", less_median(np.clip(now - price, -2, 2))
        for span in (3, 7):
            move = np.full(now.shape, np.nan)
            old = rows >= span
            move[old] = now[old] - logs(quote, rows[old] - span)
            yield f"{name}_momentum_{span}", clip(move)
    yield "spread", less_median(np.clip(mid - low, 0, 3))


def sales(panel: Panel, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield how much was sold, and whether sales rise."""
    volume = Trailing(panel.volume, rows)
    mean = {span: np.log1p(np.nan_to_num(volume.mean(span, rows))) for span in (3, 7, 14, 30)}
    for span, matrix in mean.items():
        yield f"sales_{span}", matrix
    yield "sales_rise_3", mean[3] - mean[14]
    yield "sales_rise_7", mean[7] - mean[30]


def factors(panel: Panel, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield momenta of the market, of a card's set and of its form, and cross-sectional ranks."""
    now = np.log(panel.price[rows])
    alive = ~np.isnan(now)
    sets = Groups(panel.cards["set_name"].fillna("").astype(str), alive)
    forms = Groups(panel.cards["name"].map(form), alive)
    for span in (3, 7, 14, 30, 60):
        move = np.full(now.shape, np.nan)
        old = rows >= span
        move[old] = now[old] - np.log(panel.price[rows[old] - span])
        momentum = np.nan_to_num(clip(move))
        total = np.where(alive, momentum, 0).sum(axis=1, keepdims=True)
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
    """Return log changes limited to +-``limit``: one wild card must not bend a pooled fit."""
    return np.clip(matrix, -limit, limit)


def change(matrix: np.ndarray, span: int, rows: np.ndarray) -> np.ndarray:
    """Return the change over ``span`` rows at some rows (NaN where there is none so early)."""
    out = np.full((len(rows), matrix.shape[1]), np.nan)
    old = rows >= span
    out[old] = matrix[rows[old]] - matrix[rows[old] - span]
    return out


def ranks(matrix: np.ndarray, alive: np.ndarray) -> np.ndarray:
    """Return each value's rank among its row's living ones, as a share; ties share their mean."""
    out = np.full(matrix.shape, np.nan)
    for row in np.flatnonzero(alive.any(axis=1)):
        values, here = matrix[row], np.flatnonzero(alive[row])
        order = here[np.argsort(values[here])]
        begins = np.r_[True, np.diff(values[order]) != 0]
        first = np.flatnonzero(begins)
        mean = (first + 1 + np.r_[first[1:], len(order)]) / 2
        out[row, order] = mean[np.cumsum(begins) - 1] / len(order)
    return out


class Trailing:
    """Means of the known values among the last rows of a matrix."""

    def __init__(self, matrix: np.ndarray, rows: np.ndarray | None = None):
        """Add up the matrix once for all spans.

        rows: those that will be asked for, where they are few. What came before their spans is
        summed up, not kept; it cannot be left out, because rounded sums remember it.
        """
        self.first = 0 if rows is None else max(int(rows[0]) - LOOK_BACK, 0)
        known = ~np.isnan(matrix)
        values = matrix if known.all() else np.where(known, matrix, 0.0)
        recent = values[self.first :] if rows is None else values[self.first : rows[-1] + 1]
        if self.first:
            recent = recent.copy()
            # In the order of the rows, as cumsum does; a single column would be summed in pairs.
            before = values[: self.first]
            wide = before.shape[1] > 1
            recent[0] += before.sum(axis=0) if wide else np.cumsum(before, axis=0)[-1]
        self.total = np.cumsum(recent, axis=0)
        if values is matrix:
            self.count = np.arange(1, len(recent) + 1)[:, None]
        else:
            self.count = np.cumsum(known[self.first : self.first + len(recent)], axis=0)

    def mean(self, span: int, rows: np.ndarray) -> np.ndarray:
        """Return the means of ``span`` rows that end with each of ``rows`` (NaN: none known)."""
        place = rows - self.first
        total, count = self.total[place], self.count[place]
        old = place >= span
        total[old] -= self.total[place[old] - span]
        count[old] -= self.count[place[old] - span]
        return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def trailing_mean(matrix: np.ndarray, span: int) -> np.ndarray:
    """Return the mean of the known values among the last ``span`` rows, this one included."""
    return Trailing(matrix).mean(span, np.arange(len(matrix)))


def extremes(matrix: np.ndarray, spans: Sequence[int], pick: np.ufunc) -> dict[int, np.ndarray]:
    """Return the extreme known value among the last rows, for each of ascending spans.

    pick: ``np.fmax`` or ``np.fmin``. Two windows that overlap give a longer one, so that a span
    costs as many steps as it has doublings.
    """
    out, size, widest = {}, 1, matrix

    def widened(by: int) -> np.ndarray:
        wide = widest.copy()
        if by < len(wide):
            pick(widest[by:], widest[:-by], out=wide[by:])
        return wide

    for span in spans:
        while size * 2 <= span:
            widest, size = widened(size), size * 2
        out[span] = widened(span - size) if span > size else widest
    return out


class Groups:
    """Cards by group, on some days."""

    def __init__(self, group: pd.Series, alive: np.ndarray):
        """Group cards by ``group``; alive: who counts, shape (days, cards)."""
        self.code, _ = pd.factorize(group)
        self.order = np.argsort(self.code, kind="stable")
        self.starts = np.searchsorted(self.code[self.order], np.arange(self.code.max() + 1))
        self.alive = alive
        self.others = np.maximum(self._total(alive.astype(float)) - alive, 1)

    def _total(self, matrix: np.ndarray) -> np.ndarray:
        sums = np.add.reduceat(matrix[:, self.order], self.starts, axis=1)
        return sums[:, self.code]

    def others_mean(self, matrix: np.ndarray) -> np.ndarray:
        """Return each day's mean over the other cards of the same group, 0 where there is none."""
        present = np.where(self.alive, matrix, 0.0)
        return (self._total(present) - present) / self.others


def less_median(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix less each day's median over the cards, 0 where nothing is known."""
    known = ~np.isnan(matrix)
    out = np.zeros(matrix.shape)
    days = np.flatnonzero(known.any(axis=1))
    out[days] = matrix[days] - np.nanmedian(matrix[days], axis=1, keepdims=True)
    return np.nan_to_num(out)
