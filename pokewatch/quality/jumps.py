"""Implausible prices: jumps against a card's recent level are held, spikes refused."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pokewatch.rounding import GRID, log
from pokewatch.schema import KEY, stack
from pokewatch.settings import Settings

RECENT = 5  # accepted prices whose median is a card's own level
SLACK = 2 * GRID  # a ratio that is exactly a limit does not exceed it
SAME_LEVEL = log(1.25) + SLACK  # two held prices this close confirm each other


def find_jumps(rows: pd.DataFrame, known: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return ``rows`` with ``reason`` "", "jump" (held) or "isolated_spike", day after day.

    ``accepted_at`` of a price that was held is that of the one which confirmed it; it is missing
    where a price was never believed. A price further than ``jump_factor`` from the median of the
    card's last ``RECENT`` accepted prices starts a chain of held rows; ``jump_confirmations`` later
    observations at the same level release the chain, an observation back at the old level makes it
    an isolated spike.
    """
    columns = [*KEY, "market_price", "low_price", "mid_price", "collected_at", "accepted_at"]
    both = stack([known[columns], rows[columns]])
    both["row"] = np.arange(len(both))
    both["new"] = both["row"] >= len(known)
    both = both.sort_values(["date", "new", "collected_at"], kind="stable")
    both["card"] = pd.factorize(both["card_id"])[0]
    # An accepted row and its would-be replacement stand on one date: they take separate turns.
    both["turn"] = 0
    if both.duplicated(["card", "date"]).any():
        both["turn"] = both.groupby(["card", "date"], sort=False).cumcount()
        both = both.sort_values(["date", "turn"], kind="stable")
    card = both["card"].to_numpy()
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
    reason[levels.held_rows()] = "jump"
    reason[levels.spikes] = "isolated_spike"
    accepted = both.set_index("row")["accepted_at"].sort_index().array.copy()
    for held, confirming in levels.released.items():
        accepted[held] = accepted[confirming]
    never = reason != ""
    never[levels.withdrawn] = False
    accepted[never] = pd.NaT
    new = slice(len(known), None)
    return rows.assign(reason=reason[new], accepted_at=accepted[new])


def quotes_agree(rows: pd.DataFrame) -> np.ndarray:
    """Return where the day's own listings bracket the price: a second witness for a jump."""
    price, low, mid = (rows[name] for name in ("market_price", "low_price", "mid_price"))
    return ((low <= price * 1.25) & (price <= mid * 1.25) & (mid <= price * 3)).to_numpy()


class Levels:
    """Each card's level and the chains of prices that are held against it."""

    def __init__(self, cards: int, settings: Settings):
        """Start with ``cards`` cards that have no observation."""
        self.settings = settings
        self.recent = np.full((RECENT, cards), np.nan)
        self.count = np.zeros(cards, dtype=np.int64)
        self.seen = np.zeros(cards, dtype=np.int64)
        self.first_row = np.full(cards, -1, dtype=np.int64)
        self.chains: dict[int, list[list[tuple[int, float]]]] = {}
        self.spikes: list[int] = []
        self.withdrawn: list[int] = []  # spikes that were believed until others contradicted them
        self.released: dict[int, int] = {}  # row that was held: the row that confirmed it

    def held_rows(self) -> list[int]:
        """Return the row numbers that are held after the last observation."""
        return [row for chains in self.chains.values() for chain in chains for row, _ in chain]

    def level(self, card: np.ndarray) -> np.ndarray:
        """Return the median log price of the last accepted observations (NaN: none)."""
        ordered = np.sort(self.recent[:, card], axis=0)
        filled = np.minimum(self.count[card], RECENT)
        column = np.arange(len(card))
        return (ordered[np.maximum(filled - 1, 0) // 2, column] + ordered[filled // 2, column]) / 2

    def observe(
        self, day: int, card: np.ndarray, price: np.ndarray, trusted: np.ndarray, row: np.ndarray
    ) -> None:
        """Take the observations of one day, at most one a card."""
        log_price = log(price)
        jumped = ~trusted
        jumped[jumped] = self.is_far(day, card[~trusted], price[~trusted])
        calm = ~jumped
        self.accept(day, card[calm], log_price[calm])
        fresh = calm & (self.first_row[card] == -1)
        self.first_row[card[fresh]] = np.where(trusted[fresh], -2, row[fresh])
        for position in np.flatnonzero(jumped):
            self.hold(day, int(card[position]), float(log_price[position]), int(row[position]))
        if self.chains:
            pending = np.isin(card[calm], list(self.chains))
            for position in np.flatnonzero(calm)[pending]:
                self.resolve(int(card[position]), float(log_price[position]), int(row[position]))

    def is_far(self, day: int, card: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Return which prices are implausibly far from their cards' levels."""
        level = self.level(card)
        gap = np.maximum(day - self.seen[card], 1)
        # After weeks without an observation a larger move is plausible.
        limit = log(self.settings.jump_factor) * (1 + (gap - 1) / 30) + SLACK
        far = np.abs(log(price) - level) > limit
        large = np.abs(price - np.round(np.exp(level), 4)) > self.settings.jump_floor
        return far & large & (self.count[card] > 0)

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
        for place, held in (one for chain in [*chains, confirmed] for one in chain):
            if low <= held <= high:
                self.released[place] = row
            else:
                self.spikes.append(place)
        if self.count[card] == 1 and self.first_row[card] >= 0:
            self.withdrawn.append(int(self.first_row[card]))  # the lone first price was wrong
            self.spikes += self.withdrawn[-1:]
        del self.chains[card]
        self.recent[:, card] = np.nan
        self.count[card] = 0
        self.first_row[card] = -2
        for _, price in confirmed:
            self.accept(day, np.array([card]), np.array([price]))

    def resolve(self, card: int, log_price: float, row: int) -> None:
        """End a card's chains after an accepted price: taken back, or confirmed by it."""
        for chain in self.chains.pop(card):
            if abs(chain[-1][1] - log_price) > SAME_LEVEL:
                self.spikes.extend(held for held, _ in chain)
            else:
                self.released.update((held, row) for held, _ in chain)
