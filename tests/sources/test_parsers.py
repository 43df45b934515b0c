"""Whatever text or value comes, only our own errors do, and no row is lost."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokewatch.errors import SourceError, UsageError
from pokewatch.quality import rules
from pokewatch.report import notebooks
from pokewatch.settings import Settings, load_settings
from pokewatch.sources import responses
from pokewatch.sources.tcgcsv import frames, live

NOW = pd.Timestamp("2026-06-30T12:00Z")
BAD_WAITS = ["Mon, 99 Jan 0001 25:00:00 +9999", f"1 Jan {'9' * 30} 00:00:00 GMT", "\x1c1200"]
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["2026-06-30", "2026/06/30", "2026-02-30", "9999-12-31T23:00-05:00", "NaN"])
)  # fmt: skip
JSON = st.recursive(VALUES, lambda some: st.lists(some) | st.dictionaries(st.text(), some))
ROW = st.fixed_dictionaries(
    {},
    optional={
        "card_id": VALUES, "date": VALUES, "market_price": VALUES, "volume": VALUES,
        "source": VALUES, "collected_at": VALUES,
    },
)  # fmt: skip


@given(st.lists(ROW, max_size=5))
def test_every_received_value_gets_a_verdict(rows):
    frame = pd.DataFrame(rows, dtype="object")
    out = rules.normalise(frame, "file", NOW)
    assert len(out) == len(frame)
    assert set(out["problem"]) <= {"", *rules.REASONS}
    usable = out[out["problem"] == ""]
    assert usable[["card_id", "date", "market_price"]].notna().all(axis=None)


@given(JSON | st.builds(lambda rows: {"success": True, "results": rows}, st.lists(
    JSON | st.fixed_dictionaries({"productId": VALUES, "subTypeName": VALUES, "marketPrice": JSON})
)))  # fmt: skip
def test_every_row_of_an_answer_counts(answer):
    try:
        rows = frames.answer_rows(answer)
    except SourceError:
        return
    observations, _ = frames.price_frames(rows, NOW.date(), NOW, [])
    assert len(observations) == len(answer["results"])
    assert len(rules.normalise(observations, "tcgcsv", NOW)) == len(rows)


@given(st.text() | st.integers().map(str) | st.sampled_from(BAD_WAITS))
def test_a_wish_to_wait_is_seconds_or_nothing(text):
    seconds = responses.retry_after(text)
    assert seconds is None or seconds >= 0


class Says:
    def __init__(self, text: str):
        self.text = text

    def get_text(self, path: str) -> str:
        return self.text


@given(st.text() | st.datetimes(timezones=st.timezones()).map(str) | st.just("0001-01-01T00+01"))
def test_a_moment_is_utc_or_a_source_error(text):
    try:
        assert live._last_updated(Says(text)).utcoffset().total_seconds() == 0
    except SourceError:
        return


@given(st.lists(st.text("ab=_ 1\n", max_size=8), max_size=3))
def test_notebook_parameters_are_pairs_or_refused(pairs):
    try:
        parsed = notebooks.parse_parameters(pairs)
    except UsageError:
        return
    assert [f"{key}={value}" for key, value in parsed.items()] == pairs


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_a_setting_takes_a_value_or_names_itself(name):
    for value in ("", "-1", "nan", "1e999", "[", "\0", "ünfug", "9" * 400):
        try:
            load_settings(**{name: value})
        except UsageError as error:
            assert f"POKEWATCH_{name.upper()}=" in str(error)  # noqa: PT017


def rows_one_by_one(answers: list[bytes]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [row for text in answers for row in frames.answer_rows(json.loads(text))]
    return frames.price_frames(rows, NOW.date(), NOW, [])


def price_row(**changed: Any) -> dict[str, Any]:
    names = ("lowPrice", "midPrice", "highPrice", "marketPrice")
    row = {"productId": 7, "subTypeName": "Normal", **dict.fromkeys(names, 1.5)}
    return {name: value for name, value in (row | changed).items() if value is not ...}


def answer(*rows: Any, **changed: Any) -> bytes:
    said = {"success": True, "errors": [], "results": list(rows)} | changed
    return json.dumps({name: value for name, value in said.items() if value is not ...}).encode()


def test_usual_answers_read_as_columns_are_what_they_are_row_by_row():
    answers = [
        answer(price_row(), price_row(subTypeName="Reverse Holofoil", marketPrice=None)),
        answer(),
        answer(price_row(productId=2**40, lowPrice=3, highPrice=1e300), price_row(midPrice=...)),
        answer(price_row(marketPrice=-0.1, directLowPrice=None, more={"a": [1]})),
    ]
    rows = frames.usual_rows(answers)
    assert rows is not None
    found = frames.usual_frames(rows, NOW.date(), NOW)
    for mine, theirs in zip(found, rows_one_by_one(answers), strict=True):
        pd.testing.assert_frame_equal(mine, theirs)


@pytest.mark.parametrize(
    "unusual",
    [
        answer(success=False),
        answer(success=...),
        answer(success="true"),
        answer(results=None),
        answer(results=...),
        answer(results={}),
        answer(None),
        answer([1]),
        answer(price_row(productId=None)),
        answer(price_row(productId=...)),
        answer(price_row(productId=0)),
        answer(price_row(productId="7")),
        answer(price_row(productId=7.0)),
        answer(price_row(productId=2**70)),
        answer(price_row(productId=True)),
        answer(price_row(subTypeName=None)),
        answer(price_row(subTypeName="")),
        answer(price_row(subTypeName=1)),
        answer(price_row(marketPrice="1.5")),
        answer(price_row(marketPrice=True)),
        answer(price_row(marketPrice=[1.5])),
        answer(price_row(marketPrice=float("nan"))),
        answer(price_row(subTypeName="Pok\u00e9")).replace(b"\\u00e9", "é".encode()),
        answer(price_row()).replace(b"Normal", b"Nor\xffmal"),
        answer(price_row()) + answer(price_row()),
        answer(price_row())[:-1],
        answer(price_row()) + b"}",
        b"[1]",
        b"",
        b"{}",
    ],
)
def test_an_unusual_answer_is_left_to_the_reader_of_rows(unusual):
    usual = answer(price_row())
    for some in ([unusual], [usual, unusual], [unusual, usual]):
        assert frames.usual_rows(some) is None


def test_a_number_of_any_length_is_no_price_and_stops_nothing():
    answers = [answer(price_row(), price_row(marketPrice=10**400))]
    usual = frames.usual_rows(answers)
    assert usual is not None
    quick = frames.usual_frames(usual, NOW.date(), NOW)
    for observations, _ in (quick, rows_one_by_one(answers)):
        rows = rules.normalise(observations, "tcgcsv", NOW)
        assert rows["problem"].tolist() == ["", "price_not_numeric"]
