"""Accuracy and speed beside the methods and tools that one would otherwise use for the same."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Collection, Iterable
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import bottleneck as bn
import numpy as np
import pandas as pd

from pokewatch.analysis.market import MIN_PRICE, marked
from pokewatch.evaluation.metrics import non_overlapping
from pokewatch.evaluation.predictions import predict
from pokewatch.models import features
from pokewatch.models.baseline import BaselineFairPriceModel
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import Panel, open_panel, price_sources
from pokewatch.schema import MODEL, SIMULATED
from pokewatch.settings import PROJECT, get_settings
from pokewatch.store.tables import Store

HISTORY = 180  # days that a classical method sees of a card
CLASSICAL = ("AutoETS", "AutoTheta", "DampedETS")


def installed() -> bool:
    """Return whether the extra ``bench`` (statsforecast) is installed."""
    return find_spec("statsforecast") is not None


def sample(
    forecasts: pd.DataFrame, cards: int = 30, dates: int = 6, horizon: int = 7
) -> pd.DataFrame:
    """Return the forecasts of some cards at some non-overlapping dates, the last ones.

    Cards of $1 and more, drawn with the seed of the settings; all models' rows of each.
    """
    rows = forecasts[forecasts["horizon"] == horizon]
    days = non_overlapping(sorted(rows["date"].unique(), reverse=True), horizon)[:dates]
    part = rows[rows["date"].isin(days) & (rows["price"] >= MIN_PRICE)]
    known = np.sort(part["card_id"].unique())
    rng = np.random.default_rng(get_settings().seed)
    chosen = rng.choice(known, min(cards, len(known)), replace=False)
    out = part[part["card_id"].isin(chosen)].reset_index(drop=True)
    return marked(out, bool(forecasts.attrs.get("simulated")))


def classical(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return rows (as ``sample`` gives them) with statsforecast's methods, and seconds of each.

    Each method is fitted anew for every card and date on the ``HISTORY`` days before. Without the
    extra ``bench``, and where there are none, the rows come back as they are.
    """
    if rows.empty or not installed():
        return rows, {}
    os.environ.setdefault("NIXTLA_ID_AS_COL", "1")
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS, AutoTheta, Naive

    makers: dict[str, Callable[[], Any]] = {
        "AutoETS": lambda: AutoETS(season_length=1, alias="AutoETS"),
        "AutoTheta": lambda: AutoTheta(season_length=1, alias="AutoTheta"),
        "DampedETS": lambda: AutoETS(season_length=1, damped=True, alias="DampedETS"),
    }
    panel, _ = open_panel(get_settings())
    own = rows[rows["model"] == MODEL]
    blank = own.assign(lower=np.nan, upper=np.nan, signal="HOLD", strength=np.nan)
    horizon = int(own["horizon"].iloc[0])

    def forecast(name: str) -> pd.DataFrame:
        found = []
        for day, group in blank.groupby("date"):
            series = _series(panel, pd.Timestamp(day), group["card_id"])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                engine = StatsForecast([makers[name]()], freq="D", fallback_model=Naive())
                ahead = cast(pd.DataFrame, engine.forecast(h=horizon, df=series))
            hat = group["card_id"].map(ahead.groupby("unique_id")[name].last())
            found.append(group.assign(model=name, y_hat=hat.where(hat > 0, group["price"])))
        return pd.concat(found)

    timed = {name: _timed(forecast, name) for name in CLASSICAL}
    out = pd.concat([rows, *(frame for frame, _ in timed.values())], ignore_index=True)
    seconds = {name: taken for name, (_, taken) in timed.items()}
    return marked(out, bool(rows.attrs.get("simulated"))), seconds


def _series(panel: Panel, day: pd.Timestamp, card_ids: pd.Series) -> pd.DataFrame:
    """Return the prices of the ``HISTORY`` days up to one, with statsforecast's column names."""
    column = pd.Index(panel.card_ids).get_indexer(card_ids)
    rows = long(panel.until(panel.day(day)).cards_only(column), len(column))
    rows = rows[rows["date"] > day - pd.Timedelta(days=HISTORY)]
    names = {"card_id": "unique_id", "date": "ds", "market_price": "y"}
    return rows[list(names)].rename(columns=names)


def latency(cards: int = 100) -> pd.DataFrame:
    """Return seconds of a prediction, cold and warm: columns what, cold, warm, cards.

    The baseline answers from its cache when it is asked again; a fair value is computed anew from
    the store each time.
    """
    settings = get_settings()
    prices = Store.from_settings(settings).prices(["card_id", "date", "market_price"])
    ids = prices.loc[prices["date"] == prices["date"].max(), "card_id"].head(cards).tolist()
    model = BaselineFairPriceModel().fit(prices)

    def baseline() -> float:
        return _timed(lambda: [model.predict(card_id) for card_id in ids])[1] / len(ids)

    def fair_value(card_ids: list[str] | None) -> float:
        return _timed(lambda: predict(settings, card_ids, horizons=[7], fresh=True))[1]

    rows = [
        ("baseline, one card", baseline(), min(baseline() for _ in range(5)), 1),
        ("fair value, one card", fair_value(ids[:1]), fair_value(ids[:1]), 1),
        ("fair value, all cards", fair_value(None), fair_value(None), prices["card_id"].nunique()),
    ]
    return pd.DataFrame(rows, columns=["what", "cold", "warm", "cards"])


def cost(largest: int = 4000, horizon: int = 7) -> pd.DataFrame:
    """Return seconds for markets up to a size: columns cards, build, fit, forecast.

    build: the features of every day; a fit and a forecast compute those of their cases themselves.
    A larger market than the stored one is made by repeating its cards.
    """
    settings = get_settings()
    panel, version = open_panel(settings)
    rows = []
    for size in sorted({max(largest // part, 10) for part in (64, 16, 4, 1)}):
        part = panel.cards_only(np.resize(np.arange(len(panel.card_ids)), size))
        _, build = _timed(features.build, part)
        model, fit = _timed(FairValueModel([horizon], settings.seed).fit, part)
        _, forecast = _timed(model.predict_days, part, [len(part.dates) - 1], [horizon])
        rows.append((size, build, fit, forecast))
    table = pd.DataFrame(rows, columns=["cards", "build", "fit", "forecast"])
    return marked(table, SIMULATED in price_sources(settings, version))


QUERY = ("momentum_7", "above_mean_7", "volatility_30", "below_high_30", "above_low_30")
SQL = """
with steps as (
    select card_id, date, ln(market_price) as p,
        p - lag(p) over w as step, p - lag(p, 7) over w as momentum_7
    from prices window w as (partition by card_id order by date)
)
select card_id, date, coalesce(momentum_7, 0) as momentum_7,
    p - avg(p) over (w rows 6 preceding) as above_mean_7,
    avg(least(abs(coalesce(step, 0)), 0.5)) over (w rows 29 preceding) as volatility_30,
    p - max(p) over (w rows 29 preceding) as below_high_30,
    p - min(p) over (w rows 29 preceding) as above_low_30
from steps window w as (partition by card_id order by date)
"""


def one_card(rows: pd.DataFrame, wanted: Collection[str] | None = None) -> pd.DataFrame:
    """Return features of one card as one writes them in pandas, named as ``features.names`` does.

    rows: the card's observations, a row a day; wanted: names (default: all but the ones that need
    other cards too, as the day's median).
    """
    price = np.log(rows["market_price"])
    step = price.diff().fillna(0)
    out: dict[str, pd.Series] = {}

    def put(kind: str, spans: Iterable[Any], make: Callable[[Any], pd.Series]) -> None:
        for name, span in ((f"{kind}_{span}", span) for span in spans):
            if wanted is None or name in wanted:
                out[name] = make(span)

    def window(values: pd.Series, span: int) -> Any:
        return values.rolling(span, min_periods=1)

    put("momentum", features.SPANS, price.diff)
    put("above_mean", features.MEANS, lambda span: price - window(price, span).mean())
    put("volatility", (7, 14, 30, 90), lambda span: window(step.abs().clip(upper=0.5), span).mean())
    put("unchanged", (7, 14, 30, 90), lambda span: window((step == 0).astype(float), span).mean())
    put("net_rises", (7, 14, 30), lambda span: window(np.sign(step), span).mean())
    put("below_high", (14, 30, 60, 120), lambda span: price - window(price, span).max())
    put("above_low", (14, 30, 60, 120), lambda span: price - window(price, span).min())
    put("low", ["gap"], lambda _: np.log(rows["low_price"]) - price)
    put("mid", ["gap"], lambda _: np.log(rows["mid_price"]) - price)
    put("low_momentum", (3, 7), lambda span: np.log(rows["low_price"]).diff(span))
    put("mid_momentum", (3, 7), lambda span: np.log(rows["mid_price"]).diff(span))
    put("sales", (3, 7, 14, 30), lambda span: np.log1p(window(rows["volume"], span).mean()))
    return pd.DataFrame(out).fillna(0.0)


def long(panel: Panel, cards: int) -> pd.DataFrame:
    """Return the first cards of a panel as long rows, columns as in the store."""
    part = panel.cards_only(slice(0, cards))
    day, card = np.nonzero(~np.isnan(part.price))
    rows = pd.DataFrame({"card_id": part.card_ids[card], "date": part.dates[day]})
    values = {"market_price": part.price, "low_price": part.low, "mid_price": part.mid}
    values["volume"] = part.volume
    rows = rows.assign(**{name: matrix[day, card] for name, matrix in values.items()})
    return rows.sort_values(["card_id", "date"], ignore_index=True)


def by_loop(rows: pd.DataFrame, wanted: Collection[str] | None = None) -> pd.DataFrame:
    """Return ``one_card`` of each card, by a loop: columns card_id, date and the features."""
    cards = rows.groupby("card_id")
    return pd.concat([one[["card_id", "date"]].join(one_card(one, wanted)) for _, one in cards])


def feature_loop(panel: Panel, cards: int = 40) -> float:
    """Return seconds a (card, day) of all features by a loop over some cards."""
    rows = long(panel, cards)
    return _timed(by_loop, rows)[1] / len(rows)


def ours(panel: Panel) -> dict[str, np.ndarray]:
    """Return the features of ``QUERY`` as matrices, float64, by the functions of ``features``."""
    rows = np.arange(len(panel.dates))
    price = np.log(panel.price)
    step = np.nan_to_num(features.change(price, 1, rows))
    size = min(30, len(price))
    return {
        "momentum_7": np.nan_to_num(features.change(price, 7, rows)),
        "above_mean_7": price - features.trailing(price, 7, rows),
        "volatility_30": features.trailing(np.minimum(np.abs(step), 0.5), 30, rows),
        "below_high_30": price - bn.move_max(price, size, min_count=1, axis=0),
        "above_low_30": price - bn.move_min(price, size, min_count=1, axis=0),
    }


def by_duckdb(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``QUERY`` by DuckDB's window functions."""
    import duckdb

    with duckdb.connect() as connection:
        connection.register("prices", rows)
        return connection.execute(SQL).df()


def by_polars(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``QUERY`` by polars' expressions over cards."""
    import polars as pl

    price = pl.col("market_price").log()
    step = price.diff().fill_null(0.0).abs().clip(upper_bound=0.5)
    columns = (
        price.diff(7).fill_null(0.0),
        price - price.rolling_mean(7, min_samples=1),
        step.rolling_mean(30, min_samples=1),
        price - price.rolling_max(30, min_samples=1),
        price - price.rolling_min(30, min_samples=1),
    )
    frame = pl.from_pandas(rows[["card_id", "date", "market_price"]]).sort("card_id", "date")
    named = [one.over("card_id").alias(name) for name, one in zip(QUERY, columns, strict=True)]
    return frame.select("card_id", "date", *named).to_pandas()


def feature_query(panel: Panel, cards: int) -> pd.DataFrame:
    """Return seconds of the same query by four tools, and whether they give the same.

    Cards that were there from the first day on. Columns tool, seconds, same (to 1e-9); a tool that
    is not installed has a reason in ``skipped`` instead.
    """
    part = panel.cards_only(np.flatnonzero(~np.isnan(panel.price[0]))[:cards])
    rows = long(part, len(part.card_ids))
    expected, seconds = _timed(ours, part)
    tools: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        "pandas, loop over cards": lambda rows: by_loop(rows, QUERY),
        "DuckDB": by_duckdb,
        "polars": by_polars,
    }
    table: list[dict[str, Any]] = [{"tool": "PokeWatch", "seconds": seconds, "same": True}]
    for name, tool in tools.items():
        package = name.lower().split(",")[0]
        if find_spec(package) is None:
            why = f"{package} is not installed: pip install 'pokewatch[bench]'"
            table.append({"tool": name, "skipped": why})
            continue
        tool(rows.head(1000))  # the first call pays for the import
        found, seconds = _timed(tool, rows)
        found = found.sort_values(["card_id", "date"])
        same = all(_close(found[one].to_numpy(), expected[one].T.ravel()) for one in QUERY)
        table.append({"tool": name, "seconds": seconds, "same": same})
    return pd.DataFrame(table, columns=["tool", "seconds", "same", "skipped"]).fillna(
        {"skipped": ""}
    )


def predictions(prices: pd.DataFrame, asked: int = 2000) -> pd.DataFrame:
    """Return seconds a prediction: a loop over rows with a dictionary as cache, and our baseline.

    prices: columns card_id, date, market_price, a row a day of each card. Columns tool, seconds,
    same (the answers, to 1e-9).
    """
    model = BaselineFairPriceModel().fit(prices)
    chosen = prices.sample(min(asked, len(prices)), random_state=1)
    pairs = list(zip(chosen["card_id"], chosen["date"].dt.date, strict=True))
    few = pairs[:50]  # each of them filters the whole table
    cache: dict[str, float] = {}

    def row_loop(card_id: str, day: Any) -> float:
        key = f"{card_id}|{day}"
        if key not in cache:
            past = prices[(prices["card_id"] == card_id) & (prices["date"] <= pd.Timestamp(day))]
            cache[key] = float(past.sort_values("date")["market_price"].tail(7).mean())
        return cache[key]

    def each(ask: Callable[[str, Any], float], pairs: list[tuple[str, Any]]) -> list[float]:
        return [ask(*pair) for pair in pairs]

    first, slow = _timed(each, row_loop, few)
    again, cached = _timed(each, row_loop, few * 200)
    model.cache.clear()
    cold, quick = _timed(each, model.predict, pairs)
    warm, hit = _timed(each, model.predict, few * 200)
    ids, days = (np.array(part) for part in zip(*pairs, strict=True))
    many, at_once = _timed(model.predict_many, ids, days)
    rows = [
        ("row loop with a dictionary, first time", slow / len(few), True),
        ("row loop with a dictionary, again", cached / len(again), again == first * 200),
        ("PokeWatch, first time", quick / len(pairs), _close(cold[: len(few)], first)),
        ("PokeWatch, again", hit / len(warm), _close(warm, first * 200)),
        ("PokeWatch, many at once", at_once / len(pairs), _close(many, cold)),
    ]
    return pd.DataFrame(rows, columns=["tool", "seconds", "same"])


def stored(path: Path | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a stored run of scripts/test_performance.py: its figures, and seconds by size.

    path: default ``docs/performance.json``. The figures have columns name, measured, yardstick,
    times, aim, met.
    """
    path = path or PROJECT / "docs" / "performance.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = [row for row in found["rows"] if "value" in row]
    table = pd.DataFrame(rows)
    table["measured"] = [f"{row['value']:.3g} {row['unit']}" for row in rows]
    table["times"] = table["ratio"].map("{:.2f}".format, na_action="ignore")
    growth = marked(pd.DataFrame(found["growth"]).drop(columns="days", errors="ignore"), True)
    return table[["name", "measured", "yardstick", "times", "aim", "met"]], growth


def exponents(sizes: pd.DataFrame) -> dict[str, float]:
    """Return for each timed column the power of ``cards`` with which it grows, fitted on logs."""
    logs = np.log(sizes.drop(columns="days", errors="ignore").astype(float))
    parts = [name for name in logs if name != "cards"]
    return {str(one): float(np.polyfit(logs["cards"], logs[one], 1)[0]) for one in parts}


def _close(one: Any, other: Any) -> bool:
    return bool(np.allclose(one, other, rtol=0, atol=1e-9))


def _timed(job: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    started = perf_counter()
    return job(*arguments), perf_counter() - started
