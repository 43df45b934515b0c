"""Accuracy and speed beside what a user would pick or write otherwise for the same work."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np
import pandas as pd

from pokewatch.analysis.market import MIN_PRICE, columns, marked
from pokewatch.evaluation.predictions import predict
from pokewatch.models import features
from pokewatch.models.baseline import BaselineFairPriceModel
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import Panel, open_panel, price_sources
from pokewatch.schema import MODEL
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
    step = pd.Timedelta(days=horizon)
    days: list[pd.Timestamp] = []
    for day in sorted(rows["date"].unique(), reverse=True):
        if len(days) < dates and (not days or days[-1] - day >= step):
            days.append(pd.Timestamp(day))
    part = rows[rows["date"].isin(days) & (rows["price"] >= MIN_PRICE)]
    known = np.sort(part["card_id"].unique())
    rng = np.random.default_rng(get_settings().seed)
    chosen = rng.choice(known, min(cards, len(known)), replace=False)
    out = part[part["card_id"].isin(chosen)].reset_index(drop=True)
    return marked(out, bool(forecasts.attrs.get("simulated")))


def classical(rows: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return rows (as ``sample`` gives them) with statsforecast's methods, and seconds of each.

    Each method is fitted anew for every card and date on the ``HISTORY`` days before. Without the
    extra ``bench`` the rows come back as they are.
    """
    if not installed():
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
    frames, seconds = [rows], {}
    horizon = int(own["horizon"].iloc[0])
    for name in CLASSICAL:
        started = perf_counter()
        found = []
        for day, group in blank.groupby("date"):
            series = _series(panel, pd.Timestamp(day), group["card_id"])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                engine = StatsForecast([makers[name]()], freq="D", fallback_model=Naive())
                ahead = cast(pd.DataFrame, engine.forecast(h=horizon, df=series))
            last = ahead.groupby("unique_id")[name].last()
            hat = group["card_id"].map(last)
            found.append(group.assign(model=name, y_hat=hat.where(hat > 0, group["price"])))
        seconds[name] = perf_counter() - started
        frames.append(pd.concat(found))
    out = pd.concat(frames, ignore_index=True)
    return marked(out, bool(rows.attrs.get("simulated"))), seconds


def _series(panel: Panel, day: pd.Timestamp, card_ids: pd.Series) -> pd.DataFrame:
    row = panel.day(day)
    first = max(row - HISTORY + 1, 0)
    column = pd.Index(panel.card_ids).get_indexer(card_ids)
    prices = pd.DataFrame(panel.price[first : row + 1, column], panel.dates[first : row + 1])
    long = prices.set_axis(card_ids.tolist(), axis=1).rename_axis("ds").reset_index()
    return long.melt("ds", var_name="unique_id", value_name="y").dropna(subset="y")


def latency(cards: int = 100) -> pd.DataFrame:
    """Return seconds of a prediction, cold and warm: columns what, cold, warm, cards.

    The baseline answers from its cache when it is asked again; a fair value is computed anew from
    the store each time.
    """
    settings = get_settings()
    store = Store.from_settings(settings)
    model = BaselineFairPriceModel()
    prices = store.prices(["card_id", "date", "market_price"])
    last = prices["date"].max()
    ids = prices.loc[prices["date"] == last, "card_id"].head(cards).tolist()
    model.fit(prices)

    def asked() -> None:
        for card_id in ids:
            model.predict(card_id)

    cold, warm = _timed(asked)[1] / len(ids), min(_timed(asked)[1] for _ in range(5)) / len(ids)
    rows: list[tuple[str, float, float, int]] = [("baseline, one card", cold, warm, 1)]
    jobs: tuple[tuple[str, Callable[[], object], int], ...] = (
        ("fair value, one card", lambda: predict(settings, ids[:1], horizons=[7]), 1),
        (
            "fair value, all cards",
            lambda: predict(settings, horizons=[7]),
            prices["card_id"].nunique(),
        ),
    )
    for what, job, number in jobs:
        rows.append((what, _timed(job)[1], _timed(job)[1], number))
    return pd.DataFrame(rows, columns=["what", "cold", "warm", "cards"])


def cost(largest: int = 4000, horizon: int = 7) -> pd.DataFrame:
    """Return seconds for markets up to a size: columns cards, build (features), fit, forecast.

    A larger market than the stored one is made by repeating its cards.
    """
    settings = get_settings()
    panel, version = open_panel(settings)
    rows = []
    for size in sorted({max(largest // part, 10) for part in (64, 16, 4, 1)}):
        part = columns(panel, np.resize(np.arange(len(panel.card_ids)), size))
        started = perf_counter()
        built = features.build(part)
        done = perf_counter()
        model = FairValueModel([horizon], settings.seed).fit(part, built)
        fitted = perf_counter()
        model.predict_days(part, [len(part.dates) - 1], [horizon], built)
        rows.append((size, done - started, fitted - done, perf_counter() - fitted))
    table = pd.DataFrame(rows, columns=["cards", "build", "fit", "forecast"])
    return marked(table, "simulated" in price_sources(settings, version))


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


def one_card(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what ``features.own``, ``sales`` and ``quotes`` say of a card, as pandas is written.

    rows: one card's observations, a row a day; the day's median, which needs all cards, is left
    out.
    """
    price, low, mid = (np.log(rows[name]) for name in ("market_price", "low_price", "mid_price"))
    step = price.diff().fillna(0)
    out = {f"momentum_{span}": price.diff(span) for span in features.SPANS}
    for span in features.MEANS:
        out[f"above_mean_{span}"] = price - price.rolling(span, min_periods=1).mean()
    for span in (7, 14, 30, 90):
        out[f"volatility_{span}"] = step.abs().clip(upper=0.5).rolling(span, min_periods=1).mean()
        out[f"unchanged_{span}"] = (step == 0).astype(float).rolling(span, min_periods=1).mean()
    for span in (7, 14, 30):
        out[f"net_rises_{span}"] = np.sign(step).rolling(span, min_periods=1).mean()
    for span in (14, 30, 60, 120):
        out[f"below_high_{span}"] = price - price.rolling(span, min_periods=1).max()
        out[f"above_low_{span}"] = price - price.rolling(span, min_periods=1).min()
    for name, quote in (("low", low), ("mid", mid)):
        out[f"{name}_gap"] = quote - price
        for span in (3, 7):
            out[f"{name}_momentum_{span}"] = quote.diff(span)
    for span in (3, 7, 14, 30):
        out[f"sales_{span}"] = np.log1p(rows["volume"].rolling(span, min_periods=1).mean())
    return pd.DataFrame(out).fillna(0.0)


def long(panel: Panel, cards: int) -> pd.DataFrame:
    """Return the first cards of a panel as long rows, columns as in the store."""
    part = panel.cards_only(slice(0, cards))
    day, card = np.nonzero(~np.isnan(part.price))
    values = {"market_price": part.price, "low_price": part.low, "mid_price": part.mid}
    return pd.DataFrame(
        {"card_id": part.card_ids[card], "date": part.dates[day]}
        | {name: matrix[day, card] for name, matrix in values.items()}
        | {"volume": part.volume[day, card]}
    ).sort_values(["card_id", "date"], ignore_index=True)


def feature_loop(panel: Panel, cards: int = 40) -> float:
    """Return seconds a (card, day) of the loop over cards that ``one_card`` is called in."""
    rows = long(panel, cards)
    started = perf_counter()
    for _, one in rows.groupby("card_id"):
        one_card(one)
    return (perf_counter() - started) / len(rows)


def ours(panel: Panel) -> dict[str, np.ndarray]:
    """Return the features of ``QUERY`` as matrices, float64, made as ``features.own`` does."""
    rows = np.arange(len(panel.dates))
    price = np.log(panel.price)
    step = np.nan_to_num(features.change(price, 1, rows))
    moves = features.Trailing(np.minimum(np.abs(step), 0.5))
    return {
        "momentum_7": np.nan_to_num(features.change(price, 7, rows)),
        "above_mean_7": price - features.Trailing(price).mean(7, rows),
        "volatility_30": moves.mean(30, rows),
        "below_high_30": price - features.extremes(price, [30], np.fmax)[30],
        "above_low_30": price - features.extremes(price, [30], np.fmin)[30],
    }


def by_loop(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``QUERY`` by a pandas loop over cards: columns card_id, date and the features."""
    found = []
    for _, one in rows.groupby("card_id"):
        price = np.log(one["market_price"])
        moves = price.diff().fillna(0).abs().clip(upper=0.5)
        window = price.rolling(30, min_periods=1)
        columns = (
            price.diff(7).fillna(0),
            price - price.rolling(7, min_periods=1).mean(),
            moves.rolling(30, min_periods=1).mean(),
            price - window.max(),
            price - window.min(),
        )
        named = dict(zip(QUERY, columns, strict=True))
        found.append(one[["card_id", "date"]].assign(**named))
    return pd.concat(found)


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
    """Return seconds of the same query by four tools, and whether they say the same.

    Cards that were there from the first day on. Columns tool, seconds, same (to 1e-9); a tool that
    is not installed has a reason in ``skipped`` instead.
    """
    part = columns(panel, np.flatnonzero(~np.isnan(panel.price[0]))[:cards])
    keep = part.card_ids
    rows = long(part, len(keep))
    own, mine = _timed(lambda: ours(part))
    tools: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        "pandas, loop over cards": by_loop,
        "DuckDB": by_duckdb,
        "polars": by_polars,
    }
    table: list[dict[str, Any]] = [
        {"tool": "PokeWatch", "seconds": mine, "same": True, "skipped": ""}
    ]
    for name, tool in tools.items():
        package = name.lower().split(",")[0]
        if find_spec(package) is None:
            why = f"{package} is not installed: pip install 'pokewatch[bench]'"
            table.append({"tool": name, "skipped": why})
            continue
        tool(rows.head(1000))  # the first call pays for the import
        found, seconds = _timed(lambda tool=tool: tool(rows))  # type: ignore[misc]
        found = found.sort_values(["card_id", "date"])
        same = all(
            np.allclose(found[one].to_numpy(), own[one].T.ravel(), rtol=0, atol=1e-9)
            for one in QUERY
        )
        table.append({"tool": name, "seconds": seconds, "same": same})
    return pd.DataFrame(table).fillna({"skipped": ""})


def predictions(prices: pd.DataFrame, asked: int = 2000) -> pd.DataFrame:
    """Return seconds a prediction: a loop over rows with a dictionary as cache, and our baseline.

    prices: columns card_id, date, market_price, a row a day of each card. Columns tool, seconds,
    same (the answers, to 1e-9).
    """
    model = BaselineFairPriceModel().fit(prices)
    chosen = prices.sample(min(asked, len(prices)), random_state=1)
    pairs = list(zip(chosen["card_id"], chosen["date"].dt.date, strict=True))
    cache: dict[str, float] = {}

    def looked_up(card_id: str, day: Any) -> float:
        key = f"{card_id}|{day}"
        if key not in cache:
            own = prices[(prices["card_id"] == card_id) & (prices["date"] <= pd.Timestamp(day))]
            cache[key] = float(own.sort_values("date")["market_price"].tail(7).mean())
        return cache[key]

    few = pairs[:50]  # each of them filters the whole table
    said, slow = _timed(lambda: [looked_up(*pair) for pair in few])
    cached, quick = _timed(lambda: [looked_up(*pair) for pair in few * 200])
    model.cache.clear()
    cold, first = _timed(lambda: [model.predict(*pair) for pair in pairs])
    _, warm = _timed(lambda: [model.predict(*pair) for pair in few * 200])
    ids, days = (np.array(part) for part in zip(*pairs, strict=True))
    at_once, many = _timed(lambda: model.predict_many(ids, days))
    same = [True, cached[: len(few)] == said, _close(cold[: len(few)], said)]
    same += [same[-1], _close(at_once, cold)]
    found = [
        ("row loop with a dictionary, first time", slow / len(few)),
        ("row loop with a dictionary, again", quick / len(few) / 200),
        ("PokeWatch, first time", first / len(pairs)),
        ("PokeWatch, again", warm / len(few) / 200),
        ("PokeWatch, many at once", many / len(pairs)),
    ]
    return pd.DataFrame(found, columns=["tool", "seconds"]).assign(same=same)


def stored(path: Path = PROJECT / "docs" / "performance.json") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a stored run of scripts/test_performance.py: its figures, and seconds by size.

    The figures have columns name, measured, yardstick, times, aim, met.
    """
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


def _timed(job: Callable[[], Any]) -> tuple[Any, float]:
    started = perf_counter()
    return job(), perf_counter() - started
