"""The performance test's own judgements; the times themselves are never tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pokewatch.settings import PROJECT

sys.path.insert(0, str(PROJECT / "scripts"))
from test_performance import Table, compare

pytestmark = pytest.mark.slow


def table(value: float, ratio: float | None = None, **target: float) -> list[dict]:
    rows = Table()
    of = "value" if ratio is None else "ratio"
    rows.add("work", value, "s", ratio=ratio, of=of, **target)
    return rows.rows


@pytest.mark.parametrize(
    ("value", "target", "met"),
    [
        (4.9, {"most": 5}, True),
        (5.1, {"most": 5}, False),
        (5.1, {"least": 5}, True),
        (4.9, {"least": 5}, False),
        (4.9, {}, None),
    ],
)
def test_a_target_is_met_or_missed(value, target, met):
    assert table(value, **target)[0]["met"] is met
    assert table(1.0, ratio=value, **target)[0]["met"] is met


@pytest.mark.parametrize(
    ("now", "before", "target", "word"),
    [
        (10.0, 20.0, {"most": 30}, "better"),
        (20.0, 10.0, {"most": 30}, "worse"),
        (20.0, 10.0, {"least": 30}, "better"),
        (10.0, 20.0, {"least": 30}, "worse"),
        (10.0, 11.0, {"most": 30}, "same"),
    ],
)
def test_a_stored_run_is_compared_by_its_ratios(tmp_path, now, before, target, word):
    stored = tmp_path / "stored.json"
    stored.write_text(json.dumps({"rows": table(1.0, ratio=before, **target)}))
    (line,) = compare(table(99.0, ratio=now, **target), stored)
    assert line.split()[-1] == word


def test_a_small_market_is_measured_to_the_end(tmp_path: Path):
    saved = tmp_path / "run.json"
    script = [sys.executable, str(PROJECT / "scripts" / "test_performance.py")]
    small = ["--cards", "40", "--days", "100", "--sizes", "20,40", "--save", str(saved)]
    done = subprocess.run([*script, *small], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(saved.read_text())
    assert found["market"] == "simulated"
    assert set(found["exponents"]) == {"open", "features", "forecast", "ingest"}
    names = {row["name"] for row in found["rows"]}
    assert {"warm prediction", "features", "full scan of the store", "whole night"} <= names
    assert "archive ingest" in names  # left out, and says so
