"""The store against a plain dictionary: deliveries, kills between commits, old versions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import pytest
from builders import delivery
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pokewatch.quality import quarantine
from pokewatch.quality.ingest import ingest
from pokewatch.settings import load_settings
from pokewatch.store.tables import Store

pytestmark = pytest.mark.slow

NOW = pd.Timestamp("2025-01-20T12:00Z")
LONG = settings.default.max_examples > 100
CHECKED = settings(
    max_examples=60 if LONG else 4,
    stateful_step_count=15 if LONG else 6,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking is hundreds of commits
)
CARDS = st.sampled_from(["1:Normal", "2:Normal", "2:Holofoil"])
DAYS = st.integers(1, 6)
# A later collection of a card and day wins; of two at once the lower price. No price is a jump.
ROWS = st.lists(
    st.tuples(CARDS, DAYS, st.integers(100, 140), st.integers(0, 3)), min_size=1, max_size=5
)


class KilledError(BaseException):
    """Stands for a process that ends: nothing in the package catches it."""


def frame(rows: list[tuple[str, int, float, int]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["card_id", "day", "market_price", "age"])
    table["date"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(table["day"], unit="D")
    moment = table["date"] + pd.to_timedelta(table["age"], unit="D")
    return table[["card_id", "date", "market_price"]].assign(
        collected_at=moment.dt.tz_localize("UTC")
    )


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.config = load_settings(home=Path(self.folder.name), store="")
        self.store = Store.from_settings(self.config)

    def teardown(self) -> None:
        self.folder.cleanup()

    def stored(self, version: int | None = None) -> dict[tuple[str, int], float]:
        rows = self.store.prices(["card_id", "date", "market_price"], data_version=version)
        days = (rows["date"] - pd.Timestamp("2025-01-01")).dt.days
        keys = list(zip(rows["card_id"], days, strict=True))
        assert len(set(keys)) == len(keys), "a card and day twice"
        return dict(zip(keys, rows["market_price"], strict=True))

    def killed(self, observations: pd.DataFrame, at: int, after: bool) -> None:
        """Deliver in a process that ends before or after its commit number ``at``."""
        left, replace = at, Store.replace

        def dying(store, snapshot, rows, predicate):
            nonlocal left
            left -= 1
            if left < 0 and not after:
                raise KilledError
            replace(store, snapshot, rows, predicate)
            if left < 0:
                raise KilledError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Store, "replace", dying)
            try:
                ingest(Store.from_settings(self.config), delivery(observations), self.config, NOW)
            except KilledError:
                self.stored()  # readable at once, without any repair


class DictionaryMachine(Machine):
    """Prices that are never held: the store equals a dictionary, today and at every version."""

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[tuple[str, int], tuple[int, float]] = {}
        self.seen: list[pd.DataFrame] = []
        self.versions: dict[int, dict[tuple[str, int], float]] = {}

    def prices(self) -> dict[tuple[str, int], float]:
        return {key: -negative for key, (_, negative) in self.model.items()}

    def deliver(self, observations: pd.DataFrame) -> None:
        counts = ingest(self.store, delivery(observations), self.config, NOW)
        assert counts.received == counts.accepted + counts.quarantined + counts.unchanged
        self.versions[counts.data_version] = self.prices()

    @rule(rows=ROWS, kill=st.none() | st.tuples(st.integers(0, 2), st.booleans()))
    def new_delivery(self, rows, kill) -> None:
        rows = [(card, day, cents / 100, age) for card, day, cents, age in rows]
        for card, day, price, age in rows:
            self.model[card, day] = max(self.model.get((card, day), (-1, 0.0)), (age, -price))
        self.seen.append(frame(rows))
        if kill:
            self.killed(self.seen[-1], *kill)
        self.deliver(self.seen[-1])

    @rule(which=st.integers(0))
    def an_old_delivery_again(self, which: int) -> None:
        if self.seen:
            version = self.store.data_version
            self.deliver(self.seen[which % len(self.seen)])
            assert self.store.data_version == version

    @invariant()
    def the_store_is_the_dictionary(self) -> None:
        assert self.stored() == self.prices()

    @rule(which=st.integers(0))
    def an_old_version_is_what_it_was(self, which: int) -> None:
        if self.versions:
            version = sorted(self.versions)[which % len(self.versions)]
            if version >= 0:
                assert self.stored(version) == self.versions[version]


class WildMachine(Machine):
    """Any prices: each distinct row is in the prices or in the quarantine, whoever overrules."""

    def __init__(self) -> None:
        super().__init__()
        self.received: set[tuple[str, int, float]] = set()

    @rule(
        rows=st.lists(
            st.tuples(CARDS, DAYS, st.sampled_from([1.0, 1.2, 9.0, 80.0, 3e6, -1.0]), st.just(0)),
            min_size=1,
            max_size=6,
        ),
        kill=st.none() | st.tuples(st.integers(0, 3), st.booleans()),
    )
    def deliver(self, rows, kill) -> None:
        self.received |= {row[:3] for row in rows}
        if kill:
            self.killed(frame(rows), *kill)
        ingest(self.store, delivery(frame(rows)), self.config, NOW)
        before = self.stored(), self.shelved()
        again = ingest(self.store, delivery(frame(rows)), self.config, NOW)
        assert (again.accepted, again.quarantined) == (0, 0)
        assert (self.stored(), self.shelved()) == before

    def shelved(self) -> set[tuple[str, str, str]]:
        quarantined = self.store.quarantine()[["quarantine_id", "reason", "status"]]
        return set(quarantined.itertuples(index=False, name=None))

    @rule(which=st.integers(0), release=st.booleans())
    def overrule(self, which: int, release: bool) -> None:
        quarantined = quarantine.select(self.store)
        quarantined = quarantined[quarantined["market_price"] > 0]
        if len(quarantined):
            one = quarantined.iloc[[which % len(quarantined)]]
            if release:
                quarantine.release(self.store, one, NOW)
            else:
                quarantine.drop(self.store, one)

    @invariant()
    def nothing_is_lost(self) -> None:
        quarantined = self.store.quarantine()
        assert quarantined["quarantine_id"].is_unique
        days = (quarantined["date"] - pd.Timestamp("2025-01-01")).dt.days
        here = {(*key, price) for key, price in self.stored().items()}
        here |= set(zip(quarantined["card_id"], days, quarantined["market_price"], strict=True))
        assert self.received == here


TestDictionary = DictionaryMachine.TestCase
TestDictionary.settings = CHECKED
TestWild = WildMachine.TestCase
TestWild.settings = CHECKED
