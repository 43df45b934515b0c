"""What the pages share: the template, texts, tables, and an address that opens a view again."""

from __future__ import annotations

import io
import json
import logging
import math
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

import pandas as pd
import panel as pn
from bokeh.models.widgets.tables import HTMLTemplateFormatter, NumberFormatter

from pokewatch.analysis.tables import MONEY, NAMES, SHARES, SIGNED
from pokewatch.analysis.tables import show as as_html
from pokewatch.browse.current import Current, current, trouble
from pokewatch.errors import PokewatchError
from pokewatch.formatting import Money, percent
from pokewatch.operations.exports import no_formulas

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent / "templates"
PAGES = {"06_cards": "Cards and market", "07_portfolio": "Portfolio"}
LOOK_SECONDS = 3.0  # between two questions of an open page whether there are newer prices
WIDE: Final = "stretch_width"
SHARE = NumberFormatter(format="0.0%", text_align="right", nan_format="–")
CHANGE = NumberFormatter(format="+0.0%", text_align="right", nan_format="–")
AMOUNTS = MONEY | {"low", "mid", "cost", "paid", "unrealised", "realised", "received", "net"}
AMOUNTS |= {"total_gain", "fees", "shipping", "amount"}
CHANGES = {"expected", "week", "month", "contribution"}
FORMATS = dict.fromkeys(SHARES, SHARE) | dict.fromkeys(SIGNED | CHANGES, CHANGE)
SIMULATED = (
    '<p class="banner" role="note"><strong>SIMULATED MARKET.</strong> '
    "These cards and prices are invented.</p>"
)


@lru_cache(maxsize=8)
def read(name: str) -> str:
    """Return the text of a file in ``templates``."""
    return (FOLDER / name).read_text(encoding="utf-8")


STYLE: dict[str, Any] = {"stylesheets": [read("widgets.css")]}


def text(markup: str = "", **options: Any) -> pn.pane.HTML:
    """Return a pane of HTML; names in it must be escaped by whoever wrote it."""
    return pn.pane.HTML(
        markup, stylesheets=[read("text.css")], sizing_mode=WIDE, margin=0, **options
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return named figures as an HTML list; names and figures are escaped."""
    parts = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    return f"<dl>{''.join(parts)}</dl>"


def noted(money: Money) -> str:
    """Return what a reader should know of the currency as HTML, "" where that is nothing."""
    look = "banner" if money.doubtful else "soft"
    return f"<p class='{look}' role='note'>{escape(money.note)}</p>" if money.note else ""


def change(value: Any) -> str:
    """Return a change as coloured HTML text."""
    side = "up" if value > 0 else "down" if value < 0 else ""
    return f'<span class="{side}">{percent(value, sign=True)}</span>'


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame as tables show it: days and flags as words."""
    out = frame.copy()
    for name, column in out.items():
        if pd.api.types.is_datetime64_any_dtype(column):
            out[name] = column.dt.strftime("%Y-%m-%d").fillna("")
        elif pd.api.types.is_bool_dtype(column):
            out[name] = column.map({True: "yes", False: ""})
        elif not pd.api.types.is_numeric_dtype(column):
            out[name] = column.astype("object").where(column.notna(), "").astype(str)
    return out.reset_index(drop=True)


def amounts(frame: pd.DataFrame) -> list[str]:
    """Return the columns that hold amounts."""
    return [name for name in frame.select_dtypes("number") if name in AMOUNTS]


def script(money: Money) -> str:
    """Return JavaScript that writes ``value``, an amount in the currency, as ``money`` does."""
    before, behind = map(json.dumps, money.around)
    options = f"{{minimumFractionDigits: {money.digits}, maximumFractionDigits: {money.digits}}}"
    number = f"Math.abs(value).toLocaleString('en-US', {options})"
    return f"(value < 0 ? '−' : '') + {before} + {number} + {behind}"


def html(
    frame: pd.DataFrame, money: Money, top: int | None = None, drop: Iterable[str] = ()
) -> str:
    """Return a frame as a table of HTML, for readers without a server."""
    return str(as_html(frame, top, drop, money, amounts(frame)).data)


class Table:
    """A table that sorts, filters, pages and exports what it shows.

    label: its heading; file: name of its export; money: how amounts are written; opens: called with
    a row's card_id on a click; controls: widgets between heading and table.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        label: str,
        file: str,
        money: Money,
        size: int = 10,
        opens: Callable[[str], None] | None = None,
        controls: Iterable[pn.widgets.Widget] = (),
    ):
        self.money = money
        shown = self._shown(frame)
        prices = amounts(shown)
        price = f"<%= isNaN(value) ? '–' : {script(money)} %>"
        words = [name for name in shown if not pd.api.types.is_numeric_dtype(shown[name])]
        filters: dict[str, Any] = {
            name: {"type": "input", "placeholder": "filter"} for name in words
        }
        numbers = {"type": "number", "func": ">=", "placeholder": "at least"}
        filters |= {name: numbers for name in shown if name not in words}
        formats: dict[str, Any] = {name: FORMATS[name] for name in shown if name in FORMATS}
        formats |= {name: HTMLTemplateFormatter(template=price) for name in prices}
        formats |= {name: {"type": "plaintext"} for name in words}  # names are no HTML
        self.grid = pn.widgets.Tabulator(
            shown,
            titles={name: NAMES.get(name, str(name).replace("_", " ")) for name in shown},
            formatters=formats,
            header_filters=filters,
            text_align=dict.fromkeys(prices, "right"),
            hidden_columns=["index"],
            show_index=False,
            disabled=True,
            selectable=False,
            pagination="remote",
            page_size=size,
            layout="fit_data_table",
            sizing_mode=WIDE,
            theme="simple",
            stylesheets=[read("table.css")],
            margin=(0, 0, 4, 0),
        )
        self.file, self.label, self.controls = file, label, list(controls)
        if opens and "card_id" in shown:
            self.grid.on_click(lambda event: opens(self.grid.value["card_id"].iloc[event.row]))

    def show(self, frame: pd.DataFrame) -> None:
        """Show another frame of the same columns."""
        self.grid.value = self._shown(frame)

    def _shown(self, frame: pd.DataFrame) -> pd.DataFrame:
        self.stored = shown = plain(frame)
        if self.money.converts:
            rounded = {name: self.money.rounded(shown[name]) for name in amounts(shown)}
            shown = shown.assign(**rounded)
        return shown

    def export(self) -> io.BytesIO:
        """Return what is shown, filtered and sorted, as CSV; amounts as stored, then as shown."""
        shown = self.grid.current_view
        rows = self.stored.loc[shown.index]
        if self.money.converts:
            converted = shown[amounts(shown)].add_prefix("display_")
            rows = rows.assign(display_currency=self.money.currency, **converted)
        csv = no_formulas(rows).to_csv(index=False)
        return io.BytesIO(csv.encode("utf-8-sig"))

    @property
    def layout(self) -> pn.Column:
        """Heading, controls, table and export."""
        heading = text(f"<h2>{escape(self.label)}</h2>")
        controls = [pn.FlexBox(*self.controls, sizing_mode=WIDE)] if self.controls else []
        save = pn.widgets.FileDownload(
            callback=self.export,
            filename=self.file,
            label=f"Save as {self.file}",
            embed=False,
            auto=True,
            **STYLE,
            width=300,
            align="start",
            margin=(0, 0, 12, 0),
        )
        return pn.Column(heading, *controls, self.grid, save, sizing_mode=WIDE, margin=0)


class Address:
    """Keeps widgets and the page's address equal: each view has a link that opens it again."""

    def __init__(self, widgets: dict[str, pn.widgets.Widget]):
        self.widgets = widgets
        self.defaults = {name: self._text(name) for name in widgets}
        self.extra = {}
        self.problems: list[str] = []
        self.location = pn.state.location
        asked = {
            name: values[-1].decode("utf-8", "replace")
            for name, values in pn.state.session_args.items()
        }
        if "theme" in asked:
            self.extra["theme"] = asked["theme"]
        self.take(asked)
        for widget in widgets.values():
            widget.param.watch(self.write, "value")
        if self.location is not None:
            self.location.param.watch(self._came, "search")

    def take(self, asked: dict[str, str]) -> None:
        """Set the widgets to what an address says; ``problems`` tells what they do not take."""
        self.problems = []
        for name, widget in self.widgets.items():
            wanted = asked.get(name, self.defaults[name])
            if wanted == self._text(name):
                continue
            try:
                widget.value = self._value(widget, wanted)
            except ValueError as error:
                self.problems.append(f"{name}={wanted!r} in the address {error}")

    def _came(self, event: Any) -> None:
        query = parse_qs(event.new.lstrip("?"), keep_blank_values=True)
        if {name: values[-1] for name, values in query.items()} != self._asked():
            self.take({name: values[-1] for name, values in query.items()})
            self.write()

    def _asked(self) -> dict[str, str]:
        now = {name: self._text(name) for name in self.widgets}
        return self.extra | {
            name: now[name] for name in now if name == "card" or now[name] != self.defaults[name]
        }

    def write(self, *_: Any) -> None:
        """Make the address that of the view."""
        if self.location is not None:
            query = urlencode(self._asked())
            self.location.search = f"?{query}" if query else ""

    def _text(self, name: str) -> str:
        value = self.widgets[name].value
        if isinstance(value, list):
            return ",".join(map(str, value))
        return "" if value is None else str(value)

    @staticmethod
    def _value(widget: pn.widgets.Widget, asked: str) -> Any:
        if isinstance(widget, pn.widgets.FloatInput):
            with suppress(ValueError):
                if not asked or math.isfinite(float(asked)):
                    return float(asked) if asked else None
            raise ValueError("is no number")
        options = getattr(widget, "options", None)
        if options is None:
            return asked
        values = list(options.values()) if isinstance(options, dict) else list(options)
        known = {str(value): value for value in values}
        many = isinstance(widget.value, list)
        wanted = [part for part in asked.split(",") if part] if many else [asked]
        if unknown := [part for part in wanted if part not in known]:
            raise ValueError(f"is none of {', '.join(known)[:200]}; {unknown[0]!r} is left out")
        return [known[part] for part in wanted] if many else known[asked]


class Page:
    """What a notebook's cell shows of a page, and where it is served the page itself."""

    def __init__(self, now: Current):
        self.now = now

    def parts(self) -> Iterable[tuple[str, str]]:
        """Return headings and HTML for readers without a server."""
        raise NotImplementedError

    def app(self) -> App:
        """Return the page with its widgets, for one visitor."""
        raise NotImplementedError

    def servable(self) -> Page:
        """Serve the page with its widgets where a visitor asks for it; returns itself."""
        if served():
            self.app().serve()
        return self

    def _repr_html_(self) -> str:
        drawn = "".join(f"<h3>{escape(title)}</h3>{part}" for title, part in self.parts())
        above = SIMULATED * self.now.simulated + noted(self.now.money)
        return f"<div class='mathjax_ignore'>{above}{drawn}</div>"

    def __repr__(self) -> str:
        return f"{type(self).__name__} of data version {self.now.market.data_version}"


class App:
    """A visitor's page: it follows its widgets, its address and the store.

    here: the notebook's name; title: of the page; view: the buttons that turn it.
    """

    here = title = ""

    def __init__(self, now: Current, views: dict[str, str]):
        self.now = now
        self.view = buttons("View", views, next(iter(views.values())))
        self.intro, self.note = text(), text()
        self.told = ""
        self.body = pn.Column(sizing_mode=WIDE, margin=0)

    def fields(self) -> dict[str, pn.widgets.Widget]:
        """Return the widgets that the address names."""
        return {"view": self.view}

    def watch(self) -> None:
        """Follow the widgets, once the address has set them."""
        self.view.param.watch(lambda _: self.redraw(), "value")

    def turn(self) -> None:
        """Draw what the view asks for into ``body``."""
        raise NotImplementedError

    def changed(self) -> bool:
        """Return whether something else than the market has changed that the page shows."""
        return False

    def serve(self) -> None:
        """Put the page together, and follow what it shows."""
        self.address = Address(self.fields())
        self.watch()
        self._introduce()
        self.redraw(*self.address.problems)
        pn.state.onload(self.address.write)
        pn.state.add_periodic_callback(self._follow, int(1000 * LOOK_SECONDS))
        theme = pn.theme.DarkTheme if dark() else pn.theme.DefaultTheme
        template = pn.Template(read("page.html"), theme=theme, location=True)
        css = read("page.css").replace(":root.dark", ":root") if dark() else read("page.css")
        host = str(pn.state.headers.get("Host", ""))
        host = host if re.fullmatch(r"[\w.:\[\]-]+", host, re.ASCII) else ""
        template.add_variable("sockets", f"ws://{host} wss://{host}" if host else "")
        template.add_variable("page_css", css)
        template.add_variable("pages", list(PAGES.items()))
        template.add_variable("here", self.here)
        template.add_variable("is_dark", dark())
        template.add_variable("keep", "?theme=dark" if dark() else "?theme=default")
        template.add_variable("other_theme", "?theme=default" if dark() else "?theme=dark")
        parts = self.intro, self.view, self.note, self.body
        template.add_panel("main", pn.Column(*parts, sizing_mode=WIDE, margin=0))
        template.servable(title=self.title)

    def redraw(self, *said: str) -> None:
        """Draw the view anew, with sentences above it; what cannot be drawn is told there."""
        self.tell(*said)
        try:
            self.turn()
        except PokewatchError as error:
            self.body.objects = []
            self.tell(*said, str(error))
        except Exception:  # a page that says so is better than an empty one
            log.exception("%s cannot be drawn", self.here)
            self.body.objects = []
            self.tell(*said, "This view cannot be drawn; the server's log says why.")

    def tell(self, *said: str) -> None:
        """Show sentences above the page, or none."""
        lines = "".join(f"<p class='banner' role='status'>{escape(one)}</p>" for one in said)
        self.note.object = lines

    def _introduce(self) -> None:
        where = self.now.market
        said = f"{len(where.cards):,} cards, prices from {where.dates[0]:%Y-%m-%d} to "
        said += f"{where.dates[-1]:%Y-%m-%d}, data version {where.data_version}, "
        said += f"model {self.now.speaks}"
        heading = f"<h1>{escape(PAGES[self.here])}</h1><p class='soft'>{escape(said)}</p>"
        self.told = trouble()
        late = "Newer data cannot be read; the server's log says why." if self.told else ""
        late = f"<p class='banner' role='alert'>{late}</p>" * bool(late)
        self.intro.object = heading + SIMULATED * self.now.simulated + late + noted(self.now.money)

    def _follow(self) -> None:
        newest = current()
        if newest is not self.now:
            self.now = newest
            self._introduce()
            day = f"{newest.market.dates[-1]:%Y-%m-%d}"
            self.redraw(f"New prices: data version {newest.market.data_version}, up to {day}.")
        elif self.changed():
            self.redraw()
        if self.told != trouble():
            self._introduce()


def buttons(name: str, options: dict[str, Any], value: Any) -> pn.widgets.RadioButtonGroup:
    """Return buttons of which one is pressed."""
    return pn.widgets.RadioButtonGroup(
        name=name, options=options, value=value, button_style="outline", **STYLE
    )


def served() -> bool:
    """Return whether a visitor's page is being made, rather than a notebook's output."""
    return pn.state.curdoc is not None and pn.state.curdoc.session_context is not None


def dark() -> bool:
    """Return whether the visitor looks at the dark page."""
    return pn.state.session_args.get("theme", [b""])[-1] == b"dark"
