"""The market browser: one card in depth, and the market with its sets, movers and signals."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Any

import pandas as pd
import panel as pn

from pokewatch.analysis import card_history
from pokewatch.analysis.market import KINDS, MIN_PRICE, Card
from pokewatch.browse import figures
from pokewatch.browse.current import Current, current
from pokewatch.browse.layout import (
    STYLE,
    WIDE,
    App,
    Page,
    Table,
    buttons,
    change,
    facts,
    html,
    text,
)
from pokewatch.charts import market as charts
from pokewatch.charts.style import svg
from pokewatch.errors import UsageError
from pokewatch.formatting import days as days_of
from pokewatch.formatting import percent
from pokewatch.schema import CHANCES, SIGNAL_HORIZON

HITS = 200  # cards listed of a search
RANGES = {"1 month": 30, "3 months": 91, "6 months": 182, "1 year": 365, "All": 100_000}
BESIDE = {"Past calls": "calls", "Listings": "listings", "Printings": "printings", "Its set": "set"}
VIEWS = {"One card": "card", "Market": "market"}
SIGNALS = ["BUY", "SELL", "HOLD"]
FLAGS = {"any": "any", "thin only": "thin", "not thin": "liquid", "solo only": "solo"}
FORECAST = ["horizon", "market_price", "fair_value", "lower", "upper", "deviation", "signal"]
FORECAST += ["reason"]
PRINTED = ["card_id", "name", "printing", "market_price", "week", "month", "signal", "solo"]
LISTED = ["signal", "name", "set_name", "printing", "market_price", "fair_value", "lower", "upper"]
LISTED += ["expected", "week", "month", "thin", "stale", "solo", "reason", "card_id"]


def label(row: Any) -> str:
    """Return a card as a list shows it: name, set, number, printing, id."""
    parts = [row.name_, row.set_name, row.number, row.printing]
    named = " · ".join(str(part) for part in parts if isinstance(part, str) and part)
    return f"{named}  [{row.card_id}]" if named else row.card_id


def about(now: Current, card: Card) -> str:
    """Return what a card is, what it costs and what is expected of it, as HTML."""
    info, money = card.info, now.money
    where = [info[name] for name in ("set_name", "number", "rarity", "printing") if info[name]]
    also = f" · also {escape(', '.join(info['aliases'][:6]))}" if info["aliases"] else ""
    head = f"<h2 class='title'>{escape(card.title)}</h2><p class='soft'>"
    head += f"{escape(' · '.join(map(str, where)))} · "
    head += f"<code>{escape(card.card_id)}</code>{also}{' · <em>simulated</em>' * now.simulated}"
    seen = f"{info['last_date']:%Y-%m-%d}"
    pairs = [(f"price on {seen}", money(info["last_price"]))]
    row = now.rows.loc[card.card_id]
    pairs.append((f"fair value in {days_of(SIGNAL_HORIZON)}", money(row["fair_value"])))
    pairs.append(("with 80 % chance between", f"{money(row['lower'])} – {money(row['upper'])}"))
    good = percent(now.market.settings.good_move, 0)
    for chance, verb in zip(CHANCES, ("rise", "fall"), strict=True):
        if row[chance] == row[chance]:  # none where no past tells
            pairs.append((f"chance to {verb} by {good} or more", percent(row[chance], 0)))
    moved = f"<p>{change(row['week'])} in 7 days, {change(row['month'])} in 30 days</p>"
    signal, reason = row["signal"], escape(row["reason"])
    why = {
        "thin": "few sales, or a price that hardly moves: mind the estimate",
        "stale": f"last seen on {seen}",
        "solo": "only this printing moved in 7 days, its others did not",
    }
    flags = "".join(
        f"<p><span class='badge warn'>{name}</span> {text}</p>"
        for name, text in why.items()
        if row[name]
    )
    said = f"<p><span class='badge {signal}'>{signal}</span> {reason}</p>"
    return f"{head}</p>{facts(pairs)}{moved}{said}{flags}"


def opened(now: Current, asked: str) -> Card:
    """Return the card that is asked for, the one that moved most where none is."""
    return Card(now.market, now.catalog.resolve(asked)) if asked else now.market.card()


class Cards(Page):
    """The page of cards and market; in a notebook one card and the market as they stand."""

    def __init__(self, now: Current, card: str, days: int, top: int):
        super().__init__(now)
        self.card, self.days, self.top = opened(now, card), days, top

    def parts(self) -> Iterable[tuple[str, str]]:
        """Return the card, then the market."""
        now, card, top, money = self.now, self.card, self.top, self.now.money
        prices, forecast = card.prices.tail(self.days), now.forecast(card.card_id)
        options = {"forecast": forecast, "money": money}
        chart = svg(charts.price, prices, "prices and fair value", (8, 3.2), **options)
        yield "One card", about(now, card) + chart
        for title, frame in histories(now, card).items():
            yield title, html(frame, money, top)
        yield "Index", svg(charts.market, now.market.index(), "the market's index", (8, 3.2))
        yield "Sets: one of each card, change in 30 days", html(now.market.by_set(), money, top)
        yield "Movers of a week", html(now.market.movers(top=top), money)
        called = now.signals[now.signals["signal"] != "HOLD"]
        yield "Signals a week ahead", html(called[LISTED], money, top, ["reason", "card_id"])

    def app(self) -> CardsApp:
        """Return the page with its widgets."""
        return CardsApp(self)


def calls_of(now: Current, card: Card) -> pd.DataFrame:
    """Return a card's past calls, the newest first."""
    rows = now.past_calls
    return (
        rows[rows["card_id"] == card.card_id]
        .drop(columns=["card_id", "gain"])
        .reset_index(drop=True)
    )


def histories(now: Current, card: Card) -> dict[str, pd.DataFrame]:
    """Return the tables of a card by their headings."""
    printed = now.rows.loc[card_history.printings(now.market, card.card_id).index].reset_index()
    return {
        "Fair value by horizon": now.forecast(card.card_id)[FORECAST],
        "Past calls and what came of them": calls_of(now, card),
        "Refused or held days": card_history.refused_days(now.market, card.card_id),
        "Printings": printed[PRINTED],
    }


class CardsApp(App):
    """A visitor's widgets over the market that all share."""

    here, title = "06_cards", "PokeWatch: cards and market"

    def __init__(self, page: Cards):
        super().__init__(page.now, VIEWS)
        self.search = pn.widgets.TextInput(
            name="Search: name, set, number or alias", placeholder="for example: charizard 199",
            sizing_mode=WIDE, max_width=560, **STYLE,
        )  # fmt: skip
        self.found = pn.widgets.Select(
            name="Cards found", options={"choose a card": ""}, value="", size=7,
            sizing_mode=WIDE, max_width=760, **STYLE,
        )  # fmt: skip
        known = page.days in RANGES.values()
        ranges = RANGES if known else {days_of(page.days): page.days} | RANGES
        self.days = buttons("Range", ranges, page.days)
        self.show = pn.widgets.CheckButtonGroup(
            name="Beside it", options=BESIDE, value=["calls"], button_style="outline", **STYLE
        )
        # The card that is open, for the address.
        self.open = pn.widgets.TextInput(name="Card", value=page.card.card_id, visible=False)
        self.filters = self._filters()
        self.head, self.listing = text(), False
        self.card: Card | None = None  # while one is shown: it holds its whole market
        self.chart, self.tables = (pn.Column(sizing_mode=WIDE, margin=0) for _ in range(2))

    def fields(self) -> dict[str, pn.widgets.Widget]:
        """Return the widgets that the address names."""
        mine = {"card": self.open, "q": self.search, "days": self.days, "show": self.show}
        return super().fields() | mine | self.filters

    def watch(self) -> None:
        """Follow the widgets, once the address has set them."""
        super().watch()
        for name in ("value_input", "value"):
            self.search.param.watch(lambda event: self._list(event.new or ""), name)
        self.search.param.watch(lambda _: self._first(), "enter_pressed")
        self.found.param.watch(self._chosen, "value")
        self.open.param.watch(lambda _: self.redraw(), "value")
        for widget in (self.days, self.show):
            widget.param.watch(lambda _: self._draw(), "value")
        for one in self.filters.values():
            one.param.watch(lambda _: self._filter(), "value")

    def turn(self) -> None:
        """Draw the card or the market."""
        self.card = None
        self._list(self.search.value_input or self.search.value or "")
        if self.view.value == "card":
            self._card()
            choices = pn.FlexBox(self.days, self.show, sizing_mode=WIDE)
            parts = [self.search, self.found, self.head, choices, self.chart, self.tables]
            self.body.objects = parts
        else:
            self.body.objects = self._market()

    def _filters(self) -> dict[str, pn.widgets.Widget]:
        sets = sorted(self.now.market.known["set_name"].dropna().unique().tolist())
        spans = {"1 day": 1, "7 days": 7, "30 days": 30}

        def choice(name: str, options: Any, **more: Any) -> pn.widgets.Select:
            return pn.widgets.Select(name=name, options=options, **{"width": 150, **STYLE, **more})

        def amount(name: str) -> pn.widgets.FloatInput:
            return pn.widgets.FloatInput(name=name, value=None, start=0, width=150, **STYLE)

        return {
            "signal": choice("Signal", ["BUY or SELL", *SIGNALS, "any"]),
            "set": choice("Set", {"all sets": ""} | {name: name for name in sets}, width=230),
            "kind": choice("Kind", ["any", *KINDS]),
            "flag": choice("Flags", FLAGS),
            "from": amount("Price from"),
            "to": amount("Price to"),
            "span": choice("Movers over", spans, value=7),
        }

    def _list(self, asked: str) -> None:
        hits = self.now.catalog.search(asked)
        shown = hits.head(HITS).rename(columns={"name": "name_"})
        options = {label(row): row.card_id for row in shown.itertuples()}
        self.found.name = f"Cards found: {len(hits):,}" + (
            f", the first {HITS} listed" if len(hits) > HITS else ""
        )
        listed = self.open.value if self.open.value in options.values() else ""
        self.listing = True  # nobody has chosen what a new list begins with
        self.found.param.update(options={"choose a card": ""} | options, value=listed)
        self.listing = False

    def _first(self) -> None:
        """Open the first card found, as Enter in the search asks for."""
        if ids := [one for one in self.found.options.values() if one]:
            self._open(ids[0])

    def _chosen(self, event: Any) -> None:
        if event.new and not self.listing:
            self._open(event.new)

    def _open(self, card_id: str) -> None:
        self.open.value = card_id
        self.view.value = "card"

    def _card(self) -> None:
        self.card = opened(self.now, self.open.value or "")
        self.head.object = about(self.now, self.card)
        self._draw()
        at, money = re.sub(r"[^\w-]+", "-", self.card.card_id), self.now.money
        self.tables.objects = [
            Table(rows, title, f"{at}-{title.split()[0].lower()}.csv", money, 10, self._open).layout
            for title, rows in histories(self.now, self.card).items()
        ]

    def _draw(self) -> None:
        where, card, asked = self.now.market, self.card, set(self.show.value)
        if card is None:
            return
        prices = card.prices
        prices = prices[prices.index > prices.index[-1] - pd.Timedelta(days=self.days.value)]
        others: dict[str, pd.Series] = {}
        if "printings" in asked:
            found = card_history.printings(where, card.card_id).drop(index=card.card_id)
            others |= {str(row["printing"]): where.prices[one] for one, row in found.iterrows()}
        if "set" in asked and card.info["set_name"]:
            index = where.only(sets=card.info["set_name"]).index()
            index = index[index.index >= prices.index[0]]
            others["its set, from the same start"] = index / index.iloc[0] * prices.iloc[0]
        calls, refused = calls_of(self.now, card), card_history.refused_days(where, card.card_id)
        chart = figures.card(
            prices,
            self.now.forecast(card.card_id),
            card_history.listings(where, card.card_id) if "listings" in asked else pd.DataFrame(),
            others,
            calls if "calls" in asked else calls.iloc[:0],
            refused,
            self.now.money,
        )
        self.chart.objects = [figures.pane(chart)]

    def _market(self) -> list[Any]:
        where, money = self.now.market, self.now.money
        for name in ("from", "to"):
            self.filters[name].name = f"Price {name}, {money.currency}"
        index = figures.pane(figures.lines({"index, 100 on the first day": where.index()}))
        *chosen, span = self.filters.values()
        self.signals = Table(
            self._asked(), "Signals a week ahead", "signals.csv", money, 15, self._open, chosen
        )
        title = f"Movers of {money(MIN_PRICE).removesuffix('.00')} and more"
        self.movers = Table(self._moved(), title, "movers.csv", money, 10, self._open, [span])
        title = "Sets: one of each card, change in 30 days"
        sets = Table(where.by_set(), title, "sets.csv", money)
        parts = [one.layout for one in (self.signals, self.movers, sets)]
        return [text("<h2>Index</h2>"), index, *parts]

    def _moved(self) -> pd.DataFrame:
        return self.now.market.movers(self.filters["span"].value, None)

    def _filter(self) -> None:
        if self.view.value == "market":
            self.signals.show(self._asked())
            self.movers.show(self._moved())

    def _asked(self) -> pd.DataFrame:
        """Return the signals that the filters let through."""
        rows, asked = self.now.signals, {name: one.value for name, one in self.filters.items()}
        keep = pd.Series(True, rows.index)
        if asked["set"]:
            keep &= rows["set_name"] == asked["set"]
        if asked["kind"] != "any":
            keep &= rows["product_kind"] == asked["kind"]
        if asked["signal"] != "any":
            keep &= rows["signal"].isin(asked["signal"].split(" or "))
        flag = {"thin": rows["thin"], "liquid": ~rows["thin"], "solo": rows["solo"]}
        keep &= flag.get(asked["flag"], True)
        price = self.now.money.rounded(rows["market_price"])
        if asked["from"] is not None:
            keep &= price >= asked["from"]
        if asked["to"] is not None:
            keep &= price <= asked["to"]
        return rows.loc[keep, LISTED]


def cards(card: str = "", days: int = 182, top: int = 10) -> Cards:
    """Return the page of one card and the market.

    card: id, alias or words, default the card that moved most; days: drawn at first; top: rows of
    a notebook's tables. Raises UsageError for an unknown card and where nothing is stored.

    >>> import pokewatch as pw
    >>> pw.browse.cards(days=91).servable().days
    91
    """
    if days < 1 or top < 1:
        raise UsageError(f"days={days}, top={top}: each must be 1 or more")
    return Cards(current(), card, days, top)
