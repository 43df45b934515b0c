"""What figures say, in sentences for notebooks; every number is computed."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from IPython.display import Markdown

from pokewatch.analysis.card import Card
from pokewatch.analysis.experiment import Trial
from pokewatch.analysis.market import Market
from pokewatch.analysis.tables import percent, seconds
from pokewatch.charts.report import dollars
from pokewatch.models.intervals import COVERAGE
from pokewatch.report import verdict as report_verdict
from pokewatch.report.verdict import listed
from pokewatch.schema import MODEL
from pokewatch.settings import get_settings

CLEAR = 0.05  # rank correlation from which on past moves tell something about the next ones
FULL_YEARS = 24  # months of record without which a season is no season


def _say(text: str) -> Markdown:
    """Return text as Markdown in which a dollar sign is money, no formula."""
    return Markdown(text.replace("$", r"\$"))


def _name(text: object) -> str:
    """Return a name whose characters mean nothing in Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", str(text))


def market(what: Market) -> Markdown:
    """Say what the market holds and how it moved."""
    index = what.index()
    kinds = what.cards["product_kind"].value_counts()
    parts = [
        f"{number:,} {'sealed' if kind == 'sealed' else 'singles'}"
        for kind, number in kinds.items()
    ]
    total = index.iloc[-1] / index.iloc[0] - 1
    month = index.iloc[-1] / index.iloc[-min(31, len(index))] - 1
    origin = "**These prices are simulated.** " if what.simulated else ""
    made = f" ({listed(parts)})" if parts else ""
    return _say(
        f"{origin}The store holds {len(what.cards):,} cards{made} on {len(index):,} days up to "
        f"{what.dates[-1]:%Y-%m-%d}. One of each costs "
        f"{dollars(float(what.cards['last_price'].sum()))} today. The index "
        f"{_moved(total)} over the whole time and {_moved(month)} in the last "
        f"{min(30, len(index) - 1)} days."
    )


def _moved(change: float) -> str:
    if abs(change) < 0.0005:
        return "stood still"
    return f"{'rose' if change > 0 else 'fell'} {percent(abs(change))}"


def card(what: Card) -> Markdown:
    """Say where a card's price stands and what the model expects of it."""
    prices, info = what.prices, what.info
    changes = prices.pct_change().dropna()
    still = float((changes == 0).mean()) if len(changes) else float("nan")
    rows = what.fair_value()
    row = rows.iloc[(rows["horizon"] - 7).abs().argmin()]
    return _say(
        f"**{_name(what.title)}** costs {dollars(info['last_price'])}, after "
        f"{dollars(prices.min())} at the lowest and {dollars(prices.max())} at the highest; "
        f"its price stood still on {percent(still, 0)} of days. "
        f"In {row['horizon']} days the model expects "
        f"{dollars(row['fair_value'])}, with 80 % chance between {dollars(row['lower'])} and "
        f"{dollars(row['upper'])}: **{row['signal']}**. {row['reason']}"
    )


def moves(returns: pd.DataFrame, days: int) -> Markdown:
    """Say how changes over some days are distributed."""
    values = returns.to_numpy().ravel()
    values = values[np.isfinite(values)]
    if not len(values):
        return _say("No change is known at both ends.")
    moved = np.abs(values[values != 0])
    low, high = np.quantile(values, [0.05, 0.95])
    settings = get_settings()
    beyond = float((np.abs(values) >= settings.good_move).mean())
    typical = percent(float(np.median(moved))) if len(moved) else "nothing"
    return _say(
        f"Of {len(values):,} changes over {days} day{'s' * (days != 1)}, "
        f"{percent(float((values == 0).mean()), 0)} are exactly zero; of the others half are below "
        f"{typical}. Nine of ten lie between {percent(low, 1, True)} and {percent(high, 1, True)}, "
        f"and {percent(beyond, 0)} reach the {percent(settings.good_move, 0)} that makes a call "
        f"right, while selling costs {percent(settings.fee, 0)}."
    )


def momentum(frame: pd.DataFrame) -> Markdown:
    """Say whether cards that rose go on rising."""
    known = frame.stack(future_stack=True).dropna()
    if known.empty:
        return _say("The history is too short to compare past with next changes.")
    back, ahead = known.abs().idxmax()
    strongest = float(known.max() if known.abs().max() == known.max() else known.min())
    clear = known[known.abs() >= CLEAR]
    if clear.empty:
        verdict = "Past changes say next to nothing about the next ones"
    elif (clear > 0).all():
        verdict = "Prices show **momentum**: cards that rose tend to go on rising"
    elif (clear < 0).all():
        verdict = "Prices show **mean reversion**: cards that rose tend to come back"
    else:
        verdict = "Prices show momentum at some spans and mean reversion at others"
    text = f"{strongest:+.2f}".replace("-", "−")
    return _say(
        f"{verdict}. The closest link is that of the last {back} with the next {ahead} day"
        f"{'s' * int(ahead != 1)}: a rank correlation of {text}."
    )


def seasons(months: pd.DataFrame, weekdays: pd.DataFrame) -> Markdown:
    """Say in which months and on which weekdays the index rose."""
    if months.empty:
        return _say("The history is too short for seasons.")
    best, worst = (
        months.loc[pick] for pick in (months["change"].idxmax(), months["change"].idxmin())
    )
    up, down = (weekdays.loc[p] for p in (weekdays["change"].idxmax(), weekdays["change"].idxmin()))
    few = f" With {len(months)} months on record, a season cannot be told from chance."
    return _say(
        f"The best month was {best['month']} ({percent(best['change'], 1, True)}), the worst "
        f"{worst['month']} ({percent(worst['change'], 1, True)}). Of the weekdays, "
        f"{up['weekday']} did best ({percent(up['change'], 2, True)} a day) and {down['weekday']} "
        f"worst ({percent(down['change'], 2, True)})." + (few if len(months) < FULL_YEARS else "")
    )


def groups(frame: pd.DataFrame, what: str) -> Markdown:
    """Say which groups gained and lost most; what: their name in the plural."""
    known = frame.dropna(subset="change")
    if len(known) < 2:
        return _say(f"There is only one of the {what} to look at.")
    first, last = known.iloc[0], known.iloc[-1]
    costly = known.loc[known["value"].idxmax()]
    return _say(
        f"In {frame.attrs.get('days', 30)} days, of {len(known):,} {what}, "
        f"{_name(first.iloc[0])} did best "
        f"({percent(first['change'], 1, True)}) and {_name(last.iloc[0])} worst "
        f"({percent(last['change'], 1, True)}). The most costly to own whole is "
        f"{_name(costly.iloc[0])}, at {dollars(costly['value'])} for its {costly['cards']:,} cards."
    )


def quality(what: Market) -> Markdown:
    """Say how complete the prices are, and what was refused."""
    share, reasons = what.observed(), what.quarantine_reasons()
    low = share.idxmin()
    text = (
        f"On an average day {percent(float(share.mean()), 1)} of the known cards have a fresh "
        f"price; fewest had one on {low:%Y-%m-%d} ({percent(float(share.min()), 0)})."
    )
    if reasons.empty:
        return _say(f"{text} No row is in quarantine.")
    first = reasons.iloc[0]
    held = int(reasons["held"].sum())
    return _say(
        f"{text} {int(reasons['rows'].sum()):,} delivered rows are kept out of every figure here"
        f"{f', {held:,} of them until they are confirmed' if held else ''}; the most common cause "
        f"is: {first['meaning']} ({first['rows']:,})."
    )


def skill(trained: Trial) -> Markdown:
    """Say what a trial's model is worth, beside "no change" and the baseline."""
    sentences = report_verdict.verdict(trained.trained, get_settings())
    table = trained.scores
    base = table[table["model"] == "baseline"] if len(table) else table
    for row in base.itertuples():
        side = "larger" if row.rmae > 1 else "smaller"
        days = f"{row.horizon} day{'s' * (row.horizon != 1)}"
        sentences.append(
            f"The baseline's error {days} ahead is {percent(abs(row.rmae - 1), 0)} {side} than "
            "that of “no change”."
        )
    return _say(" ".join(sentences))


def importance(frame: pd.DataFrame) -> Markdown:
    """Say on which features the forecast leans."""
    clear = frame[frame["importance"] > frame["spread"].clip(lower=0.001)]
    if clear.empty:
        return _say("No single family of features matters: each is told by the others as well.")
    parts = [f"{row.family} ({percent(row.importance, 1)})" for row in clear.head(3).itertuples()]
    rest = len(frame) - len(clear)
    return _say(
        f"The forecast leans most on {listed(parts)}; in brackets the error that shuffling adds, "
        f"as a share of that of “no change”. {rest} of {len(frame)} families change next "
        "to nothing."
    )


def calibration(frame: pd.DataFrame) -> Markdown:
    """Say whether intervals hold what they promise; frame: a score table."""
    own = frame[frame["model"] == MODEL] if len(frame) else frame
    parts = [
        f"{percent(row.coverage, 0)} at {row.horizon} day{'s' * (row.horizon != 1)}"
        for row in own.itertuples()
    ]
    if not parts:
        return _say("Nothing could be scored yet: the history is too short.")
    off = float((own["coverage"] - COVERAGE).abs().max())
    verdict = (
        "hold what they promise"
        if off <= report_verdict.INTERVAL_SLACK
        else ("are too wide" if own["coverage"].mean() > COVERAGE else "are too narrow")
    )
    return _say(
        f"Promised are {percent(COVERAGE, 0)} of prices inside the interval; seen were "
        f"{listed(parts)}. The intervals {verdict}."
    )


def gate(what: Trial) -> Markdown:
    """Say what the gate thinks of a trial, and where the trial is kept."""
    said = "would let it become champion" if what.verdict.passed else "would not let it pass"
    kept = (
        f"Its run is in MLflow ({what.logged})."
        if what.logged
        else "It was not logged to MLflow, as tracking is switched off."
    )
    return _say(
        f"The gate {said}: {'; '.join(what.verdict.reasons)}. This was a trial, and the champion "
        f"is what it was. {kept}"
    )


def equity(frame: pd.DataFrame) -> Markdown:
    """Say what following the signals would have brought against holding."""
    if len(frame) < 2:
        return _say("Nothing could be scored yet: the history is too short.")
    last = frame.iloc[-1]
    worst = {
        name: float((frame[name] / frame[name].cummax() - 1).min()) for name in ("followed", "held")
    }
    fee = get_settings().fee
    better = "beats" if last["followed"] > last["held"] else "loses against"
    idle = int((frame["calls"].iloc[1:] == 0).sum())
    return _say(
        f"From {frame['date'].iloc[0]:%Y-%m-%d} to {last['date']:%Y-%m-%d}, 100 dollars put into "
        f"every BUY became {last['followed']:.0f} after the {percent(fee, 0)} that each sale costs "
        f"({last['before_fees']:.0f} before it), and {last['held']:.0f} in the market as a whole: "
        f"trading each signal {better} holding. The worst fall on the way was "
        f"{percent(-worst['followed'], 0)} against {percent(-worst['held'], 0)}; the money lay "
        f"idle in {idle} of {len(frame) - 1} periods. What BUY is good for is choosing what to buy "
        "anyway, and SELL when to sell it."
    )


def record(frame: pd.DataFrame, table: pd.DataFrame) -> Markdown:
    """Say how the calls did; frame: a track record, table: the score table of its forecasts."""
    own = table[table["model"] == MODEL].iloc[0]
    good = get_settings().good_move
    said = []
    for side, verb in (("BUY", "rose"), ("SELL", "fell")):
        part, base = frame[frame["signal"] == side], own[f"{side.lower()}_base_rate"]
        if part.empty:
            said.append(f"No {side} was given.")
            continue
        said.append(
            f"Of {len(part):,} {side} (one a card and day), {percent(part['right'].mean(), 0)} "
            f"{verb} by {percent(good, 0)} or more in {int(own['horizon'])} days, against "
            f"{percent(base, 0)} of all cards: {part['right'].mean() / base:.1f} times as often."
        )
    if len(frame[frame["signal"] == "BUY"]):
        said.append(
            f"Bought at each BUY and sold {int(own['horizon'])} days later, the mean result after "
            f"fees is {percent(own['return_after_fees'], 1, True)}."
        )
    return _say(" ".join(said))


def spread(frame: pd.DataFrame, what: str) -> Markdown:
    """Say in how many groups the model was better than "no change"; what: their plural."""
    better = frame[frame["rmae"] < 1]
    worst = frame.loc[frame["rmae"].idxmax()] if frame["rmae"].notna().any() else None
    if worst is None:
        return _say("Nothing could be scored yet.")
    return _say(
        f"The model was better than “no change” in {len(better)} of {len(frame)} {what}; its "
        f"weakest was {_name(worst['group'])}, with {worst['rmae']:.2f} of that error."
    )


def worst(frame: pd.DataFrame) -> Markdown:
    """Say what the worst calls have in common."""
    if frame.empty:
        return _say("No call was given, so none was wrong.")
    row = frame.iloc[0]
    name = row["name"] if isinstance(row["name"], str) else row["card_id"]
    sides = frame["signal"].value_counts()
    parts = [f"{number} {side}" for side, number in sides.items()]
    return _say(
        f"The worst call of all was {row['signal']} for {_name(name)} on {row['date']:%Y-%m-%d}: "
        f"the price went from {dollars(row['price'])} to {dollars(row['y'])}. Of the {len(frame)} "
        f"worst, one a card, {listed(parts)}."
    )


def methods(frame: pd.DataFrame, rows: pd.DataFrame) -> Markdown:
    """Say which method erred least; frame: the score table of the forecasts ``rows``."""
    order = frame.sort_values("rmae")
    first = order.iloc[0]
    place = order["model"].tolist().index(MODEL) + 1
    names = order.loc[order["rmae"] < 1, "model"].str.replace("_", " ").tolist()
    text = (
        f"On {rows['card_id'].nunique()} cards and {rows['date'].nunique()} dates, "
        f"{first['model'].replace('_', ' ')} erred least ({first['rmae']:.2f} of the error of "
        f"“no change”); the fair-value model is number {place} of {len(order)}. Better than “no "
        f"change”: {listed(names) if names else 'none'}."
    )
    if len(order) <= len(("fair_value", "naive", "baseline")):
        text += " AutoETS, AutoTheta and damped ETS were skipped: install the extra `bench`."
    return _say(text)


def latency(frame: pd.DataFrame) -> Markdown:
    """Say how quick a prediction is, first and again."""
    one, whole = frame.iloc[0], frame.iloc[-1]
    return _say(
        f"The baseline answers in {seconds(one['cold'])} at first and in {seconds(one['warm'])} "
        f"from its cache. The fair values of {whole['cards']:,} cards take "
        f"{seconds(whole['warm'])}, reading the store included."
    )


def cost(frame: pd.DataFrame) -> Markdown:
    """Say what the largest market that was timed takes."""
    last = frame.iloc[-1]
    total = float(last[["build", "fit", "forecast"]].sum())
    return _say(
        f"For {int(last['cards']):,} cards, features, one fit and a forecast of every card take "
        f"{seconds(total)} together. A fit draws at most a fixed number of rows, so that a larger "
        "market costs it little; features grow with the number of cards."
    )


def source(forecasts: pd.DataFrame) -> Markdown:
    """Say which forecasts are looked at."""
    own = forecasts[forecasts["model"] == MODEL]
    if own.empty:
        return _say("Nothing could be scored yet: the history is too short.")
    origin = "**These prices are simulated.** " if forecasts.attrs.get("simulated") else ""
    return _say(
        f"{origin}There are {len(own):,} forecasts of {own['card_id'].nunique():,} cards, made "
        f"from {own['date'].min():%Y-%m-%d} to {own['date'].max():%Y-%m-%d} by a model fitted "
        f"{own['origin'].nunique()} times, each time on earlier days only."
    )
