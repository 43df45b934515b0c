"""The collection's page: value over time, what each card brought, what a sale would, insurance."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from html import escape
from typing import Any

import pandas as pd
import panel as pn

from pokewatch.analysis.collection import Portfolio, complete_set
from pokewatch.analysis.collection import portfolio as collection
from pokewatch.browse import figures
from pokewatch.browse.current import Current, current
from pokewatch.browse.layout import STYLE, App, Page, Table, facts, html, text
from pokewatch.charts.market import value
from pokewatch.charts.style import svg
from pokewatch.errors import UsageError
from pokewatch.formatting import Money, percent
from pokewatch.schema import SIGNAL_HORIZON
from pokewatch.watchlist import graded

VIEWS = {"Value": "value", "Insurance list": "insurance", "Set completion": "sets"}
CURVES = {"growth": "this collection, time-weighted", "market": "the market's index"}


def totals(mine: Portfolio, money: Money) -> str:
    """Return a collection's sums as HTML."""
    sums, fall = mine.totals, mine.drawdown
    days = f", {fall['peak']:%b %Y} to {fall['low']:%b %Y}" if fall["peak"] is not None else ""
    pairs = {
        f"value on {sums['date']:%Y-%m-%d}": money(sums["value"]),
        "paid for it": money(sums["paid"]),
        "unrealised gain": money(sums["unrealised"], sign=True),
        "realised gain": money(sums["realised"], sign=True),
        "gain of all that was paid": percent(sums["gain_share"], sign=True),
        "time-weighted return": percent(sums["growth"], sign=True),
        "the market's index": percent(sums["market_growth"], sign=True),
        f"worst fall{days}": percent(fall["fall"]),
    }
    out = f"{sums['copies']:,} copies; {sums['unpriced']:,} of them without a known price and "
    out += f"{sums['uncosted']:,} without a cost, which these sums leave out"
    return f"{facts(pairs.items())}<p class='soft'>{escape(out)}.</p>"


def tables(mine: Portfolio) -> dict[str, pd.DataFrame]:
    """Return a collection's tables by their headings."""
    # A gain is a share of the price elsewhere, and USD here.
    return {
        "What each card brought": mine.cards.rename(columns={"gain": "total_gain"}),
        "What a sale would bring, net of fees and shipping": mine.proceeds(),
        "Buys and sales": mine.transactions.rename(columns={"gain": "realised"}),
    }


def listed(mine: Portfolio, money: Money) -> str:
    """Return the insurance list as HTML to print, with its day and sum."""
    sums, rows = mine.totals, mine.insurance()
    currency = "US dollars" if money.currency == "USD" else money.currency
    about = f"{sums['copies']:,} copies, market prices of {sums['date']:%Y-%m-%d} in {currency}"
    head = f"<h2 class='title'>Insurance list</h2><p class='soft'>{escape(about)}"
    head += f"{', simulated' * mine.market.simulated}"
    slabs = bool(((rows["grade"] != "") & rows["price"].notna()).any())
    head += f"{', of graded copies medians of sales on eBay' * slabs}.</p>"
    return f"{head}{html(rows, money)}<p><strong>Total {money(sums['value'])}</strong></p>"


class Collection(Page):
    """The page of the collection; in a notebook all of it as it stands."""

    def __init__(self, now: Current, top: int):
        super().__init__(now)
        self.top = top

    def parts(self) -> Iterable[tuple[str, str]]:
        """Return sums, value over time, tables and the insurance list."""
        mine, money = collection(self.now.market), self.now.money
        yield "Sums", totals(mine, money)
        chart = svg(value, mine.timeline, "value over time", (8, 3.2), money=money)
        yield "Value, and what was paid", chart
        for title, frame in tables(mine).items():
            yield title, html(frame, money, self.top)
        yield "", listed(mine, money)

    def app(self) -> CollectionApp:
        """Return the page with its widgets."""
        return CollectionApp(self.now)


class CollectionApp(App):
    """A visitor's view of the collection; a watchlist that is changed shows at the next look."""

    here, title = "07_portfolio", "PokeWatch: portfolio"

    def __init__(self, now: Current):
        super().__init__(now, VIEWS)
        sets = sorted(now.market.known["set_name"].dropna().unique().tolist())
        self.set = pn.widgets.Select(name="Set", options=sets, width=320, **STYLE)
        self.written = self._written()

    def fields(self) -> dict[str, pn.widgets.Widget]:
        """Return the widgets that the address names."""
        return super().fields() | {"set": self.set}

    def watch(self) -> None:
        """Follow the widgets, once the address has set them."""
        super().watch()
        self.set.param.watch(lambda _: self.redraw(), "value")

    def changed(self) -> bool:
        """Return whether the watchlist was written since."""
        before, self.written = self.written, self._written()
        return before != self.written

    def _written(self) -> list[tuple[int, int]]:
        settings, written = self.now.market.settings, []
        for path in (settings.watchlist, settings.home / graded.KEPT):
            with suppress(OSError):
                found = path.stat()
                written.append((found.st_mtime_ns, found.st_size))
        return written

    def turn(self) -> None:
        """Draw what the view asks for."""
        self.body.objects = getattr(self, f"_{self.view.value}")()

    def _value(self) -> list[Any]:
        mine, money = collection(self.now.market), self.now.money
        days = mine.timeline
        worth = {"value": days["value"], "paid for it": days["paid"]}
        curves = {label: days[name] for name, label in CURVES.items()}
        return [
            text(totals(mine, money)),
            text("<h2>Value, and what was paid</h2>"),
            figures.pane(figures.lines(worth, money=money)),
            text("<h2>Beside the market, both from 100</h2>"),
            figures.pane(figures.lines(curves, 240)),
            *(
                Table(
                    rows, title, f"{title.split(',')[0].lower().replace(' ', '-')}.csv", money
                ).layout
                for title, rows in tables(mine).items()
            ),
        ]

    def _insurance(self) -> list[Any]:
        mine, money = collection(self.now.market), self.now.money
        button = pn.widgets.Button(name="Print this list", width=300, margin=(0, 0, 8, 0), **STYLE)
        button.js_on_click(code="window.print()")
        rows = Table(mine.insurance(), "As a table", "insurance.csv", money, 20)
        return [text(listed(mine, money)), button, rows.layout]

    def _sets(self) -> list[Any]:
        if not self.set.value:
            raise UsageError("no card's set is known")
        rows = complete_set(self.now.market.settings, self.set.value, SIGNAL_HORIZON)
        sums, money = rows.attrs, self.now.money
        said = f"You have {sums['have']:,} of {sums['printings']:,} printings; the other "
        said += f"{sums['lack']:,} cost {money(sums['cost'])} today. Expected to fall, so wait: "
        said += f"{sums['wait']:,}; to rise, so buy now: {sums['buy_now']:,}."
        file = "set-completion.csv"
        done = Table(rows, f"{self.set.value}: the cheapest lacking first", file, money, 20)
        return [self.set, text(f"<p>{escape(said)}</p>"), done.layout]


def portfolio(top: int = 20) -> Collection:
    """Return the page of the watchlist with its buys and sales.

    top: rows of a notebook's tables. Raises UsageError where nothing is stored.

    >>> import pokewatch as pw
    >>> pw.browse.portfolio(top=5).servable().top
    5
    """
    if top < 1:
        raise UsageError(f"top={top} must be 1 or more")
    return Collection(current(), top)
