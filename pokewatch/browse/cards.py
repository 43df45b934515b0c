"""The market browser: one card in depth, and the market with its sets, movers and signals."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import panel as pn

from pokewatch.analysis import card_history, tables
from pokewatch.analysis.market import KINDS, Card
from pokewatch.browse import current as shared
from pokewatch.browse import figures
from pokewatch.browse.current import Current, current
from pokewatch.browse.layout import (
    LOOK_SECONDS,
    SIMULATED,
    WIDE,
    Address,
    Static,
    Table,
    change,
    read,
    serve,
    served,
    text,
)
from pokewatch.browse.layout import figures as figure_list
from pokewatch.charts import market as charts
from pokewatch.charts.style import svg
from pokewatch.errors import UsageError
from pokewatch.formatting import days as days_of
from pokewatch.formatting import usd
from pokewatch.schema import SIGNAL_HORIZON

HITS = 200  # cards listed of a search
RANGES = {"1 month": 30, "3 months": 91, "6 months": 182, "1 year": 365, "All": 100_000}
BESIDE = {"Past calls": "calls", "Listings": "listings", "Printings": "printings", "Its set": "set"}
VIEWS = {"One card": "card", "Market": "market"}
SIGNALS = ["BUY", "SELL", "HOLD"]
FLAGS = {"any": "any", "thin only": "thin", "not thin": "liquid", "solo only": "solo"}
FORECAST = [
    "horizon",
    "market_price",
    "fair_value",
    "lower",
    "upper",
    "deviation",
    "signal",
    "reason",
]
LISTED = ["signal", "name", "set_name", "printing", "market_price", "fair_value", "lower", "upper"]
LISTED += ["expected", "week", "month", "thin", "stale", "solo", "reason", "card_id"]


def label(row: Any) -> str:
    """Return a card as a list shows it: name, set, number, printing, id."""
    parts = [row.name_, row.set_name, row.number, row.printing]
    named = " · ".join(str(part) for part in parts if isinstance(part, str) and part)
    return f"{named}  [{row.card_id}]" if named else row.card_id


def about(now: Current, card: Card) -> str:
    """Return what a card is, what it costs and what is expected of it, as HTML."""
    info, rows = card.info, now.forecast(card.card_id)
    where = [info[name] for name in ("set_name", "number", "rarity", "printing") if info[name]]
    aliases = ", ".join(info["aliases"][:6])
    lines = [
        f"<h2>{escape(card.title)}</h2><p class='soft'>{escape(' · '.join(map(str, where)))} · "
        f"<code>{escape(card.card_id)}</code>{' · also ' + escape(aliases) if aliases else ''}"
        f"{' · <em>simulated</em>' if now.simulated else ''}</p>"
    ]
    pairs = [(f"price on {info['last_date']:%Y-%m-%d}", usd(info["last_price"]))]
    week = rows[rows["horizon"] == SIGNAL_HORIZON]
    if len(week):
        row = week.iloc[0]
        pairs.append((f"fair value in {days_of(SIGNAL_HORIZON)}", usd(row["fair_value"])))
        pairs.append(("with 80 % chance between", f"{usd(row['lower'])} – {usd(row['upper'])}"))
    lines.append(figure_list(pairs))
    moved = [
        f"{change(value)} in {days_of(n)}" for n in (7, 30) if (value := card.change(n)) == value
    ]
    if moved:
        lines.append(f"<p>{', '.join(moved)}</p>")
    if len(week):
        flags = []
        if row["thin"]:
            flags.append(("thin", "few sales, or a price that hardly moves: mind the estimate"))
        if row["stale"]:
            flags.append(("stale", f"last seen on {info['last_date']:%Y-%m-%d}"))
        if bool(now.solo.get(card.card_id, False)):
            flags.append(("solo", "only this printing moved in 7 days, its others did not"))
        signal, reason = row["signal"], escape(row["reason"])
        lines.append(f"<p><span class='badge {signal}'>{signal}</span> {reason}</p>")
        lines += [f"<p><span class='badge warn'>{name}</span> {why}</p>" for name, why in flags]
    return "".join(lines)


def opened(now: Current, asked: str) -> Card:
    """Return the card that is asked for, the one that moved most where none is."""
    return Card(now.market, now.catalog.resolve(asked)) if asked else now.market.card()


class Cards:
    """The page of cards and market: a static view in a notebook, widgets where it is served.

    Parts for a notebook: ``headline``, ``chart``, ``forecast``, ``calls``, ``refused``,
    ``printings``, ``index``, ``sets``, ``movers``, ``signals``.
    """

    def __init__(self, card: str = "", days: int = 182, top: int = 10):
        if days < 1:
            raise UsageError(f"days={days} must be 1 or more")
        self.now = current()
        self.days, self.top = days, top
        self.card = opened(self.now, card)

    def servable(self) -> Cards:
        """Serve the page with its widgets where a visitor asks for it; returns itself."""
        if served():
            App(self).serve()
        return self

    def __repr__(self) -> str:
        return f"Cards({self.card.card_id!r}, {len(self.now.market.cards):,} cards)"

    @property
    def headline(self) -> Static:
        """The card: what it is, costs, and is expected to cost."""
        return Static(lambda: f"<div class='mathjax_ignore'>{about(self.now, self.card)}</div>")

    @property
    def chart(self) -> Static:
        """Its prices with the fan of its fair value."""
        prices, forecast = self.card.prices.tail(self.days), self.now.forecast(self.card.card_id)
        return Static(
            lambda: svg(charts.price, prices, "prices and fair value", (8, 3.2), forecast=forecast)
        )

    @property
    def forecast(self) -> Static:
        """Its fair values by horizon."""
        return Static(lambda: tables.show(self.now.forecast(self.card.card_id)[FORECAST]))

    @property
    def calls(self) -> Static:
        """Its past calls and what came of them."""
        return Static(lambda: tables.show(calls_of(self.now, self.card), self.top))

    @property
    def refused(self) -> Static:
        """Its days that were refused or are held, with the reason."""
        return Static(
            lambda: tables.show(
                card_history.refused_days(self.now.market, self.card.card_id), self.top
            )
        )

    @property
    def printings(self) -> Static:
        """Its printings and its set."""
        return Static(lambda: tables.show(beside(self.now, self.card)))

    @property
    def index(self) -> Static:
        """The market's index."""
        return Static(lambda: svg(charts.market, self.now.market.index(), "market index", (8, 3.2)))

    @property
    def sets(self) -> Static:
        """How the sets moved."""
        return Static(lambda: tables.show(self.now.market.by_set(), self.top))

    @property
    def movers(self) -> Static:
        """The largest moves of a week."""
        return Static(lambda: tables.show(self.now.market.movers(top=self.top)))

    @property
    def signals(self) -> Static:
        """Today's BUY and SELL."""
        rows = self.now.signals
        return Static(lambda: tables.show(rows[rows["signal"] != "HOLD"][LISTED], self.top))


def calls_of(now: Current, card: Card) -> pd.DataFrame:
    """Return a card's past calls, the newest first."""
    rows = now.past_calls
    return rows[rows["card_id"] == card.card_id].drop(columns="card_id").reset_index(drop=True)


def beside(now: Current, card: Card) -> pd.DataFrame:
    """Return a card's printings, and below them its set as a whole."""
    found = card_history.printings(now.market, card.card_id).reset_index()
    rows = now.signals.set_index("card_id").reindex(found["card_id"]).reset_index()
    columns = ["card_id", "name", "printing", "market_price", "week", "month", "signal", "solo"]
    return rows.assign(solo=rows["solo"].fillna(False).astype(bool))[columns]


class App:
    """A visitor's widgets over the market that all share."""

    def __init__(self, page: Cards):
        style = {"stylesheets": [read("widgets.css")]}
        self.page, self.now = page, page.now
        self.view = pn.widgets.RadioButtonGroup(
            name="View", options=VIEWS, value="card", button_style="outline", **style
        )
        self.search = pn.widgets.TextInput(
            name="Search: name, set, number or alias", placeholder="for example: charizard 199",
            sizing_mode=WIDE, max_width=560, **style,
        )  # fmt: skip
        self.found = pn.widgets.Select(
            name="Cards found",
            options={"choose a card": ""},
            value="",
            size=7,
            sizing_mode=WIDE,
            max_width=760,
            **style,
        )
        ranges = RANGES
        if page.days not in RANGES.values():
            ranges = {days_of(page.days): page.days} | RANGES
        self.days = pn.widgets.RadioButtonGroup(
            name="Range", options=ranges, value=page.days, button_style="outline", **style
        )
        self.show = pn.widgets.CheckButtonGroup(
            name="Beside it", options=BESIDE, value=["calls"], button_style="outline", **style
        )
        # The id that is open, in the address only.
        self.open = pn.widgets.TextInput(name="Card", value=page.card.card_id, visible=False)
        self.listing = False
        self._market_widgets(style)
        self.note = text()
        self.head, self.lines, self.parts = (
            text(),
            pn.Column(sizing_mode=WIDE),
            pn.Column(sizing_mode=WIDE),
        )
        self.body = pn.Column(sizing_mode=WIDE, margin=0)
        self.about_market = text()

    def _market_widgets(self, style: dict[str, Any]) -> None:
        sets = sorted(self.now.market.known["set_name"].dropna().unique().tolist())
        narrow = {"width": 150, **style}
        self.filters = {
            "set": pn.widgets.Select(
                name="Set", options={"all sets": ""} | {n: n for n in sets}, width=230, **style
            ),
            "kind": pn.widgets.Select(name="Kind", options=["any", *KINDS], **narrow),
            "signal": pn.widgets.Select(
                name="Signal", options=["BUY or SELL", *SIGNALS, "any"], **narrow
            ),
            "flag": pn.widgets.Select(name="Flags", options=FLAGS, **narrow),
            "from": pn.widgets.FloatInput(name="Price from, USD", value=None, start=0, **narrow),
            "to": pn.widgets.FloatInput(name="Price to, USD", value=None, start=0, **narrow),
            "span": pn.widgets.Select(
                name="Movers over",
                options={"1 day": 1, "7 days": 7, "30 days": 30},
                value=7,
                **narrow,
            ),
        }

    def serve(self) -> None:
        """Put the page together, and follow the address, the widgets and the store."""
        fields = {"view": self.view, "card": self.open, "q": self.search, "days": self.days}
        self.address = Address(fields | {"show": self.show} | self.filters, ["card"])
        self.search.param.watch(lambda event: self._list(event.new), "value_input")
        self.search.param.watch(lambda event: self._list(event.new), "value")
        self.search.param.watch(lambda _: self._first(), "enter_pressed")
        self.found.param.watch(self._chosen, "value")
        self.open.param.watch(lambda _: self._card(), "value")
        for widget in (self.days, self.show):
            widget.param.watch(lambda _: self._draw(), "value")
        self.view.param.watch(lambda _: self._turn(), "value")
        for widget in self.filters.values():
            widget.param.watch(lambda _: self._filter(), "value")
        self._list(self.search.value)
        self._turn()
        pn.state.onload(self.address.write)
        if self.address.problems:
            self._tell("; ".join(self.address.problems))
        pn.state.add_periodic_callback(self._newer, int(1000 * LOOK_SECONDS))
        layout = pn.Column(self.about_market, self.view, self.note, self.body, sizing_mode=WIDE)
        self._about_market()
        serve(layout, "06_cards", "PokeWatch: cards and market")

    def _about_market(self) -> None:
        where, model = self.now.market, self.now.trained.name if self.now.trained else "naive"
        said = f"{len(where.cards):,} cards, prices from {where.dates[0]:%Y-%m-%d} to "
        said += f"{self.now.day:%Y-%m-%d}, data version {where.data_version}, model {model}"
        simulated = SIMULATED if self.now.simulated else ""
        title = "<h1>Cards and market</h1>"
        self.about_market.object = f"{title}<p class='soft'>{escape(said)}</p>{simulated}"

    def _tell(self, said: str) -> None:
        self.note.object = f"<p class='banner' role='status'>{escape(said)}</p>" if said else ""

    def _newer(self) -> None:
        newest = shared.current()
        if newest is not self.now:
            self.now = newest
            self._about_market()
            self._list(self.search.value_input or self.search.value)
            self._turn()
            version = newest.market.data_version
            self._tell(f"New prices: data version {version}, up to {newest.day:%Y-%m-%d}.")

    def _turn(self) -> None:
        if self.view.value == "card":
            self._card()
            top = pn.Column(self.search, self.found, sizing_mode=WIDE, margin=0)
            ranges = pn.FlexBox(self.days, self.show, sizing_mode=WIDE)
            self.body.objects = [top, self.head, ranges, self.lines, self.parts]
        else:
            self.body.objects = self._market()

    def _list(self, asked: str) -> None:
        hits = self.now.catalog.search(asked or "")
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
        self._tell("")
        try:
            self.card = opened(self.now, self.open.value)
        except UsageError as error:
            self._tell(str(error))
            self.card = self.now.market.card()
        self.head.object = about(self.now, self.card)
        self._draw()
        where, card_id = self.now.market, self.card.card_id
        name = card_id.replace(":", "-")
        forecast = Table(
            self.now.forecast(card_id)[FORECAST], "Fair value by horizon", f"{name}-fair-value.csv"
        )
        calls = Table(
            calls_of(self.now, self.card), "Past calls and what came of them", f"{name}-calls.csv"
        )
        refused = Table(
            card_history.refused_days(where, card_id), "Refused or held days", f"{name}-refused.csv"
        )
        printed = Table(
            beside(self.now, self.card), "Printings", f"{name}-printings.csv", opens=self._open
        )
        self.parts.objects = [forecast.layout, calls.layout, refused.layout, printed.layout]

    def _draw(self) -> None:
        where, card, asked = self.now.market, self.card, set(self.show.value)
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
        )
        self.lines.objects = [figures.pane(chart)]

    def _market(self) -> list[Any]:
        where = self.now.market
        index = figures.pane(figures.lines({"index, 100 on the first day": where.index()}))
        chosen = [self.filters[name] for name in ("signal", "set", "kind", "flag", "from", "to")]
        self.signals = Table(
            self._asked(), "Signals a week ahead", "signals.csv", 15, self._open, chosen
        )
        span = [self.filters["span"]]
        self.movers = Table(
            self._moved(), "Movers of $1 and more", "movers.csv", 10, self._open, span
        )
        sets = Table(where.by_set(), "Sets: one of each card, change in 30 days", "sets.csv")
        parts = [one.layout for one in (self.signals, self.movers, sets)]
        return [text("<h3>Index</h3>"), index, *parts]

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
        if asked["from"] is not None:
            keep &= rows["market_price"] >= asked["from"]
        if asked["to"] is not None:
            keep &= rows["market_price"] <= asked["to"]
        return rows.loc[keep, LISTED]


def cards(card: str = "", days: int = 182, top: int = 10) -> Cards:
    """Return the page of one card and the market.

    card: id, alias or words, default the card that moved most; days: drawn at first; top: rows of
    static tables. Raises UsageError for an unknown card and where nothing is stored.

    >>> import pokewatch as pw
    >>> pw.browse.cards(days=91).servable().days
    91
    """
    return Cards(card, days, top)
