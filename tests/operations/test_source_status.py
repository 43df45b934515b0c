"""The state of each price source, and the command ``pokewatch sources`` that shows it."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from builders import curve, delivery
from pytest_httpserver import HTTPServer
from test_cli import run

from pokewatch.operations.source_status import source_status
from pokewatch.quality.ingest import ingest
from pokewatch.settings import load_settings
from pokewatch.sources import SOURCES
from pokewatch.store.tables import Store

KEY = "a-very-secret.key"


@pytest.fixture
def home(tmp_path):
    settings = load_settings(home=tmp_path, store="")
    rows = pd.concat([curve("1:Normal", [1.0, 2.0]), curve("2:Normal", [1.0, 2.0, 3.0])])
    ingest(Store.from_settings(settings), delivery(rows, source="tcgdex"), settings)
    return tmp_path


def test_every_source_is_listed_with_its_key_and_state(home):
    settings = load_settings(home=home, store="", pokemontcg_key=KEY)
    found = {one["source"]: one for one in source_status(settings)}
    assert list(found) == list(SOURCES)
    assert {name: one["key"] for name, one in found.items()} == {
        "simulated": "none",
        "file": "none",
        "tcgcsv": "none",
        "tcgdex": "none",
        "pokemontcg": "set",
        "pokemonpricetracker": "missing",
        "cardmarket": "none",
    }
    ends = {name: one["ends"] for name, one in found.items() if one["ends"]}
    assert ends == {"pokemontcg": "2027-03-01"}
    assert (found["tcgdex"]["rows"], found["tcgdex"]["newest"]) == (5, "2025-01-03")
    assert found["tcgdex"]["collected"] == "2025-01-03T00:00:00+00:00"
    assert (found["tcgcsv"]["rows"], found["tcgcsv"]["newest"]) == (0, None)
    assert KEY not in json.dumps(found)
    settings = load_settings(home=home, store="", pokemonpricetracker_key=KEY)
    assert [one["key"] for one in source_status(settings)][4:6] == ["not set", "set"]


def test_a_check_asks_each_service_and_says_what_fails(home, httpserver: HTTPServer):
    httpserver.expect_request("/good/en/sets").respond_with_json([])
    httpserver.expect_request("/bad/tcgplayer/3/groups").respond_with_data("", status=500)
    httpserver.expect_request("/good/productList/products_nonsingles_6.json").respond_with_json({})
    httpserver.expect_request("/refused/cards").respond_with_data("", status=401)
    done = run(
        home,
        "sources",
        "--check",
        POKEWATCH_TCGDEX_URL=httpserver.url_for("/good"),
        POKEWATCH_CARDMARKET_URL=httpserver.url_for("/good"),
        POKEWATCH_TCGCSV_URL=httpserver.url_for("/bad"),
        POKEWATCH_POKEMONTCG_URL=httpserver.url_for("/refused"),
        POKEWATCH_POKEMONTCG_KEY=KEY,
        POKEWATCH_POKEMONPRICETRACKER_KEY="",
    )
    assert done.returncode == 0, done.stderr
    checks = [line.strip() for line in done.stdout.splitlines() if "check: " in line]
    assert checks[0] == checks[1] == checks[3] == "check: ok"
    assert "  ends on 2027-03-01, new keys are not given out: use another source" in done.stdout
    assert "answered 500 (1 try); run again later" in checks[2]
    assert "refused (401); check POKEWATCH_POKEMONTCG_KEY in .env" in checks[4]
    assert "needs a key: set POKEWATCH_POKEMONPRICETRACKER_KEY in .env" in checks[5]
    assert KEY not in done.stdout + done.stderr
    assert checks[6] == "check: ok"
    assert len(httpserver.log) == 4
