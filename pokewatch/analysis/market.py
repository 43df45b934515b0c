"""The market as an analyst holds it in hand: prices, cards, moves, sets, quarantine."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from pokewatch.cards.catalog import Catalog, similar
from pokewatch.errors import UsageError
from pokewatch.models.panel import Panel
from pokewatch.report import facts
from pokewatch.schema import SIMULATED
from pokewatch.settings import Settings
from pokewatch.store.tables import Store

if TYPE_CHECKING:
    from pokewatch.analysis.card import Card

Day = date | str | None
MATRICES = ("price", "age", "low", "mid", "volume")
KINDS = ("single", "sealed")
GROUPS = ("set_name", "rarity", "product_kind", "printing")


def as_day(value: Day, name: str) -> date | None:
    """Return a day that a person wrote; UsageError names the argument and the mend."""
    if value is None:
        return None
    try:
        day = pd.Timestamp(value)
    except (ValueError, TypeError):
        day = pd.NaT
    if day is pd.NaT:
        raise UsageError(f"{name}={value!r} is no date: write YYYY-MM-DD")
    return day.date()


def marked(frame: pd.DataFrame, simulated: bool) -> pd.DataFrame:
    """Return a frame that says in ``attrs`` whether its prices are simulated."""
    frame.attrs["simulated"] = simulated
    return frame


def columns(panel: Panel, keep: np.ndarray) -> Panel:
    """Return the panel of some cards; keep: a mask or the numbers of its columns."""
    parts = {name: getattr(panel, name)[:, keep] for name in MATRICES}
    return replace(panel, card_ids=panel.card_ids[keep], cards=panel.cards.iloc[keep], **parts)


@dataclass(frozen=True, repr=False, eq=False)
class Market:
    """Accepted prices of some cards over some days, as ``pw.market`` returns it.

    settings: where it was read; panel: its cards from the first stored day on; known: columns
    ``CARD_COLUMNS``, one row a card; first: row of the panel with which the market begins;
    sources: names of the stored sources.

    >>> import pokewatch as pw
    >>> market = pw.market()
    >>> market.prices.shape == (len(market.dates), len(market.cards))
    True
    """

    settings: Settings
    panel: Panel
    known: pd.DataFrame
    first: int
    data_version: int
    sources: tuple[str, ...]

    @property
    def dates(self) -> pd.DatetimeIndex:
        """Every calendar day of the market."""
        return self.panel.dates[self.first :].rename("date")

    @property
    def simulated(self) -> bool:
        """Whether any of the stored prices is simulated."""
        return SIMULATED in self.sources

    @property
    def prices(self) -> pd.DataFrame:
        """Market prices in USD, dates x card_ids, gaps filled with the last known price."""
        return self._frame(self.panel.price)

    @cached_property
    def cards(self) -> pd.DataFrame:
        """What is known of each card, indexed by card_id, with last_price (USD) and last_date."""
        age = pd.to_timedelta(self.panel.age[-1], unit="D")
        frame = self.known.set_index("card_id")
        frame = frame.assign(last_price=self.panel.price[-1], last_date=self.panel.dates[-1] - age)
        return marked(frame, self.simulated)

    def card(self, text: str | None = None) -> Card:
        """Return one card by id or alias; without one, the card that moved most in 30 days.

        Raises UsageError for an unknown card (with the ones that look like it), and for one that
        is not in this market.

        >>> import pokewatch as pw
        >>> market = pw.market()
        >>> market.card(market.cards.index[0]).card_id == market.cards.index[0]
        True
        """
        from pokewatch.analysis.card import Card

        if text is None:
            moved = self.movers(days=min(30, len(self.panel.dates) - 1), top=1)
            widest = moved["change"].abs().sort_values().index
            return Card(self, str(moved.loc[widest[-1], "card_id"] if len(moved) else self._ids[0]))
        return Card(self, Catalog(self.known).resolve(text))

    def search(self, text: str) -> pd.DataFrame:
        """Return the rows of ``cards`` whose id, alias, name or set has every word of ``text``.

        >>> import pokewatch as pw
        >>> len(pw.market().search("no such card"))
        0
        """
        found = Catalog(self.known).search(text)["card_id"]
        return marked(self.cards.loc[found], self.simulated)

    def between(self, since: Day = None, until: Day = None) -> Market:
        """Return the market of some days, both inclusive; later prices are not in it at all.

        Raises UsageError for a text that is no date and where no price is left.

        >>> import pokewatch as pw
        >>> market = pw.market()
        >>> len(market.between(since=market.dates[-7]).dates)
        7
        """
        start, end = as_day(since, "since"), as_day(until, "until")
        first, last = self.dates[0].date(), self.dates[-1].date()
        start, end = max(start or first, first), min(end or last, last)
        if start > end:
            asked = " to ".join(str(day) for day in (since, until) if day is not None)
            raise UsageError(f"no prices for {asked}: the market covers {first} to {last}")
        panel = self.panel.until(self.panel.day(end))
        part = replace(self, panel=panel, first=self.panel.day(start))
        return part._only(~np.isnan(panel.price[-1]))

    def only(
        self,
        sets: str | Sequence[str] | None = None,
        kind: str | None = None,
        cards: str | Sequence[str] | None = None,
    ) -> Market:
        """Return the market of some sets, one kind or some cards.

        sets: names; kind: single or sealed; cards: ids or aliases. Raises UsageError for names
        that are not known, and where no card is left.

        >>> import pokewatch as pw
        >>> market = pw.market()
        >>> len(market.only(cards=market.cards.index[:3]).cards)
        3
        """
        keep = np.ones(len(self._ids), dtype=bool)
        if sets is not None:
            keep &= self.known["set_name"].isin(self._set_names(sets)).to_numpy()
        if kind is not None:
            if kind not in KINDS:
                raise UsageError(f"kind={kind!r} is unknown: choose among {', '.join(KINDS)}")
            keep &= (self.known["product_kind"] == kind).to_numpy()
        if cards is not None:
            catalog = Catalog(self.known)
            texts = [cards] if isinstance(cards, str) else cards
            wanted = [catalog.resolve(text) for text in texts]
            keep &= np.isin(self._ids, wanted)
        if not keep.any():
            raise UsageError(f"no card is left with sets={sets!r}, kind={kind!r}, cards={cards!r}")
        return self._only(keep)

    def index(self) -> pd.Series:
        """Return the equal-weighted index of the market, 100 on its first day.

        A day counts as in ``report_facts.market_index``: mean of capped log changes of cards of
        $1 and more with fresh prices.

        >>> import pokewatch as pw
        >>> float(pw.market().index().iloc[0])
        100.0
        """
        level, parts = 100.0, []
        for start in range(self.first, len(self.panel.dates), facts.INDEX_DAYS - 1):
            rows = slice(start, start + facts.INDEX_DAYS)
            cut = {name: getattr(self.panel, name)[rows] for name in ("dates", *MATRICES)}
            part = facts.market_index(replace(self.panel, **cut), self.settings.stale_days)
            parts.append(part * level / 100)
            level = float(parts[-1].iloc[-1])
        joined = pd.concat(parts)
        out = joined[~joined.index.duplicated()].rename("index").rename_axis("date")
        out.attrs["simulated"] = self.simulated
        return out

    def returns(self, days: int = 7) -> pd.DataFrame:
        """Return changes (fractions) over the last ``days`` days, dates x card_ids.

        NaN where either end is unknown or older than 3 days. Raises UsageError where the history
        is not longer than that.

        >>> import pokewatch as pw
        >>> pw.market().returns(days=1).columns.name
        'card_id'
        """
        if not 1 <= days < len(self.panel.dates):
            raise UsageError(f"days={days} must lie between 1 and {len(self.panel.dates) - 1}")
        out = np.full(self.panel.price.shape, np.nan)
        out[days:] = np.expm1(self.panel.target(days)[:-days])
        return self._frame(out)

    def movers(self, days: int = 7, top: int | None = 10) -> pd.DataFrame:
        """Return the ``top`` rises and falls over ``days`` days, the largest rise first.

        Columns card_id, name, set_name, before, price (USD), change; cards of $1 and more with
        fresh prices at both ends. top=None: all of them.

        >>> import pokewatch as pw
        >>> bool(pw.market().movers(days=7, top=3)["change"].is_monotonic_decreasing)
        True
        """
        # A night's movers need its panel and settings only, and those a market has.
        table = facts.movers(cast("facts.Night", self), days)
        if top is not None:
            up, down = table[table["change"] > 0].head(top), table[table["change"] < 0].tail(top)
            table = pd.concat([up, down])
        named = table.merge(self.known[["card_id", "name", "set_name"]], on="card_id", how="left")
        order = ["card_id", "name", "set_name", "before", "price", "change"]
        return marked(named[order], self.simulated)

    def by(self, column: str = "set_name", days: int = 30) -> pd.DataFrame:
        """Return what groups of cards are worth and how they moved over ``days`` days.

        column: set_name, rarity, product_kind or printing. Columns: that column, cards, value (USD,
        one of each card), change (of that value, on cards known at both ends), rising, falling
        (shares of cards); the largest change first. A shorter history is taken as a whole.

        >>> import pokewatch as pw
        >>> int(pw.market().by("rarity", days=7)["cards"].sum()) > 0
        True
        """
        if column not in GROUPS:
            raise UsageError(f"column={column!r} is unknown: choose among {', '.join(GROUPS)}")
        days = min(days, len(self.panel.dates) - 1)
        change = self.returns(days).iloc[-1]
        price = self.cards["last_price"]
        rows = pd.DataFrame(
            {
                column: self.cards[column].fillna("unknown"),
                "price": price,
                "now": price.where(change.notna()),
                "before": price / (1 + change),
                "rising": (change > 0).where(change.notna()).astype(float),
                "falling": (change < 0).where(change.notna()).astype(float),
            }
        )
        groups = rows.groupby(column)
        table = groups.agg(cards=("price", "size"), value=("price", "sum"))
        table["change"] = groups["now"].sum() / groups["before"].sum() - 1
        table[["rising", "falling"]] = groups[["rising", "falling"]].mean()
        table = table.sort_values("change", ascending=False, kind="stable").reset_index()
        table.attrs["days"] = days
        return marked(table, self.simulated)

    def by_set(self, days: int = 30) -> pd.DataFrame:
        """Return ``by("set_name", days)``: each set's value and change.

        >>> import pokewatch as pw
        >>> list(pw.market().by_set(days=7).columns[:3])
        ['set_name', 'cards', 'value']
        """
        return self.by("set_name", days)

    def observed(self) -> pd.Series:
        """Return the share of known cards with a price of that very day, index of dates.

        >>> import pokewatch as pw
        >>> bool(pw.market().observed().between(0, 1).all())
        True
        """
        age = self.panel.age[self.first :]
        share = (age == 0).sum(axis=1) / np.maximum((~np.isnan(age)).sum(axis=1), 1)
        out = pd.Series(share, self.dates, name="observed")
        out.attrs["simulated"] = self.simulated
        return out

    @cached_property
    def quarantine(self) -> pd.DataFrame:
        """Rows refused or held back, the newest decision first; in a part, those of its cards."""
        rows = Store.from_settings(self.settings).quarantine(["held", "refused"])
        complete = len(self._ids) == len(Store.from_settings(self.settings).cards())
        rows = rows if complete else rows[rows["card_id"].isin(self._ids)]
        inside = rows["date"].isna() | (rows["date"] >= self.dates[0])
        return rows[inside].reset_index(drop=True)

    def quarantine_reasons(self) -> pd.DataFrame:
        """Return refused and held rows by reason: reason, rows, held, last_date, meaning.

        >>> import pokewatch as pw
        >>> "meaning" in pw.market().quarantine_reasons()
        True
        """
        return facts.quarantined(cast("facts.Night", self))

    @property
    def _ids(self) -> np.ndarray:
        return self.panel.card_ids

    def _frame(self, matrix: np.ndarray) -> pd.DataFrame:
        ids = pd.Index(self._ids, name="card_id")
        return marked(pd.DataFrame(matrix[self.first :], self.dates, ids), self.simulated)

    def _only(self, keep: np.ndarray) -> Market:
        part = columns(self.panel, keep)
        return replace(self, panel=part, known=self.known[keep].reset_index(drop=True))

    def _set_names(self, sets: str | Sequence[str]) -> list[str]:
        known = {str(name).casefold(): name for name in self.known["set_name"].dropna().unique()}
        out = []
        for text in [sets] if isinstance(sets, str) else sets:
            wanted = str(text).casefold().strip()
            if wanted not in known:
                like = [known[name] for name in known if wanted in name][:5]
                like = sorted(like or [known[name] for name in similar(wanted, known, 5)])
                listed = ", ".join(like) or "none that looks like it"
                raise UsageError(f"unknown set '{text}': there are {listed}; list all by_set()")
            out.append(known[wanted])
        return out

    def __repr__(self) -> str:
        what = "simulated" if self.simulated else "real"
        span = f"{self.dates[0]:%Y-%m-%d} to {self.dates[-1]:%Y-%m-%d}"
        return f"Market({len(self._ids):,} cards, {span}, {what} prices)"

    def _repr_html_(self) -> str:
        """Return a line on what the market holds, and the largest moves of its last week."""
        kind = "<em>simulated</em>" if self.simulated else "real"
        sets = self.known["set_name"].nunique()
        head = (
            f"<p><strong>{len(self._ids):,} cards</strong> of {sets:,} sets, {kind} prices from "
            f"{self.dates[0]:%Y-%m-%d} to {self.dates[-1]:%Y-%m-%d} "
            f"(source {html.escape(', '.join(self.sources))}, data version {self.data_version})</p>"
        )
        moved = self.movers(days=7, top=3) if len(self.panel.dates) > 7 else pd.DataFrame()
        if moved.empty:
            return head
        shown = moved.rename(columns={"change": "in a week", "set_name": "set"})
        money = "${:,.2f}".format
        formats = {"in a week": "{:+.1%}".format, "before": money, "price": money}
        table = shown.to_html(index=False, border=0, formatters=formats, na_rep="")
        return f'{head}<div class="mathjax_ignore">{table}</div>'
