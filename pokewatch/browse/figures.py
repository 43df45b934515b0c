"""Charts that answer to the pointer: a card's price and fan, and lines of an index or a value."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import panel as pn
from bokeh.models import (
    ColumnDataSource,
    CustomJSTickFormatter,
    DatetimeTicker,
    DatetimeTickFormatter,
    HoverTool,
    NumeralTickFormatter,
)
from bokeh.plotting import figure

from pokewatch.browse.layout import WIDE, dark, script, text
from pokewatch.charts.style import ACCENT, COLORS, DARK, DOWN, INK, LINE, PAPER, UP
from pokewatch.formatting import Money, number, percent

DAY = pd.Timedelta(days=1)
FAN = (7, 14, 30)  # days ahead that the fan goes through
LIGHT_ON_DARK = {"#b7791f": "#e2b65b", "#7b4b94": "#c39bd8"}


def ink(color: str) -> str:
    """Return a chart's colour as the visitor's theme has it."""
    return (DARK | LIGHT_ON_DARK).get(color, color) if dark() else color


def new(height: int, money: Money | None) -> figure:
    """Return an empty chart over days, in the visitor's colours; money: of its amounts, if any."""
    chart = figure(
        height=height,
        sizing_mode=WIDE,
        x_axis_type="datetime",
        tools="xbox_zoom,reset,save",
        toolbar_location="above",
        background_fill_color=ink(PAPER),
        border_fill_color=ink(PAPER),
        outline_line_color=None,
        min_border_right=12,
    )
    chart.toolbar.logo = None
    chart.toolbar.active_drag = None  # a finger scrolls the page
    chart.xgrid.grid_line_color = None
    chart.ygrid.grid_line_color = ink(LINE)
    chart.xaxis.ticker = DatetimeTicker(desired_num_ticks=5)  # a phone shows no more
    for axis in chart.axis:
        axis.major_label_text_color = ink(INK)
        axis.major_label_text_font_size = "13px"
        axis.axis_line_color = axis.major_tick_line_color = ink(LINE)
        axis.minor_tick_line_color = None
    chart.xaxis.formatter = DatetimeTickFormatter(days="%d %b", months="%b %Y", years="%Y")
    chart.yaxis.formatter = NumeralTickFormatter(format="0,0.0")
    if money:
        write = f"const value = tick; return {script(money)}"
        chart.yaxis.formatter = CustomJSTickFormatter(code=write)
    return chart


def line(
    chart: figure, values: pd.Series, label: str, color: str, money: Money | None, **look: Any
) -> Any:
    """Draw a line over days (index of dates), named in the legend; money: as in ``new``."""
    known = values.dropna()
    said = [money(one) if money else number(one, 1) for one in known]
    drawn = known.to_numpy() * (money.rate if money else 1.0)
    data = ColumnDataSource({"date": known.index, "value": drawn, "said": said})
    named(chart, {"dashed": "╌", "dotted": "┈"}.get(look.get("line_dash", ""), "━"), color, label)
    return chart.line("date", "value", source=data, color=ink(color), **{"line_width": 2, **look})


def named(chart: figure, sign: str, color: str, label: str) -> None:
    """Add a name to a chart's legend, which stands below it as text and so wraps on a phone."""
    chart.tags.append([sign, ink(color), label])


def hover(chart: figure, drawn: list[Any], shown: str, **options: Any) -> None:
    """Tell what is under the pointer; shown: tooltip with @-fields, which Bokeh escapes."""
    chart.add_tools(
        HoverTool(renderers=drawn, tooltips=shown, formatters={"@date": "datetime"}, **options)
    )


def pane(chart: figure) -> pn.Column:
    """Return a chart with its legend, as wide as the page."""
    legend = " ".join(
        f"<span><b aria-hidden='true' style='color: {color}'>{sign}</b> {escape(label)}</span>"
        for sign, color, label in chart.tags
    )
    drawn = pn.pane.Bokeh(chart, sizing_mode=WIDE, margin=0)
    return pn.Column(drawn, text(f"<p class='legend'>{legend}</p>"), sizing_mode=WIDE, margin=0)


def lines(series: dict[str, pd.Series], height: int = 300, money: Money | None = None) -> figure:
    """Draw lines over days, each with its name in the legend; money: of amounts, none of others."""
    chart = new(height, money)
    drawn = [
        line(chart, values, label, color, money)
        for (label, values), color in zip(series.items(), COLORS, strict=False)
    ]
    hover(chart, drawn[:1], "@date{%F}: @said", mode="vline")
    return chart


def card(
    prices: pd.Series,
    forecast: pd.DataFrame,
    listings: pd.DataFrame,
    beside: dict[str, pd.Series],
    calls: pd.DataFrame,
    refused: pd.DataFrame,
    money: Money,
) -> figure:
    """Draw a card's prices with the fan of its fair value, and what was asked to stand beside it.

    prices: USD, index of dates; forecast: a row a horizon; listings: low and mid, or no columns;
    beside: lines by name; calls: columns date, signal, price, y, move, right, kind; refused: date,
    market_price, meaning; money: how amounts, all of them as stored, are written.
    """
    chart = new(420, money)
    since = prices.index[0]
    for (name, values), color in zip(beside.items(), COLORS[1:], strict=False):
        line(chart, values[values.index >= since], name, color, money, line_width=1.5, alpha=0.9)
    for name, dash in (("mid", "dashed"), ("low", "dotted")):
        if name in listings:
            values = listings.loc[listings.index >= since, name]
            line(chart, values, f"{name} listing", INK, money, line_width=1.3, line_dash=dash)
    drawn = line(chart, prices, "market price", INK, money)
    hover(chart, [drawn], "@date{%F}: @said", mode="vline")
    _fan(chart, prices, forecast, money)
    _calls(chart, calls[calls["date"] >= since], money)
    days = refused[(refused["date"] >= since) & refused["market_price"].notna()]
    if len(days):
        at, said = days["market_price"] * money.rate, days["market_price"].map(money)
        data = ColumnDataSource(days[["date", "status", "meaning"]].assign(value=at, said=said))
        crosses = chart.scatter(
            "date", "value", source=data, marker="x", size=9, color=ink(DOWN),
            line_width=2,
        )  # fmt: skip
        named(chart, "✕", DOWN, "refused or held")
        hover(chart, [crosses], "@date{%F}: @said @status: @meaning")
    return chart


def _fan(chart: figure, prices: pd.Series, forecast: pd.DataFrame, money: Money) -> None:
    rows = forecast[forecast["horizon"].isin(FAN)]
    if rows.empty:
        return
    last, today = prices.iloc[-1], prices.index[-1]
    when = [today, *(today + rows["horizon"] * DAY)]
    low, high, middle = ([last, *rows[name]] for name in ("lower", "upper", "fair_value"))
    fan = pd.DataFrame({"low": low, "high": high, "value": middle})
    data = ColumnDataSource((fan * money.rate).assign(date=when))
    chart.varea("date", "low", "high", source=data, color=ink(ACCENT), alpha=0.2)
    chart.line("date", "value", source=data, color=ink(ACCENT), line_width=2)
    named(chart, "●", ACCENT, "fair value with its 80 % band")
    ends = ColumnDataSource(fan.map(money).assign(date=when, at=fan["value"] * money.rate)[1:])
    dots = chart.scatter("date", "at", source=ends, size=8, color=ink(ACCENT))
    hover(chart, [dots], "@date{%F}: fair value @value, 80 % between @low and @high")


def _calls(chart: figure, calls: pd.DataFrame, money: Money) -> None:
    signs = (("BUY", "triangle", "▲", UP), ("SELL", "inverted_triangle", "▼", DOWN))
    for signal, marker, sign, color in signs:
        rows = calls[calls["signal"] == signal]
        if rows.empty:
            continue
        said = [
            f"{row.signal} ({row.kind}): {money(row.price)}, a week later {money(row.y)}, "
            f"{percent(row.move, sign=True)}: {'right' if row.right else 'wrong'}"
            for row in rows.itertuples()
        ]
        data = ColumnDataSource(
            {"date": rows["date"], "price": rows["price"] * money.rate, "said": said}
            | {"fill": [ink(color) if right else ink(PAPER) for right in rows["right"]]}
        )
        marks = chart.scatter(
            "date", "price", source=data, marker=marker, size=11, line_color=ink(color),
            fill_color="fill",
        )  # fmt: skip
        named(chart, sign, color, f"past {signal}, filled where right")
        hover(chart, [marks], "@date{%F}: @said")
