"""Programs written against the first system's service work against this one."""

import pytest

from pokewatch.evaluation import predictions

CARD = "3:Normal"
CONTRACT = {
    "card_id": str,
    "date": str,
    "market_price": float,
    "fair_price": float,
    "deviation_pct": float,
    "signal": str,
}


def test_health_without_a_key(service):
    found = service.get("/health", scope="")
    assert found.status_code == 200
    assert found.json() == {"status": "ok", "model_loaded": True, "cards_count": 31}


@pytest.mark.parametrize("day", [None, "2025-06-09", "2025-05-01"])
def test_fair_price(service, day):
    found = service.post("/fair_price", {"card_id": CARD, "date": day})
    assert found.status_code == 200
    body = found.json()
    assert {name: type(body[name]) for name in CONTRACT} == CONTRACT
    assert (body["card_id"], body["date"]) == (CARD, day or "2025-06-09")
    assert body["signal"] in ("BUY", "HOLD", "SELL")
    expected = (body["market_price"] - body["fair_price"]) / body["fair_price"]
    assert body["deviation_pct"] == pytest.approx(expected)
    assert body["deviation_percent"] == pytest.approx(100 * expected)


def test_fair_price_is_what_the_package_says(service):
    body = service.post("/fair_price", {"card_id": CARD}).json()
    row = predictions.predict(service.settings, [CARD], horizons=[7]).iloc[0]
    for name in [
        "market_price",
        "lower",
        "upper",
        "signal",
        "reason",
        "thin",
        "stale",
        "model",
        "data_version",
    ]:
        assert body[name] == row[name]
    assert body["fair_price"] == row["fair_value"]
    assert body["horizon"] == 7
    assert body["track_record"]["kind"] == "walk-forward"
    assert body["track_record"]["n"] > 0


def test_a_request_without_a_date_and_one_by_alias(service):
    by_id = service.post("/fair_price", {"card_id": CARD}).json()
    by_alias = service.post("/fair_price", {"card_id": "SV4PT5-003"}).json()
    assert by_alias.pop("card_id") == "SV4PT5-003"
    by_id.pop("card_id")
    assert by_alias == by_id


def test_cards_are_sorted_and_counted(service):
    body = service.get("/cards").json()
    assert body["cards"] == sorted(body["cards"])
    assert body["count"] == len(body["cards"]) == 31
    assert set(body) == {"cards", "count"}


def test_reload(service):
    found = service.post("/reload", scope="admin")
    assert found.status_code == 200
    body = found.json()
    assert set(body) == {"status", "message", "cards_count"}
    assert (body["status"], body["cards_count"]) == ("ok", 31)


def test_headers(service):
    found = service.get("/cards", headers={"X-Request-ID": "mine-1"})
    assert found.headers["X-Request-ID"] == "mine-1"
    assert found.headers["X-Response-Time"].endswith("ms")
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["X-Frame-Options"] == "DENY"
    assert "Referrer-Policy" in found.headers
    assert "Permissions-Policy" in found.headers
    assert "Strict-Transport-Security" not in found.headers
    assert len(service.get("/cards").headers["X-Request-ID"]) == 16


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"card_id": "nobody"}, 404, "unknown card 'nobody'"),
        ({"card_id": CARD, "date": "1999-01-01"}, 404, "from 2025-01-01 to 2025-06-09"),
        ({"card_id": CARD, "date": "2025-06-10"}, 404, "from 2025-01-01 to 2025-06-09"),
        ({"card_id": "two:Reverse Holofoil"}, 404, "no data of 'two:Reverse Holofoil'"),
        ({"card_id": "sv4pt5-two"}, 409, "two:Reverse Holofoil"),
        ({"card_id": CARD, "horizon": 3}, 400, "choose among [1, 7, 14, 30]"),
        ({"card_id": CARD, "date": "01/05/2025"}, 422, "YYYY-MM-DD"),
        ({"card_id": CARD, "date": 1735689600}, 422, "YYYY-MM-DD"),
        ({"card_id": ""}, 422, "card_id"),
        ({"card_id": "x" * 201}, 422, "card_id"),
        ({"card": CARD}, 422, "card_id"),
        ([], 422, "body"),
    ],
)
def test_errors_carry_a_detail(service, body, code, words):
    found = service.post("/fair_price", body)
    assert found.status_code == code
    assert found.headers["content-type"] == "application/problem+json"
    assert words in found.json()["detail"]
    assert found.json()["status"] == code


def test_codes_of_keys(service):
    none = service.get("/cards", scope="")
    wrong = service.get("/cards", headers={"X-API-Key": "pw_wrong"})
    for found in (none, wrong):
        assert found.status_code == 401
        assert found.headers["WWW-Authenticate"] == "ApiKey"
    assert service.post("/reload").status_code == 403


def test_the_limit_of_a_key(serve):
    service = serve(service_rate="3/minute")
    codes = [service.get("/cards").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    headers = service.get("/cards").headers
    assert 0 < int(headers["Retry-After"]) <= 61
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("3", "0")
    assert int(headers["X-RateLimit-Reset"]) > 1.7e9
    assert service.get("/cards", scope="portfolio").status_code == 403  # another key's window


def test_a_body_that_is_too_long(service):
    assert service.post("/fair_price", {"card_id": "x" * 300_000}).status_code == 413


def test_without_a_readable_store_the_answer_is_503(tmp_path, serve):
    service = serve(copy=True)
    broken = serve(store=str(tmp_path / "nothing"))
    health = broken.get("/health", scope="")
    assert health.status_code == 503
    assert health.json() == {"status": "error", "model_loaded": False, "cards_count": None}
    for found in (broken.get("/readyz", scope=""), broken.post("/fair_price", {"card_id": CARD})):
        assert found.status_code == 503
        assert str(tmp_path) not in found.text
    assert service.get("/readyz", scope="").json()["model"].startswith("fair-value")
