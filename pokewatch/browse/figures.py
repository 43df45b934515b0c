"""Charts that answer to the pointer: a card's price and fan, and lines of an index or a value."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import panel as pn
from bokeh.models import (
    ColumnDataSource,
    DatetimeTicker,
    DatetimeTickFormatter,
    HoverTool,
    NumeralTickFormatter,
)
from bokeh.plotting import figure

from pokewatch.browse.layout import WIDE, dark, text
from pokewatch.charts.style import ACCENT, COLORS, DARK, DOWN, INK, LINE, PAPER, UP
from pokewatch.formatting import percent, usd

DAY = pd.Timedelta(days=1)
FAN = (7, 14, 30)  # days ahead that the fan goes through
LIGHT_ON_DARK = {"#b7791f": "#e2b65b", "#7b4b94": "#c39bd8"}


def ink(color: str) -> str:
    """Return a chart's colour as the visitor's theme has it."""
    return (DARK | LIGHT_ON_DARK).get(color, color) if dark() else color


def new(height: int, money: bool = True) -> figure:
    """Return an empty chart over days, in the visitor's colours."""
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
    chart.yaxis.formatter = NumeralTickFormatter(format="$0,0.00" if money else "0,0.0")
    return chart


def line(chart: figure, values: pd.Series, label: str, color: str, **look: Any) -> Any:
    """Draw a line over days (index of dates), named in the legend."""
    known = values.dropna()
    data = ColumnDataSource({"date": known.index, "value": known.to_numpy()})
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


def lines(series: dict[str, pd.Series], height: int = 300, money: bool = False) -> figure:
    """Draw lines over days, each with its name in the legend."""
    chart = new(height, money)
    drawn = [
        line(chart, values, label, color)
        for (label, values), color in zip(series.items(), COLORS, strict=False)
    ]
    write = "$@value{0,0.00}" if money else "@value{0,0.0}"
    hover(chart, drawn[:1], f"@date{{%F}}: {write}", mode="vline")
    return chart


def card(
    prices: pd.Series,
    forecast: pd.DataFrame,
    listings: pd.DataFrame,
    beside: dict[str, pd.Series],
    calls: pd.DataFrame,
    refused: pd.DataFrame,
) -> figure:
    """Draw a card's prices with the fan of its fair value, and what was asked to stand beside it.

    prices: USD, index of dates; forecast: a row a horizon; listings: low and mid, or no columns;
    beside: lines by name; calls: columns date, signal, price, y, move, right, kind; refused: date,
    market_price, meaning.
    """
    chart = new(420)
    since = prices.index[0]
    for (name, values), color in zip(beside.items(), COLORS[1:], strict=False):
        line(chart, values[values.index >= since], name, color, line_width=1.5, alpha=0.9)
    for name, dash in (("mid", "dashed"), ("low", "dotted")):
        if name in listings:
            values = listings.loc[listings.index >= since, name]
            line(chart, values, f"{name} listing", INK, line_width=1.3, line_dash=dash)
    drawn = line(chart, prices, "market price", INK)
    hover(chart, [drawn], "@date{%F}: @value{$0,0.00}", mode="vline")
    _fan(chart, prices, forecast)
    _calls(chart, calls[calls["date"] >= since])
    days = refused[(refused["date"] >= since) & refused["market_price"].notna()]
    if len(days):
        data = ColumnDataSource(days[["date", "market_price", "status", "meaning"]])
        crosses = chart.scatter(
            "date", "market_price", source=data, marker="x", size=9, color=ink(DOWN),
            line_width=2,
        )  # fmt: skip
        named(chart, "✕", DOWN, "refused or held")
        hover(chart, [crosses], "@date{%F}: @market_price{$0,0.00} @status: @meaning")
    return chart


def _fan(chart: figure, prices: pd.Series, forecast: pd.DataFrame) -> None:
    rows = forecast[forecast["horizon"].isin(FAN)]
    if rows.empty:
        return
    last, today = prices.iloc[-1], prices.index[-1]
    when = [today, *(today + rows["horizon"] * DAY)]
    low, high, middle = ([last, *rows[name]] for name in ("lower", "upper", "fair_value"))
    fan = {"date": when, "low": low, "high": high, "value": middle}
    data = ColumnDataSource(fan)
    chart.varea("date", "low", "high", source=data, color=ink(ACCENT), alpha=0.2)
    chart.line("date", "value", source=data, color=ink(ACCENT), line_width=2)
    named(chart, "●", ACCENT, "fair value with its 80 % band")
    ends = ColumnDataSource({name: values[1:] for name, values in fan.items()})
    dots = chart.scatter("date", "value", source=ends, size=8, color=ink(ACCENT))
    shown = "@date{%F}: fair value @value{$0,0.00}, 80 % between @low{$0,0.00} and @high{$0,0.00}"
    hover(chart, [dots], shown)


def _calls(chart: figure, calls: pd.DataFrame) -> None:
    signs = (("BUY", "triangle", "▲", UP), ("SELL", "inverted_triangle", "▼", DOWN))
    for signal, marker, sign, color in signs:
        rows = calls[calls["signal"] == signal]
        if rows.empty:
            continue
        said = [
            f"{row.signal} ({row.kind}): {usd(row.price)}, a week later {usd(row.y)}, "
            f"{percent(row.move, sign=True)}: {'right' if row.right else 'wrong'}"
            for row in rows.itertuples()
        ]
        data = ColumnDataSource(
            {"date": rows["date"], "price": rows["price"], "said": said}
            | {"fill": [ink(color) if right else ink(PAPER) for right in rows["right"]]}
        )
        marks = chart.scatter(
            "date", "price", source=data, marker=marker, size=11, line_color=ink(color),
            fill_color="fill",
        )  # fmt: skip
        named(chart, sign, color, f"past {signal}, filled where right")
        hover(chart, [marks], "@date{%F}: @said")
