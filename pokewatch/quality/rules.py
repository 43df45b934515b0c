"""The rules of quality: what is accepted into the store, what is quarantined, and why.

Every received row ends in exactly one place. The rules that look at one row alone come first;
then one row of each (card, date) is chosen; then a price is compared with the card's recent
accepted prices, day after day, never with a later one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pokewatch import schema
from pokewatch.quality.jumps import find_jumps
from pokewatch.quality.shared_curves import shared_curves
from pokewatch.schema import HISTORY, KEY, OPTIONAL_PRICES, VALUES, has_key, on_time, stack
from pokewatch.settings import Settings

REASONS = {
    "card_id_missing": "no card id",
    "price_missing": "no market price",
    "foreign_currency": "price in another currency than USD, and no rate for it is set",
    "price_not_numeric": "market price is not a number",
    "price_not_positive": "market price is zero or negative",
    "price_absurd": "market price above any real one",
    "date_missing": "no date",
    "date_unparsable": "date cannot be read",
    "date_too_old": "date before the first Pokémon card was printed",
    "date_in_future": "date is later than the day it was collected",
    "duplicate": "the same row twice in one delivery",
    "superseded": "a newer collection gave another price for this card and date",
    "disagreement": "another source says something quite different of this card and date",
    "jump": "implausible jump, held back until later observations confirm it",
    "isolated_spike": "implausible jump that the next observations took back",
    "shared_curve": "the same price curve on unrelated cards",
}
# Of two sources on one card and day the one further up counts; all that are not named come first.
LESS_TRUSTED = ("tcgdex", "pokemontcg", "pokemonpricetracker", HISTORY)
MAX_FLOAT = sys.float_info.max
A_DAY = pd.Timedelta(days=1)  # what clocks and time zones may differ by
FIRST_DAY = pd.Timestamp("1996-10-20")  # the first set's release in Japan
REWRITE = pd.Timedelta(days=14)
HISTORY_DAYS = 60  # accepted days that the rules look back on


@dataclass
class Verdict:
    """The decision about one delivery; frames carry the columns of ``normalise``.

    accepted: rows to upsert, one a (card_id, date).
    refused: rows for the quarantine, with ``reason``, ``detail`` and ``status`` (held | refused).
    superseded: rows of the store that an accepted row replaces, with ``reason``.
    released: ids of held rows that are in ``accepted`` now.
    requalified: quarantine_id, reason, detail and status of pending rows that are refused now.
    """

    accepted: pd.DataFrame
    refused: pd.DataFrame
    superseded: pd.DataFrame
    released: list[str] = field(default_factory=list)
    requalified: pd.DataFrame = field(default_factory=pd.DataFrame)


def normalise(observations: pd.DataFrame, source: str, now: pd.Timestamp) -> pd.DataFrame:
    """Return received rows with typed columns and the first problem of each, nothing dropped.

    observations: as delivered, any of ``OBSERVATION_COLUMNS`` and ``currency`` (default USD).
    Returns card_id (str or None), date (datetime64, NaT if unusable), market_price and the other
    values (float, NaN if unusable), source, collected_at (UTC), ``dated`` (collected_at was
    delivered), ``problem`` (a key of ``REASONS`` or "") and ``raw_date``, ``raw_price``.
    """
    index = pd.RangeIndex(len(observations))
    given = {name: observations[name].set_axis(index) for name in observations.columns}
    absent = pd.Series(np.full(len(index), None), index=index)
    out = pd.DataFrame(index=index)
    out["raw_price"] = given.get("market_price", absent)
    out["raw_date"] = given.get("date", absent)
    card = given.get("card_id", absent).astype("string").str.strip().astype("object")
    blank = card.isna() | (card == "")
    out["card_id"] = card.where(~blank, None)
    out["date"] = schema.parse_dates(out["raw_date"])
    foreign = pd.Series(False, index=index)
    if "currency" in given:
        currency = given["currency"].astype("string").str.strip().str.upper().fillna("")
        foreign = (~currency.isin(["", "USD"]) & out["raw_price"].notna()).astype(bool)
        raw = out["raw_price"].astype("object")
        # With its currency beside it the price is no number: nobody can release it as USD.
        out["raw_price"] = raw.mask(foreign, raw.astype("string") + " " + currency)
    for name in VALUES:
        out[name] = parse_numbers(given[name]).mask(foreign) if name in given else np.nan
    for name in [*OPTIONAL_PRICES, "volume"]:
        out[name] = out[name].where(out[name] >= 0)
    out["source"] = given.get("source", absent).fillna(source).astype("string").astype("object")
    collected = schema.parse_times(given.get("collected_at", absent))
    out["dated"] = collected.notna()
    out["collected_at"] = collected.fillna(now)
    out["accepted_at"] = on_time(out["collected_at"], out["date"])
    day_collected = out["collected_at"].dt.tz_localize(None).dt.normalize()
    checks = {
        "card_id_missing": blank,
        "price_missing": is_blank(out["raw_price"]),
        "foreign_currency": foreign,
        "price_not_numeric": out["market_price"].isna(),
        "price_not_positive": out["market_price"] <= 0,
        "price_absurd": pd.Series(False, index=index),
        "date_missing": is_blank(out["raw_date"]),
        "date_unparsable": out["date"].isna(),
        "date_in_future": (out["date"] > day_collected) | (out["collected_at"] > now + A_DAY),
        "date_too_old": out["date"] < FIRST_DAY,
    }
    conditions = [mask.to_numpy(dtype=bool) for mask in checks.values()]
    out["problem"] = np.select(conditions, list(checks), default="")
    return out


def is_blank(values: pd.Series) -> pd.Series:
    """Return which values are missing, or texts of nothing but space."""
    missing = values.isna()
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values):
        return missing
    text = [isinstance(value, str) and not value.strip() for value in values]
    return missing | np.array(text, dtype=bool)


def parse_numbers(values: pd.Series) -> pd.Series:
    """Return finite floats; what is no number becomes NaN, true and false included."""
    if pd.api.types.is_bool_dtype(values):
        values = pd.Series(np.nan, values.index)
    if values.dtype == "object":
        truth = np.array([type(value) in (bool, np.bool_) for value in values], dtype=bool)
        values = values.mask(truth)
    try:
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    except OverflowError:  # whole numbers of JSON may have any length
        huge = values.map(lambda value: isinstance(value, int) and abs(value) > MAX_FLOAT)
        numbers = pd.to_numeric(values.mask(huge), errors="coerce").astype("float64")
    return numbers.where(np.isfinite(numbers))


def check(
    rows: pd.DataFrame,
    known: pd.DataFrame,
    pending: pd.DataFrame,
    settings: Settings,
    sets: Mapping[str, str] | None = None,
) -> Verdict:
    """Decide about new rows and about those that are pending.

    rows: ``normalise`` output that is neither in the store nor in the quarantine yet.
    known: accepted rows of the same cards from ``HISTORY_DAYS`` before the first of ``rows`` on.
    pending: rows held before (``quarantine_id`` set), and those refused for a shared curve that
        may go on (``reason`` shared_curve).
    sets: card_id -> set name, where known: boxes of one set may share a curve.
    """
    rows = rows.assign(quarantine_id="")
    absurd = (rows["problem"] == "") & (rows["market_price"] > settings.max_price)
    rows.loc[absurd, "problem"] = "price_absurd"
    faulty = rows["problem"] != ""
    refused = [refuse(rows[faulty], rows.loc[faulty, "problem"])]
    candidates = rows[~faulty].sort_values("collected_at", kind="stable")
    twice = candidates.duplicated([*KEY, *VALUES], keep="last")
    refused.append(refuse(candidates[twice], "duplicate"))
    on_curve = pending["reason"] == "shared_curve"
    pending = pending.drop(columns="reason")
    candidates = stack([candidates[~twice], pending[~on_curve]])
    with_curves = stack([candidates, pending[on_curve]])
    shared = shared_curves(with_curves, known, settings, sets or {})[: len(candidates)]
    refused.append(refuse(candidates[shared], "shared_curve"))
    candidates = candidates[~shared]

    # Only what stands on the same day can be the same observation; the rest makes the levels.
    near = known["date"].isin(candidates["date"].unique()).to_numpy()
    near[near] = has_key(known[near], candidates)
    before = known[~near]
    settled = known[near].assign(stored=True, quarantine_id="", refresh=False)
    replaced, withdrawn = [settled.iloc[:0]], [settled.iloc[:0]]
    order = candidates.assign(trust=trust(candidates["source"]), stored=False).sort_values(
        ["trust", "collected_at", "market_price"], ascending=[True, True, False]
    )
    # One row of each card and date at a time, the best last.
    for _, chosen in order.drop(columns="trust").groupby(copies(order)):
        beaten = is_beaten(chosen, settled)
        refused.append(refuse(chosen[beaten], beaten_by(chosen[beaten], settled, settings)))
        chosen = chosen[~beaten]
        checked = find_jumps(chosen, stack([before, settled[~at_once(settled, chosen)]]), settings)
        jumped = checked["reason"] != ""
        refused.append(refuse(checked[jumped], checked.loc[jumped, "reason"], believed=True))
        checked, settled = known_since(checked[~jumped], settled, stack(withdrawn))
        withdrawn.append(refused[-1][refused[-1]["accepted_at"].notna()])
        gone = has_key(settled, checked)
        replaced.append(settled[gone])
        settled = stack([settled[~gone], checked])
    accepted = settled[~settled["stored"]]
    lost = stack(replaced)
    lost = lost.assign(reason=beaten_by(lost, settled, settings))
    never_stored = lost[~lost["stored"]]
    refused.append(refuse(never_stored, never_stored["reason"], believed=True))
    out = stack(refused)
    was_pending = out["quarantine_id"] != ""
    stored = lost[lost["stored"]].merge(accepted[[*KEY, *VALUES]], on=KEY, suffixes=("", "_new"))
    old, new = stored[VALUES], stored[[f"{name}_new" for name in VALUES]].set_axis(VALUES, axis=1)
    other = ((old != new) & (old.notna() | new.notna())).any(axis=1)
    return Verdict(
        accepted=accepted,
        refused=out[~was_pending],
        superseded=stored[other],
        released=accepted.loc[accepted["quarantine_id"] != "", "quarantine_id"].tolist(),
        requalified=out.loc[was_pending, ["quarantine_id", "reason", "detail", "status"]],
    )


def at_once(settled: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """Return which settled rows came in the same moment as a row of the same card and date.

    Neither can vouch for the other: each is judged by the days before.
    """
    if rows.empty or settled.empty:
        return np.zeros(len(settled), dtype=bool)
    both = _beside(settled, rows)
    same = both["collected_at"] == both["collected_at_settled"]
    return (same & ~settled["stored"].to_numpy(dtype=bool)).to_numpy()


def copies(rows: pd.DataFrame) -> np.ndarray:
    """Return how many rows of the same card and date stand before each one."""
    if not rows.duplicated(KEY).any():
        return np.zeros(len(rows), dtype=np.int64)
    return rows.groupby(KEY, sort=False, observed=True).cumcount().to_numpy()


def refuse(rows: pd.DataFrame, reason: str | pd.Series, believed: bool = False) -> pd.DataFrame:
    """Return rows marked with why they are refused; a ``jump`` is held, all else is final.

    believed: they keep ``accepted_at``, for they were known until something better came.
    """
    marked = rows.assign(reason=reason)
    if not believed:
        marked["accepted_at"] = pd.NaT
    marked["status"] = np.where(marked["reason"] == "jump", "held", "refused")
    marked["detail"] = marked["reason"].map(REASONS)
    return marked


def trust(sources: pd.Series) -> pd.Series:
    """Return how much sources are trusted against each other: 0 most, less is negative."""
    ranks = {name: -place for place, name in enumerate(LESS_TRUSTED, start=1)}
    return sources.map({name: ranks.get(str(name), 0) for name in sources.unique()}).astype(int)


def is_beaten(rows: pd.DataFrame, settled: pd.DataFrame) -> np.ndarray:
    """Return which rows lose against the settled row of the same card and date.

    The less trusted source loses; of equally trusted ones the earlier collection; of two collected
    at once the higher price: the order in which they come does not matter.
    """
    if settled.empty:
        return np.zeros(len(rows), dtype=bool)
    both = _beside(rows, settled)
    mine, other = trust(both["source"]), trust(both["source_settled"])
    known = both["source_settled"].notna()
    earlier = both["collected_at"] < both["collected_at_settled"]
    at_once = both["collected_at"] == both["collected_at_settled"]
    higher = both["market_price"] > both["market_price_settled"]
    loses = (mine < other) | ((mine == other) & (earlier | (at_once & higher)))
    return (known & loses).to_numpy()


def beaten_by(rows: pd.DataFrame, settled: pd.DataFrame, settings: Settings) -> pd.Series:
    """Return why each row makes room for the settled row of the same card and date.

    A "disagreement" if that is of another source and further away than the settings allow.
    """
    if rows.empty:
        return pd.Series("", rows.index, dtype="object")
    both = _beside(rows, settled)
    low = np.minimum(both["market_price"], both["market_price_settled"])
    high = np.maximum(both["market_price"], both["market_price_settled"])
    far = (high / low > 1 + settings.disagreement) & (both["source"] != both["source_settled"])
    reasons = np.where(far & both["source_settled"].notna(), "disagreement", "superseded")
    return pd.Series(reasons, rows.index, dtype="object")


def known_since(
    rows: pd.DataFrame, settled: pd.DataFrame, withdrawn: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return rows, and the settled ones that they replace, with the times they were known from.

    A correction is known from its collection on, the same again from when it was known first. One
    that comes more than ``REWRITE`` after its day puts history right, as if it had never been
    other; so does one that stands beside the first without a time of its own. withdrawn: rows of
    this delivery that were believed for a while, and are no more.
    """
    columns = [*KEY, "market_price", "accepted_at", "stored"]
    both = rows[[*KEY]].merge(settled[columns], on=KEY, how="left", suffixes=("", "_settled"))
    both = both.set_axis(rows.index)
    again = both["accepted_at"].notna() & (both["market_price"] == rows["market_price"])
    late = rows["collected_at"].dt.tz_localize(None) - rows["date"] > REWRITE
    fresh = rows["dated"].astype(bool) | both["stored"].eq(True)
    another = both["accepted_at"].notna() | has_key(rows, withdrawn)
    corrects = another & ~again & fresh & ~late
    later = corrects & (rows["collected_at"] > rows["accepted_at"])
    known = rows["accepted_at"].mask(later, rows["collected_at"])
    known = known.mask(corrects & (known < both["accepted_at"]), both["accepted_at"])
    known = known.mask(again, both["accepted_at"])
    gone = has_key(settled, rows[both["accepted_at"].notna() & ~again & ~corrects])
    settled = settled.assign(accepted_at=settled["accepted_at"].mask(gone))
    return rows.assign(accepted_at=known), settled


def _beside(rows: pd.DataFrame, settled: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the values of the settled row of the same card and date."""
    columns = [*KEY, "source", "collected_at", "market_price"]
    return rows[columns].merge(settled[columns], on=KEY, how="left", suffixes=("", "_settled"))
