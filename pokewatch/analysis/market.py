"""The stored market for analysts: prices, cards, their moves, groups of cards, quarantine."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from pokewatch.cards.catalog import Catalog, similar
from pokewatch.errors import UsageError
from pokewatch.evaluation import stored
from pokewatch.evaluation.predictions import predict
from pokewatch.models.panel import Panel, open_panel, price_sources
from pokewatch.quality import rules
from pokewatch.schema import SIMULATED
from pokewatch.settings import Settings, get_settings
from pokewatch.sources import ecb
from pokewatch.store.tables import Store

Day = date | str | None
Frame = TypeVar("Frame", pd.DataFrame, pd.Series)
KINDS = ("single", "sealed")
GROUPS = ("set_name", "rarity", "product_kind", "printing")
MIN_PRICE = 1.0  # USD; below it a cent more is a big move
INDEX_CAP = np.log(1.2)  # one day's move of one card counts no more than this


def as_day(value: Day, name: str) -> date | None:
    """Return the date of an argument ``name``; UsageError for what is no date."""
    if value is None:
        return None
    try:
        day = pd.Timestamp(value)
    except (ValueError, TypeError):
        day = pd.NaT
    if day is pd.NaT:
        raise UsageError(f"{name}={value!r} is no date: write YYYY-MM-DD")
    return day.date()


def as_days(horizons: int | Sequence[int] | None) -> list[int] | None:
    """Return the horizons of an argument, NumPy's numbers included; None where none are named."""
    return None if horizons is None else np.atleast_1d(horizons).tolist()


def marked(frame: Frame, simulated: bool) -> Frame:
    """Return a frame that says in ``attrs`` whether its prices are simulated."""
    frame.attrs["simulated"] = simulated
    return frame


def market_index(panel: Panel, stale_days: int, first: int) -> pd.Series:
    """Return an equal-weighted index, 100 on day ``first`` (a row of the panel), index of dates.

    A day's change is the mean log change of the cards at ``MIN_PRICE`` and more the day before
    with fresh prices, each capped at ``INDEX_CAP``; new cards enter without moving it.
    """
    change = np.zeros(len(panel.dates) - first)
    for place, day in enumerate(range(first + 1, len(panel.dates)), start=1):
        counts = (panel.price[day - 1] >= MIN_PRICE) & (panel.age[day] <= stale_days)
        if counts.any():
            moves = np.log(panel.price[day, counts] / panel.price[day - 1, counts])
            change[place] = np.clip(moves, -INDEX_CAP, INDEX_CAP).mean()
    return pd.Series(100 * np.exp(change.cumsum()), panel.dates[first:])


def changes(panel: Panel, span: int, stale_days: int) -> pd.DataFrame:
    """Return how each card moved over the last ``span`` days, a row a card.

    Columns card_id, before, price (USD) and change (a fraction): NaN for cards below ``MIN_PRICE``
    or with a stale price at either end, and where the history is shorter.
    """
    then = len(panel.dates) - 1 - span
    price = panel.price[-1]
    before = panel.price[then] if then >= 0 else np.full(price.shape, np.nan)
    fresh = np.maximum(panel.age[max(then, 0)], panel.age[-1]) <= stale_days
    counts = fresh & (np.minimum(before, price) >= MIN_PRICE)
    change = np.where(counts, price / before - 1, np.nan)
    return pd.DataFrame(
        {"card_id": panel.card_ids, "before": before, "price": price, "change": change}
    )


def movers(panel: Panel, span: int, stale_days: int) -> pd.DataFrame:
    """Return the cards that moved over ``span`` days, the largest rise first.

    Rows and columns of ``changes`` whose change is known and not 0.
    """
    table = changes(panel, span, stale_days)
    moved = table[table["change"].fillna(0) != 0]
    return moved.sort_values("change", ascending=False, kind="stable")


def reasons_table(quarantine: pd.DataFrame) -> pd.DataFrame:
    """Return quarantined rows by reason: columns reason, meaning, rows, held, last_date."""
    rows = quarantine.assign(held=quarantine["status"] == "held")
    table = (
        rows.groupby("reason")
        .agg(rows=("reason", "size"), held=("held", "sum"), last_date=("date", "max"))
        .sort_values("rows", ascending=False)
        .reset_index()
    )
    table["meaning"] = [rules.REASONS.get(reason, reason) for reason in table["reason"]]
    return table


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
        if text is None:
            days = min(30, len(self.panel.dates) - 1)
            moved = changes(self.panel, days, self.settings.stale_days)["change"].abs()
            return Card(self, str(self._ids[moved.fillna(0).argmax()]))
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

        A day's change is the mean of capped log changes of cards of $1 and more with fresh prices.

        >>> import pokewatch as pw
        >>> float(pw.market().index().iloc[0])
        100.0
        """
        index = market_index(self.panel, self.settings.stale_days, self.first)
        return marked(index.rename("index").rename_axis("date"), self.simulated)

    def returns(self, days: int = 7) -> pd.DataFrame:
        """Return changes (fractions) over the last ``days`` days, dates x card_ids.

        NaN where either end is unknown or older than 3 days, all of it where the history is not
        longer than that. Raises UsageError for less than a day.

        >>> import pokewatch as pw
        >>> pw.market().returns(days=1).columns.name
        'card_id'
        """
        if days < 1:
            raise UsageError(f"days={days} must be 1 or more")
        out = np.full(self.panel.price.shape, np.nan)
        known = ~np.isnan(self.panel.target(days)[:-days])
        price = self.panel.price
        out[days:][known] = price[days:][known] / price[:-days][known] - 1
        return self._frame(out)

    def movers(self, days: int = 7, top: int | None = 10) -> pd.DataFrame:
        """Return the ``top`` rises and falls over ``days`` days, the largest rise first.

        Columns card_id, name, set_name, before, price (USD), change; cards of $1 and more with
        fresh prices at both ends. top=None: all of them.

        >>> import pokewatch as pw
        >>> bool(pw.market().movers(days=7, top=3)["change"].is_monotonic_decreasing)
        True
        """
        table = movers(self.panel, days, self.settings.stale_days)
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
        (shares of cards); the largest change first. A shorter history counts from its first day.

        >>> import pokewatch as pw
        >>> int(pw.market().by("rarity", days=7)["cards"].sum()) > 0
        True
        """
        if column not in GROUPS:
            raise UsageError(f"column={column!r} is unknown: choose among {', '.join(GROUPS)}")
        days = max(min(days, len(self.panel.dates) - 1), 1)
        price, change = self.cards["last_price"], self.returns(days).iloc[-1]
        known = change.notna()
        rows = pd.DataFrame(
            {
                "cards": price,
                "value": price,
                "now": price.where(known),
                "before": price / (1 + change),
                "rising": (change > 0).where(known).astype(float),
                "falling": (change < 0).where(known).astype(float),
            }
        )
        how = dict.fromkeys(rows, "sum") | {"cards": "size", "rising": "mean", "falling": "mean"}
        table = rows.groupby(self.cards[column].fillna("unknown")).agg(how)
        table.insert(2, "change", table.pop("now") / table.pop("before") - 1)
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
        return marked(pd.Series(share, self.dates, name="observed"), self.simulated)

    @cached_property
    def quarantine(self) -> pd.DataFrame:
        """Rows refused or held back, the newest decision first; in a part, those of its cards."""
        store = Store.from_settings(self.settings)
        rows = store.quarantine(["held", "refused"])
        keep = rows["date"].isna() | (rows["date"] >= self.dates[0])
        if len(self._ids) < len(store.cards()):
            keep &= rows["card_id"].isin(self._ids)
        return rows[keep].reset_index(drop=True)

    def quarantine_reasons(self) -> pd.DataFrame:
        """Return refused and held rows by reason: reason, rows, held, last_date, meaning.

        >>> import pokewatch as pw
        >>> "meaning" in pw.market().quarantine_reasons()
        True
        """
        return reasons_table(self.quarantine)

    @property
    def _ids(self) -> np.ndarray:
        return self.panel.card_ids

    def _frame(self, matrix: np.ndarray) -> pd.DataFrame:
        ids = pd.Index(self._ids, name="card_id")
        return marked(pd.DataFrame(matrix[self.first :], self.dates, ids), self.simulated)

    def _only(self, keep: np.ndarray) -> Market:
        known = self.known[keep].reset_index(drop=True)
        return replace(self, panel=self.panel.cards_only(keep), known=known)

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
        money = ecb.display(self.settings)
        formats = {"in a week": "{:+.1%}".format, "before": money, "price": money}
        table = shown.to_html(index=False, border=0, formatters=formats, na_rep="")
        return f'{head}<div class="mathjax_ignore">{table}</div>'


@dataclass(frozen=True, repr=False, eq=False)
class Card:
    """A card of a market, as ``market.card`` returns it.

    >>> import pokewatch as pw
    >>> card = pw.market().card()
    >>> card.prices.name == card.card_id
    True
    """

    market: Market
    card_id: str

    @property
    def prices(self) -> pd.Series:
        """Market prices in USD from its first one on, index of dates, gaps filled causally."""
        return marked(self.market.prices[self.card_id].dropna(), self.market.simulated)

    @property
    def observations(self) -> pd.DataFrame:
        """The stored observations themselves: market, low, mid, high price (USD), volume."""
        days = self.market.dates
        rows = Store.from_settings(self.market.settings).prices(
            None, [self.card_id], days[0].date(), days[-1].date(), self.market.data_version
        )
        return marked(rows, self.market.simulated)

    @property
    def info(self) -> dict[str, Any]:
        """What is known of it: name, set_name, number, rarity, printing, aliases, last_price."""
        row = self.market.cards.loc[self.card_id]
        values = {
            str(name): value.item() if isinstance(value, np.generic) else value
            for name, value in row.items()
        }
        values["aliases"] = list(values["aliases"])
        blank = {name: None for name, value in values.items() if value is pd.NA or value != value}
        return {"card_id": self.card_id} | values | blank

    @property
    def title(self) -> str:
        """Its name, or its id where it has none."""
        return str(self.info["name"] or self.card_id)

    def change(self, days: int = 7) -> float:
        """Return its change (a fraction) over the market's last ``days`` days, NaN if unknown.

        >>> import pokewatch as pw
        >>> pw.market().card().change(days=7) > -1
        True
        """
        return float(self.market.returns(days)[self.card_id].iloc[-1])

    def fair_value(
        self, horizons: int | Sequence[int] | None = None, model: str = "champion"
    ) -> pd.DataFrame:
        """Return fair value and 80 % interval (USD) at the market's last day, a row a horizon.

        Columns ``PREDICTION_COLUMNS``; UsageError for a horizon that was not trained.

        >>> import pokewatch as pw
        >>> pw.market().card().fair_value(horizons=7)["horizon"].tolist()
        [7]
        """
        if horizons is None and model == "champion":
            return self._forecast.copy()
        return self._predicted(horizons, model)

    @cached_property
    def _forecast(self) -> pd.DataFrame:
        return self._predicted(None, "champion")

    def _predicted(self, horizons: int | Sequence[int] | None, model: str) -> pd.DataFrame:
        where, on, days = self.market, self.market.dates[-1].date(), as_days(horizons)
        rows = predict(
            where.settings, [self.card_id], on, days, model, data_version=where.data_version
        )
        return marked(rows, where.simulated)

    def __repr__(self) -> str:
        return f"Card({self.card_id!r}, {self.title!r}, last price {self.info['last_price']:,.2f})"

    def _repr_html_(self) -> str:
        """Return its name, set, last price and moves, with the curve of its last 90 days."""
        from pokewatch.charts.market import sparkline  # matplotlib takes a while
        from pokewatch.charts.style import svg

        info = self.info
        about = [info[name] for name in ("set_name", "number", "rarity", "printing") if info[name]]
        moved = ", ".join(
            f"{change:+.1%} in {days} days"
            for days in (7, 30)
            if (change := self.change(days)) == change
        )
        money = ecb.display(self.market.settings)
        said = f"{money(info['last_price'], short=True)} on {info['last_date']:%Y-%m-%d}"
        said += f" ({moved})" if moved else ""
        said += " · <em>simulated</em>" if self.market.simulated else ""
        line = svg(sparkline, self.prices.tail(90), "prices of the last 90 days")
        return (
            f'<div class="mathjax_ignore"><strong>'  # a dollar sign is money
            f"{html.escape(self.title)}</strong> · "
            f"{html.escape(' · '.join(str(part) for part in about))} · "
            f"<code>{html.escape(self.card_id)}</code><br>{said}"
            f'<div style="width: 9em">{line}</div></div>'
        )


def market(
    since: Day = None,
    until: Day = None,
    sets: str | Sequence[str] | None = None,
    kind: str | None = None,
    data_version: int | None = None,
) -> Market:
    """Return the stored market: all of it, or some days, sets (names) or one kind.

    since and until are inclusive; kind: single or sealed; data_version: an older state of the
    store. Raises UsageError for a date, set, kind or version that is not there.

    >>> import pokewatch as pw
    >>> pw.market(until="2999-12-31").prices.shape[1] > 0
    True
    """
    settings = get_settings()
    panel, version = open_panel(settings, data_version=data_version)
    store = Store.from_settings(settings)
    known = store.cards().set_index("card_id").reindex(panel.card_ids).rename_axis("card_id")
    known["aliases"] = [
        [] if names is None or names is np.nan else names for names in known["aliases"]
    ]
    sources = tuple(price_sources(settings, version))
    found = Market(settings, panel, known.reset_index(), 0, version, sources)
    if since is not None or until is not None:
        found = found.between(since, until)
    return found if sets is None and kind is None else found.only(sets, kind)


def list_cards(settings: Settings, text: str | None = None) -> pd.DataFrame:
    """Return cards that match ``text`` with their last accepted price and its date."""
    store = Store.from_settings(settings)
    known = store.cards()
    found = Catalog(known).search(text) if text else known
    prices, priced = store.snapshot("prices"), partial(stored.priced, settings)
    last = store.recent_prices(prices, found["card_id"], priced=priced).groupby("card_id").tail(1)
    last = last.rename(columns={"market_price": "last_price", "date": "last_date"})
    columns = ["card_id", "aliases", "name", "set_name", "printing", "last_price", "last_date"]
    return found.merge(last, on="card_id", how="left")[columns]
