"""The user's own collection for analysts: what it did, and what its sets lack."""

from __future__ import annotations

import html
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from pokewatch.analysis.market import Market, marked
from pokewatch.analysis.market import market as read_market
from pokewatch.cards.catalog import Catalog
from pokewatch.errors import UsageError
from pokewatch.formatting import percent
from pokewatch.models.panel import price_sources
from pokewatch.schema import SIGNAL_HORIZON, SIMULATED
from pokewatch.settings import Settings, get_settings
from pokewatch.sources import ecb
from pokewatch.store.tables import Store
from pokewatch.watchlist import completion, entries, graded, lots
from pokewatch.watchlist import portfolio as figures


@dataclass(frozen=True, repr=False, eq=False)
class Portfolio:
    """The watchlist with its buys and sales, on a market, as ``pw.portfolio`` returns it.

    lots: held and sold copies as they stand in the file, columns as in ``watchlist.lots.lots``:
    card, card_id, condition, grade, quantity, lot, bought, cost, paid, sold, price, sale_fees,
    received, gain, note (USD; bought is NaT where it is not known, sold where it is held).

    >>> import pokewatch as pw
    >>> mine = pw.portfolio()
    >>> mine.totals["copies"] == int(mine.lots["quantity"][mine.lots["sold"].isna()].sum())
    True
    """

    market: Market
    lots: pd.DataFrame

    @cached_property
    def transactions(self) -> pd.DataFrame:
        """Buys and sales by day: date, type (opening, buy, sell), card_id, name, quantity, price...

        Also fees, amount (USD that came in), gain (USD, of sales), lot, condition, grade, note.
        """
        return self._named(lots.transactions(self.lots))

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """Value beside what was paid and beside the market, index of dates.

        Columns value, paid, unrealised, realised, received (USD), growth (time-weighted; 100 before
        the first day's buys) and market (the index; 100 on that day). Without rows where nothing
        held has a price.
        """
        rows = figures.timeline(self.lots, self._prices, self.market.index())
        return marked(rows, self.market.simulated)

    @cached_property
    def cards(self) -> pd.DataFrame:
        """Gains a card, the largest contribution first: card_id, name, set_name, printing...

        Also quantity, price, value, paid, unrealised (held copies, USD), sold (copies), received,
        realised, gain, and contribution: gain as a share of all that was ever paid.
        """
        return self._named(figures.gains(self.lots, self._last))

    @cached_property
    def totals(self) -> dict[str, Any]:
        """Sums in USD to the cent: value, paid, unrealised, received, realised, gain, spent...

        Also gain_share (of all that was ever paid), growth (time-weighted return), market_growth
        (of the index over the same days), both fractions; date, copies, and of them unpriced
        (no price is known) and uncosted, which are not in those sums.
        """
        sums = figures.totals(self.lots, self._last)
        curves = self.timeline[["growth", "market"]].iloc[-1:] / 100 - 1
        growth, market = curves.iloc[0] if len(curves) else (float("nan"), float("nan"))
        about = {"growth": float(growth), "market_growth": float(market)}
        return {"date": self.market.dates[-1], **sums, **about}

    @cached_property
    def drawdown(self) -> dict[str, Any]:
        """Worst fall of the time-weighted growth: fall (a fraction), peak, low, recovered (days).

        The days are None where it never fell; recovered is None where it has not.
        """
        return figures.drawdown(self.timeline["growth"])

    def proceeds(self) -> pd.DataFrame:
        """Return what the held copies would bring net of each marketplace's fees, the best first.

        Columns marketplace, copies (worth selling), kept (not worth it), value, fees, shipping, net
        (USD). Fees: the setting ``marketplaces``; every copy is an order of its own.

        >>> import pokewatch as pw
        >>> "private sale" in set(pw.portfolio().proceeds()["marketplace"])
        True
        """
        places = self.market.settings.marketplaces
        return marked(figures.proceeds(self.lots, self._last, places), self.market.simulated)

    def insurance(self) -> pd.DataFrame:
        """Return the held copies as an insurer wants them, the dearest first.

        Columns card_id, name, set_name, number, printing, condition, grade, quantity, bought, paid,
        price, value (USD; NaN where it is not known), note.

        >>> import pokewatch as pw
        >>> bool(pw.portfolio().insurance()["quantity"].ge(1).all())
        True
        """
        rows = figures.insurance(self.lots, self._known, self._last)
        return marked(rows, self.market.simulated)

    @cached_property
    def _known(self) -> pd.DataFrame:
        return Store.from_settings(self.market.settings).cards()

    @cached_property
    def _prices(self) -> pd.DataFrame:
        wanted = pd.Index(self.lots["card_id"].dropna().unique())
        return self.market.prices[self.market.prices.columns.intersection(wanted)]

    @cached_property
    def _last(self) -> pd.Series:
        medians = graded.medians(self.market.settings, self.market.dates[-1])["price"]
        here = [name for name in medians.index if name.rpartition(" ")[0] in self._prices]
        return pd.concat([self._prices.iloc[-1], medians[here]]) if here else self._prices.iloc[-1]

    def _named(self, rows: pd.DataFrame) -> pd.DataFrame:
        about = self._known.set_index("card_id")[["name", "set_name", "printing"]]
        at = list(rows).index("card_id") + 1
        names = about.reindex(rows["card_id"]).set_axis(rows.index)
        parts = [rows.iloc[:, :at], names, rows.iloc[:, at:]]
        return marked(pd.concat(parts, axis=1), self.market.simulated)

    def __repr__(self) -> str:
        what = "simulated" if self.market.simulated else "real"
        sums = self.totals
        value = ecb.display(self.market.settings)(sums["value"])
        return f"Portfolio({sums['copies']:,} copies, {value}, {what} prices)"

    def _repr_html_(self) -> str:
        """Return a line on what is held, what it is worth, and what it brought."""
        sums = self.totals
        kind = "<em>simulated</em>" if self.market.simulated else "real"
        money = ecb.display(self.market.settings)
        text = (
            f"{sums['copies']:,} copies, worth {money(sums['value'])} ({kind} prices of "
            f"{sums['date']:%Y-%m-%d}); gains {money(sums['gain'], sign=True)}, of which realised "
            f"{money(sums['realised'], sign=True)}; time-weighted "
            f"{percent(sums['growth'], sign=True)}"
        )
        name = html.escape(self.market.settings.watchlist.name)
        return f'<p class="mathjax_ignore"><strong>{name}</strong>: {text}</p>'


def portfolio(market: Market | None = None) -> Portfolio:
    """Return the watchlist with its buys and sales, valued on a market.

    market: default ``pw.market()``; one that ends before the stored prices do shows the collection
    as it was on its last day: later buys are left out, and what was sold later is held. Raises
    UsageError for a watchlist that is not there or has a mistake.

    >>> import pokewatch as pw
    >>> pw.portfolio().timeline.columns[:2].tolist()
    ['value', 'paid']
    """
    settings = get_settings() if market is None else market.settings
    path = settings.watchlist
    listed = entries.parse(entries.read(path), path.name)
    store = Store.from_settings(settings)
    market, rows = market or read_market(), lots.lots(listed, Catalog(store.cards()))
    last, day = store.last_day(), market.dates[-1]
    if last and day < pd.Timestamp(last):
        rows = figures.as_of(rows, day)
    return Portfolio(market, rows)


def set_completion(name: str, horizon: int = SIGNAL_HORIZON) -> pd.DataFrame:
    """Return what the collection has and lacks of a set, by printing, the cheapest lacking first.

    name: the set's name or code; horizon: days ahead of the newest stored predictions. Columns
    card_id, name, number, printing, have (copies), price (USD), expected (the change that the model
    expects, a fraction), advice ("buy now", "wait", "", or None without a forecast), signal.
    ``attrs``: set_name, predicted_on (None where nothing is predicted), and the sums printings,
    have, lack, cost (USD), unpriced, wait, buy_now; unclear: entries of the watchlist that name no
    one card, and so are not counted. Raises UsageError for an unknown set (with
    similar ones), one that may be several, and a horizon that was not predicted.

    >>> import pokewatch as pw
    >>> name = pw.market().cards["set_name"].iloc[0]
    >>> pw.set_completion(name).attrs["set_name"] == name
    True
    """
    return complete_set(get_settings(), name, horizon)


def complete_set(settings: Settings, name: str, horizon: int) -> pd.DataFrame:
    """Return ``set_completion`` with these settings."""
    store = Store.from_settings(settings)
    known = store.cards()
    found = completion.find_set(known, name)
    cards = known[known["set_name"] == found]
    path = settings.watchlist
    listed = entries.load(path) if path.exists() else []
    mine = lots.lots(listed, Catalog(known))
    prices = store.prices(["card_id", "date", "market_price"], card_ids=cards["card_id"])
    last = prices.sort_values("date").groupby("card_id")["market_price"].last()
    stored = _newest_predictions(store, prices["date"].max(), cards["card_id"])
    calls = stored[stored["horizon"] == horizon]
    if len(stored) and calls.empty:
        days = ", ".join(map(str, sorted(stored["horizon"].unique())))
        raise UsageError(f"nothing was predicted {horizon} days ahead: choose among {days}")
    have = mine.groupby("card_id")["quantity"].sum()
    table = completion.completion(cards, have, last, calls)
    predicted_on = calls["date"].max() if len(calls) else None
    unclear = int(mine["card_id"].isna().sum())
    about = {"set_name": found, "predicted_on": predicted_on, "unclear": unclear}
    table.attrs |= about | completion.summary(table)
    return marked(table, SIMULATED in price_sources(settings))


def _newest_predictions(store: Store, day: Any, card_ids: pd.Series) -> pd.DataFrame:
    """Return the predictions of the newest day that has some, up to a week before ``day``."""
    since = None if pd.isna(day) else (day - pd.Timedelta(days=7)).date()
    columns = ["card_id", "date", "horizon", "market_price", "fair_value", "signal", "model"]
    stored = store.predictions(since=since, card_ids=card_ids, columns=columns)
    return stored[stored["date"] == stored["date"].max()]
