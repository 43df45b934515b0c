"""The sections of the nightly report as HTML; every value is escaped by the templates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pandas as pd
from IPython.display import HTML
from markupsafe import Markup
from matplotlib.axes import Axes

from pokewatch.analysis import market as markets
from pokewatch.analysis.market import MIN_PRICE
from pokewatch.analysis.verdict import verdict
from pokewatch.charts.market import market as market_index
from pokewatch.charts.market import sparkline
from pokewatch.charts.scores import coverage, skill
from pokewatch.charts.style import svg
from pokewatch.errors import UsageError
from pokewatch.evaluation import track_record
from pokewatch.evaluation.training import score_frame
from pokewatch.formatting import is_known
from pokewatch.report import facts, model_health
from pokewatch.report.facts import Night
from pokewatch.report.templating import read_template, render
from pokewatch.schema import HORIZONS, MODEL, SIGNAL_HORIZON, typed
from pokewatch.settings import get_settings
from pokewatch.watchlist import entries

INDEX_DAYS = 365
MOVERS_SHOWN = 4  # a side and span, at most
HELD_SHOWN = 10
SETS_SHOWN = 6  # that rose, and that fell
CARDS_SHOWN = 2000  # of all; a page of them takes about a megabyte


def open_night(on: str = "") -> Night:
    """Return everything the sections show, for a date ("" is the newest)."""
    try:
        day = date.fromisoformat(on) if on else None
    except ValueError as error:
        raise UsageError(f"date '{on}' is no date: write it as YYYY-MM-DD") from error
    return facts.load(get_settings(), day)


def style() -> HTML:
    """Return the report's style sheet, for looking at the sections in a notebook."""
    return HTML(f"<style>{read_template('report.css')}</style>")


def headline(night: Night) -> HTML:
    """Return title, sources, freshness, and the warnings on top of the page."""
    priced = night.holdings.dropna(subset=["value"])
    today = pd.Timestamp.now(tz="UTC").tz_localize(None).normalize()
    sides = night.calls["signal"].value_counts()
    return _render(
        "headline",
        night=night,
        buy=int(sides.get("BUY", 0)),
        sell=int(sides.get("SELL", 0)),
        copies=int(priced["quantity"].sum()),
        worth=float(priced["value"].sum()),
        week=entries.total_change(night.holdings, 7),
        unusable=night.watch_problem.startswith(facts.UNUSABLE),
        incomplete=night.covered is not None and not night.covered.enough,
        days_old=(today - night.last_date).days,
        verdict=verdict(night.scored, night.settings)[0],
    )


def market(night: Night) -> HTML:
    """Return the market index of the last year and how it moved."""
    first = max(len(night.panel.dates) - INDEX_DAYS, 0)
    index = markets.market_index(night.panel, night.settings.stale_days, first)
    changes = {
        span: index.iloc[-1] / index.iloc[-1 - span] - 1 if len(index) > span else math.nan
        for span in entries.SPANS
    }
    label = f"Market index from {index.iloc[0]:.0f} to {index.iloc[-1]:.1f}"
    chart = _draw(night, market_index, index, label, (8.0, 2.1))
    return _render("market", night=night, chart=chart, changes=changes, days=len(index) - 1)


def signals(night: Night, top: int = 10) -> HTML:
    """Return the day's BUY and SELL: the ``top`` largest expected moves of each."""
    top = max(top, 1)
    sides = []
    for side in ("BUY", "SELL"):
        found = facts.with_signal(night.calls, side)
        rows = [_card(night, row) for row in _rows(found, top)]
        sides.append({"side": side, "count": len(found), "rows": rows})
    return _render("signals", night=night, sides=sides, top=top)


# Signals, reasons and histories are of ungraded cards.
GRADED = {"signal": "", "reason": "Worth the median of its grade's sales on eBay.", "thin": False}


def portfolio(night: Night) -> HTML:
    """Return the watchlist: its value, what it gained, and a row a card."""
    held = night.holdings.assign(crossed=entries.crossed(night.holdings))
    priced = held[held["problem"].isna()]
    costed = priced.dropna(subset=["cost"])
    rows = []
    for row in _rows(priced):
        old = {"stale": row["age"] > night.settings.stale_days}
        call = GRADED | old if row["grade"] else night.calls.loc[row["card_id"]]
        before = {span: row[f"value_{span}"] for span in entries.SPANS}
        changes = {span: row["value"] / was - 1 if was else None for span, was in before.items()}
        rows.append(
            _card(night, row, spark=not row["grade"])
            | {name: call[name] for name in ("signal", "reason", "stale", "thin")}
            | {"changes": changes}
        )
    return _render(
        "watchlist",
        night=night,
        problem=night.watch_problem,
        rows=rows,
        unknown=list(_rows(held[held["problem"].notna()])),
        worth=float(priced["value"].sum()),
        copies=int(priced["quantity"].sum()),
        worn=bool((priced["condition"] != "near_mint").any()),
        totals={span: entries.total_change(held, span) for span in entries.SPANS},
        cost=float(costed["paid"].sum()),
        costed=len(costed),
        gain_total=float(costed["gain"].sum()),
        file=night.settings.watchlist.name,
    )


def movers(night: Night, top: int = 10) -> HTML:
    """Return the biggest rises and falls over 1, 7 and 30 days with small charts."""
    shown = max(min(top, MOVERS_SHOWN), 1)
    spans = []
    stale, history = night.settings.stale_days, len(night.panel.dates)
    for span in entries.SPANS:
        table = markets.movers(night.panel, span, stale)
        sides = {"up": table[table["change"] > 0], "down": table[table["change"] < 0].iloc[::-1]}
        drawn = {
            name: [_mover(night, row, span) for row in _rows(rows, shown)]
            for name, rows in sides.items()
        }
        spans.append({"days": span, "known": history > span, "sides": drawn})
    return _render("movers", night=night, spans=spans, stale=stale, history=history)


def sets(night: Night) -> HTML:
    """Return how the sets moved: those that rose and fell most, with their best and worst card."""
    found = facts.sets(night.panel, night.settings.stale_days)
    total, least = len(found), facts.MIN_SET_CARDS
    if total > 2 * SETS_SHOWN:
        found = pd.concat([found.head(SETS_SHOWN), found.tail(SETS_SHOWN)])
    rows = []
    for row in _rows(found):
        ends = {end: _card(night, {"card_id": row[end]}, spark=False) for end in ("best", "worst")}
        rows.append(row | ends)
    return _render("sets", night=night, rows=rows, total=total, top=SETS_SHOWN, least=least)


def every_card(night: Night, top: int = CARDS_SHOWN) -> HTML:
    """Return all cards, the ``top`` dearest, as a table that the page can sort and search."""
    table = facts.every_card(night.calls, night.panel)
    rows = [_card(night, row, spark=False) for row in _rows(table, max(top, 1))]
    return _render("cards", night=night, rows=rows, total=len(table))


def health(night: Night) -> HTML:
    """Return the model's last months and the drift of its inputs, with a verdict in words."""
    months, drift = facts.months(night), typed([], model_health.DRIFT)
    said = facts.published(night)
    recent = said[said["date"] > night.on - pd.Timedelta(days=track_record.RECORD_DAYS + 7)]
    live = track_record.record(said, said.iloc[:0], night.settings)
    if night.scored is not None:
        drift = model_health.drift(night.panel, pd.Timestamp(night.scored.as_of))
    return _render(
        "health",
        night=night,
        months=list(_rows(months)),
        live=list(_rows(live[live["month"] != "all"].tail(track_record.MONTHS))),
        moved=[row | {"means": model_health.stability(row["psi"])} for row in _rows(drift)],
        said=model_health.sentences(months, drift, track_record.of_nights(recent)),
    )


def model(night: Night) -> HTML:
    """Return the walk-forward scores beside naive and baseline, with a verdict in words."""
    table = pd.DataFrame() if night.scored is None else score_frame(night.scored)
    drawings = []
    lines: list[dict[str, Any]] = []
    if len(table):
        size, saved = (4.4, 2.4), "Error saved against no change, by horizon"
        drawings = [
            _draw(night, skill, table[table["model"] == MODEL], saved, size),
            _draw(night, coverage, table, "Interval coverage, by horizon", size),
        ]
        for horizon, rows in table.groupby("horizon"):
            by_model = rows.set_index("model").to_dict("index")
            lines.append({"horizon": int(horizon), **by_model})
    missing = [h for h in HORIZONS if h not in {line["horizon"] for line in lines}]
    return _render(
        "model",
        night=night,
        lines=lines,
        charts=drawings,
        verdict=verdict(night.scored, night.settings),
        missing=missing if lines else [],
        history=len(night.panel.dates),
    )


def quarantine(night: Night) -> HTML:
    """Return refused prices by reason, the rows that are held back, and repeated days."""
    held = night.quarantine[night.quarantine["status"] == "held"]
    rows = [_card(night, row, spark=False) for row in _rows(held, HELD_SHOWN)]
    return _render(
        "quarantine",
        night=night,
        reasons=list(_rows(markets.reasons_table(night.quarantine))),
        total=len(night.quarantine),
        held=len(held),
        rows=rows,
    )


def footer(night: Night) -> HTML:
    """Return how the figures were made, and what they are not."""
    return _render("footer", night=night, written=pd.Timestamp.now(tz="UTC"))


def _render(section: str, **values: Any) -> HTML:
    money = values["night"].money
    common = {"horizon": SIGNAL_HORIZON, "floor": MIN_PRICE, "money": money}
    return HTML(render(f"report_{section}.html", **common, **values))


def _rows(table: pd.DataFrame, top: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield rows as dicts, missing values as None."""
    part = (table if top is None else table.head(top)).astype("object")
    for row in part.where(part.notna(), None).to_dict("records"):
        yield {str(key): value for key, value in row.items()}


def _card(night: Night, row: dict[str, Any], spark: bool = True) -> dict[str, Any]:
    """Add what a reader recognises a card by, and its last 90 days."""
    card_id = row["card_id"]
    known = night.cards.loc[card_id] if card_id in night.cards.index else pd.Series(dtype=object)
    title = known.get("name")
    where = [known.get(name) for name in ("set_name", "number", "printing")]
    where[1] = f"#{where[1]}" if is_known(where[1]) else None
    if not is_known(title):
        where.insert(0, "name not known")
    out = row | {
        "title": str(title) if is_known(title) else str(card_id),
        "where": " · ".join(str(part) for part in where if is_known(part)),
    }
    if spark:
        history = night.history(card_id)
        known_prices = history.dropna()
        first, last = known_prices.iloc[0], known_prices.iloc[-1]
        money = night.money
        label = f"price over {len(known_prices)} days, from {money(first)} to {money(last)}"
        out["spark"] = _draw(night, sparkline, history, label)
    return out


def _mover(night: Night, row: dict[str, Any], span: int) -> dict[str, Any]:
    out = _card(night, row, spark=False)
    money = night.money
    label = f"price, {money(row['before'])} {span} days ago, {money(row['price'])} now"
    history = night.history(row["card_id"])
    return out | {
        "chart": _draw(night, sparkline, history, label, (2.9, 0.95), days=span, money=money)
    }


def _draw(
    night: Night,
    chart: Callable[..., Axes],
    frame: pd.DataFrame | pd.Series,
    *says: Any,
    **options: Any,
) -> Markup:
    frame.attrs["simulated"] = night.simulated
    return Markup(svg(chart, frame, *says, **options))  # noqa: S704 (svg escapes)
