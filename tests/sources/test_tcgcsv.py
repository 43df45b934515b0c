"""tcgcsv against a local server and small archives made here; real archives where they are."""

from __future__ import annotations

import json
import re
import shutil
import stat
import tempfile
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import py7zr
import pytest
import time_machine
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pokewatch import __version__
from pokewatch.errors import SourceError, UsageError
from pokewatch.schema import CARD_COLUMNS
from pokewatch.settings import Settings, load_settings
from pokewatch.sources import http, tcgcsv
from pokewatch.sources.tcgcsv import archive as tcgcsv_archive
from pokewatch.sources.tcgcsv import sevenzip

PPMD = [{"id": py7zr.FILTER_PPMD, "order": 6, "mem": 20}]
DAY = date(2025, 10, 25)


def price(product: Any, printing: Any = "Normal", market: Any = 1.5, **others: Any) -> dict:
    row = {
        "productId": product,
        "lowPrice": 1.0,
        "midPrice": 2.0,
        "highPrice": 99.0,
        "marketPrice": market,
        "directLowPrice": None,
        "subTypeName": printing,
    }
    return row | others


def product(key: int, name: str, **extended: str) -> dict:
    data = [{"name": k, "displayName": k, "value": v} for k, v in extended.items()]
    return {"productId": key, "name": name, "cleanName": None, "extendedData": data}


def answer(results: Any, success: bool = True) -> dict:
    return {"success": success, "errors": [], "results": results}


def group(key: int, name: str, published: str = "1999-01-09T00:00:00") -> dict:
    return {"groupId": key, "name": name, "publishedOn": published, "categoryId": 3}


class Service:
    """A small tcgcsv: what it serves can be changed, and every request is noted."""

    def __init__(self, server: HTTPServer):
        self.server, self.url = server, server.url_for("")
        self.asked: list[str] = []
        self.pages: dict[str, Any] = {"/last-updated.txt": "2026-07-23T20:05:33+0000"}
        self.groups([group(604, "Base Set"), group(605, "Jungle", "2025-11-01T20:00:05.86Z")])
        self.pages["/tcgplayer/3/604/products"] = answer(
            [
                product(1, "Alakazam", Number="001/102", Rarity="Holo Rare"),
                product(2, "Base Set Booster Box"),
                product(3, "Code Card - Base Set Booster Pack", Rarity="Code Card"),
                {"productId": 4, "name": "No data", "extendedData": None},
            ]
        )
        self.pages["/tcgplayer/3/604/prices"] = answer(
            [
                price(1, "Holofoil", 54.14),
                price(1, "1st Edition Holofoil", None),
                price(2, "Normal", 400),
                price(3, "Normal", 0.02),
            ]
        )
        self.pages["/tcgplayer/3/605/products"] = answer([product(9, "Mr. Mime", Number="6")])
        self.pages["/tcgplayer/3/605/prices"] = answer([price(9, market=2.0)])
        server.expect_request(re.compile("/.*")).respond_with_handler(self._answer)

    def groups(self, rows: list[dict]) -> None:
        self.pages["/tcgplayer/3/groups"] = answer(rows)

    def _answer(self, request: Request) -> Response:
        self.asked.append(request.path)
        if not request.headers.get("User-Agent", "").startswith(f"PokeWatch/{__version__}"):
            return Response(status=403)
        page = self.pages.get(request.path, 404)
        if isinstance(page, list):
            page = page.pop(0)
        if isinstance(page, int):
            return Response(status=page)
        if isinstance(page, dict):
            page = json.dumps(page)
        return Response(page)


@pytest.fixture
def service(httpserver: HTTPServer) -> Service:
    return Service(httpserver)


@pytest.fixture
def settings(service: Service, tmp_path: Path) -> Settings:
    return load_settings(
        home=tmp_path / "home",
        tcgcsv_url=service.url,
        tcgcsv_categories=[3],
        request_interval=0,
        request_attempts=1,
        request_timeout=5,
    )


def by_card(observations: pd.DataFrame, column: str = "market_price") -> dict:
    return dict(zip(observations["card_id"], observations[column], strict=True))


def test_a_snapshot_holds_prices_as_received_and_cards(
    service: Service, settings: Settings
) -> None:
    delivery = tcgcsv.fetch(settings)
    rows = delivery.observations
    assert delivery.source == "tcgcsv"
    assert set(rows["date"]) == {date(2026, 7, 23)}
    assert set(rows["source"]) == {"tcgcsv"}
    assert set(rows["collected_at"]) == {pd.Timestamp("2026-07-23T20:05:33Z")}
    assert "volume" not in rows
    assert list(rows["card_id"]) == ["1:Holofoil", "1:1st Edition Holofoil", "2:Normal", "9:Normal"]
    assert rows.iloc[0][["market_price", "low_price", "mid_price", "high_price"]].tolist() == [
        54.14,
        1.0,
        2.0,
        99.0,
    ]
    assert rows["market_price"].isna().tolist() == [False, True, False, False]

    assert list(delivery.cards.columns) == CARD_COLUMNS
    cards = delivery.cards.set_index("card_id")
    assert cards.loc["1:Holofoil"].to_dict() == {
        "name": "Alakazam",
        "set_name": "Base Set",
        "number": "001/102",
        "rarity": "Holo Rare",
        "printing": "Holofoil",
        "product_kind": "single",
        "product_id": 1,
        "release_date": date(1999, 1, 9),
        "aliases": [],
    }
    assert cards.loc["2:Normal", "product_kind"] == "sealed"
    assert cards.loc["2:Normal", ["number", "rarity"]].isna().all()
    assert cards.loc["9:Normal", "product_kind"] == "single"


def test_a_moment_is_not_a_release_date(settings: Settings) -> None:
    cards = tcgcsv.fetch(settings).cards.set_index("card_id")
    assert cards.loc["9:Normal", "release_date"] is None


def test_code_cards_are_left_out_and_counted(settings: Settings) -> None:
    delivery = tcgcsv.fetch(settings)
    assert not delivery.observations["card_id"].str.startswith("3:").any()
    assert not delivery.cards["card_id"].str.startswith("3:").any()
    assert delivery.notes == ["1 code cards left out"]


def test_wrong_types_are_passed_on_and_never_dropped(service: Service, settings: Settings) -> None:
    bad_keys = [
        price("1"),
        price(True),
        price(None),
        price(2**70),
        price(1, None),
        price(1, ""),
        {"marketPrice": 7.0},
        "no object",
    ]
    service.pages["/tcgplayer/3/604/prices"] = answer(
        [price(1, "A", "12.50"), price(1, "B", [1]), price(1, "C", -3), price(1, "D", 1), *bad_keys]
    )
    delivery = tcgcsv.fetch(settings)
    rows = delivery.observations
    market = by_card(rows)
    assert (market["1:A"], market["1:B"], market["1:C"], market["1:D"]) == ("12.50", [1], -3, 1)
    assert rows["card_id"].isna().sum() == len(bad_keys)
    assert 7.0 in rows.loc[rows["card_id"].isna(), "market_price"].tolist()
    assert any("8 rows without a usable product or printing" in note for note in delivery.notes)
    assert delivery.cards["card_id"].notna().all()


def test_odd_products_do_not_stop_a_group(service: Service, settings: Settings) -> None:
    service.pages["/tcgplayer/3/604/products"] = answer(
        [
            {"productId": 1, "name": 5, "extendedData": [{"name": ["x"]}, 3, {"name": "Number"}]},
            {"name": "no id"},
            None,
        ]
    )
    cards = tcgcsv.fetch(settings).cards.set_index("card_id")
    assert cards.loc["1:Holofoil", "name"] is None
    assert cards.loc["1:Holofoil", "product_kind"] == "single"
    assert cards.loc["2:Normal", "name"] is None


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (500, "answered 500"),
        (404, "not found"),
        ("<html>", "web page"),
        ("[]", "no success"),
        (answer([], success=False), "no success"),
        ({"success": True}, "no list 'results'"),
        (answer({"a": 1}), "no list 'results'"),
    ],
)
@pytest.mark.parametrize("kind", ["products", "prices"])
def test_a_failing_group_is_noted_and_the_others_kept(
    service: Service, settings: Settings, kind: str, page: Any, message: str
) -> None:
    service.pages[f"/tcgplayer/3/604/{kind}"] = page
    delivery = tcgcsv.fetch(settings)
    assert list(delivery.observations["card_id"]) == ["9:Normal"]
    assert len(delivery.notes) == 1
    assert delivery.notes[0].startswith("group 604 of category 3 failed: ")
    assert message in delivery.notes[0]


def test_a_failing_category_is_noted_and_the_others_kept(
    service: Service, settings: Settings
) -> None:
    service.pages["/tcgplayer/85/groups"] = 500
    both = settings.model_copy(update={"tcgcsv_categories": [85, 3]})
    delivery = tcgcsv.fetch(both)
    assert len(delivery.observations) == 4
    assert delivery.notes[0].startswith("the groups of category 85 failed")


def test_an_empty_group_is_no_failure(service: Service, settings: Settings) -> None:
    for kind in ("products", "prices"):
        service.pages[f"/tcgplayer/3/605/{kind}"] = answer([])
    delivery = tcgcsv.fetch(settings)
    assert len(delivery.observations) == 3
    assert delivery.notes == ["1 code cards left out"]


def test_no_group_at_all_is_an_error(service: Service, settings: Settings) -> None:
    service.pages["/tcgplayer/3/604/prices"] = service.pages["/tcgplayer/3/605/prices"] = 500
    with pytest.raises(SourceError, match=r"delivered no group .* answered 500"):
        tcgcsv.fetch(settings)
    service.groups([])
    with pytest.raises(SourceError, match="it lists none"):
        tcgcsv.fetch(settings)


def test_it_stops_asking_a_service_that_is_down(service: Service, settings: Settings) -> None:
    service.groups([group(605, "Jungle"), *(group(n, "gone") for n in range(1000, 1040))])
    for n in range(1000, 1040):
        service.pages[f"/tcgplayer/3/{n}/products"] = 500
    delivery = tcgcsv.fetch(settings)
    assert len(delivery.observations) == 1
    assert sum("/10" in path for path in service.asked) == http.FAILURES_IN_A_ROW
    assert "30 were not asked for: 10 requests in a row failed" in delivery.notes[-1]
    assert len(delivery.failed) == 40


def test_what_came_before_the_service_broke_down_is_kept(
    service: Service, settings: Settings
) -> None:
    service.pages["/last-updated.txt"] = ["2026-07-23T20:05:33+0000", 503]
    service.pages["/tcgplayer/3/605/products"] = 503
    with time_machine.travel("2026-07-24T03:00Z"):
        delivery = tcgcsv.fetch(settings)
    assert len(delivery.observations) == 3
    assert delivery.failed == ["group 605 of category 3"]
    service.pages["/last-updated.txt"] = ["2026-07-23T20:05:33+0000", 503]
    with time_machine.travel("2026-07-24T19:00Z"), pytest.raises(SourceError, match="503"):
        tcgcsv.fetch(settings)  # the next snapshot may have come meanwhile


def test_another_day_than_the_snapshots_is_refused(service: Service, settings: Settings) -> None:
    assert len(tcgcsv.fetch(settings, on=date(2026, 7, 23)).observations) == 4
    service.asked.clear()
    with pytest.raises(UsageError, match=r"backfill --since 2026-07-22 --until 2026-07-22"):
        tcgcsv.fetch(settings, on=date(2026, 7, 22))
    assert service.asked == ["/last-updated.txt"]


def test_a_snapshot_that_changes_meanwhile_is_refused(service: Service, settings: Settings) -> None:
    service.pages["/last-updated.txt"] = ["2026-07-22T20:05:33+0000", "2026-07-23T20:05:33+0000"]
    with pytest.raises(SourceError, match="mix two days"):
        tcgcsv.fetch(settings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-07-23T20:05:33+0000\n", datetime(2026, 7, 23, 20, 5, 33, tzinfo=UTC)),
        ("2026-07-23T20:05:33Z", datetime(2026, 7, 23, 20, 5, 33, tzinfo=UTC)),
        ("2026-07-23T20:05:33", datetime(2026, 7, 23, 20, 5, 33, tzinfo=UTC)),
        ("2026-07-24T01:05:33+0500", datetime(2026, 7, 23, 20, 5, 33, tzinfo=UTC)),
    ],
)
def test_last_updated_is_utc(
    service: Service, settings: Settings, text: str, expected: datetime
) -> None:
    service.pages["/last-updated.txt"] = text
    moment = tcgcsv.last_updated(settings)
    assert moment == expected
    assert moment.utcoffset() is not None
    assert moment.date() == date(2026, 7, 23)


def test_last_updated_that_is_no_date_is_an_error(service: Service, settings: Settings) -> None:
    service.pages["/last-updated.txt"] = "<html>maintenance</html>"
    with pytest.raises(SourceError, match="which is no date"):
        tcgcsv.last_updated(settings)


@pytest.mark.parametrize("categories", [[21], [3, 69], [70], []])
def test_unusable_categories_are_refused(
    settings: Settings, tmp_path: Path, categories: list[int]
) -> None:
    wrong = settings.model_copy(update={"tcgcsv_categories": categories})
    with pytest.raises(UsageError, match="POKEWATCH_TCGCSV_CATEGORIES"):
        tcgcsv.fetch(wrong)
    with pytest.raises(UsageError, match="POKEWATCH_TCGCSV_CATEGORIES"):
        tcgcsv.archives(wrong, DAY, DAY, tmp_path, set())
    with pytest.raises(UsageError, match="POKEWATCH_TCGCSV_CATEGORIES"):
        tcgcsv.read_archive(tmp_path / "prices-2025-10-25.ppmd.7z", categories)


def pack(folder: Path, day: date, members: dict[str, Any] | None = None, inside: str = "") -> Path:
    """Write an archive of one day; ``inside`` is the date in its members' names."""
    if members is None:
        members = {"3/604": answer([price(1, "Holofoil", day.day), price(2, market=None)])}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"prices-{day}.ppmd.7z"
    with py7zr.SevenZipFile(path, "w", filters=PPMD) as archive:
        for name, content in members.items():
            text = content if isinstance(content, str) else json.dumps(content)
            archive.writestr(text, f"{inside or day}/{name}/prices")
    return path


def test_an_archive_is_read(tmp_path: Path) -> None:
    path = pack(
        tmp_path,
        DAY,
        {
            "2/9": answer([price(8)]),
            "3/604": answer([price(1, "Holofoil", 54.14), price(1, "Reverse Holofoil", None)]),
            "33/7": answer([price(7)]),
            "85/1": answer([price(5, market="odd"), price("x")]),
        },
    )
    delivery = tcgcsv.read_archive(path, [3, 85])
    rows = delivery.observations
    assert list(rows["card_id"].dropna()) == ["1:Holofoil", "1:Reverse Holofoil", "5:Normal"]
    assert len(rows) == 4
    assert by_card(rows)["5:Normal"] == "odd"
    assert set(rows["date"]) == {DAY}
    assert set(rows["collected_at"]) == {pd.Timestamp("2025-10-25T20:05Z")}
    assert delivery.cards.to_dict("list") == {
        "card_id": ["1:Holofoil", "1:Reverse Holofoil", "5:Normal"],
        "product_id": [1, 1, 5],
        "printing": ["Holofoil", "Reverse Holofoil", "Normal"],
    }
    assert len(tcgcsv.read_archive(path, [3]).observations) == 2


def test_prices_of_an_archive_are_numbers(tmp_path: Path) -> None:
    rows = tcgcsv.read_archive(pack(tmp_path, DAY), [3]).observations
    assert rows["market_price"].dtype == "float64"


@pytest.mark.parametrize("broken", ['{"success": tr', "", answer([], success=False), "[1]"])
def test_a_broken_group_of_an_archive_is_noted(tmp_path: Path, broken: Any) -> None:
    path = pack(tmp_path, DAY, {"3/604": broken, "3/605": answer([price(9)])})
    delivery = tcgcsv.read_archive(path, [3])
    assert list(delivery.observations["card_id"]) == ["9:Normal"]
    assert len(delivery.notes) == 1
    assert "group 604 of category 3 failed" in delivery.notes[0]


def test_a_member_that_comes_twice_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "prices-2025-10-25.ppmd.7z"
    with py7zr.SevenZipFile(path, "w", filters=PPMD) as archive:
        for key in (1, 2):
            archive.writestr(json.dumps(answer([price(key)])), "2025-10-25/3/604/prices")
    delivery = tcgcsv.read_archive(path, [3])
    assert list(delivery.observations["card_id"]) == ["1:Normal"]
    assert "comes twice" in delivery.notes[0]


def test_an_archive_without_a_category(tmp_path: Path) -> None:
    path = pack(tmp_path, DAY)
    assert any("no group of category 85" in n for n in tcgcsv.read_archive(path, [3, 85]).notes)
    with pytest.raises(SourceError, match="no readable group of categories"):
        tcgcsv.read_archive(path, [85])


def test_an_archive_of_another_date_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path, DAY, inside="2025-10-24")
    with pytest.raises(SourceError, match="prices of 2025-10-24, its name says 2025-10-25"):
        tcgcsv.read_archive(path, [3])
    with pytest.raises(SourceError, match="not named like an archive"):
        tcgcsv.read_archive(path.rename(tmp_path / "prices.7z"), [3])


def test_members_outside_the_layout_are_not_unpacked(tmp_path: Path) -> None:
    path = pack(tmp_path, DAY, {"3/604": answer([price(1)]), "3/604/../../../evil": answer([])})
    assert len(tcgcsv.read_archive(path, [3]).observations) == 1
    assert [found.name for found in tmp_path.rglob("*")] == [path.name]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_archive_is_named_with_the_mend(tmp_path: Path, share: float) -> None:
    path = pack(tmp_path, DAY)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(SourceError, match=r"2025-10-25\.ppmd\.7z' is damaged .*delete it and run"):
        tcgcsv.read_archive(path, [3])


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    path = pack(tmp_path, DAY)
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(SourceError, match="is damaged"):
        tcgcsv.read_archive(path, [3])


@pytest.mark.parametrize(
    ("lower", "words"),
    [
        ("SIZE_LIMIT = 2**29", "it would unpack to .* bytes, more than 9"),
        ("MEMBER_LIMIT = 100_000", "it has 2 members, more than 1"),
        ("MEMORY_LIMIT = 3 * 2**30", "is damaged .*[Mm]emory"),
    ],
)
def test_an_archive_that_would_fill_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lower: str, words: str
) -> None:
    limit = {"SIZE": "9", "MEMB": "1", "MEMO": "2**26"}[lower[:4]]
    text = Path(sevenzip.__file__).read_text("utf-8")
    assert lower in text
    script = tmp_path / "unpack.py"  # the child is a script of its own: lower the limit there
    script.write_text(text.replace(lower, f"{lower.split(' = ')[0]} = {limit}"), "utf-8")
    monkeypatch.setattr(sevenzip, "__file__", str(script))
    monkeypatch.setattr(sevenzip.shutil, "which", lambda _: None)
    large = json.dumps(answer([price(1)])) + " " * (2**25 if "MEMORY" in lower else 1)
    path = pack(tmp_path, DAY, {"3/604": large, "3/605": answer([])})
    with pytest.raises(SourceError, match=words):
        tcgcsv.read_archive(path, [3])


def test_a_decoder_that_crashes_is_an_error_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(crashing.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sevenzip.sys, "executable", str(crashing))
    monkeypatch.setattr(sevenzip.shutil, "which", lambda _: None)
    with pytest.raises(SourceError, match="crashed with signal 11"):
        tcgcsv.read_archive(pack(tmp_path, DAY), [3])


def test_without_7zip_the_members_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, pattern = pack(tmp_path, DAY), r".*/prices"
    if shutil.which("7z") is None:
        pytest.skip("7-Zip is not installed")
    quick = sevenzip._by_7zip(archive, pattern)
    monkeypatch.setattr(sevenzip.shutil, "which", lambda _: None)
    assert quick == sevenzip.unpack(archive, pattern) != []


def test_an_archive_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        tcgcsv.read_archive(tmp_path / "prices-2025-10-25.ppmd.7z", [3])


def days(*numbers: int) -> list[date]:
    return [date(2025, 10, n) for n in numbers]


@pytest.mark.parametrize("jobs", [1, 2])
def test_archives_come_in_order_without_the_skipped_and_the_missing(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, jobs: int
) -> None:
    folder = tmp_path / "given"
    for day in days(1, 2, 3, 5, 6, 9):
        pack(folder, day)
    found = list(
        tcgcsv.archives(settings, *days(2, 6), folder=folder, skip=set(days(3)), jobs=jobs)
    )
    assert [day for day, _ in found] == days(2, 5, 6)
    assert [d.observations["market_price"].iloc[0] for _, d in found] == [2, 5, 6]
    assert "no archive of 1 days: 2025-10-04" in caplog.text


@pytest.mark.parametrize("jobs", [1, 2])
def test_archives_are_read_only_as_far_as_they_are_taken(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    for day in days(*range(1, 13)):
        pack(tmp_path, day)
    # With one job each is read as it is taken, with more jobs + 1 ahead of the third.
    ahead = 3 if jobs == 1 else 3 + jobs + 1
    read, all_ahead = [], threading.Event()
    original = tcgcsv_archive.unpack

    def unpack(path: Path, *rest: Any) -> Any:
        read.append(path)
        if len(read) == ahead:
            all_ahead.set()
        return original(path, *rest)

    monkeypatch.setattr(tcgcsv_archive, "unpack", unpack)
    found = tcgcsv.archives(settings, *days(1, 12), folder=tmp_path, skip=set(), jobs=jobs)
    for _ in range(3):
        next(found)
    assert all_ahead.wait(30)
    assert len(read) == ahead
    assert len(list(found)) == 9
    assert sorted(map(tcgcsv.archive_date, read)) == days(*range(1, 13))


def test_a_damaged_archive_ends_the_run_after_the_others(
    settings: Settings, tmp_path: Path
) -> None:
    for day in days(1, 2, 3):
        pack(tmp_path, day)
    (tmp_path / "prices-2025-10-02.ppmd.7z").write_bytes(b"nothing")
    found = tcgcsv.archives(settings, *days(1, 3), folder=tmp_path, skip=set())
    assert [next(found)[0], next(found)[0]] == days(1, 3)
    with pytest.raises(SourceError, match=r"1 archives could not be read: .*2025-10-02"):
        next(found)


def test_a_range_without_archives_is_a_usage_error(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no archive of any day"):
        list(tcgcsv.archives(settings, *days(1, 3), folder=tmp_path, skip=set()))
    # Known gaps must not fail a backfill that is run again.
    assert not list(tcgcsv.archives(settings, *days(1, 3), folder=tmp_path, skip=set(days(1, 2))))
    assert not list(
        tcgcsv.archives(settings, *days(1, 3), folder=tmp_path, skip=set(days(1, 2, 3)))
    )


def test_wrong_requests_for_archives_are_refused_at_once(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="swap them"):
        tcgcsv.archives(settings, *days(3, 1), folder=tmp_path, skip=set())
    with pytest.raises(UsageError, match="not a folder"):
        tcgcsv.archives(settings, *days(1, 3), folder=tmp_path / "no", skip=set())
    with pytest.raises(UsageError, match="--jobs 0"):
        tcgcsv.archives(settings, *days(1, 3), folder=tmp_path, skip=set(), jobs=0)
    with pytest.raises(UsageError, match="2024-02-08 to today"):
        tcgcsv.archives(settings, date(2020, 1, 1), date(2020, 1, 9), folder=None, skip=set())


def test_the_original_file_wins_over_a_cut_down_one(settings: Settings, tmp_path: Path) -> None:
    small = pack(tmp_path, DAY, {"3/1": answer([price(77)])})
    small.rename(tmp_path / "prices-2025-10-25.mini.ppmd.7z")
    pack(tmp_path, DAY)
    [(_, delivery)] = tcgcsv.archives(settings, DAY, DAY, folder=tmp_path, skip=set())
    assert len(delivery.observations) == 2


def serve_archives(service: Service, folder: Path, *numbers: int) -> None:
    for day in days(*numbers):
        path = pack(folder, day)
        service.pages[f"/archive/tcgplayer/{path.name}"] = path.read_bytes()


def test_archives_are_downloaded_once(
    service: Service, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serve_archives(service, tmp_path / "service", 1, 3)
    for _ in range(2):
        found = tcgcsv.archives(settings, *days(1, 3), folder=None, skip=set())
        assert [day for day, _ in found] == days(1, 3)
    assert len(service.asked) == 4  # 1 and 3 once, the missing 2 each time
    (count,) = (settings.home / "requests").iterdir()
    assert len(count.read_bytes()) == 4
    assert "no archive of 2025-10-02" in caplog.text
    assert sorted(path.name for path in (settings.home / "archives").iterdir()) == [
        "prices-2025-10-01.ppmd.7z",
        "prices-2025-10-03.ppmd.7z",
    ]


def test_a_closed_archive_is_asked_once_and_says_what_that_means(
    service: Service, settings: Settings, tmp_path: Path
) -> None:
    for day in days(1, 2, 3):
        service.pages[f"/archive/tcgplayer/prices-{day}.ppmd.7z"] = 403
    for day in days(1, 4):
        pack(settings.home / "archives", day)
    found = tcgcsv.archives(settings, *days(1, 5), folder=None, skip=set())
    assert next(found)[0] == days(1)[0]
    assert not tcgcsv.is_closed(settings)
    assert next(found)[0] == days(4)[0]
    with pytest.raises(
        SourceError, match=r"archive of 2025-10-02 .* on purpose .*--path"
    ) as raised:
        next(found)
    assert "check" not in str(raised.value)
    assert service.asked == ["/archive/tcgplayer/prices-2025-10-02.ppmd.7z"]
    assert tcgcsv.is_closed(settings)
    with time_machine.travel(datetime.now(UTC) + tcgcsv_archive.ASK_AGAIN):
        assert not tcgcsv.is_closed(settings)


def test_a_web_page_is_not_kept_as_an_archive(service: Service, settings: Settings) -> None:
    service.pages["/archive/tcgplayer/prices-2025-10-01.ppmd.7z"] = "<html>sign in</html>"
    with pytest.raises(SourceError, match="something else than an archive for 2025-10-01"):
        list(tcgcsv.archives(settings, *days(1, 1), folder=None, skip=set()))
    assert list((settings.home / "archives").iterdir()) == []


@pytest.mark.parametrize("bad", [4, 5])
def test_what_was_downloaded_before_a_web_page_is_delivered(
    service: Service, settings: Settings, tmp_path: Path, bad: int
) -> None:
    serve_archives(service, tmp_path / "service", *range(1, bad))
    service.pages[f"/archive/tcgplayer/prices-2025-10-0{bad}.ppmd.7z"] = "<html>sign in</html>"
    found = tcgcsv.archives(settings, *days(1, 9), folder=None, skip=set(), jobs=2)
    assert [next(found)[0] for _ in range(1, bad)] == days(*range(1, bad))
    with pytest.raises(SourceError, match=f"something else than an archive for 2025-10-0{bad}"):
        next(found)


def test_progress_stays_off_where_nobody_looks(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pack(tmp_path, DAY)
    tcgcsv.fetch(settings, progress=True)
    assert list(tcgcsv.archives(settings, DAY, DAY, tmp_path, set(), progress=True))
    captured = capfd.readouterr()
    assert "%" not in captured.err
    assert captured.out == ""


@pytest.mark.real_data
def test_original_answers_are_read(service: Service, settings: Settings, shared_data: Path) -> None:
    fixtures = shared_data / "fixtures"
    groups = json.loads((fixtures / "tcgcsv_groups_3.json").read_bytes())
    prices = json.loads((fixtures / "tcgcsv_prices_3_604_2025-10-26.json").read_bytes())
    service.pages["/tcgplayer/3/groups"] = groups
    for row in groups["results"]:
        address = f"/tcgplayer/3/{row['groupId']}"
        service.pages[f"{address}/products"] = answer([product(42346, "Alakazam", Number="1")])
        service.pages[f"{address}/prices"] = prices if row["groupId"] == 604 else answer([])
    delivery = tcgcsv.fetch(settings)
    (note,) = delivery.notes
    assert note.startswith(f"{len(groups['results']) - 1} groups came without a price: ")
    assert len(delivery.observations) == len(prices["results"])
    market = by_card(delivery.observations)
    assert market["42346:Holofoil"] == 54.14
    assert pd.isna(market["42346:1st Edition Holofoil"])


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["fixtures/prices-2025-10-25.mini.ppmd.7z", "archives"])
def test_no_row_of_a_real_archive_is_lost(shared_data: Path, tmp_path: Path, name: str) -> None:
    source = shared_data / name
    for path in sorted(source.glob("*.7z"))[::7] if source.is_dir() else [source]:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            with py7zr.SevenZipFile(path) as archive:
                names = [name for name in archive.getnames() if name.split("/")[1] == "3"]
                archive.extract(folder, names)
            expected = {
                (row["productId"], row["subTypeName"], row["marketPrice"])
                for file in Path(folder).glob("*/3/*/prices")
                for row in json.loads(file.read_text())["results"]
            }
            rows = sum(
                len(json.loads(file.read_text())["results"])
                for file in Path(folder).glob("*/3/*/prices")
            )
        delivery = tcgcsv.read_archive(path, [3])
        assert len(delivery.observations) == rows > 0
        assert delivery.notes == []
        delivered = delivery.observations.merge(delivery.cards, on="card_id")
        market = (
            delivered["market_price"].astype(object).where(delivered["market_price"].notna(), None)
        )
        assert (
            set(zip(delivered["product_id"], delivered["printing"], market, strict=True))
            == expected
        )
