"""A day from several sources and in several runs: what is missing is asked for, nothing twice."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from builders import curve, delivery
from pytest_httpserver import HTTPServer
from test_cli import run
from test_tcgcsv import Service, answer, group, price, product

from pokewatch.cards.import_names import add_names
from pokewatch.errors import SourceError, UsageError
from pokewatch.operations import status
from pokewatch.operations.night import first_gap
from pokewatch.quality.ingest import collect, ingest, stored_days
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store

SETS = {604: "Base Set", 605: "Jungle", 606: "Fossil"}


class Days(Service):
    """A tcgcsv with ten cards in each of three groups, one of which can fail."""

    def serve(self, day: str, failing: int | None = None) -> None:
        self.asked.clear()
        self.pages["/last-updated.txt"] = f"{day}T20:05:33+0000"
        self.groups([group(key, name) for key, name in SETS.items()])
        for key in SETS:
            cards = [10 * key + place for place in range(10)]
            pages = {
                "products": answer([product(card, f"Card {card}", Number="1") for card in cards]),
                "prices": answer([price(card, market=2.5) for card in cards]),
            }
            for name, page in pages.items():
                broken = key == failing and name == "prices"
                self.pages[f"/tcgplayer/3/{key}/{name}"] = 404 if broken else page

    @property
    def groups_asked(self) -> set[str]:
        return {path.split("/")[3] for path in self.asked if path.endswith("/prices")}


def tcgdex(service: Days, day: str, price: float = 2.5) -> None:
    """Serve Jungle's ten cards from TCGdex, too."""
    ids = [f"base2-{place}" for place in range(10)]
    service.pages["/v2/en/sets"] = json.dumps([{"id": "base2"}])
    service.pages["/v2/en/sets/base2"] = {"id": "base2", "cards": [{"id": one} for one in ids]}
    for place, one in enumerate(ids):
        block = {"productId": 6050 + place, "marketPrice": price}
        service.pages[f"/v2/en/cards/{one}"] = {
            "id": one,
            "pricing": {"tcgplayer": {"updated": day, "unit": "USD", "normal": block}},
        }


@pytest.fixture
def aliases(settings: Settings, tmp_path: Path) -> Path:
    """Names of Jungle's cards, for after the first night."""
    path = tmp_path / "names.csv"
    rows = [f"{6050 + place},base2-{place}" for place in range(10)]
    path.write_text("\n".join(["product_id,tcgdex_id", *rows]), encoding="utf-8")
    return path


@pytest.fixture
def service(httpserver: HTTPServer) -> Days:
    return Days(httpserver)


@pytest.fixture
def settings(service: Days, tmp_path: Path) -> Settings:
    return load_settings(
        home=tmp_path / "home",
        store="",
        tcgcsv_url=service.url,
        tcgcsv_categories=[3],
        tcgdex_url=f"{service.url}/v2",
        request_interval=0,
        fallback=[],
    )


def cards_of(settings: Settings, day: str) -> int:
    return len(Store.from_settings(settings).prices(since=date.fromisoformat(day)))


def test_a_group_that_failed_is_asked_for_alone_the_next_time(service, settings):
    service.serve("2026-07-01")
    assert collect(settings, "tcgcsv").incomplete == ""
    service.serve("2026-07-02", failing=605)
    short = collect(settings, "tcgcsv")
    assert cards_of(settings, "2026-07-02") == 20
    assert "20 of the 30 cards that 2026-07-01 had (67 %, floor 95 %)" in short.incomplete
    assert any("group 605 of category 3 failed" in note for note in short.notes)
    service.serve("2026-07-02")
    rest = collect(settings, "tcgcsv")
    assert service.groups_asked == {"605"}
    assert (rest.accepted, rest.incomplete) == (10, "")
    assert cards_of(settings, "2026-07-02") == 30
    service.serve("2026-07-02")
    assert collect(settings, "tcgcsv").received == 0
    assert service.asked == ["/last-updated.txt"]


def test_a_group_that_failed_on_the_very_first_day_is_told_and_asked_for_again(service, settings):
    service.serve("2026-07-01", failing=606)
    assert "1 groups or cards did not come" in collect(settings, "tcgcsv").incomplete
    service.serve("2026-07-01")
    assert collect(settings, "tcgcsv").incomplete == ""
    assert service.groups_asked == {"606"}
    assert cards_of(settings, "2026-07-01") == 30


def test_a_day_below_the_floor_ends_with_exit_3_and_status_tells_of_it(service, settings):
    service.serve("2026-07-01")
    collect(settings, "tcgcsv")
    service.serve("2026-07-02", failing=605)
    here = {"POKEWATCH_TCGCSV_URL": settings.tcgcsv_url, "POKEWATCH_REQUEST_INTERVAL": "0"}
    done = run(settings.home, "collect", "--source", "tcgcsv", "--json", **here)
    assert done.returncode == 3
    assert json.loads(done.stdout)["accepted"] == 20
    assert "run it again to get the rest" in done.stderr.splitlines()[-1]
    assert status.status(settings)["last_day"]["enough"] is False


def test_one_missing_group_of_many_is_asked_for_though_the_floor_is_reached(service, settings):
    settings = settings.model_copy(update={"coverage_floor": 0.5})
    service.serve("2026-07-01")
    collect(settings, "tcgcsv")
    service.serve("2026-07-02", failing=604)
    assert collect(settings, "tcgcsv").incomplete == ""
    service.serve("2026-07-02")
    collect(settings, "tcgcsv")
    assert service.groups_asked == {"604"}
    assert cards_of(settings, "2026-07-02") == 30


def test_a_fallback_is_asked_only_for_what_the_first_did_not_deliver(service, settings, aliases):
    service.serve("2026-07-01")
    collect(settings, "tcgcsv")
    add_names(settings, aliases)
    service.serve("2026-07-02", failing=605)
    service.pages["/tcgplayer/3/605/prices"] = answer([price(6050, market=2.5)])
    tcgdex(service, "2026-07-02", price=3.0)
    found = collect(settings, "tcgcsv", ["tcgdex"])
    assert found.incomplete == ""
    asked = {path for path in service.asked if path.startswith("/v2/en/cards/")}
    assert asked == {f"/v2/en/cards/base2-{place}" for place in range(1, 10)}
    rows = Store.from_settings(settings).prices(since=date(2026, 7, 2))
    assert rows["source"].value_counts().to_dict() == {"tcgcsv": 21, "tcgdex": 9}
    assert set(rows.loc[rows["source"] == "tcgdex", "market_price"]) == {3.0}
    assert found.received == found.accepted + found.quarantined + found.unchanged == 30


def test_a_fallback_takes_over_from_a_source_that_is_down(service, settings, aliases):
    service.serve("2026-07-01")
    collect(settings, "tcgcsv")
    add_names(settings, aliases)
    tcgdex(service, "2026-07-02")
    service.pages["/last-updated.txt"] = 404
    found = collect(settings, "tcgcsv", ["tcgdex"])
    assert found.accepted == 10
    assert found.notes[0].startswith("tcgcsv failed: ")
    assert "10 of the 30 cards" in found.incomplete
    service.pages["/v2/en/sets"] = 404
    with pytest.raises(SourceError, match=r"last-updated.*; .*en/sets"):
        collect(settings, "tcgcsv", ["tcgdex"])


def test_the_archive_has_to_fill_days_that_are_missing_or_short(settings):
    store = Store.from_settings(settings)
    rows = [curve(f"{n}:Normal", [1.0, 1.0, None, 1.0, 1.0], "2026-07-01") for n in range(9)]
    rows.append(curve("9:Normal", [1.0, 1.0, None, 1.0, None], "2026-07-01"))
    ingest(store, delivery(*rows, source="tcgcsv"), settings)
    assert first_gap(settings, date(2026, 7, 2)) is None
    assert first_gap(settings, date(2026, 7, 5)) == date(2026, 7, 3)
    assert stored_days(store, settings, "tcgcsv", date(2026, 7, 2), date(2026, 7, 9)) == {
        date(2026, 7, 2),
        date(2026, 7, 4),
    }
    assert first_gap(settings, date(2027, 7, 5)) == date(2027, 5, 6)


def test_a_source_named_twice_is_refused(settings):
    with pytest.raises(UsageError, match="tcgcsv, tcgcsv names a source twice"):
        collect(settings, "tcgcsv", ["tcgcsv"])


def test_what_takes_no_fallback_is_collected_without_the_configured_one(settings, tmp_path):
    settings = settings.model_copy(update={"fallback": ["tcgdex"]})
    path = tmp_path / "prices.csv"
    path.write_text("card_id,date,market_price\n1:Normal,2026-07-01,2.5\n", encoding="utf-8")
    assert collect(settings, "file", path=path).accepted == 1
    with pytest.raises(UsageError, match="'file' takes no fallback"):
        collect(settings, "file", ["tcgdex"], path=path)


@pytest.mark.parametrize("fallback", ["file", "simulated", "ebay"])
def test_what_is_no_fallback_is_said_before_anything_is_stored(service, settings, fallback):
    service.serve("2026-07-01")
    with pytest.raises(UsageError, match=f"'{fallback}' is no fallback: choose among tcgcsv, tcg"):
        collect(settings.model_copy(update={"fallback": [fallback]}), "tcgcsv")
    assert Store.from_settings(settings).data_version == -1


def test_the_configured_fallback_may_be_asked_by_name(service, settings):
    settings = settings.model_copy(update={"fallback": ["tcgcsv"]})
    service.serve("2026-07-01")
    assert collect(settings, "tcgcsv").accepted == 30


def test_without_another_source_a_failure_is_an_error_and_nothing_is_stored(service, settings):
    service.pages["/last-updated.txt"] = 404
    with pytest.raises(SourceError, match="not found"):
        collect(settings, "tcgcsv")
    assert Store.from_settings(settings).data_version == -1
