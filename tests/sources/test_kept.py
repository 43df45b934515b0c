"""Live answers of tcgcsv are kept as delivered: asked once, read again, shared, forgotten."""

from __future__ import annotations

import gzip
import json
import shutil
from contextlib import suppress
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import time_machine
from test_tcgcsv import Service, answer, group, pack, price, product, service, settings

from pokewatch.errors import SourceError
from pokewatch.quality.ingest import backfill, collect
from pokewatch.settings import Settings
from pokewatch.sources import tcgcsv
from pokewatch.sources.tcgcsv import kept as kept_answers
from pokewatch.store.tables import Store

__all__ = ["service", "settings"]
DAY = date(2026, 7, 23)
UPDATED = "2026-07-23T20:05:33+0000"
PRICES = "/tcgplayer/3/604/prices"


@pytest.fixture(autouse=True)
def _same_evening():
    with time_machine.travel("2026-07-23T22:00:00Z"):
        yield


def kept(settings: Settings) -> Path:
    return settings.home / "archives" / f"prices-{DAY}.jsonl.gz"


def lines(path: Path) -> dict[str, str]:
    rows = map(json.loads, gzip.decompress(path.read_bytes()).splitlines())
    return {row["path"]: row["body"] for row in rows}


def lines_of(observations: pd.DataFrame) -> set[str]:
    return set(observations.astype(str).agg(" ".join, axis=1))


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other)


def test_answers_are_kept_as_delivered(service: Service, settings: Settings) -> None:
    odd = json.dumps(answer([price(1, market=1.5)])).replace("1.5", "1.50000") + "\n"
    service.pages[PRICES] = odd
    tcgcsv.fetch(settings)
    found = lines(kept(settings))
    assert found[PRICES] == odd
    assert found["/last-updated.txt"] == "2026-07-23T20:05:33+00:00"
    assert set(found) == set(service.asked)


def test_within_a_day_no_file_is_asked_for_twice(service: Service, settings: Settings) -> None:
    first = tcgcsv.fetch(settings)
    service.asked.clear()
    again = tcgcsv.fetch(settings)
    assert set(service.asked) == {"/last-updated.txt"}
    same(again.observations, first.observations)
    same(again.cards, first.cards)
    assert again.notes == first.notes


def test_what_failed_alone_is_asked_for_again(service: Service, settings: Settings) -> None:
    good, service.pages[PRICES] = service.pages[PRICES], answer([], success=False)
    assert len(tcgcsv.fetch(settings).observations) == 1
    service.pages[PRICES] = good
    service.asked.clear()
    assert len(tcgcsv.fetch(settings).observations) == 4
    assert set(service.asked) == {"/last-updated.txt", PRICES}


def test_the_next_snapshot_is_another_file(service: Service, settings: Settings) -> None:
    tcgcsv.fetch(settings)
    service.pages["/last-updated.txt"] = "2026-07-24T20:05:33+0000"
    service.asked.clear()
    with time_machine.travel("2026-07-24T22:00:00Z"):
        tcgcsv.fetch(settings)
    assert PRICES in service.asked
    assert len(list(kept(settings).parent.iterdir())) == 2


def test_a_pull_that_is_killed_goes_on_where_it_stopped(
    service: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.pages["/tcgplayer/3/605/products"] = "killed"

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("pokewatch.sources.http.Client._count_failure", kill)
        with pytest.raises(Killed):
            tcgcsv.fetch(settings)
    service.pages["/tcgplayer/3/605/products"] = answer([product(9, "Mr. Mime", Number="6")])
    service.asked.clear()
    assert len(tcgcsv.fetch(settings).observations) == 4
    assert not [path for path in service.asked if "604" in path]


@pytest.mark.parametrize("cut", [1, 8, 40])
def test_a_cut_file_is_mended_by_the_next_pull(
    service: Service, settings: Settings, cut: int
) -> None:
    whole = tcgcsv.fetch(settings)
    path = kept(settings)
    path.write_bytes(path.read_bytes()[:-cut])
    assert "is cut" in tcgcsv.read_archive(path, [3]).notes[-1]
    service.asked.clear()
    same(tcgcsv.fetch(settings).observations, whole.observations)
    assert len(set(service.asked)) <= 2
    same(tcgcsv.read_archive(path, [3]).observations, whole.observations)


def test_a_flipped_byte_gives_no_wrong_price(settings: Settings) -> None:
    known = lines_of(tcgcsv.fetch(settings).observations)
    sound = kept(settings).read_bytes()
    for place in range(11, len(sound), 29):
        damaged = bytearray(sound)
        damaged[place] ^= 0x04
        kept(settings).write_bytes(damaged)
        with suppress(SourceError):
            assert lines_of(tcgcsv.read_archive(kept(settings), [3]).observations) <= known


def test_a_file_that_would_fill_memory_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tcgcsv.fetch(settings)
    monkeypatch.setattr(kept_answers, "SIZE_LIMIT", 100)
    with pytest.raises(SourceError):
        tcgcsv.read_archive(kept(settings), [3])


@pytest.mark.parametrize("content", [b"", b"nothing", gzip.compress(b"5\n{}\n")])
def test_a_file_of_something_else_is_named(settings: Settings, content: bytes) -> None:
    path = kept(settings)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"prices-2026-07-23\.jsonl\.gz' is damaged"):
        tcgcsv.read_archive(path, [3])
    assert len(tcgcsv.fetch(settings).observations) == 4


def test_a_file_under_another_day_is_refused(settings: Settings) -> None:
    tcgcsv.fetch(settings)
    other = kept(settings).rename(kept(settings).with_name("prices-2026-07-22.jsonl.gz"))
    with pytest.raises(SourceError, match=r"of another day \(2026-07-23\)"):
        tcgcsv.read_archive(other, [3])


def test_a_snapshot_that_went_on_leaves_nothing_unsure(
    service: Service, settings: Settings
) -> None:
    service.pages["/last-updated.txt"] = [UPDATED, "2026-07-24T20:05:33+0000"]
    with time_machine.travel("2026-07-24T20:04:00Z"), pytest.raises(SourceError, match="mix two"):
        tcgcsv.fetch(settings)
    assert not kept(settings).exists()


def test_history_is_rebuilt_from_what_was_kept(
    service: Service, settings: Settings, tmp_path: Path
) -> None:
    collect(settings, "tcgcsv")
    store = Store.from_settings(settings)
    shared = shutil.copytree(kept(settings).parent, tmp_path / "shared")
    other = settings.model_copy(update={"home": tmp_path / "other", "tcgcsv_url": "http://no.one"})
    ((day, counts),) = backfill(other, DAY, DAY, path=shared)
    assert (day, counts.accepted) == (DAY, 3)
    rebuilt = Store.from_settings(other)
    same(rebuilt.prices(), store.prices())
    same(rebuilt.cards(), store.cards())


def test_an_archive_of_the_service_comes_before_kept_answers(
    service: Service, settings: Settings
) -> None:
    tcgcsv.fetch(settings)
    pack(kept(settings).parent, DAY)
    ((_, delivery),) = tcgcsv.archives(settings, DAY, DAY, kept(settings).parent, set())
    assert len(delivery.observations) == 2
    assert len(service.asked) == 7


def test_old_days_are_forgotten_where_one_wants_it(service: Service, settings: Settings) -> None:
    folder = kept(settings).parent
    folder.mkdir(parents=True)
    old = [folder / f"prices-2026-07-{day}.jsonl.gz" for day in ("12", "13")]
    for path in old:
        path.touch()
    tcgcsv.fetch(settings)
    assert all(path.exists() for path in old)
    tcgcsv.fetch(settings.model_copy(update={"archive_days": 10}))
    assert [path.exists() for path in old] == [False, True]


def test_a_group_without_prices_is_named(service: Service, settings: Settings) -> None:
    service.groups([group(604, "Base Set"), group(605, "Jungle")])
    service.pages["/tcgplayer/3/605/prices"] = answer([price(9, market=None)])
    assert "1 groups came without a price: Jungle" in tcgcsv.fetch(settings).notes


def test_a_snapshot_without_any_price_is_no_success(service: Service, settings: Settings) -> None:
    for number in (604, 605):
        service.pages[f"/tcgplayer/3/{number}/prices"] = answer([])
    counts = collect(settings, "tcgcsv")
    assert "2 groups came without a price: Base Set, Jungle" in counts.notes
    assert "0 cards have a usable price on the first day, 2026-07-23" in counts.incomplete
