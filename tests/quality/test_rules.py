from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from builders import curve, delivery
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from pokewatch.errors import UsageError
from pokewatch.models.panel import Panel
from pokewatch.quality.ingest import collect, ingest, recent_prices
from pokewatch.quality.jumps import RECENT
from pokewatch.quality.quarantine import pending, release
from pokewatch.quality.rules import normalise
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home")


@pytest.fixture
def store(config: Settings) -> Store:
    return Store.from_settings(config)


def reasons(store: Store) -> dict[str, int]:
    return store.quarantine()["reason"].value_counts().to_dict()


FAULTY = {"card_id": "1:Normal", "date": None, "market_price": 0, "low_price": None, "volume": 1}

anything = st.one_of(
    st.none(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from(["", "abc", "12.5", "-3", "1e3", "NaN", "2,50", True, 0, 7]),
)
any_date = st.one_of(
    st.none(),
    st.sampled_from(["", "2025-01-03", "2025/01/04", "yesterday", "2031-01-01", "2025-13-40", 5]),
    st.dates(pd.Timestamp("2024-12-25").date(), pd.Timestamp("2025-01-20").date()),
)
received = st.lists(
    st.fixed_dictionaries(
        {
            "card_id": st.one_of(
                st.none(), st.sampled_from(["", "1:Normal", "2:Holofoil", "ü'\"x"])
            ),
            "date": any_date,
            "market_price": anything,
            "low_price": anything,
            "volume": anything,
        }
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@example(first=[FAULTY], second=[FAULTY, FAULTY])
@given(first=received, second=received)
def test_every_received_row_ends_in_exactly_one_place(tmp_path_factory, first, second):
    config = load_settings(home=tmp_path_factory.mktemp("home"))
    store = Store.from_settings(config)
    now = pd.Timestamp("2025-01-10T12:00Z")
    stored = 0
    for rows in (first, second):
        frame = pd.DataFrame(
            rows, columns=["card_id", "date", "market_price", "low_price", "volume"]
        )
        frame = frame.astype("object")
        counts = ingest(store, delivery(frame), config, now)
        assert counts.received == len(rows)
        assert counts.accepted + counts.quarantined + counts.unchanged == len(rows)
        stored += counts.accepted + counts.quarantined
        assert len(store.prices()) + len(store.quarantine()) == stored
    kept = store.prices()
    assert (kept["market_price"] > 0).all()
    assert np.isfinite(kept["market_price"]).all()
    assert (kept["date"] <= pd.Timestamp("2025-01-10")).all()
    assert not kept.duplicated(["card_id", "date"]).any()


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("card_id", None, "card_id_missing"),
        ("market_price", None, "price_missing"),
        ("market_price", " ", "price_missing"),
        ("market_price", "twelve", "price_not_numeric"),
        ("market_price", float("inf"), "price_not_numeric"),
        ("market_price", 0.0, "price_not_positive"),
        ("market_price", "-1.50", "price_not_positive"),
        ("market_price", 22_376_779.59, "price_absurd"),
        ("date", None, "date_missing"),
        ("date", "2025-02-30", "date_unparsable"),
        ("date", 20250103, "date_unparsable"),
        ("date", "2025-01-04", "date_in_future"),
        ("date", "now", "date_unparsable"),
        ("date", "2025", "date_unparsable"),
        ("date", "1700-01-05", "date_too_old"),
        ("collected_at", "2099-01-01T00:00:00Z", "date_in_future"),
    ],
)
def test_a_faulty_row_is_refused_with_its_reason(store, config, column, value, reason):
    row = curve("1:Normal", [4.0], start="2025-01-03").astype("object")
    row[column] = [value]
    ingest(store, delivery(row), config)
    assert reasons(store) == {reason: 1}
    assert store.prices().empty


@pytest.mark.parametrize("year", ["300000", "20000", "-20000"])
@pytest.mark.parametrize("column", ["date", "collected_at"])
def test_a_year_that_no_date_has_stops_nothing(store, config, year, column):
    rows = curve("1:Normal", [4.0, 4.1], start="2025-01-01")
    rows[column] = np.array([f"{year}-01-01", "2025-01-02"], dtype="datetime64[s]")
    counts = ingest(store, delivery(rows), config)
    refused = {"date_unparsable": 1} if column == "date" else {}
    assert (counts.received, reasons(store)) == (2, refused)
    assert len(store.prices()) == 2 - len(refused)


@pytest.mark.parametrize("day", ["0001-01-01", "1677-12-31", "2262-01-01", "9999-12-31"])
def test_a_date_that_nanoseconds_do_not_reach_costs_its_own_row_only(store, config, day):
    rows = curve("1:Normal", [4.0, 4.1], start="2025-01-01")
    rows["date"] = np.array([day, "2025-01-02"], dtype="datetime64[us]")
    ingest(store, delivery(rows), config)
    assert reasons(store) == {"date_unparsable": 1}
    assert len(store.prices()) == 1


def test_a_date_before_all_cards_makes_no_night_read_all_prices(store, config):
    ingest(store, delivery(curve("1:Normal", [4.0] * 200)), config)
    late = curve("1:Normal", [4.0, 4.1], start="2025-07-19").assign(
        date=pd.to_datetime(["1900-01-01", "2025-07-20"])
    )
    rows = normalise(late, "file", pd.Timestamp("2025-07-21", tz="UTC"))
    waiting = pending(store.snapshot("quarantine"), pa.array(["1:Normal"]))
    cards = pd.CategoricalDtype(["1:Normal"])
    rows, waiting = (frame.astype({"card_id": cards}) for frame in (rows, waiting))
    assert len(recent_prices(store.snapshot("prices"), rows, waiting, cards)) == RECENT


def test_a_price_of_a_day_to_come_is_released_by_nobody(store, config):
    future = f"{pd.Timestamp.now() + pd.Timedelta(days=9_000):%Y-%m-%d}"
    ingest(store, delivery(curve("1:Normal", [4.0], start=future)), config)
    ingest(store, delivery(curve("1:Normal", [4.0], start="1990-01-01")), config)
    held = store.quarantine()
    assert reasons(store) == {"date_in_future": 1, "date_too_old": 1}
    for _, rows in held.groupby("reason"):
        with pytest.raises(UsageError, match=r"lacks a usable card, date or price"):
            release(store, rows, pd.Timestamp.now(tz="UTC"))
    assert store.prices().empty


def test_a_delivery_of_invented_and_real_prices_leaves_an_empty_home_empty(store, config):
    rows = [curve("1:Normal", [4.0], source="simulated"), curve("2:Normal", [4.0], source="tcgcsv")]
    with pytest.raises(UsageError, match="1 simulated prices among 2"):
        ingest(store, delivery(*rows), config)
    assert store.prices().empty
    assert store.cards().empty


def test_the_day_of_collection_itself_is_no_future(store, config):
    row = curve("1:Normal", [4.0]).assign(collected_at="2025-01-01T23:30:00Z")
    assert ingest(store, delivery(row), config).accepted == 1


def test_the_newest_collection_wins_and_the_other_is_kept(store, config):
    row = curve("1:Normal", [4.0])
    newer = row.assign(market_price=4.5, collected_at=pd.Timestamp("2025-01-02", tz="UTC"))
    counts = ingest(store, delivery(row, newer), config)
    assert (counts.accepted, counts.quarantined) == (1, 1)
    assert store.prices()["market_price"].tolist() == [4.5]
    kept = store.quarantine()
    assert kept[["market_price", "reason"]].to_numpy().tolist() == [[4.0, "superseded"]]


def test_a_newer_price_replaces_a_stored_one_and_an_older_does_not(store, config):
    row = curve("1:Normal", [4.0])
    newer = row.assign(market_price=4.5, collected_at=pd.Timestamp("2025-01-03", tz="UTC"))
    older = row.assign(market_price=4.2, collected_at=pd.Timestamp("2025-01-02", tz="UTC"))
    ingest(store, delivery(row), config)
    assert ingest(store, delivery(newer), config).superseded == 1
    assert ingest(store, delivery(older), config).quarantined == 1
    assert store.prices()["market_price"].tolist() == [4.5]
    assert sorted(store.quarantine()["market_price"]) == [4.0, 4.2]


def test_a_glitch_on_a_settled_card_does_not_replace_its_price(store, config):
    ingest(store, delivery(curve("1:Normal", [740.0] * 5)), config)
    glitch = curve("1:Normal", [0.7], start="2025-01-05")
    glitch["collected_at"] = pd.Timestamp("2025-01-06", tz="UTC")
    ingest(store, delivery(glitch), config)
    assert set(store.prices()["market_price"]) == {740.0}


@pytest.mark.parametrize("nightly", [False, True])
def test_an_isolated_spike_is_refused(store, config, nightly):
    feed(store, config, [740.0, 741.0, 739.0, 0.7, 740.0, 742.0], nightly)
    assert reasons(store) == {"isolated_spike": 1}
    assert store.quarantine()["status"].tolist() == ["refused"]
    assert 0.7 not in set(store.prices()["market_price"])


@pytest.mark.parametrize("nightly", [False, True])
def test_a_jump_is_held_until_later_observations_confirm_it(store, config, nightly):
    feed(store, config, [10.0, 10.0, 10.0, 45.0, 46.0], nightly)
    assert reasons(store) == {"jump": 2}
    assert set(store.quarantine()["status"]) == {"held"}
    counts = ingest(store, delivery(curve("1:Normal", [45.0], start="2025-01-06")), config)
    assert (counts.accepted, counts.released) == (1, 2)
    assert store.quarantine().empty
    assert store.prices()["market_price"].tolist() == [10.0, 10.0, 10.0, 45.0, 46.0, 45.0]


def feed(store: Store, config: Settings, prices: list[float], nightly: bool) -> None:
    rows = curve("1:Normal", prices)
    nights = [rows.iloc[[number]] for number in range(len(rows))] if nightly else [rows]
    for night in nights:
        ingest(store, delivery(night), config)


def test_listings_at_the_new_level_confirm_a_jump_at_once(store, config):
    quotes = {"low_price": 41.0, "mid_price": 52.0}
    rows = [curve("1:Normal", [10.0] * 4), curve("1:Normal", [45.0], start="2025-01-05", **quotes)]
    assert ingest(store, delivery(*rows), config).quarantined == 0


def test_a_wild_move_of_a_few_cents_is_no_jump(store, config):
    assert ingest(store, delivery(curve("1:Normal", [0.1, 0.1, 0.6, 0.1])), config).accepted == 4


def test_prices_fall_and_rise_far_in_small_steps(store, config):
    path = list(np.round(np.geomspace(5, 500, 40), 2)) + list(np.round(np.geomspace(500, 5, 40), 2))
    assert ingest(store, delivery(curve("1:Normal", path)), config).quarantined == 0


def test_a_wrong_first_price_does_not_hold_up_the_card(store, config):
    ingest(store, delivery(curve("1:Normal", [0.7, 262.0, 263.0, 262.5, 262.0])), config)
    assert store.prices()["market_price"].tolist() == [262.0, 263.0, 262.5, 262.0]
    assert reasons(store) == {"isolated_spike": 1}


SHARED = [0.70, 0.90, 1.41, 1.55, 1.55, 1.55, 1.66, 2.90, 1.87, 1.88, 2.30, 2.10, 1.55, 1.44]


@pytest.mark.parametrize("nightly", [False, True])
def test_the_same_curve_on_unrelated_cards_is_refused(store, config, nightly):
    frames = [curve(f"{n}:Normal", [200.0 + n] * 10 + SHARED) for n in range(3)]
    own = [curve(f"{n}:Normal", np.linspace(10 + n, 11 + n, 24).round(2)) for n in range(3, 20)]
    rows = pd.concat([*frames, *own])
    nights = [night for _, night in rows.groupby("date")] if nightly else [rows]
    for night in nights:
        ingest(store, delivery(night), config)
    assert reasons(store) == {"shared_curve": 3 * len(SHARED)}


def test_the_owner_of_a_shared_curve_keeps_it(store, config):
    owner = curve("1:Normal", [0.75] * 10 + SHARED)
    wrong = curve("2:Normal", [200.0] * 10 + SHARED)
    ingest(store, delivery(owner, wrong), config)
    assert set(store.quarantine()["card_id"]) == {"2:Normal"}


def test_printings_and_boxes_of_one_set_may_share_a_curve(store, config):
    path = [20.0] * 5 + [20.0 + price for price in SHARED]
    cards = {"card_id": ["7:Normal", "8:Normal"], "set_name": ["Crown", "Crown"]}
    frames = [curve(card, path) for card in ("5:Normal", "5:Holofoil", "7:Normal", "8:Normal")]
    related = delivery(frames[0], frames[1]), delivery(frames[2], frames[3], **cards)
    for one in related:
        assert ingest(store, one, config).quarantined == 0


def test_cheap_cards_that_agree_by_chance_are_left_alone(store, config):
    rng = np.random.default_rng(3)
    frames = [curve(f"{n}:Normal", rng.integers(5, 8, 30) / 100) for n in range(200)]
    assert ingest(store, delivery(*frames), config).quarantined == 0


def test_a_whole_day_that_repeats_the_day_before_is_found():
    rng = np.random.default_rng(4)
    prices = rng.uniform(5, 9, (6, 30)).round(2)
    prices[3] = prices[2]
    rows = pd.concat([curve(f"{n}:Normal", prices[:, n]) for n in range(30)])
    assert Panel.from_prices(rows).repeated_days() == [pd.Timestamp("2025-01-04")]


@pytest.mark.real_data
def test_the_raw_bucket_file(shared_data, config):
    path = shared_data / "fixtures" / "tcgplayer_buckets_raw.csv"
    mapping = {
        "market_price": "holofoil_price",
        "date": "period_end_date",
        "collected_at": "timestamp",
    }
    counts = collect(config, "file", path=path, columns=mapping, id_template="{set}|{type}|{name}")
    raw = pd.read_csv(path)
    assert counts.accepted + counts.quarantined == counts.received == len(raw)
    raw["card_id"] = (raw["set"] + "|" + raw["type"] + "|" + raw["name"]).str.lower()
    raw["date"] = pd.to_datetime(raw["period_end_date"])
    future = raw["date"] > pd.to_datetime(raw["timestamp"]).dt.normalize()
    zero = raw["holofoil_price"] == 0
    glitch = ~future & raw["holofoil_price"].between(0.01, 5)  # no product in it is that cheap
    stored = Store.from_settings(config).prices(["card_id", "date"]).assign(stored=True)
    found = raw.merge(stored, on=["card_id", "date"], how="left")["stored"].notna()
    assert (future.sum(), zero.sum(), glitch.sum()) == (3796, 55, 83)
    assert not found[future | zero | glitch].any()
    panel = pd.read_parquet(shared_data / "panels" / "chase_with_volume.parquet")
    good = panel.loc[~panel["suspect"], ["card_id", "date"]].assign(good=True)
    held_good = raw.merge(good, on=["card_id", "date"], how="left")["good"].notna()
    rows = held_good & ~zero & ~glitch
    assert rows.sum() > 9000
    assert (~found[rows]).mean() <= 0.002


@pytest.mark.real_data
def test_sealed_products_keep_nearly_every_price(shared_data, config):
    counts = collect(config, "file", path=shared_data / "panels" / "sealed_daily.parquet")
    assert counts.accepted + counts.quarantined == counts.received == 354_210
    assert counts.quarantined <= 20
    stored = Store.from_settings(config).prices(["card_id", "date", "market_price"])
    assert Panel.from_prices(stored).repeated_days() == [pd.Timestamp("2024-02-15")]


def two_sources(first: float, second: float) -> list:
    day = pd.Timestamp("2025-01-03", tz="UTC")
    mine = curve("1:Normal", [first]).assign(source="tcgcsv", collected_at=day)
    other = curve("1:Normal", [second]).assign(
        source="tcgdex", collected_at=day + pd.Timedelta("1h")
    )
    return [delivery(mine, source="tcgcsv"), delivery(other, source="tcgdex")]


@pytest.mark.parametrize(
    ("prices", "flag"), [((8.0, 10.1), "disagreement"), ((8.0, 9.9), "superseded")]
)
@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_sources_the_trusted_one_counts_whichever_came_first(
    store, config, prices, flag, reverse
):
    for each in sorted(two_sources(*prices), key=lambda one: one.source, reverse=reverse):
        counts = ingest(store, each, config)
        assert counts.accepted + counts.quarantined + counts.unchanged == counts.received
    kept = store.prices()
    assert kept[["market_price", "source"]].to_numpy().tolist() == [[prices[0], "tcgcsv"]]
    aside = store.quarantine()
    assert aside[["market_price", "source", "reason"]].to_numpy().tolist() == [
        [prices[1], "tcgdex", flag]
    ]


@pytest.mark.parametrize("reverse", [False, True])
def test_two_sources_that_agree_leave_one_row_of_the_trusted_one(store, config, reverse):
    for each in sorted(two_sources(8.0, 8.0), key=lambda one: one.source, reverse=reverse):
        ingest(store, each, config)
    assert store.prices()["source"].tolist() == ["tcgcsv"]
    assert store.quarantine().empty


def test_a_row_whose_other_values_change_is_kept_as_superseded(store, config):
    first = curve("1:Normal", [10.0], low_price=7.0)
    ingest(store, delivery(first), config)
    later = first.assign(low_price=8.0, collected_at=first["collected_at"] + pd.Timedelta(hours=1))
    ingest(store, delivery(later), config)
    assert store.prices()["low_price"].tolist() == [8.0]
    kept = store.quarantine()
    assert kept[["reason", "low_price"]].values.tolist() == [["superseded", 7.0]]


@pytest.mark.parametrize("many", [0, 1000])
def test_cards_are_judged_alike_picked_by_name_or_in_memory(store, config, monkeypatch, many):
    monkeypatch.setattr("pokewatch.quality.ingest.MANY_CARDS", many)
    bystander = curve("9:Normal", [1000.0] * 9)
    ingest(store, delivery(curve("1:Normal", [10.0] * 8), bystander), config)
    later = curve("1:Normal", [990.0, 10.0], start="2025-01-09")
    ingest(store, delivery(later), config)
    assert reasons(store) == {"isolated_spike": 1}
    assert store.prices(card_ids=["1:Normal"])["market_price"].tolist() == [10.0] * 9
    assert len(store.prices(card_ids=["9:Normal"])) == 9


def test_a_ratio_that_is_exactly_the_limit_is_no_jump_on_any_level(store, config):
    levels = [round(10 + 0.2 * number, 2) for number in range(250)]
    cards = [
        curve(f"{number}:Normal", [level] * 5 + [round(level * config.jump_factor, 2)])
        for number, level in enumerate(levels)
    ]
    assert ingest(store, delivery(*cards), config).quarantined == 0


@pytest.mark.parametrize("other", [11.0, 25.0, 100.0, 5000.0])
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_prices_at_once_the_lower_counts_whatever_their_distance(
    store, config, other, turned
):
    prices = [other, 10.0] if turned else [10.0, other]
    rows = pd.DataFrame({"card_id": "1:Normal", "date": "2025-01-03", "market_price": prices})
    ingest(store, delivery(rows), config)
    assert store.prices()["market_price"].tolist() == [10.0]
    assert store.quarantine()["market_price"].tolist() == [other]
    assert reasons(store) == {"superseded": 1}


def test_of_two_prices_at_once_the_one_that_fits_the_days_before_counts(store, config):
    ingest(store, delivery(curve("1:Normal", [100.0] * 5)), config)
    twice = pd.DataFrame(
        {"card_id": "1:Normal", "date": "2025-01-06", "market_price": [10.0, 101.0]}
    )
    ingest(store, delivery(twice), config)
    assert store.prices()["market_price"].tolist()[-1] == 101.0
    assert reasons(store) == {"jump": 1}
