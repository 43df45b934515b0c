"""The night as a whole: missed days are caught up."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest
import time_machine
from test_tcgcsv import Service, answer, price, serve_archives, service, settings

from pokewatch.operations import night
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
