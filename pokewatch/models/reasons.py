"""A day's predictions for people: the signal, its flags and the reason as a sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pokewatch.models import features, signals
from pokewatch.models.panel import Panel
from pokewatch.models.signals import Rule, Rules
from pokewatch.schema import PREDICTION_COLUMNS, PRIOR
from pokewatch.settings import Settings

THIN_UNCHANGED = 0.95
THIN_SALES = 5.0  # sales in 30 days
FORTNIGHT = 14
SALES_ROSE = 1.2  # sales of two weeks over those of the two before, to be worth a word
SET_MOVED = 0.02  # two-week move of the other cards of a set, to be worth a word
SET_CARDS = 5


def decide(
    forecast: pd.DataFrame,
    panel: Panel,
    rules: Rules,
    settings: Settings,
    model: str,
    data_version: int,
    before: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return predictions with signal, reason and flags, columns ``PREDICTION_COLUMNS``.

    forecast: one day's output of ``FairValueModel.predict`` on ``panel``; its ``model``, where it
    has one, goes before ``model``. before: the signals that were given last, columns card_id,
    horizon, signal (none: HOLD).
    """
    out = forecast.copy()
    if out.empty:
        return out.reindex(columns=PREDICTION_COLUMNS)
    day = pd.Timestamp(out["date"].iloc[0])
    facts = _facts(panel, day).reindex(out["card_id"])
    facts.index = out.index
    out["deviation"] = out["market_price"] / out["fair_value"] - 1
    out["thin"] = facts["thin"].to_numpy()
    out["stale"] = out["age"] > settings.stale_days
    young = (out["history_days"] < signals.SHORT_HISTORY).to_numpy()
    called = signals.call_days(signals.of_day(out), {signals.ONE: rules}, "rules", settings, before)
    out = out.join(called)
    out["model"] = out.get("model", model)
    out["reason"] = _reasons(out, facts, young, rules, settings)
    out["data_version"] = data_version
    return out[PREDICTION_COLUMNS]


def _facts(panel: Panel, on: pd.Timestamp) -> pd.DataFrame:
    """Return what a reason can mention about each card: its moves, its set's, sales, thinness."""
    end = panel.day(on) + 1  # of the days that are known
    month, weeks = max(end - features.QUIET_DAYS, 0), max(end - FORTNIGHT, 0)
    moves = np.diff(panel.price[month:end], axis=0)
    known = np.maximum((~np.isnan(moves)).sum(axis=0), 1)
    unchanged = (moves == 0).sum(axis=0) / known
    volume = panel.volume[month:end]
    counted = (~np.isnan(volume)).any(axis=0)
    change = unknown = np.full(len(panel.card_ids), np.nan)
    if end > FORTNIGHT:
        change = panel.price[end - 1] / panel.price[weeks - 1] - 1
    recent = np.nansum(panel.volume[weeks:end], axis=0)
    before = np.nansum(panel.volume[max(weeks - FORTNIGHT, 0) : weeks], axis=0)
    few = counted & (np.nansum(volume, axis=0) < THIN_SALES)
    facts = pd.DataFrame(
        {
            "two_weeks": change,
            "thin": (unchanged >= THIN_UNCHANGED) | few,
            "sales": np.divide(recent, before, out=unknown.copy(), where=before >= THIN_SALES),
            "set_name": panel.cards["set_name"].to_numpy(),
        },
        index=panel.card_ids,
    )
    sets = facts.groupby("set_name")["two_weeks"]
    size, total = sets.transform("count"), sets.transform("sum")
    others = (total - facts["two_weeks"].fillna(0)) / (size - facts["two_weeks"].notna())
    return facts.assign(set_move=others.where(size > SET_CARDS))


def _reasons(
    rows: pd.DataFrame, facts: pd.DataFrame, young: np.ndarray, rules: Rules, settings: Settings
) -> np.ndarray:
    """Return one sentence a collector understands for every row."""
    gain = (rows["fair_value"] / rows["market_price"] - 1) * 100
    days = rows["horizon"].astype(str) + " days"
    days = days.where(rows["horizon"] != 1, "1 day")
    ahead = ("no change expected in " + days).where(
        gain.abs() < 0.05, gain.map("{:+.1f} %".format) + " expected in " + days
    )
    by_prior = rows["model"].str.startswith(PRIOR)
    ahead = ahead.where(~by_prior, ahead + " by the prior, which is not proved on your prices")
    text = _moved(facts["two_weeks"])
    called = rows["signal"] != "HOLD"
    text = text.where(~called, _more(text, facts)) + ahead
    for row in rows[called].itertuples():
        rule = rules[str(row.signal), int(row.horizon)]
        text[row.Index] += "; " + record(rule, float(row.strength), settings.good_move)
    text += "."
    text = text.where(
        ~rows["stale"],
        "Last price is " + rows["age"].astype(int).astype(str) + " days old: wait for a fresh one.",
    )
    known = (rows["history_days"] + 1).astype(int)
    short = "Only " + known.astype(str) + known.map(lambda n: " day" if n == 1 else " days")
    short += " of history: "
    text = text.where(~young, short + "the price itself is the fair value.")
    return text.str.slice(0, 1).str.upper().add(text.str.slice(1)).to_numpy()


def record(rule: Rule, strength: float, good_move: float) -> str:
    """Return how past calls like one of this strength did, in words."""
    calls, right = rule.past_calls(strength)
    verb = "rose" if rule.side == "BUY" else "fell"
    return (
        f"{right / max(calls, 1) * 100:.0f} % of {calls:,} past calls like it {verb} "
        f"{good_move * 100:.0f} % or more ({rule.base_rate * 100:.0f} % of all cards did)"
    )


def _percent(share: pd.Series) -> pd.Series:
    return (share.abs() * 100).round(0).astype("Int64").astype("string")


def _moved(change: pd.Series) -> pd.Series:
    """Say how the price changed in two weeks, nothing where that is not known."""
    words = np.select(
        [change >= 0.005, change <= -0.005, change.notna()],
        [
            "up " + _percent(change) + " % in two weeks; ",
            "down " + _percent(change) + " % in two weeks; ",
            "hardly moved in two weeks; ",
        ],
        default="",
    )
    return pd.Series(words, index=change.index)


def _more(text: pd.Series, facts: pd.DataFrame) -> pd.Series:
    """Add what sales and the card's set did, where that is worth a word."""
    sales = np.select(
        [facts["sales"] >= SALES_ROSE, facts["sales"] <= 1 / SALES_ROSE],
        [" on rising sales; ", " on falling sales; "],
        default="; ",
    )
    words = text.str.removesuffix("; ") + pd.Series(sales, index=text.index).where(text != "", "")
    move = facts["set_move"]
    verb = pd.Series(np.where(move > 0, " rose ", " fell "), index=text.index)
    others = "other cards of its set" + verb + _percent(move) + " %; "
    return words + others.where(move.abs() >= SET_MOVED, "")
