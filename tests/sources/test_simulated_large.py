from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pokewatch.errors import UsageError
from pokewatch.quality.ingest import collect
from pokewatch.settings import Settings, load_settings
from pokewatch.sources import file
from pokewatch.sources.simulated import large
from pokewatch.store.tables import Store

LAST = date(2026, 6, 30)
CARDS, DAYS = 600, 90


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("market") / "files"
    said = large.write(out, CARDS, DAYS, LAST)
    assert said["files"] == len(list(out.iterdir())) == 3  # a file a month
    return out


@pytest.fixture(scope="module")
def rows(folder) -> pd.DataFrame:
    return pd.concat([pq.read_table(path).to_pandas() for path in sorted(folder.iterdir())])


@pytest.fixture
def settings(tmp_path) -> Settings:
    return load_settings(home=tmp_path / "home")


def test_the_market_moves_as_real_ones_do(rows):
    order = rows.sort_values(["card_id", "date"])
    same = order["card_id"].astype(str).eq(order["card_id"].astype(str).shift())
    change = np.log(order["market_price"]).diff()[same].dropna()
    assert (change == 0).mean() == pytest.approx(0.78, abs=0.06)
    assert (rows["low_price"] > rows["market_price"]).mean() == pytest.approx(0.06, abs=0.03)
    table = np.log(
        order.astype({"card_id": str}).pivot(index="date", columns="card_id")["market_price"]
    )
    above = (table - table.rolling(7).mean()).to_numpy()[7:-7:7].ravel()
    ahead = (table.shift(-7) - table).to_numpy()[7:-7:7].ravel()
    assert pd.Series(above).corr(pd.Series(ahead), method="spearman") > 0.1


def test_cards_appear_and_go_missing(rows):
    first = rows.groupby("card_id", observed=True)["date"].min()
    assert set(rows["source"].astype(str)) == {"simulated"}
    assert set(rows["product_kind"].astype(str)) == {"single", "sealed"}
    assert rows["card_id"].nunique() == CARDS
    assert (first > first.min()).any()
    assert 0.97 < len(rows) / (rows.groupby("date").size().max() * DAYS) < 1
    assert 0 < rows["market_price"].isna().mean() < 0.03


def test_the_same_arguments_write_the_same_market(folder, tmp_path):
    large.write(tmp_path / "again", CARDS, DAYS, LAST)
    for path in folder.iterdir():
        assert pq.read_table(path).equals(pq.read_table(tmp_path / "again" / path.name))


def test_a_folder_in_use_is_left_alone(folder):
    with pytest.raises(UsageError, match="not an empty folder"):
        large.write(folder, 10, 2, LAST)


def test_a_folder_is_collected_file_after_file(folder, rows, settings):
    counts = collect(settings, "file", path=folder)
    assert counts.received == len(rows)
    assert counts.accepted + counts.quarantined == len(rows)
    assert counts.reasons["price_missing"] == rows["market_price"].isna().sum()
    stored = Store.from_settings(settings)
    assert len(stored.prices(["date"])) == counts.accepted
    assert set(stored.cards()["name"]) == set(rows["name"].astype(str))
    assert collect(settings, "file", path=folder).unchanged == len(rows)


def test_one_night_of_a_folder_reads_the_file_that_holds_it(folder, rows, settings):
    assert [path.name for path in file.files(folder, LAST)] == ["2026-06-01.parquet"]
    counts = collect(settings, "file", path=folder, on=LAST)
    assert counts.received == (rows["date"] == LAST).sum()
    assert counts.dates == [f"{LAST}"]


def test_a_folder_without_files_says_so(tmp_path, settings):
    with pytest.raises(UsageError, match="holds no file that ends in"):
        collect(settings, "file", path=tmp_path)
