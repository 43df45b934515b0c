from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from builders import curve, delivery
from deltalake import write_deltalake
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pokewatch.errors import StoreError, UsageError
from pokewatch.models.panel import open_panel
from pokewatch.quality.ingest import ingest
from pokewatch.schema import OBSERVATION_COLUMNS, PREDICTION_COLUMNS, STORED_COLUMNS
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import COMPACT_ABOVE_FILES, TABLES, Store, to_table

# Shrinking runs hundreds of commits: a failure shows its example as it was found.
NO_SHRINKING = [Phase.explicit, Phase.reuse, Phase.generate]
DAYS = pd.date_range("2025-01-01", periods=5)


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path / "home")


rows_of_a_delivery = st.lists(
    st.tuples(
        st.sampled_from(["1:Normal", "2:Normal"]),
        st.sampled_from(list(DAYS)),
        st.integers(100, 140).map(lambda cents: cents / 100),  # no jump: only re-deliveries count
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda row: (row[0], row[1], row[3]),
)


def as_delivery(rows: list[tuple[str, pd.Timestamp, float, int]]):
    frame = pd.DataFrame(rows, columns=["card_id", "date", "market_price", "age"])
    collected = frame["date"] + pd.to_timedelta(frame["age"], unit="D")
    return delivery(frame.drop(columns="age").assign(collected_at=collected.dt.tz_localize("UTC")))


def prices(store: Store) -> pd.DataFrame:
    return store.prices(["card_id", "date", "market_price"])


@settings(max_examples=20, deadline=None, phases=NO_SHRINKING)
@given(
    deliveries=st.lists(rows_of_a_delivery, min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_the_store_does_not_depend_on_order_or_repetition(tmp_path_factory, deliveries, order):
    newest: dict[tuple[str, pd.Timestamp], tuple[int, float]] = {}
    for rows in deliveries:
        for card, day, price, age in rows:
            best = newest.get((card, day))
            # the later collection wins; collected at once, the lower price does
            if best is None or (age, -price) > (best[0], -best[1]):
                newest[card, day] = (age, price)
    shuffled = [as_delivery(rows) for rows in deliveries] * 2
    order.shuffle(shuffled)
    config = load_settings(home=tmp_path_factory.mktemp("home"))
    store = Store.from_settings(config)
    for one in shuffled:
        ingest(store, one, config)
    stored = prices(store).set_index(["card_id", "date"])["market_price"].to_dict()
    assert stored == {key: price for key, (_, price) in newest.items()}


def test_a_delivery_twice_adds_nothing_and_commits_nothing(config):
    store = Store.from_settings(config)
    rows = delivery(curve("1:Normal", [5.0, 0.0, None, 5.2]), curve("2:Normal", [1.0, "x", 1.1]))
    first = ingest(store, rows, config)
    before = prices(store), store.quarantine(), store.snapshot("quarantine").version
    second = ingest(store, rows, config)
    assert (first.accepted, first.quarantined, first.unchanged) == (4, 2, 0)
    assert (second.accepted, second.quarantined, second.unchanged) == (0, 0, 6)
    assert second.data_version == first.data_version
    pd.testing.assert_frame_equal(prices(store), before[0])
    pd.testing.assert_frame_equal(store.quarantine(), before[1])
    assert store.snapshot("quarantine").version == before[2]


def test_reading_narrows_by_column_card_date_and_version(config):
    store = Store.from_settings(config)
    ingest(store, delivery(curve("1:Normal", [5.0] * 40), curve("2:Normal", [7.0] * 40)), config)
    old = store.data_version
    ingest(store, delivery(curve("1:Normal", [5.5] * 2, start="2025-02-10")), config)
    some = store.prices(
        ["date", "market_price"],
        card_ids=["2:Normal"],
        since=pd.Timestamp("2025-01-30").date(),
        until=pd.Timestamp("2025-02-02").date(),
    )
    assert list(some.columns) == ["date", "market_price"]
    assert list(some["date"].dt.strftime("%m-%d")) == ["01-30", "01-31", "02-01", "02-02"]
    assert set(some["market_price"]) == {7.0}
    assert len(store.prices()) == 82
    assert len(store.prices(data_version=old)) == 80
    assert list(store.prices().columns) == OBSERVATION_COLUMNS


def test_an_empty_home_is_an_empty_store(config):
    store = Store.from_settings(config)
    assert store.prices().empty
    assert list(store.prices().columns) == OBSERVATION_COLUMNS
    assert store.data_version == -1


def test_a_version_that_is_not_there_is_named(config):
    store = Store.from_settings(config)
    ingest(store, delivery(curve("1:Normal", [5.0])), config)
    with pytest.raises(UsageError, match=r"data version 9 .* newest is 1"):
        store.prices(data_version=9)


def test_a_store_that_cannot_be_read_is_an_error_not_an_empty_one(config):
    store = Store.from_settings(config)
    ingest(store, delivery(curve("1:Normal", [5.0])), config)
    log = config.home / "prices" / "_delta_log"
    for entry in log.iterdir():
        entry.rename(config.home / entry.name)
    with pytest.raises(StoreError, match="no readable Delta log"):
        store.prices()
    for entry in config.home.glob("*.json"):
        entry.rename(log / entry.name)
    (log / "00000000000000000000.json").write_text("{ damaged")
    with pytest.raises(StoreError, match=r"log entry .*0000\.json. holds something else.*back-up"):
        store.prices()


def test_a_table_whose_first_entry_was_never_finished_is_an_empty_one(config):
    log = config.home / "prices" / "_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json#1").write_text('{"protocol":')
    store = Store.from_settings(config)
    assert store.prices().empty
    ingest(store, delivery(curve("1:Normal", [5.0])), config)
    assert len(store.prices()) == 1


def test_a_lost_parquet_file_is_named(config):
    store = Store.from_settings(config)
    ingest(store, delivery(curve("1:Normal", [5.0])), config)
    for file in (config.home / "prices").rglob("*.parquet"):
        file.unlink()
    with pytest.raises(StoreError, match="'prices' at version 1 cannot be read"):
        store.prices()


def test_small_files_are_compacted_and_no_row_is_lost(config):
    store = Store.from_settings(config)
    nights = 2 * COMPACT_ABOVE_FILES
    for night in range(nights):
        day = f"2025-01-{night + 1:02}"
        ingest(store, delivery(curve("1:Normal", [5 + night / 10], start=day)), config)
    files = store.snapshot("prices").handle.file_uris()
    assert len(files) <= COMPACT_ABOVE_FILES
    assert len(store.prices()) == nights
    # within the retention the older versions stay readable
    assert len(store.prices(data_version=3)) == 3


def test_old_files_of_the_cards_go_after_the_retention(config):
    store = Store.from_settings(config)
    nights = 2 * COMPACT_ABOVE_FILES
    for number in range(nights):
        ingest(store, delivery(curve(f"{number}:Normal", [5.0])), config)
    assert len(list((config.home / "cards").glob("*.parquet"))) == nights
    long_ago = f'"deletionTimestamp":{round((time.time() - 40 * 86_400) * 1000)}'
    for entry in (config.home / "cards" / "_delta_log").glob("*.json"):
        entry.write_text(re.sub(r'"deletionTimestamp":\d+', long_ago, entry.read_text()))
    ingest(store, delivery(curve("1:Holofoil", [5.0])), config)
    assert len(list((config.home / "cards").glob("*.parquet"))) == 2
    assert len(store.cards()) == nights + 1


def test_every_column_survives_the_way_through_the_store(config):
    store = Store.from_settings(config)
    row = curve("1:Normal", [5.0], low_price=4.0, mid_price=5.5, high_price=90.0, volume=3)
    ingest(store, delivery(row), config)
    stored = store.prices().iloc[0]
    assert stored[["low_price", "mid_price", "high_price", "volume"]].tolist() == [4, 5.5, 90, 3]
    assert stored["source"] == "file"
    assert stored["collected_at"] == pd.Timestamp("2025-01-01", tz="UTC")


def write_days(home: str, card: str, days: int, start: str) -> None:
    config = load_settings(home=home)
    store = Store.from_settings(config)
    for number in range(days):
        day = str(pd.Timestamp(start) + pd.Timedelta(days=number))
        ingest(store, delivery(curve(card, [5.0], start=day)), config)


def test_writers_at_once_lose_and_double_nothing(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    cards = ["1:Normal", "2:Normal", "3:Normal"]
    writers = [
        spawn.Process(target=write_days, args=(str(tmp_path), card, 6, "2025-01-01"))
        for card in cards
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    stored = Store(tmp_path).prices()
    assert len(stored) == 18
    assert not stored.duplicated(["card_id", "date"]).any()
    assert len(Store(tmp_path).cards()) == 3


def test_giving_up_against_other_writers_is_said(config):
    store = Store.from_settings(config)

    def always_late() -> None:
        ingest(store, delivery(curve("1:Normal", [5.0])), config)
        stale = store.snapshot("prices")
        price = 5.0 - store.data_version / 100
        ingest(store, delivery(curve("1:Normal", [price], start="2025-01-02")), config)
        store.upsert(stale, store.prices(STORED_COLUMNS).assign(market_price=price + 0.5))

    with pytest.raises(StoreError, match=r"other writers changed .* 3 times .*not all of it was"):
        store.retry(always_late, tries=3)


KILLED = textwrap.dedent(
    """
    import sys
    import pandas as pd
    from builders import curve, delivery
    from pokewatch.quality.ingest import ingest
    from pokewatch.settings import load_settings
    from pokewatch.store.tables import Store

    config = load_settings(home=sys.argv[1])
    store = Store.from_settings(config)
    print("ready", flush=True)
    for number in range(16):
        day = str(pd.Timestamp("2025-01-01") + pd.Timedelta(days=number))
        frames = [curve(f"{card}:Normal", [5.0], start=day) for card in range(50)]
        frames.append(curve("bad:Normal", [0.0], start=day))
        ingest(store, delivery(*frames), config)
        print(number, flush=True)
    """
)


@pytest.mark.parametrize("killed_after", [0.0, 0.05, 0.2])
def test_a_kill_leaves_the_last_commit_and_the_next_run_completes(tmp_path, killed_after):
    home = tmp_path / "home"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(home)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    lines = [process.stdout.readline() for _ in range(4)]
    assert lines[-1].strip() == "2"
    time.sleep(killed_after)  # somewhere in the middle of a later commit
    process.send_signal(signal.SIGKILL)
    process.wait()
    store = Store(home)
    survived = store.prices()
    whole_days = survived.groupby("date").size()
    assert len(whole_days) >= 3
    assert set(whole_days) == {50}
    subprocess.run(
        [sys.executable, "-c", KILLED, str(home)],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    assert len(store.prices()) == 16 * 50
    assert len(store.quarantine()) == 16
    assert json.loads(store.quarantine()["raw"].iloc[0])["market_price"] == "0.0"


def test_a_home_of_an_earlier_version_is_read_and_gets_its_columns_with_the_next_commit(
    config, caplog
):
    store = Store.from_settings(config)
    ingest(store, delivery(curve("1:Normal", [5.0, 5.1, 5.2])), config)
    prices = store.snapshot("prices").read().drop_columns("accepted_at")
    said = pd.DataFrame(
        {"card_id": "1:Normal", "date": pd.Timestamp("2025-01-03"), "horizon": [7, 14]}
    ).reindex(columns=PREDICTION_COLUMNS)
    said = said.assign(thin=False, stale=False, data_version=1, fair_value=5.3)
    before = {
        "prices": pa.schema([f for f in TABLES["prices"] if f.name != "accepted_at"]),
        "predictions": pa.schema(
            [f for f in TABLES["predictions"] if f.name not in ("made_at", "basis")]
        ),
    }
    earlier = config.model_copy(update={"store": str(config.home / "earlier")})
    aged = Store.from_settings(earlier)
    for name, rows in (("prices", prices), ("predictions", said)):
        table = to_table(rows.to_pandas() if name == "prices" else rows, before[name])
        by = ["month"] if name == "prices" else None
        write_deltalake(aged.location(name), table, partition_by=by)
    assert open_panel(earlier)[0].price[:, 0].tolist() == [5.0, 5.1, 5.2]
    assert aged.predictions()["horizon"].tolist() == [7, 14]
    with caplog.at_level("INFO"):
        ingest(aged, delivery(curve("1:Normal", [5.3], start="2025-01-04")), earlier)
        aged.save_predictions(said.assign(fair_value=9.9))
    assert "of an earlier version gets the column accepted_at" in caplog.text
    stored = aged.prices(["date", "collected_at", "accepted_at"])
    assert (stored["accepted_at"] == stored["collected_at"]).all()
    assert aged.predictions(first=True)["fair_value"].tolist() == [5.3, 5.3]
    assert aged.predictions()["fair_value"].tolist() == [9.9, 9.9]
    assert open_panel(earlier)[0].price[:, 0].tolist() == [5.0, 5.1, 5.2, 5.3]
