"""The routes under /v1 answer what the package answers, in the form that is asked for."""

import io
import json

import pandas as pd
import pyarrow as pa
import pytest

from pokewatch.evaluation import predictions
from pokewatch.schema import OBSERVATION_COLUMNS, PREDICTION_COLUMNS
from pokewatch.store.tables import Store

ARROW = "application/vnd.apache.arrow.stream"


def test_cards_are_searched_page_by_page(service):
    seen, url = [], "/v1/cards?limit=7"
    while url:
        found = service.get(url)
        seen += [row["card_id"] for row in found.json()["rows"]]
        url = found.links.get("next", {}).get("url")
        assert (found.json()["next"] is None) == (url is None)
    assert seen == Store.from_settings(service.settings).cards()["card_id"].tolist()
    assert len(seen) == 32


def test_a_search_by_alias_and_by_words(service):
    assert [row["card_id"] for row in service.get("/v1/cards?q=SV4PT5-003").json()["rows"]] == [
        "3:Normal"
    ]
    rows = service.get("/v1/cards", params={"q": "card two", "limit": 1}).json()
    assert rows["count"] == 1
    assert rows["next"]
    for wrong in ("abc", "!!!!"):
        assert service.get("/v1/cards", params={"cursor": wrong}).status_code == 400


def test_a_card(service):
    row = service.get("/v1/cards/sv4pt5-3").json()
    assert (row["card_id"], row["name"], row["aliases"]) == ("3:Normal", "Card 3", ["sv4pt5-3"])
    assert row["last_price"] > 0
    assert service.get("/v1/cards/two:Reverse%20Holofoil").json()["last_price"] is None
    assert service.get("/v1/cards/nobody").status_code == 404


def test_an_alias_of_several_printings_lists_them(service):
    found = service.get("/v1/cards/sv4pt5-two/forecast")
    assert found.status_code == 409
    assert found.json()["cards"] == ["two:Holofoil", "two:Reverse Holofoil"]


def test_prices(service):
    found = service.get("/v1/cards/3:Normal/prices?since=2025-05-01&until=2025-05-10").json()
    stored = Store.from_settings(service.settings).prices(card_ids=["3:Normal"])
    assert found["count"] == 10
    assert list(found["rows"][0]) == OBSERVATION_COLUMNS
    assert found["rows"][0]["date"] == "2025-05-01"
    day = stored[stored["date"] == "2025-05-01"].iloc[0]
    assert found["rows"][0]["market_price"] == day["market_price"]


@pytest.mark.parametrize("day", ["2025-06-09", "2025-05-02"])
def test_forecasts_are_what_the_package_says(service, day):
    answer = service.get(f"/v1/cards/3:Normal/forecast?date={day}").json()
    said = predictions.predict(service.settings, ["3:Normal"], pd.Timestamp(day).date())
    said = said.assign(date=day).sort_values("horizon")
    assert answer["rows"] == json.loads(said.to_json(orient="records", double_precision=15)) or [
        {name: row[name] for name in ("fair_value", "lower", "signal")} for row in answer["rows"]
    ] == said[["fair_value", "lower", "signal"]].to_dict("records")
    some = service.get("/v1/cards/3:Normal/forecast?horizon=7&horizon=30").json()["rows"]
    assert [row["horizon"] for row in some] == [7, 30]
    assert service.get("/v1/cards/3:Normal/forecast?horizon=8").status_code == 400


def test_signals_are_the_days_buy_and_sell(service):
    rows = service.get("/v1/signals").json()["rows"]
    said = predictions.best_signals(service.settings)
    assert {row["card_id"] for row in rows} == set(said["card_id"])
    assert list(rows[0]) == [*PREDICTION_COLUMNS, "name", "set_name", "printing"]
    assert service.get("/v1/signals?date=2030-01-01").status_code == 404


def test_a_batch_has_one_answer_a_card_in_their_order(service):
    cards = ["5:Normal", "nobody", "sv4pt5-two", "sv4pt5-003", "5:Normal", "two:Reverse Holofoil"]
    rows = service.post("/v1/forecasts", {"cards": cards}).json()["rows"]
    assert [row["card"] for row in rows] == cards
    assert [row["card_id"] for row in rows][3:5] == ["3:Normal", "5:Normal"]
    assert [row["error"] for row in rows] == [
        None,
        "unknown card",
        "fits 2 cards: name one by its id",
        None,
        None,
        "no data of this card on that day",
    ]
    one = service.get("/v1/cards/5:Normal/forecast?horizon=7").json()["rows"][0]
    assert {name: rows[0][name] for name in one} == one
    assert rows[1]["fair_value"] is None
    for wrong in ([], ["x"] * 1001, ["x" * 201], [1]):
        assert service.post("/v1/forecasts", {"cards": wrong}).status_code == 422


def test_rows_come_as_csv_and_as_arrow_where_that_is_accepted(service):
    body = {"cards": ["5:Normal", "nobody"]}
    for ask in (
        lambda **options: service.post("/v1/forecasts", body, **options),
        lambda **options: service.get("/v1/cards/5:Normal/forecast", **options),
        lambda **options: service.get("/v1/cards?limit=5", **options),
    ):
        rows = ask().json()["rows"]
        csv = ask(headers={"Accept": "text/csv"})
        assert csv.headers["content-type"] == "text/csv; charset=utf-8"
        assert list(pd.read_csv(io.StringIO(csv.text)).columns) == list(rows[0])
        arrow = ask(headers={"Accept": f"text/html;q=0.9, {ARROW}, text/csv;q=0.5"})
        assert arrow.headers["content-type"] == ARROW
        table = pa.ipc.open_stream(arrow.content).read_all()
        assert table.column_names == list(rows[0])
        assert table.num_rows == len(rows)
    assert ask(headers={"Accept": "image/png"}).headers["content-type"] == "application/json"


def test_a_copy_that_is_good_is_not_sent_again(service):
    first = service.get("/v1/signals")
    etag = first.headers["ETag"]
    assert etag.startswith('"1-')
    assert 0 <= int(first.headers["Cache-Control"].partition("max-age=")[2]) <= 86400
    again = service.get("/v1/signals", headers={"If-None-Match": f'"x", {etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == etag
    for other in ("/v1/signals?horizon=30", "/v1/model"):
        assert service.get(other, headers={"If-None-Match": etag}).status_code == 200
    csv = {"If-None-Match": etag, "Accept": "text/csv"}
    assert service.get("/v1/signals", headers=csv).status_code == 200
    batch = service.post("/v1/forecasts", {"cards": ["5:Normal"]}, headers={"If-None-Match": etag})
    assert "ETag" not in batch.headers


def test_the_portfolio_has_a_scope_of_its_own(serve, tmp_path):
    path = tmp_path / "watchlist.yaml"
    path.write_text("- {card: sv4pt5-3, quantity: 2, cost: 1.5}\n- {card: nobody}\n")
    service = serve(watchlist=path)
    assert service.get("/v1/portfolio").status_code == 403
    first = service.get("/v1/portfolio", "portfolio")
    body = first.json()
    price = service.post("/fair_price", {"card_id": "3:Normal"}).json()["market_price"]
    assert body["totals"]["value"] == 2 * price
    assert [row["problem"] is None for row in body["rows"]] == [True, False]
    etag = {"If-None-Match": first.headers["ETag"]}
    assert service.get("/v1/portfolio", "portfolio", headers=etag).status_code == 304
    path.write_text("- {card: sv4pt5-4}\n")
    assert service.get("/v1/portfolio", "portfolio", headers=etag).status_code == 200
    path.unlink()
    missing = service.get("/v1/portfolio", "portfolio")
    assert missing.status_code == 400
    assert str(tmp_path) not in missing.text


def test_the_model_and_the_state_of_the_store(service):
    model = service.get("/v1/model").json()
    assert model["name"] == "fair-value-2025-06-09-v1"
    assert model["scores"][0]["horizon"] == 7
    assert model["reasons"] == ["it is the first"]
    assert isinstance(model["record"], list)
    status = service.get("/v1/status").json()
    assert (status["cards"], status["last_date"], status["data_version"]) == (31, "2025-06-09", 1)
    assert str(service.settings.home) not in service.get("/v1/status").text


def test_amounts_in_another_currency_stand_beside_the_stored_ones(serve):
    dollars, euros = serve(), serve(copy=True, currency="EUR")
    kept = {"day": "2025-06-30", "asked": "2025-07-01T03:00:00+00:00", "rates": {"USD": 1.25}}
    plain = euros.get("/v1/signals").json()
    assert "display" not in plain
    (euros.settings.home / "rates.json").write_text(json.dumps(kept), encoding="utf-8")
    euros.current.refresh()
    display = {"currency": "EUR", "rate": 0.8, "date": "2025-06-30"}
    for path in (
        "/v1/signals",
        "/v1/cards",
        "/v1/cards/3:Normal/prices",
        "/v1/cards/3:Normal/forecast",
    ):
        known, shown = dollars.get(path).json(), euros.get(path).json()
        assert "display" not in known
        assert shown.pop("display") == display
        names = [name for name in shown["rows"][0] if name.startswith("display_")]
        assert "display_currency" in names
        assert len(names) > 1
        for row in shown["rows"]:
            told = {name: row.pop(name) for name in names}
            assert told.pop("display_currency") == "EUR"
            for name, value in told.items():
                stored = row[name.removeprefix("display_")]
                assert value == (None if stored is None else pytest.approx(0.8 * stored, abs=1e-4))
        assert shown == known
    card = euros.get("/v1/cards/3:Normal").json()
    assert card["display"] == display
    assert card["display_last_price"] == pytest.approx(0.8 * card["last_price"], abs=1e-4)
    price = euros.post("/fair_price", {"card_id": "3:Normal"}).json()
    assert price["display_fair_price"] == pytest.approx(0.8 * price["fair_price"], abs=1e-4)
    assert "display" not in dollars.post("/fair_price", {"card_id": "3:Normal"}).json()
    text = euros.get("/v1/signals", headers={"Accept": "text/csv"}).text
    assert "display_currency" in text.splitlines()[0]
    assert "display" not in euros.get("/v1/model").json()
    assert dollars.get("/v1/cards").headers["ETag"] != euros.get("/v1/cards").headers["ETag"]
