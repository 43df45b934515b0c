"""Notes of crossed targets: once a crossing, to everybody, whatever fails."""

from __future__ import annotations

import json
import logging
import tempfile
from datetime import date
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
from builders import crossings, curve
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from pokewatch.operations import notify
from pokewatch.quality.ingest import collect
from pokewatch.settings import Settings, load_settings
from pokewatch.watchlist import entries


class Desk:
    """A collector's set-up: prices arrive day by day, a real endpoint gets the notes."""

    def __init__(self, folder: Path, server: HTTPServer):
        self.folder = folder
        self.settings: Settings = load_settings(
            home=folder / "home", store="", watchlist=folder / "watchlist.yaml", tracking=False
        )
        self.notes: list[dict[str, str]] = []
        self.answers: dict[str, int] = {}
        server.expect_request("/one").respond_with_handler(self._take)
        server.expect_request("/two").respond_with_handler(self._take)

    def _take(self, request: Request) -> Response:
        status = self.answers.get(request.path, 200)
        if status == 200:
            self.notes.append({"path": request.path, **request.get_json()})
        return Response(status=status)

    def watch(self, text: str) -> None:
        self.settings.watchlist.write_text(text, encoding="utf-8")

    def night(self, *cards: pd.DataFrame, on: date | None = None) -> int:
        """Collect these cards' prices, judge the targets; return how many notes came."""
        before = len(self.notes)
        path = self.folder / "prices.parquet"
        pd.concat(cards).to_parquet(path)
        collect(self.settings, "file", path=path)
        notify.check_targets(self.settings, on)
        return len(self.notes) - before


@pytest.fixture
def desk(tmp_path: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Desk:
    url = f"json://me:hidden-word@localhost:{httpserver.port}/one"
    monkeypatch.setenv("POKEWATCH_NOTIFY", url)
    return Desk(tmp_path, httpserver)


def prices(*values: float | None, card: str = "7:Holofoil") -> pd.DataFrame:
    return curve(
        card, values, name="Mew\nex", set_name="151", number="151/165", printing="Holofoil"
    )


def test_a_crossing_is_told_once_and_again_after_it_came_back(desk: Desk, caplog) -> None:
    caplog.set_level(logging.INFO)
    desk.watch("- {card: '7', target_above: 12, target_below: 8, condition: LP}\n")
    path = [10.0, 11.9, 12.0, 13.0, 12.5, 11.0, 12.4, 7.5, 7.9, 9.0, 8.0]
    told = [0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1]
    assert [desk.night(prices(*path[: day + 1])) for day in range(len(path))] == told
    assert desk.night(prices(*path)) == 0  # the same night again
    first = desk.notes[0]
    assert first["title"] == notify.TITLE
    assert first["message"] == (
        "Mew ex (151, 151/165, Holofoil) stood at $12.00 on 2025-01-03: at or above your target of "
        "$12.00. This is the near-mint price; yours is lightly played."
    )
    assert caplog.text.count("stood at $12.00") == 1


def test_first_sight_and_a_changed_target(desk: Desk) -> None:
    desk.watch("- {card: '7', target_above: 5}\n- {card: '7:Holofoil', target_above: 5, cost: 1}\n")
    assert desk.night(prices(10.0)) == 1  # crossed already, told once for both lots
    desk.watch("- {card: '7', target_above: 9}\n")
    assert desk.night(prices(10.0, 10.0)) == 1
    desk.watch("- {card: '7'}\n")
    assert desk.night(prices(10.0, 10.0, 10.0)) == 0
    desk.watch("- {card: '7', target_above: 9}\n")
    assert desk.night(prices(10.0, 10.0, 10.0, 10.0)) == 1


def test_a_note_that_failed_is_tried_the_next_night(desk: Desk, caplog) -> None:
    caplog.set_level(logging.INFO)
    desk.watch("- {card: '7', target_above: 12}\n")
    desk.answers["/one"] = 500
    assert desk.night(prices(10.0, 12.0)) == 0
    assert "not every note arrived (json)" in caplog.text
    assert desk.night(prices(10.0, 12.0, 11.0)) == 0  # it came back meanwhile
    desk.answers.clear()
    assert desk.night(prices(10.0, 12.0, 11.0, 11.0)) == 1
    assert "$12.00 on 2025-01-02" in desk.notes[0]["message"]
    assert desk.night(prices(10.0, 12.0, 11.0, 11.0, 11.0)) == 0
    assert caplog.text.count("stood at") == 1
    state = (desk.settings.home / "alerts.json").read_text(encoding="utf-8")
    assert "hidden-word" not in caplog.text + state + str(desk.notes)


def test_who_was_reached_is_not_told_twice(
    desk: Desk, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"json://localhost:{httpserver.port}/{name}" for name in ("one", "two")]
    monkeypatch.setenv("POKEWATCH_NOTIFY", ", ".join(urls))
    desk.watch("- {card: '7', target_above: 12}\n")
    desk.answers["/two"] = 500
    assert desk.night(prices(10.0, 12.0)) == 1
    assert desk.night(prices(10.0, 12.0, 12.0)) == 0
    desk.answers.clear()
    assert desk.night(prices(10.0, 12.0, 12.0, 12.0)) == 1
    assert [note["path"] for note in desk.notes] == ["/one", "/two"]


def test_a_target_taken_back_is_not_told_late(desk: Desk) -> None:
    desk.watch("- {card: '7', target_above: 12}\n")
    desk.answers["/one"] = 500
    desk.night(prices(12.0))
    desk.answers.clear()
    desk.watch("- {card: '7'}\n")
    assert desk.night(prices(12.0, 12.0)) == 0


def test_stale_and_quarantined_prices_alert_nobody(desk: Desk) -> None:
    other = [10.0] * 9
    desk.watch("- {card: '7', target_above: 12}\n- {card: '8:Normal', target_above: 40}\n")
    jump = curve("8:Normal", [10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 45.0])
    stale = prices(13.0, 13.0, 13.0)
    assert desk.night(stale, jump, curve("9:Normal", other)) == 0
    assert desk.night(prices(*[13.0] * 9), jump, curve("9:Normal", other)) == 1


def test_stale_prices_do_not_rearm(desk: Desk) -> None:
    desk.watch("- {card: '7', target_above: 12}\n")
    assert desk.night(prices(13.0), curve("9:Normal", [1.0])) == 1
    assert desk.night(prices(13.0), curve("9:Normal", [1.0] * 9)) == 0
    assert desk.night(prices(13.0, *[None] * 8, 13.0), curve("9:Normal", [1.0] * 10)) == 0


def test_looking_back_tells_nothing(desk: Desk) -> None:
    desk.watch("- {card: '7', target_above: 12}\n")
    assert desk.night(prices(10.0, 13.0), on=date(2025, 1, 1)) == 0
    assert desk.night(prices(10.0, 13.0), on=date(2025, 1, 2)) == 1


def test_nothing_costs_the_night(desk: Desk, caplog) -> None:
    assert notify.check_targets(desk.settings) == []  # no list, no store
    assert not desk.settings.home.exists()
    desk.watch("- {card: '7', target_above: x}\n")
    assert notify.check_targets(desk.settings) == []
    assert "target_above='x'" in caplog.text
    desk.watch("- {card: nowhere, target_above: 2}\n- {card: '7', target_above: 2}\n")
    (desk.folder / "home").mkdir()
    state = desk.settings.home / "alerts.json"
    state.write_text("[half", encoding="utf-8")
    assert desk.night(prices(3.0)) == 1
    assert "unknown card 'nowhere'" in caplog.text
    assert "'alerts.json' cannot be read" in caplog.text
    assert json.loads(state.read_text(encoding="utf-8")) == {
        "crossed": ["7:Holofoil above 2.0"],
        "unsent": [],
    }


def test_without_recipients_the_log_is_told(desk: Desk, monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("POKEWATCH_NOTIFY", "")
    desk.watch("- {card: '7', target_above: 2}\n")
    assert desk.night(prices(3.0)) == 0
    assert desk.night(prices(3.0, 3.0)) == 0
    assert caplog.text.count("stood at $3.00") == 1


def test_an_address_that_is_none_fails_without_being_shown(desk: Desk, monkeypatch, caplog) -> None:
    monkeypatch.setenv("POKEWATCH_NOTIFY", "nosuch://hidden-word@x")
    assert notify.send("a", "b") is False
    assert "(nosuch)" in caplog.text
    assert "hidden-word" not in caplog.text


@settings(max_examples=60, deadline=None)
@given(
    path=st.lists(
        st.tuples(st.sampled_from([5.0, 8.0, 9.0, 12.0, 15.0]), st.booleans()), max_size=9
    ),
    arrives=st.lists(st.booleans(), min_size=9, max_size=9),
)
def test_as_many_alerts_as_crossings(path: list[tuple[float, bool]], arrives: list[bool]) -> None:
    sent: list[str] = []
    entry = entries.Entry(card="7", target_above=12, target_below=8)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "w.yaml").write_text("- {card: '7', target_above: 12, target_below: 8}\n", "utf-8")
        own = load_settings(home=home, watchlist=home / "w.yaml", store="")
        nights = [*zip(path, arrives, strict=False), (path[-1], True)] if path else []
        for number, ((price, is_fresh), arrived) in enumerate(nights):
            held = pd.DataFrame([entry.model_dump()]).assign(
                card_id="7:Holofoil", price=price, age=0 if is_fresh else 4, problem=None
            )
            day = pd.Timestamp("2025-01-01") + pd.Timedelta(days=number)

            def reach(urls, title, text, arrived=arrived):
                sent.extend([text] * arrived)
                return urls if arrived else []

            with (
                patch.object(entries, "valued", lambda *_, held=held, day=day: (held, day)),
                patch.object(notify, "reach", reach),
                patch.dict("os.environ", {"POKEWATCH_NOTIFY": "json://x/y"}),
            ):
                notify.check_targets(own)
    assert len(sent) == crossings(path, "above", 12) + crossings(path, "below", 8)
