"""What is accepted into the store, what is quarantined, and why.

Every received row ends in exactly one place. The rules that look at one row alone come first;
then rows of one (card, date) are settled among each other; then a price is compared with the
card's own recent accepted prices, day after day, never with a later one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import sparse

from pokewatch.schema import KEY, OPTIONAL_PRICES, VALUES
from pokewatch.settings import Settings

REASONS = {
    "card_id_missing": "no card id",
    "price_missing": "no market price",
    "price_not_numeric": "market price is not a number",
    "price_not_positive": "market price is zero or negative",
    "price_absurd": "market price above any real one",
    "date_missing": "no date",
    "date_unparsable": "date cannot be read",
    "date_in_future": "date is later than the day it was collected",
    "duplicate": "the same row twice in one delivery",
    "superseded": "a newer collection gave another price for this card and date",
    "jump": "implausible jump, held back until later observations confirm it",
    "isolated_spike": "implausible jump that the next observations took back",
    "shared_curve": "the same price curve on unrelated cards",
}
RECENT = 5  # accepted prices whose median is a card's own level
SAME_LEVEL = np.log(1.25)  # two held prices this close confirm each other
HISTORY_DAYS = 60  # accepted days that the rules look back on
MIN_SHARED_CHANGES = 3
SAME_SHARE = 0.8  # of the days of a shared curve must agree to the cent


@dataclass
class Verdict:
    """The decision about one delivery; frames carry the columns of ``normalise``.

    accepted: rows to upsert, one a (card_id, date).
    refused: rows for the quarantine, with ``reason``, ``detail`` and ``status`` (held | refused).
    superseded: rows of the store that an accepted row replaces.
    released: ids of held rows that are in ``accepted`` now.
    requalified: frame quarantine_id, reason, detail, status of held rows with a final reason now.
    """

    accepted: pd.DataFrame
    refused: pd.DataFrame
    superseded: pd.DataFrame
    released: list[str] = field(default_factory=list)
    requalified: pd.DataFrame = field(default_factory=pd.DataFrame)


def normalise(observations: pd.DataFrame, source: str, now: pd.Timestamp) -> pd.DataFrame:
    """Return received rows with typed columns, nothing dropped.

    observations: as delivered, any of ``OBSERVATION_COLUMNS``.
    Returns card_id (str or None), date (datetime64, NaT if unusable), market_price and the other
    values (float, NaN if unusable), source, collected_at (UTC), ``dated`` (collected_at was
    delivered), ``problem`` (a key of ``REASONS`` or "") and ``raw_date``, ``raw_price``.
    """
    index = pd.RangeIndex(len(observations))
    given = {name: observations[name].set_axis(index) for name in observations.columns}
    absent = pd.Series([None] * len(index), index=index, dtype="object")
    out = pd.DataFrame(index=index)
    out["raw_price"] = given.get("market_price", absent)
    out["raw_date"] = given.get("date", absent)
    card = given.get("card_id", absent)
    blank = card.isna() | (card.astype("string").str.strip() == "").fillna(True).astype(bool)
    out["card_id"] = card.astype("object").where(~blank, None)
    out["date"] = parse_dates(out["raw_date"])
    for name in VALUES:
        numbers = pd.to_numeric(given.get(name, absent), errors="coerce").astype("float64")
        out[name] = numbers.where(np.isfinite(numbers))
    for name in [*OPTIONAL_PRICES, "volume"]:
        out[name] = out[name].where(out[name] >= 0)
    out["source"] = given.get("source", absent).fillna(source).astype("string").astype("object")
    collected = parse_times(given["collected_at"]) if "collected_at" in given else None
    if collected is None:
        collected = pd.Series(pd.NaT, index=index, dtype="datetime64[us, UTC]")
    out["dated"] = collected.notna()
    out["collected_at"] = collected.fillna(now)
    missing_price = out["raw_price"].isna() | (out["raw_price"].astype("string").str.strip() == "")
    missing_date = out["raw_date"].isna() | (out["raw_date"].astype("string").str.strip() == "")
    day_collected = out["collected_at"].dt.tz_localize(None).dt.normalize()
    checks = {
        "card_id_missing": blank,
        "price_missing": missing_price.fillna(True),
        "price_not_numeric": out["market_price"].isna(),
        "price_not_positive": out["market_price"] <= 0,
        "price_absurd": pd.Series(False, index=index),
        "date_missing": missing_date.fillna(True),
        "date_unparsable": out["date"].isna(),
        "date_in_future": out["date"] > day_collected,
    }
    conditions = [mask.to_numpy(dtype=bool) for mask in checks.values()]
    out["problem"] = np.select(conditions, list(checks), default="")
    return out


def parse_dates(values: pd.Series) -> pd.Series:
    """Return UTC calendar days as datetime64[us]; what cannot be read becomes NaT."""
    return parse_times(values).dt.tz_localize(None).dt.normalize()


def parse_times(values: pd.Series) -> pd.Series:
    """Return UTC timestamps; times without a zone are UTC, what cannot be read becomes NaT."""
    if pd.api.types.is_numeric_dtype(values):  # a bare number is no date: refuse to guess its unit
        return pd.Series(pd.NaT, index=values.index, dtype="datetime64[us, UTC]")
    if pd.api.types.is_datetime64_any_dtype(values):
        parsed = pd.to_datetime(values, errors="coerce", utc=True)
    else:
        text = values.where(values.isna(), values.astype("string"))
        parsed = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
        slashed = parsed.isna() & values.notna()
        if slashed.any():  # pokemontcg.io writes YYYY/MM/DD
            again = pd.to_datetime(text[slashed], errors="coerce", utc=True, format="%Y/%m/%d")
            parsed = parsed.fillna(again)
    return parsed.astype("datetime64[us, UTC]")


def check(
    rows: pd.DataFrame,
    known: pd.DataFrame,
    held: pd.DataFrame,
    settings: Settings,
    sets: Mapping[str, str] | None = None,
) -> Verdict:
    """Decide about new rows and about those held back before.

    rows: ``normalise`` output that is neither in the store nor in the quarantine yet.
    known: accepted rows of the same cards from ``HISTORY_DAYS`` before the first of ``rows`` on.
    held: rows held back before (``quarantine_id`` set).
    sets: card_id -> set name, where known: boxes of one set may share a curve.
    """
    rows = rows.assign(quarantine_id=None)
    absurd = (rows["problem"] == "") & (rows["market_price"] > settings.max_price)
    rows.loc[absurd, "problem"] = "price_absurd"
    faulty = rows[rows["problem"] != ""]
    refused = [refuse(faulty, faulty["problem"])]
    candidates = rows[rows["problem"] == ""]
    candidates = candidates.sort_values("collected_at", kind="stable")
    twice = candidates.duplicated([*KEY, *VALUES], keep="last")
    refused.append(refuse(candidates[twice], "duplicate"))
    candidates = stack([candidates[~twice], held])
    shared = shared_curves(candidates, known, settings, sets or {})
    refused.append(refuse(candidates[shared], "shared_curve"))
    candidates = candidates[~shared]

    settled = known.assign(stored=True, quarantine_id=None, refresh=False)
    replaced = [settled.iloc[:0]]
    order = candidates.sort_values(["collected_at", "market_price"], ascending=[True, False])
    layer = order.groupby(KEY, sort=False).cumcount()
    for _, chosen in order.assign(stored=False).groupby(layer):
        older = is_older(chosen, settled)
        refused.append(refuse(chosen[older], "superseded"))
        judged = judge(chosen[~older], settled, settings)
        wrong = judged[judged["reason"] != ""]
        refused.append(refuse(wrong, wrong["reason"]))
        good = judged[judged["reason"] == ""]
        gone = has_key(settled, good)
        replaced.append(settled[gone])
        settled = stack([settled[~gone], good])
    lost = stack(replaced)
    accepted = settled[~settled["stored"]]
    refused.append(refuse(lost[~lost["stored"]], "superseded"))
    out = stack(refused)
    was_held = out["quarantine_id"].notna()
    stored = lost[lost["stored"]].merge(
        accepted[[*KEY, "market_price"]], on=KEY, suffixes=("", "_new")
    )
    return Verdict(
        accepted=accepted,
        refused=out[~was_held],
        superseded=stored[stored["market_price"] != stored["market_price_new"]],
        released=accepted["quarantine_id"].dropna().tolist(),
        requalified=out.loc[was_held, ["quarantine_id", "reason", "detail", "status"]],
    )


def stack(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the frames below each other; empty ones have no say in the column types."""
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    return (
        filled[0].reset_index(drop=True)
        if len(filled) == 1
        else pd.concat(filled, ignore_index=True)
    )


def refuse(rows: pd.DataFrame, reason: str | pd.Series) -> pd.DataFrame:
    """Return rows marked with why they are refused; a ``jump`` is held, all else is final."""
    marked = rows.assign(reason=reason)
    marked["status"] = np.where(marked["reason"] == "jump", "held", "refused")
    marked["detail"] = marked["reason"].map(REASONS)
    return marked


def has_key(frame: pd.DataFrame, other: pd.DataFrame) -> np.ndarray:
    """Return which rows of ``frame`` have a (card_id, date) that ``other`` has too."""
    keys = pd.MultiIndex.from_frame(frame[KEY])
    return np.asarray(keys.isin(pd.MultiIndex.from_frame(other[KEY])))


def is_older(rows: pd.DataFrame, settled: pd.DataFrame) -> np.ndarray:
    """Return which rows lose against the settled row of the same card and date.

    The earlier collection does; of two collected at once the higher price, whichever came first.
    """
    columns = ["collected_at", "market_price"]
    both = rows[[*KEY, *columns]].merge(
        settled[[*KEY, *columns]], on=KEY, how="left", suffixes=("", "_settled")
    )
    earlier = both["collected_at"] < both["collected_at_settled"]
    at_once = both["collected_at"] == both["collected_at_settled"]
    higher = both["market_price"] > both["market_price_settled"]
    return (earlier | (at_once & higher)).to_numpy()


def judge(rows: pd.DataFrame, known: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return ``rows`` with ``reason`` "", "jump" (held) or "isolated_spike", day after day.

    A price further than ``jump_factor`` from the median of the card's last ``RECENT`` accepted
    prices starts a chain of held rows; ``jump_confirmations`` later observations at the same
    level release the chain, an observation back at the old level makes it an isolated spike.
    """
    marks = np.zeros(len(known) + len(rows), dtype=bool)
    marks[len(known) :] = True
    columns = [*KEY, "market_price", "low_price", "mid_price", "collected_at"]
    both = stack([known[columns], rows[columns]]).assign(new=marks)
    both["row"] = np.arange(len(both))
    both = both.sort_values(["date", "new", "collected_at"], kind="stable")
    # An accepted row and its would-be replacement stand on one date: they take separate turns.
    turn = both.groupby(KEY, sort=False).cumcount()
    both = both.assign(turn=turn).sort_values(["date", "turn"], kind="stable")
    card = pd.factorize(both["card_id"])[0]
    levels = Levels(int(card.max()) + 1 if len(card) else 0, settings)
    day = both["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    step = np.flatnonzero(np.r_[True, np.diff(day * 64 + both["turn"].to_numpy()) != 0])
    price = both["market_price"].to_numpy()
    trusted = ~both["new"].to_numpy() | quotes_agree(both)
    row = both["row"].to_numpy()
    for first, last in zip(step, np.r_[step[1:], len(both)], strict=True):
        here = slice(first, last)
        levels.observe(day[first], card[here], price[here], trusted[here], row[here])
    reason = np.full(len(both), "", dtype=object)
    reason[levels.rows("held")] = "jump"
    reason[levels.rows("spike")] = "isolated_spike"
    return rows.assign(reason=reason[len(known) :])


def quotes_agree(rows: pd.DataFrame) -> np.ndarray:
    """Return where the day's own listings bracket the price: a second witness for a jump."""
    price, low, mid = (rows[name] for name in ("market_price", "low_price", "mid_price"))
    return ((low <= price * 1.25) & (price <= mid * 1.25) & (mid <= price * 3)).to_numpy()


class Levels:
    """Each card's own level and the chain of prices held back against it."""

    def __init__(self, cards: int, settings: Settings):
        """Start ``cards`` cards without any observation."""
        self.settings = settings
        self.recent = np.full((RECENT, cards), np.nan)
        self.count = np.zeros(cards, dtype=np.int64)
        self.seen = np.zeros(cards, dtype=np.int64)
        self.first_row = np.full(cards, -1, dtype=np.int64)
        self.chains: dict[int, list[list[tuple[int, float]]]] = {}
        self.spikes: list[int] = []

    def rows(self, state: str) -> np.ndarray:
        """Return the row numbers that are ``held`` or ``spike`` after the last observation."""
        if state == "spike":
            return np.array(self.spikes, dtype=np.int64)
        held = [row for chains in self.chains.values() for chain in chains for row, _ in chain]
        return np.array(held, dtype=np.int64)

    def level(self, card: np.ndarray) -> np.ndarray:
        """Return the median log price of the last accepted observations (NaN: none)."""
        ordered = np.sort(self.recent[:, card], axis=0)
        filled = np.minimum(self.count[card], RECENT)
        column = np.arange(len(card))
        low = ordered[np.maximum(filled - 1, 0) // 2, column]
        return (low + ordered[filled // 2 if RECENT > 1 else 0, column]) / 2

    def observe(
        self, day: int, card: np.ndarray, price: np.ndarray, trusted: np.ndarray, row: np.ndarray
    ) -> None:
        """Take the observations of one day, at most one a card."""
        log_price = np.log(price)
        level = self.level(card)
        gap = np.maximum(day - self.seen[card], 1)
        # After weeks without an observation a larger move is plausible.
        limit = np.log(self.settings.jump_factor) * (1 + (gap - 1) / 30)
        far = np.abs(log_price - level) > limit
        large = np.abs(price - np.exp(level)) > self.settings.jump_floor
        jumped = far & large & ~trusted & (self.count[card] > 0)
        calm = ~jumped
        self.accept(day, card[calm], log_price[calm])
        fresh = calm & (self.first_row[card] == -1)
        self.first_row[card[fresh]] = np.where(trusted[fresh], -2, row[fresh])
        for position in np.flatnonzero(jumped):
            self.hold(day, int(card[position]), float(log_price[position]), int(row[position]))
        if self.chains:
            pending = np.isin(card[calm], list(self.chains))
            for position in np.flatnonzero(calm)[pending]:
                self.resolve(int(card[position]), float(log_price[position]))

    def accept(self, day: int, card: np.ndarray, log_price: np.ndarray) -> None:
        """Add accepted prices to their cards' levels."""
        self.recent[self.count[card] % RECENT, card] = log_price
        self.count[card] += 1
        self.seen[card] = day

    def hold(self, day: int, card: int, log_price: float, row: int) -> None:
        """Add an implausible price to its card's chain; release the chain once confirmed."""
        chains = self.chains.setdefault(card, [])
        if chains and abs(chains[-1][-1][1] - log_price) <= SAME_LEVEL:
            chains[-1].append((row, log_price))
        else:
            chains.append([(row, log_price)])
        if len(chains[-1]) <= self.settings.jump_confirmations:
            return
        confirmed = chains.pop()
        old, new = float(self.level(np.array([card]))[0]), confirmed[-1][1]
        low, high = min(old, new) - SAME_LEVEL, max(old, new) + SAME_LEVEL
        # Earlier held prices on the way from the old level to the new one were true as well.
        self.spikes.extend(
            row for chain in chains for row, held in chain if not low <= held <= high
        )
        if self.count[card] == 1 and self.first_row[card] >= 0:
            self.spikes.append(int(self.first_row[card]))  # the lone first price was the wrong one
        del self.chains[card]
        self.recent[:, card] = np.nan
        self.count[card] = 0
        self.first_row[card] = -2
        for _, price in confirmed:
            self.accept(day, np.array([card]), np.array([price]))

    def resolve(self, card: int, log_price: float) -> None:
        """End a card's chains after an accepted price: taken back, or confirmed by it."""
        for chain in self.chains.pop(card):
            if abs(chain[-1][1] - log_price) > SAME_LEVEL:
                self.spikes.extend(row for row, _ in chain)


def shared_curves(
    candidates: pd.DataFrame, known: pd.DataFrame, settings: Settings, sets: Mapping[str, str]
) -> np.ndarray:
    """Return which rows belong to a price curve that unrelated cards share to the cent.

    Every day on which two cards move to the same price on the same date is evidence, worth the
    decimal digits of choice within 20 % of that price; a pair is a match when the evidence
    exceeds the digits that chance alone needs among that many pairs, by three. A card whose own
    earlier level the curve continues is its owner and is left alone.
    """
    order = candidates.reset_index(drop=True).sort_values(KEY, kind="stable")
    same_card = order["card_id"].eq(order["card_id"].shift())
    moved = ~same_card | order["market_price"].ne(order["market_price"].shift())
    weight = np.log10(np.maximum(order["market_price"] * 20, 1.0))
    events = order.assign(weight=weight)[moved & (weight > 0)]
    busy = events.groupby("card_id")["weight"].transform("size") >= MIN_SHARED_CHANGES
    events = events[busy]
    flagged = np.zeros(len(candidates), dtype=bool)
    if events.empty:
        return flagged
    card, card_ids = pd.factorize(events["card_id"])
    event = events.groupby(["date", "market_price"], sort=False).ngroup().to_numpy()
    shared = np.bincount(event)[event] > 1
    shape = (len(card_ids), int(event.max()) + 1)
    incidence = sparse.csr_matrix(
        (np.sqrt(events["weight"].to_numpy()[shared]), (card[shared], event[shared])), shape=shape
    )
    evidence = sparse.triu(incidence @ incidence.T, k=1).tocoo()
    pairs = len(card_ids) * (len(card_ids) - 1) / 2
    match = evidence.data > 3 + np.log10(max(pairs, 1))
    for left, right in zip(evidence.row[match], evidence.col[match], strict=True):
        one, other = str(card_ids[left]), str(card_ids[right])
        # Printings of one product, and boxes of one set, may well trade at one price.
        if one.split(":")[0] == other.split(":")[0] or sets.get(one, one) == sets.get(other, other):
            continue
        flagged |= stretch(order, one, other, known, settings, len(candidates))
    return flagged


def stretch(
    order: pd.DataFrame, one: str, other: str, known: pd.DataFrame, settings: Settings, size: int
) -> np.ndarray:
    """Return the rows of two cards between the first and the last day of their shared curve."""
    flagged = np.zeros(size, dtype=bool)
    left = order[order["card_id"] == one]
    right = order[order["card_id"] == other]
    both = left.reset_index().merge(right.reset_index(), on=["date", "market_price"])
    both = both.sort_values("date")
    if both["market_price"].nunique() < MIN_SHARED_CHANGES:
        return flagged
    first, last = both["date"].iloc[0], both["date"].iloc[-1]
    days = [set(rows.loc[rows["date"].between(first, last), "date"]) for rows in (left, right)]
    if len(both) < SAME_SHARE * len(days[0] & days[1]):
        return flagged
    for rows, own in ((left, "index_x"), (right, "index_y")):
        before = stack([known[["card_id", "date", "market_price"]], rows])
        mask = (before["card_id"] == rows["card_id"].iloc[0]) & (before["date"] < first)
        earlier = before.loc[mask].sort_values("date")["market_price"].tail(RECENT)
        entry = rows.loc[both[own].iloc[0], "market_price"]
        owner = len(earlier) > 0 and (
            abs(np.log(entry / earlier.median())) < np.log(settings.jump_factor)
        )
        if not owner:
            inside = rows.index[(rows["date"] >= first) & (rows["date"] <= last)]
            flagged[inside.to_numpy()] = True
    return flagged


def repeated_days(prices: pd.DataFrame, min_cards: int = 20) -> list[pd.Timestamp]:
    """Return the days on which not one of many cards differs from the day before.

    prices: columns card_id, date, market_price. A source that serves yesterday again does this;
    a real day of ``min_cards`` cards and more does not.
    """
    order = prices.sort_values(KEY, kind="stable")
    same_card = order["card_id"].to_numpy()[1:] == order["card_id"].to_numpy()[:-1]
    next_day = np.diff(order["date"].to_numpy()) == np.timedelta64(1, "D")
    comparable = same_card & next_day
    moved = np.diff(order["market_price"].to_numpy()) != 0
    table = pd.DataFrame({"date": order["date"].to_numpy()[1:], "moved": moved})[comparable]
    days = table.groupby("date")["moved"].agg(["size", "sum"])
    return list(days.index[(days["size"] >= min_cards) & (days["sum"] == 0)])
