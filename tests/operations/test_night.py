"""The night as a whole: missed days are caught up."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
import time_machine
from test_tcgcsv import Service, answer, price, product, serve_archives, service, settings
from werkzeug import Request, Response

from pokewatch.operations import night
from pokewatch.quality.ingest import backfill
from pokewatch.settings import Settings
from pokewatch.store.tables import Store

__all__ = ["service", "settings"]


def stored(settings: Settings) -> list[str]:
    rows = Store.from_settings(settings).prices(["date"])
    return sorted({f"{day:%m-%d}" for day in rows["date"]})


def snapshot(service: Service, day: int) -> None:
    service.pages["/last-updated.txt"] = f"2025-10-0{day}T20:05:33+0000"


@pytest.fixture
def clock():
    with time_machine.travel("2025-10-01T21:00:00Z", tick=False) as traveller:
        yield traveller


def test_missed_nights_are_filled_from_the_archive(
    service: Service, settings: Settings, tmp_path, clock
) -> None:
    service.pages["/tcgplayer/3/604/prices"] = answer([price(1, "Holofoil", 2.5)])
    snapshot(service, 1)
    first = night.collect_night(settings, "tcgcsv")
    assert stored(settings) == ["10-01"]
    assert not any("missed" in note for note in first.notes)

    serve_archives(service, tmp_path / "service", 2, 3)
    snapshot(service, 4)
    clock.move_to("2025-10-04T21:00:00Z")
    counts = night.collect_night(settings, "tcgcsv")
    assert stored(settings) == ["10-01", "10-02", "10-03", "10-04"]
    assert sum("was missed" in note for note in counts.notes) == 2
    assert counts.data_version == Store.from_settings(settings).data_version
    assert counts.received == counts.accepted + counts.quarantined + counts.unchanged

    again = night.collect_night(settings, "tcgcsv")
    assert again.accepted == 0
    assert again.data_version == counts.data_version


def test_an_archive_that_is_down_does_not_stop_the_night_and_is_asked_for_in_the_next(
    service: Service, settings: Settings, tmp_path, clock, caplog
) -> None:
    snapshot(service, 1)
    night.collect_night(settings, "tcgcsv")
    clock.move_to("2025-10-03T21:00:00Z")
    service.pages["/archive/tcgplayer/prices-2025-10-02.ppmd.7z"] = 500
    snapshot(service, 3)
    night.collect_night(settings, "tcgcsv")
    assert stored(settings) == ["10-01", "10-03"]
    assert "2025-10-02" in caplog.text
    assert (
        pd.Timestamp(date(2025, 10, 3))
        == Store.from_settings(settings).prices(["date"])["date"].max()
    )
    snapshot(service, 4)
    serve_archives(service, tmp_path / "service", 2)
    clock.move_to("2025-10-04T21:00:00Z")
    night.collect_night(settings, "tcgcsv")
    assert "10-02" in stored(settings)


HOURS = [(0, 30), (3, 0), (12, 0), (19, 55), (20, 30), (23, 59)]  # UTC


@pytest.mark.parametrize("hour", HOURS, ids=lambda hour: f"{hour[0]:02}:{hour[1]:02}")
@pytest.mark.parametrize("archived", [True, False], ids=["archive", "closed archive"])
def test_at_any_hour_the_snapshot_is_asked_for_and_its_names_arrive(
    service: Service, settings: Settings, tmp_path, hour, archived
) -> None:
    first, berlin = datetime(2025, 10, 24, *hour, tzinfo=UTC), ZoneInfo("Europe/Berlin")
    served = []
    for number in range(5):  # summer time ends on the 26th
        now = first + timedelta(days=number)
        updated = datetime.combine(now.date(), time(20, 5, 33), UTC)
        updated -= timedelta(days=1) if updated > now else timedelta()
        service.pages["/last-updated.txt"] = f"{updated:%Y-%m-%dT%H:%M:%S+0000}"
        rows = [price(1, "Holofoil", 50.0 + number), price(2, "Normal", 400.0 - number)]
        if number >= 2:
            rows.append(price(7, "Normal", 3.0 + number))
            service.pages["/tcgplayer/3/604/products"]["results"].append(product(7, "New Card"))
        service.pages["/tcgplayer/3/604/prices"] = answer(rows)
        served.append(f"{updated:%m-%d}")
        if archived and number:
            serve_archives(service, tmp_path / "service", int(served[-2][-2:]))
        service.asked.clear()
        with time_machine.travel(now.astimezone(berlin), tick=True):
            counts = night.collect_night(settings, "tcgcsv")
        assert "/tcgplayer/3/604/prices" in service.asked
        assert not [asked for asked in service.asked if "archive" in asked]
        assert counts.accepted >= len(rows)
        assert not any("missed" in note for note in counts.notes)
    assert stored(settings) == served
    cards = Store.from_settings(settings).cards().set_index("card_id")
    assert cards.loc["7:Normal", ["name", "set_name"]].tolist() == ["New Card", "Base Set"]


def test_a_day_that_an_archive_brought_still_gets_its_names(
    service: Service, settings: Settings, tmp_path
) -> None:
    serve_archives(service, tmp_path / "service", 1)
    snapshot(service, 1)
    with time_machine.travel("2025-10-02T03:00:00Z"):
        list(backfill(settings, date(2025, 10, 1), date(2025, 10, 1)))
        assert Store.from_settings(settings).cards()["name"].isna().all()
        night.collect_night(settings, "tcgcsv")
    assert Store.from_settings(settings).cards()["name"].notna().any()


def test_a_week_of_nights_while_the_archive_is_closed(
    service: Service, settings: Settings, caplog
) -> None:
    pulled: set[tuple[str, str]] = set()
    archives: list[str] = []

    def once(request: Request) -> Response:
        """Answer as tcgcsv does: no archive, and each day's price file a single time."""
        if "archive" in request.path:
            archives.append(request.path)
            return Response(status=403)
        day = service.pages["/last-updated.txt"][:10]
        if request.path.endswith("/prices"):
            if (day, request.path) in pulled:
                return Response(status=429)
            pulled.add((day, request.path))
        return service._answer(request)

    service.server.clear()
    service.server.expect_request(re.compile("/.*")).respond_with_handler(once)
    notes = []
    for day in (1, 2, 4, 5, 6, 7):
        snapshot(service, day)
        service.pages["/tcgplayer/3/604/prices"] = answer([price(1, "Holofoil", 50.0 + day)])
        with time_machine.travel(f"2025-10-0{day}T21:00:00Z"):
            for _ in range(2):  # the night, and somebody by hand
                counts = night.collect_night(settings, "tcgcsv")
                assert counts.incomplete == ""
            notes.append([note for note in counts.notes if "missing" in note])
    assert stored(settings) == [f"10-0{day}" for day in (1, 2, 4, 5, 6, 7)]
    assert [len(one) for one in notes] == [0, 0, 1, 1, 1, 1]
    assert notes[2][0].startswith("days from 2025-10-03 on are missing or short and cannot be had")
    assert archives == ["/archive/tcgplayer/prices-2025-10-03.ppmd.7z"]
    assert caplog.text.count("(403)") == 1
