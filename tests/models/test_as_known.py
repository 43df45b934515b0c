"""What a day shows is what its night knew: ingested day by day, or all at once."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
from builders import START, curve, delivery
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pokewatch.models.panel import MATRICES, Panel, open_panel
from pokewatch.quality import quarantine
from pokewatch.quality.ingest import ingest
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store

FIRST = date.fromisoformat(START)
DAYS = 9


def night(day: int) -> pd.Timestamp:
    return pd.Timestamp(START, tz="UTC") + pd.Timedelta(days=day, hours=21)


def nights(config: Settings, rows: pd.DataFrame) -> list[Panel | None]:
    """Ingest rows (with ``came``, a day) night by night; return the panel that each night saw."""
    store, seen = Store.from_settings(config), []
    for day in range(DAYS):
        tonight = rows[rows["came"] == day].drop(columns="came")
        if len(tonight):
            ingest(store, delivery(tonight), config, night(day))
        known = len(store.prices(["card_id"])) > 0
        seen.append(open_panel(config, FIRST + timedelta(day))[0] if known else None)
    return seen


def same(one: Panel, other: Panel, name: str) -> None:
    """Compare matrices by date and card: before its first price a card may be missing."""
    frames = [
        pd.DataFrame(getattr(panel, name), panel.dates, panel.card_ids).dropna(axis=1, how="all")
        for panel in (one, other)
    ]
    whole = [frame.dropna(how="all") for frame in frames]
    pd.testing.assert_frame_equal(*whole, check_freq=False)


def test_a_jump_is_seen_when_it_was_believed(tmp_path):
    prices = [10, 10, 10, 50, 50, 50, 50]
    rows = curve("1:Normal", prices)
    apart, at_once = (load_settings(home=tmp_path / name) for name in ("apart", "at_once"))
    seen = nights(apart, rows.assign(came=range(len(prices))))
    assert [panel.price[-1, 0] for panel in seen] == [10, 10, 10, 10, 10, 50, 50, 50, 50]
    for collected in (rows, rows.drop(columns="collected_at")):
        home = at_once.model_copy(update={"home": tmp_path / f"{len(collected.columns)}"})
        ingest(Store.from_settings(home), delivery(collected), home)
        panel, _ = open_panel(home)
        assert panel.price[:, 0].tolist() == [10, 10, 10, 10, 10, 50, 50]
        assert panel.age[:, 0].tolist() == [0, 0, 0, 1, 2, 0, 0]
        stored = Store.from_settings(home).prices()
        assert stored["market_price"].tolist() == prices  # whoever looks now sees all of them


def test_a_correction_is_known_when_it_came_and_old_history_is_put_right(tmp_path):
    config = load_settings(home=tmp_path)
    first = curve("1:Normal", [10.0, 10.5, 11.0, 11.5]).assign(came=range(4))
    better = first.iloc[[1]].assign(market_price=10.7, collected_at=night(3), came=3)
    seen = nights(config, pd.concat([first, better]))
    assert [panel.price[1, 0] for panel in seen[1:]] == [10.5] * (DAYS - 1)
    ingest(
        Store.from_settings(config),
        delivery(better.drop(columns="came").assign(market_price=10.9, collected_at=night(90))),
        config,
        night(90),
    )
    assert open_panel(config)[0].price[1, 0] == 10.9


def test_the_price_that_a_correction_left_stays_the_last_one_until_it_came(tmp_path):
    config = load_settings(home=tmp_path)
    rows = curve("1:Normal", [10.0, 10.5]).assign(came=[0, 1])
    better = rows.iloc[[1]].assign(market_price=10.7, collected_at=night(4), came=4)
    other = curve("2:Normal", [3.0] * DAYS).assign(came=range(DAYS))
    seen = nights(config, pd.concat([rows, better, other]))
    assert [panel.price[-1, 0] for panel in seen] == [10, 10.5, 10.5, 10.5, *[10.7] * 5]
    assert seen[-1].age[:, 0].tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7]


def test_a_price_that_a_person_released_is_known_from_then_on(tmp_path):
    config = load_settings(home=tmp_path)
    store = Store.from_settings(config)
    rows = curve("1:Normal", [10, 10, 10, 60]).assign(came=range(4))
    other = curve("2:Normal", [3.0] * DAYS).assign(came=range(DAYS))
    nights(config, pd.concat([rows, other]))
    quarantine.release(store, store.quarantine(["held"]), night(6))
    assert open_panel(config)[0].price[:, 0].tolist() == [10] * 6 + [60] * 3


moves = st.sampled_from([1.0, 1.0, 1.05, 0.9, 6.0, 1 / 6])


@st.composite
def histories(draw) -> pd.DataFrame:
    """Cards that jump, pause and are corrected, with the night on which each row came."""
    cards = [curve("0:Normal", [5.0] * DAYS).assign(came=range(DAYS))]
    for card in range(1, draw(st.integers(1, 3)) + 1):
        steps = draw(st.lists(moves, min_size=DAYS, max_size=DAYS))
        prices = [round(float(price), 2) for price in (20 + 3.71 * card) * np.cumprod(steps)]
        there = draw(st.lists(st.booleans(), min_size=DAYS, max_size=DAYS))
        given = [price if here else None for price, here in zip(prices, there, strict=True)]
        rows = curve(f"{card}:Normal", given)
        rows["came"] = (rows["date"] - pd.Timestamp(START)).dt.days
        cards.append(rows)
        if len(rows) and draw(st.booleans()):
            place = draw(st.integers(0, len(rows) - 1))
            came = draw(st.integers(int(rows["came"].iloc[place]), DAYS - 1))
            price = round(
                rows["market_price"].iloc[place] * draw(st.sampled_from([1.0, 1.1, 0.9])), 2
            )
            again = rows.iloc[[place]].assign(market_price=price, came=came)
            cards.append(again.assign(collected_at=night(came)))
    return pd.concat([one for one in cards if len(one)], ignore_index=True)


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(rows=histories())
def test_day_by_day_and_all_at_once_every_day_shows_the_same(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("homes")
    apart, at_once = (load_settings(home=folder / name) for name in ("apart", "at_once"))
    seen = nights(apart, rows)
    ingest(
        Store.from_settings(at_once), delivery(rows.drop(columns="came")), at_once, night(DAYS - 1)
    )
    for config in (apart, at_once):
        now, _ = open_panel(config, FIRST + timedelta(DAYS - 1))
        for day, panel in enumerate(seen):
            past, _ = open_panel(config, FIRST + timedelta(day))
            for name in MATRICES:
                same(panel, past, name)
                if day < DAYS - 1:
                    same(past, now.until(day), name)


def test_a_data_version_knows_nothing_that_was_corrected_after_it(tmp_path):
    config = load_settings(home=tmp_path)
    store, rows = Store.from_settings(config), curve("1:Normal", [10.0, 10.5, 11.0])
    ingest(store, delivery(rows), config)
    pinned = store.data_version
    before, _ = open_panel(config, data_version=pinned)
    later = curve("2:Normal", [5.0], start="2025-01-08")
    ingest(store, delivery(later), config)
    ingest(store, delivery(later.assign(market_price=5.5, collected_at=night(9))), config)
    after, _ = open_panel(config, data_version=pinned)
    assert list(after.card_ids) == ["1:Normal"]
    for name in MATRICES:
        same(before, after, name)
