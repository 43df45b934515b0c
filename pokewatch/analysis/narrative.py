"""What figures mean, in sentences for notebooks; every number in them is computed."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pandas as pd
from IPython.display import Markdown

from pokewatch.analysis.market import Card, Market
from pokewatch.analysis.verdict import INTERVAL_SLACK, UNSCORED, verdict
from pokewatch.evaluation.metrics import TIMING
from pokewatch.evaluation.training import Experiment
from pokewatch.formatting import Money, duration, listed, number, percent
from pokewatch.formatting import days as days_of
from pokewatch.models.intervals import COVERAGE
from pokewatch.schema import MODEL
from pokewatch.settings import get_settings
from pokewatch.sources import ecb

CLEAR = 0.05  # rank correlation from which on past moves say something about the next ones
FULL_YEARS = 24  # months of record without which a season is no season
SIMULATED = "**These prices are simulated.** "
_change = partial(percent, sign=True, unknown="unknown")
_share = partial(percent, digits=0, unknown="unknown")


def _price(value: float) -> str:
    """Return an amount in the currency of the settings."""
    return ecb.display(get_settings())(value, short=True)


def _text(*sentences: str) -> Markdown:
    """Return sentences as Markdown in which a dollar sign is money, no formula."""
    return Markdown(" ".join(sentences).replace("$", r"\$"))


def _name(text: object) -> str:
    """Return a name whose characters mean nothing in Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", str(text))


def _moved(change: float) -> str:
    if abs(change) < 0.0005:
        return "stood still"
    return f"{'rose' if change > 0 else 'fell'} {percent(abs(change))}"


def market(what: Market) -> Markdown:
    """Return what the market holds and how it moved."""
    index = what.index()
    month = min(30, len(index) - 1)
    kinds = [
        f"{count:,} {'sealed' if kind == 'sealed' else 'singles'}"
        for kind, count in what.cards["product_kind"].value_counts().items()
    ]
    return _text(
        f"{SIMULATED if what.simulated else ''}The store holds {len(what.cards):,} cards"
        f"{f' ({listed(kinds)})' if kinds else ''} on {len(index):,} days up to "
        f"{what.dates[-1]:%Y-%m-%d}. One of each costs {_price(what.cards['last_price'].sum())} "
        f"today. The index {_moved(index.iloc[-1] / index.iloc[0] - 1)} over the whole time and "
        f"{_moved(index.iloc[-1] / index.iloc[-1 - month] - 1)} in the last {month} days.",
        *filter(None, [ecb.display(what.settings).note]),
    )


def card(what: Card) -> Markdown:
    """Return where a card's price stands and what the model expects of it."""
    prices = what.prices
    still = (prices.pct_change().dropna() == 0).mean()
    rows = what.fair_value()
    row = rows.iloc[(rows["horizon"] - 7).abs().argmin()]
    return _text(
        f"**{_name(what.title)}** costs {_price(what.info['last_price'])}, after "
        f"{_price(prices.min())} at the lowest and {_price(prices.max())} at the highest; "
        f"its price stood still on {_share(still)} of days.",
        f"In {row['horizon']} days the model expects {_price(row['fair_value'])}, with 80 % chance "
        f"between {_price(row['lower'])} and {_price(row['upper'])}: **{row['signal']}**.",
        row["reason"],
        *filter(None, [ecb.display(get_settings()).note]),
    )


def moves(returns: pd.DataFrame, days: int) -> Markdown:
    """Return how changes over some days are distributed."""
    values = returns.to_numpy().ravel()
    values = values[np.isfinite(values)]
    if not len(values):
        return _text("No change is known at both ends.")
    moved = np.abs(values[values != 0])
    low, high = np.quantile(values, [0.05, 0.95])
    settings = get_settings()
    return _text(
        f"Of {len(values):,} changes over {days_of(days)}, {_share((values == 0).mean())} are "
        f"exactly zero; of the others half are below "
        f"{percent(np.median(moved)) if len(moved) else 'nothing'}.",
        f"Nine of ten lie between {_change(low)} and {_change(high)}, and "
        f"{_share((np.abs(values) >= settings.good_move).mean())} reach the "
        f"{_share(settings.good_move)} that makes a call right, while selling costs "
        f"{_share(settings.fee)}.",
    )


def momentum(frame: pd.DataFrame) -> Markdown:
    """Return whether cards that rose go on rising."""
    known = frame.stack(future_stack=True).dropna()
    if known.empty:
        return _text("The history is too short to compare past with next changes.")
    back, ahead = known.abs().idxmax()
    clear = known[known.abs() >= CLEAR]
    if clear.empty:
        meaning = "Past changes say next to nothing about the next ones"
    elif (clear > 0).all():
        meaning = "Prices show **momentum**: cards that rose tend to go on rising"
    elif (clear < 0).all():
        meaning = "Prices show **mean reversion**: cards that rose tend to come back"
    else:
        meaning = "Prices show momentum at some spans and mean reversion at others"
    return _text(
        f"{meaning}. The closest link is that of the last {back} with the next {days_of(ahead)}: a "
        f"rank correlation of {number(known.loc[(back, ahead)], 2, sign=True)}."
    )


def seasons(months: pd.DataFrame, weekdays: pd.DataFrame) -> Markdown:
    """Return in which months and on which weekdays the index rose."""
    if months.empty:
        return _text("The history is too short for seasons.")
    whole = months[months["days"] >= pd.PeriodIndex(months["month"], freq="M").days_in_month]
    said = []
    if len(whole) > 1:
        worst, best = whole.sort_values("change").iloc[[0, -1]].to_dict("records")
        said = [
            f"The best whole month was {best['month']} ({_change(best['change'])}), the worst "
            f"{worst['month']} ({_change(worst['change'])})."
        ]
    down, up = weekdays.sort_values("change").iloc[[0, -1]].to_dict("records")
    few = f"With {len(months)} months on record, a season cannot be told from chance."
    return _text(
        *said,
        f"Of the weekdays, {up['weekday']} did best ({_change(up['change'], 2)} a day) and "
        f"{down['weekday']} worst ({_change(down['change'], 2)}).",
        *([few] if len(months) < FULL_YEARS else []),
    )


def groups(frame: pd.DataFrame, what: str) -> Markdown:
    """Return which groups gained and lost most; what: their name in the plural."""
    known = frame.dropna(subset="change")
    if len(known) < 2:
        return _text(f"There are not two {what} whose change is known.")
    first, last = known.iloc[0], known.iloc[-1]
    costly = known.loc[known["value"].idxmax()]
    return _text(
        f"In {frame.attrs.get('days', 30)} days, of {len(known):,} {what}, {_name(first.iloc[0])} "
        f"did best ({_change(first['change'])}) and {_name(last.iloc[0])} worst "
        f"({_change(last['change'])}).",
        f"The most costly to own whole is {_name(costly.iloc[0])}, at {_price(costly['value'])} "
        f"for its {costly['cards']:,} cards.",
    )


def quality(what: Market) -> Markdown:
    """Return how complete the prices are, and what was refused."""
    share, reasons = what.observed(), what.quarantine_reasons()
    fresh = (
        f"On an average day {percent(share.mean())} of the known cards have a fresh price; fewest "
        f"had one on {share.idxmin():%Y-%m-%d} ({_share(share.min())})."
    )
    if reasons.empty:
        return _text(fresh, "No row is in quarantine.")
    first, held = reasons.iloc[0], int(reasons["held"].sum())
    return _text(
        fresh,
        f"{int(reasons['rows'].sum()):,} delivered rows are kept out of every figure here"
        f"{f', {held:,} of them until they are confirmed' if held else ''}; the most common cause "
        f"is: {first['meaning']} ({first['rows']:,}).",
    )


def skill(what: Experiment) -> Markdown:
    """Return what a trial's model is worth, beside "no change" and the baseline."""
    table = what.scores
    base = table[table["model"] == "baseline"] if len(table) else table
    return _text(
        *verdict(what.trained, get_settings()),
        *(
            f"The baseline's error {days_of(row.horizon)} ahead is {_share(abs(row.rmae - 1))} "
            f"{'larger' if row.rmae > 1 else 'smaller'} than that of “no change”."
            for row in base.itertuples()
            if row.rmae == row.rmae  # else nothing moved
        ),
    )


def importance(frame: pd.DataFrame) -> Markdown:
    """Return on which features the forecast leans."""
    if frame.empty:
        return _text(UNSCORED)
    clear = frame[frame["importance"] > frame["spread"].clip(lower=0.001)]
    if clear.empty:
        return _text("No single family of features matters: each is told by the others as well.")
    parts = [f"{row.family} ({percent(row.importance)})" for row in clear.head(3).itertuples()]
    return _text(
        f"The forecast leans most on {listed(parts)}; in brackets the error that shuffling adds, "
        f"as a share of that of “no change”.",
        f"{len(frame) - len(clear)} of {len(frame)} families change next to nothing.",
    )


def calibration(frame: pd.DataFrame) -> Markdown:
    """Return whether intervals hold what they promise; frame: a score table."""
    own = frame[frame["model"] == MODEL] if len(frame) else frame
    if own.empty:
        return _text(UNSCORED)
    seen = [f"{_share(row.coverage)} at {days_of(row.horizon)}" for row in own.itertuples()]
    meaning = "are too wide" if own["coverage"].mean() > COVERAGE else "are too narrow"
    if (own["coverage"] - COVERAGE).abs().max() <= INTERVAL_SLACK:
        meaning = "hold what they promise"
    return _text(
        f"Promised are {_share(COVERAGE)} of prices inside the interval; seen were {listed(seen)}.",
        f"The intervals {meaning}.",
    )


def gate(what: Experiment) -> Markdown:
    """Return what the gate thinks of a trial, and where the trial is kept."""
    passes = "would let it become champion" if what.verdict.passed else "would not let it pass"
    kept = (
        f"Its run is in MLflow ({what.logged})."
        if what.logged
        else "It was not logged to MLflow, as tracking is switched off."
    )
    return _text(
        f"The gate {passes}: {'; '.join(what.verdict.reasons)}.",
        f"This was a trial, and the champion is what it was. {kept}",
    )


def equity(frame: pd.DataFrame) -> Markdown:
    """Return what following the signals would have brought against holding."""
    if len(frame) < 2:
        return _text(UNSCORED)
    last, curves = frame.iloc[-1], frame[["followed", "held"]]
    fall = (1 - curves / curves.cummax()).max()
    stored = ecb.stored_currency(get_settings())  # the curve is no amount to be converted
    money = Money(stored, stored).name
    better = "beats" if last["followed"] > last["held"] else "loses against"
    return _text(
        f"From {frame['date'].iloc[0]:%Y-%m-%d} to {last['date']:%Y-%m-%d}, 100 {money} put into "
        f"every BUY became {last['followed']:.0f} after the {_share(get_settings().fee)} that each "
        f"sale costs ({last['before_fees']:.0f} before it), and {last['held']:.0f} in all cards "
        f"of the first day, bought once and sold at the end: trading each signal {better} holding.",
        f"The worst fall on the way was {_share(fall['followed'])} against {_share(fall['held'])}; "
        f"the money lay idle in {(frame['calls'].iloc[1:] == 0).sum()} of {len(frame) - 1} "
        "periods. What BUY is good for is choosing what to buy anyway, and SELL when to sell it.",
    )


def record(frame: pd.DataFrame, table: pd.DataFrame) -> Markdown:
    """Return how the calls did; frame: a track record, table: the score table of its forecasts."""
    if table.empty:
        return _text(UNSCORED)
    own = table[table["model"] == MODEL].iloc[0]
    horizon, good = int(own["horizon"]), _share(get_settings().good_move)
    sentences = []
    for side, verb in (("BUY", "rose"), ("SELL", "fell")):
        right = frame.loc[frame["signal"] == side, "right"]
        base = own[f"{side.lower()}_base_rate"]
        sentences.append(
            f"Of {len(right):,} {side} (one a card and day), {_share(right.mean())} {verb} by "
            f"{good} or more in {horizon} days, against {_share(base)} of all cards: "
            f"{right.mean() / base:.1f} times as often."
            if len(right)
            else f"No {side} was given."
        )
    for side in ("buy", "sell"):
        gain, low, high = (own[f"{side}_{name}"] for name in TIMING)
        if np.isfinite(gain):
            between = f" (95 % interval {_change(low)} to {_change(high)})" * bool(np.isfinite(low))
            sentences.append(
                f"Acting on a {side.upper()} at once, not {horizon} days later, was worth "
                f"{_change(gain)} of the price{between}, beyond what all cards moved and before "
                "fees."
            )
    if (frame["signal"] == "BUY").any():
        sentences.append(
            f"Bought at each BUY and sold {horizon} days later, the mean result after fees is "
            f"{_change(own['return_after_fees'])}."
        )
    return _text(*sentences)


def spread(frame: pd.DataFrame, what: str) -> Markdown:
    """Return in how many groups the model was better than "no change"; what: their plural."""
    if not frame["rmae"].notna().any():
        return _text(UNSCORED)
    weakest = frame.loc[frame["rmae"].idxmax()]
    return _text(
        f"The model was better than “no change” in {(frame['rmae'] < 1).sum()} of {len(frame)} "
        f"{what}; its weakest was {_name(weakest['group'])}, with {weakest['rmae']:.2f} of that "
        "error."
    )


def worst(frame: pd.DataFrame) -> Markdown:
    """Return what the worst calls have in common."""
    if frame.empty:
        return _text("No call was given, so none was wrong.")
    row = frame.iloc[0]
    name = row["name"] if isinstance(row["name"], str) else row["card_id"]
    parts = [f"{count} {side}" for side, count in frame["signal"].value_counts().items()]
    return _text(
        f"The worst call of all was {row['signal']} for {_name(name)} on {row['date']:%Y-%m-%d}: "
        f"the price went from {_price(row['price'])} to {_price(row['y'])}.",
        f"Of the {len(frame)} worst, one a card, {listed(parts)}.",
    )


def methods(frame: pd.DataFrame, rows: pd.DataFrame) -> Markdown:
    """Return which method erred least; frame: the score table of the forecasts ``rows``."""
    if frame.empty:
        return _text(UNSCORED)
    order = frame.sort_values("rmae")
    names = order["model"].str.replace("_", " ")
    better = names[order["rmae"] < 1].tolist()
    skipped = "AutoETS, AutoTheta and damped ETS were skipped: install the extra `bench`."
    return _text(
        f"On {rows['card_id'].nunique()} cards and {rows['date'].nunique()} dates, "
        f"{names.iloc[0]} erred least ({order['rmae'].iloc[0]:.2f} of the error of “no change”); "
        f"the fair-value model is number {order['model'].tolist().index(MODEL) + 1} of "
        f"{len(order)}. Better than “no change”: {listed(better) if better else 'none'}.",
        *([skipped] if len(order) <= len((MODEL, "naive", "baseline")) else []),
    )


def latency(frame: pd.DataFrame) -> Markdown:
    """Return how quick a prediction is, first and again."""
    one, whole = frame.iloc[0], frame.iloc[-1]
    return _text(
        f"The baseline answers in {duration(one['cold'])} at first and in {duration(one['warm'])} "
        f"from its cache. The fair values of {whole['cards']:,} cards take "
        f"{duration(whole['warm'])}, reading the store included."
    )


def cost(frame: pd.DataFrame) -> Markdown:
    """Return what the largest market that was timed takes."""
    last = frame.iloc[-1]
    return _text(
        f"For {int(last['cards']):,} cards, one fit and a forecast of every card take "
        f"{duration(last[['fit', 'forecast']].sum())} together. A fit draws at most a "
        "fixed number of rows, so that a larger market costs it little; features grow with the "
        "number of cards."
    )


def source(forecasts: pd.DataFrame) -> Markdown:
    """Return which forecasts are looked at."""
    own = forecasts[forecasts["model"] == MODEL]
    if own.empty:
        return _text(UNSCORED)
    return _text(
        f"{SIMULATED if forecasts.attrs.get('simulated') else ''}There are {len(own):,} forecasts "
        f"of {own['card_id'].nunique():,} cards, made from {own['date'].min():%Y-%m-%d} to "
        f"{own['date'].max():%Y-%m-%d} by a model fitted {own['origin'].nunique()} times, each "
        "time on earlier days only."
    )
