"""A simulated card market: 200-odd invented cards with the habits and faults of real prices.

The whole market follows from ``settings.seed``: the observation of a card on a day is the same
whichever range is asked for. Prices lag a hidden value that trends for weeks, and move only on
days with sales; hence the many unchanged days and the momentum that real prices show.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count, islice

import numpy as np
import pandas as pd

from pokewatch.errors import UsageError
from pokewatch.schema import CARD_COLUMNS, OBSERVATION_COLUMNS, SIMULATED, VALUES, Delivery
from pokewatch.settings import Settings
from pokewatch.sources import About

SOURCE = SIMULATED
ABOUT = About(
    serves="an invented market, to try everything on",
    currency="USD",
    history="400 days",
    limits="none",
)
EPOCH = date(2025, 1, 1)
SNAPSHOT_TIME = timedelta(minutes=5)  # of a day (UTC); a clock that is right is hardly behind
FAULT_COLUMNS = ["card_id", "date", "fault", "collected_at"]
Market = dict[str, np.ndarray]

OLD_SETS, NEW_SETS, FIRST_PRODUCT = 8, 8, 900_001
STEMS = ["Ember", "Tide", "Moss", "Volt", "Frost", "Shade", "Gale", "Lumen", "Iron", "Coral"]
TAILS = ["lynx", "wing", "toad", "drake", "hound", "moth", "stag", "crab", "owl", "serpent"]
# Rarity (none: sealed), product, how many a set, typical price in USD.
PRODUCTS: list[tuple[str | None, str, int, float]] = [
    ("Common", "", 6, 0.30),
    ("Uncommon", "", 6, 0.80),
    ("Rare", "", 3, 4.0),
    ("Double Rare", " ex", 2, 18.0),
    ("Special Illustration Rare", " ex", 1, 200.0),
    (None, "Booster Box", 1, 160.0),
    (None, "Elite Trainer Box", 1, 65.0),
    (None, "Booster Bundle", 1, 38.0),
    (None, "Collection Box", 1, 30.0),
    (None, "Booster Pack", 1, 6.0),
]
CHEAPEST, DEAREST = 0.06, 2_000.0
TWO_PRINTINGS = (7, 8)
COURIER_NUMBER, BROKEN_NAME_SETS = 12, (2, 5)
NEW_SET_NUMBERS = (16, 17, 18, 19)

# Faults recur on a fixed calendar of days, shifted by the seed, so that every 400-day window
# holds each kind; the slots of different kinds never meet.
CALENDAR, SHORT_CALENDAR = 380, 95
SHORT_SLOTS = {"future_date": 10, "zero_price": 27, "glitch": 44, "null_price": 61, "duplicate": 78}
CURVE_SLOT, CURVE_DAYS, REPEAT_SLOT = 106, 15, 300
GLITCH_PRICE, GLITCH_ABOVE = 0.70, 50.0


def fetch(settings: Settings, on: date | None = None, days: int = 400) -> Delivery:
    """Return the simulated snapshots of the ``days`` days that end at ``on``, faults included.

    ``settings.seed`` decides the whole market. on: last day, default today (UTC). Observations are
    USD, ordered by snapshot; cards are those released by ``on``. Fewer days are delivered where
    ``EPOCH`` comes first. Raises UsageError for ``on`` before ``EPOCH`` or ``days`` below 1.
    """
    observations, _, cards = deliver(settings, on, days)
    return Delivery(observations, SOURCE, cards, ["prices and cards are simulated, not real"])


def deliver(
    settings: Settings, on: date | None = None, days: int = 400
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return observations, planted faults and cards as ``fetch`` delivers them.

    Faults are a row each, columns ``FAULT_COLUMNS``, with date and moment as delivered (NaT where
    left out, and of ``broken_name``, a card's); of ``duplicate`` it is the older of the two rows.
    """
    on = on or datetime.now(UTC).date()
    if on < EPOCH:
        raise UsageError(f"date {on}: the simulated market opens on {EPOCH}; ask for a later day")
    if days < 1:
        raise UsageError(f"days={days}: ask for 1 day or more")
    last = (on - EPOCH).days
    cards, typical = _cards(settings.seed)
    released = np.array([(day - EPOCH).days for day in cards["release_date"]])
    market = _simulate(settings.seed, last + 1, typical, released, cards["product_kind"])
    shift = np.random.default_rng([settings.seed, 3]).integers(CALENDAR)
    slots = (np.arange(last + 1) + shift) % CALENDAR
    market = _repeat_days(market, slots, released)
    # Second printings are spared, so that cards that share a false curve are unrelated.
    victims = np.flatnonzero((released < 0) & (cards["printing"] != "Reverse Holofoil"))
    planted = _plant(settings.seed, market, slots, victims)

    window = np.arange(last + 1)[:, None]
    day, card = np.nonzero((released <= window) & (window > last - days))
    observations, listed = _rows(market, cards, day, card, planted)

    cards = cards[released <= last].reset_index(drop=True)
    broken = cards.loc[cards["name"].str.contains("Ã"), ["card_id"]].assign(fault="broken_name")
    broken = broken.reindex(columns=FAULT_COLUMNS).astype(listed.dtypes.to_dict())
    return observations, pd.concat([listed, broken], ignore_index=True), cards


def _cards(seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return every card that will ever be released, and its typical log price."""
    rng = np.random.default_rng([seed, 1])
    kinds = [(rarity, label, price) for rarity, label, n, price in PRODUCTS for _ in range(n)]
    card: list[object]
    rows, typical, product_id = [], [], FIRST_PRODUCT
    for k in range(1, OLD_SETS + NEW_SETS + 1):
        old, set_name, ahead = k <= OLD_SETS, f"Simulated Set {k:02d}", k - OLD_SETS - 1
        release = EPOCH + timedelta(days=90 * ahead if old else 150 * ahead + 90)
        names = rng.permutation([stem + tail for stem in STEMS for tail in TAILS])
        for number, (rarity, label, price) in enumerate(kinds, start=1):
            if not old and number not in NEW_SET_NUMBERS:
                continue
            sealed = rarity is None
            name = f"{set_name} {label}" if sealed else names[number] + label
            if number == COURIER_NUMBER:
                name = "PokÃ© Courier" if k in BROKEN_NAME_SETS else "Poké Courier"
            printings = ["Normal" if sealed or price < 2 else "Holofoil"]
            printings += ["Reverse Holofoil"] * (number in TWO_PRINTINGS)
            for printing in printings:
                card = [f"{product_id}:{printing}", str(name), set_name]
                card += [None if sealed else str(number), rarity, printing]
                card += ["sealed" if sealed else "single", product_id, release]
                rows.append([*card, [f"sim{k}-{number}"]])
                typical.append(np.log(price) + (0.4 if sealed else 0.9) * rng.standard_normal())
            product_id += 1
    return pd.DataFrame(rows, columns=CARD_COLUMNS), np.clip(typical, -1.9, 6.9)


def _simulate(
    seed: int, days: int, typical: np.ndarray, released: np.ndarray, kinds: pd.Series
) -> Market:
    """Return the true ``VALUES`` by name, each an array of days since ``EPOCH`` by cards."""
    history = list(islice(daily(seed, EPOCH, typical, released, kinds), days))
    return dict(zip(VALUES, np.stack(history, axis=1), strict=True))


def daily(
    seed: int, first: date, typical: np.ndarray, released: np.ndarray, kinds: pd.Series
) -> Iterator[np.ndarray]:
    """Yield one array of ``VALUES`` by cards (USD, sales) a day from ``first`` on, without end.

    typical: log prices; released: the day since ``first`` on which a card appears, below 0 for
    those that were there before; kinds: single or sealed.
    """
    rng, cards = np.random.default_rng([seed, 2]), len(typical)
    groups = np.unique(released, return_inverse=True)[1]
    volatility = np.where(kinds == "sealed", 0.6, 1.0) * rng.lognormal(0.0, 0.35, cards)
    sales_rate = rng.lognormal(np.log(0.27), 1.15, cards)
    shows_volume = rng.random(cards) < 0.5
    value = typical + 0.1 * rng.standard_normal(cards)
    trend_scale = 0.0012 * volatility * rng.lognormal(0.0, 1.0, cards).clip(0, 4)
    trend = 3.5 * trend_scale * rng.standard_normal(cards)
    shown, regime, set_trend = value.copy(), 1.0, np.zeros(groups.max() + 1)
    spreads = np.zeros((3, cards))
    for day in count():
        rng = np.random.default_rng([seed, first.toordinal() + day])
        # A regime lasts two months on average, a trend has a half-life of 17 days.
        regime = -regime if rng.random() < 1 / 60 else regime
        set_trend = 0.97 * set_trend + 0.0003 * rng.standard_normal(len(set_trend))
        trend = 0.96 * trend + trend_scale * rng.standard_normal(cards)
        jumps = (rng.random(cards) < 0.002) * rng.normal(0.04, 0.25, cards)
        new = released == day
        value = np.where(new, typical + 0.4, value)
        trend = np.where(new, -0.01, trend)
        common = 0.001 * regime + 0.001 * rng.standard_normal()
        value = value + common + set_trend[groups] + trend + jumps
        # A weak pull keeps levels plausible over years without showing within months.
        value += 0.006 * volatility * rng.standard_normal(cards) - 0.004 * (value - typical)
        value = value.clip(np.log(CHEAPEST), np.log(DEAREST))
        sales = rng.poisson(sales_rate)
        catch_up = 0.4 * (value - shown) + 0.007 * volatility * rng.standard_normal(cards)
        shown = np.where(new, value, shown + np.where(sales > 0, catch_up, 0.0))
        relisted = (rng.random(cards) < 0.3) | (day == 0) | new
        lower, upper = rng.normal(-0.15, 0.1, cards), rng.exponential(0.12, cards)
        asked = [lower, upper, upper + rng.exponential(1.0, cards).clip(0, 5)]
        spreads = np.where(relisted, asked, spreads)
        usd = np.exp([shown, *(shown + spreads)]).round(2).clip(0.01)
        yield np.vstack([usd, np.where(shows_volume, sales, np.nan)])


def _repeat_days(market: Market, slots: np.ndarray, released: np.ndarray) -> Market:
    """Return the market with repeated days; ``moved`` marks the prices that they hide."""
    repeated = {name: values.copy() for name, values in market.items()}
    prices = market["market_price"]
    moved = np.zeros(prices.shape, dtype=bool)
    for day in 1 + np.flatnonzero(slots[1:] == REPEAT_SLOT):
        present = released < day
        for name, values in market.items():
            repeated[name][day, present] = values[day - 1, present]
        moved[day] = present & (prices[day] != prices[day - 1])
    return repeated | {"moved": moved}


def _plant(seed: int, market: Market, slots: np.ndarray, victims: np.ndarray) -> pd.DataFrame:
    """Choose the faults since ``EPOCH``: columns day, card, fault and the price to deliver."""
    prices = market["market_price"]
    repeats = zip(*np.nonzero(market["moved"]), strict=True)
    planted = [(day, card, "repeated_day", prices[day, card]) for day, card in repeats]
    for fault, short_slot in SHORT_SLOTS.items():
        for day in np.flatnonzero(slots % SHORT_CALENDAR == short_slot):
            dear = victims[prices[day, victims] > GLITCH_ABOVE]
            rng = np.random.default_rng([seed, EPOCH.toordinal() + int(day), 4])
            card = rng.choice(dear if fault == "glitch" else victims)
            price = prices[day, card]
            wrong = {"zero_price": 0.0, "glitch": GLITCH_PRICE, "null_price": np.nan}
            # A cent more than 5 %, so that the cheapest card's second price differs too.
            wrong["duplicate"] = round(price * 1.05 + 0.01, 2)
            planted.append((day, card, fault, wrong.get(fault, price)))
    for day in np.flatnonzero((slots >= CURVE_SLOT) & (slots < CURVE_SLOT + CURVE_DAYS)):
        since = int(slots[day]) - CURVE_SLOT
        # The first stretch may have begun before EPOCH: a seed must not be negative.
        rng = np.random.default_rng([seed, CALENDAR + int(day) - since, 5])
        curve = rng.choice(np.arange(100, 400), CURVE_DAYS, replace=False) / 100
        trio = rng.choice(victims, 3, replace=False)
        planted += [(day, card, "false_curve", curve[since]) for card in trio]
    frame = pd.DataFrame(planted, columns=["day", "card", "fault", "price"])
    return frame.astype({"day": int, "card": int, "price": float})


def _rows(
    market: Market, cards: pd.DataFrame, day: np.ndarray, card: np.ndarray, planted: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the observations of (day, card) pairs with their faults, and the faulty rows."""
    frame = pd.DataFrame({name: market[name][day, card] for name in VALUES})
    frame["card_id"] = cards["card_id"].to_numpy()[card]
    frame["date"] = np.datetime64(EPOCH, "us") + day * np.timedelta64(1, "D")
    frame["source"] = SOURCE
    frame["collected_at"] = (frame["date"] + SNAPSHOT_TIME).dt.tz_localize("UTC")
    frame = frame[OBSERVATION_COLUMNS]

    planted = planted[planted["day"] >= day[0]]
    fault, twice = planted["fault"].to_numpy(), (planted["fault"] == "duplicate").to_numpy()
    # The pairs are in ascending order, so a fault's row is found by bisection.
    pairs, wanted = day * len(cards) + card, planted["day"] * len(cards) + planted["card"]
    at = np.searchsorted(pairs, wanted)
    # A duplicate comes beside the true row, every other fault in its place.
    frame = frame.iloc[np.concatenate([np.arange(len(frame)), at[twice]])].reset_index(drop=True)
    at[twice] = np.arange(len(pairs), len(frame))
    frame.loc[at, "market_price"] = planted["price"].to_numpy()
    frame.loc[at[fault == "future_date"], "date"] += pd.Timedelta(days=365)
    frame.loc[at[fault == "zero_price"], "date"] = pd.NaT
    frame.loc[at[twice], "collected_at"] -= SNAPSHOT_TIME
    order = ["collected_at", "card_id"]
    listed = frame.loc[at].assign(fault=fault)[FAULT_COLUMNS].sort_values(order)
    return frame.sort_values(order, ignore_index=True), listed
