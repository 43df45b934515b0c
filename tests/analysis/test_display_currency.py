"""Notebooks show amounts in the currency of the settings: tables, sentences, charts."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from pokewatch.analysis import narrative, tables
from pokewatch.charts import market as charts
from pokewatch.formatting import Money
from pokewatch.settings import Settings, load_settings


@pytest.fixture
def euros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    kept = {"day": "2026-07-09", "asked": "2026-07-10T03:00:00+00:00", "rates": {"USD": 1.25}}
    (tmp_path / "rates.json").write_text(json.dumps(kept), encoding="utf-8")
    found = load_settings(home=tmp_path, currency="EUR")
    for module in (tables, narrative):
        monkeypatch.setattr(module, "get_settings", lambda: found)
    return found


FRAME = pd.DataFrame({"name": ["Mew"], "price": [1000.0], "gain": [0.1], "rmae": [0.9]})
CURVE = pd.DataFrame(
    {
        "date": pd.date_range("2026-01-01", periods=2),
        **{name: [100.0, 90.0] for name in ("followed", "held", "before_fees")},
        "calls": [1, 1],
    }
)


def test_tables_and_sentences(euros: Settings) -> None:
    shown = tables.show(FRAME).data
    assert "€800.00" in shown
    assert "$" not in shown
    assert "+10.0 %" in shown  # a share
    said = narrative.equity(CURVE).data  # a curve of stored prices, not at one day's rate
    assert "100 dollars put into every BUY" in said


def test_without_a_currency_they_are_in_dollars(tmp_path: Path) -> None:
    assert "$1,000" in tables.show(FRAME).data
    assert "100 dollars put into every BUY" in narrative.equity(CURVE).data


def test_axes_and_labels() -> None:
    prices = pd.Series([100.0, 200.0], pd.date_range("2026-01-01", periods=2))
    forecast = pd.DataFrame(
        {"horizon": [7], "fair_value": [150.0], "lower": [100.0], "upper": [200.0]}
    )
    for money, sign in ((Money(), "$"), (Money("JPY", rate=150.0), "¥")):
        figure = Figure()
        axes = charts.price(prices, forecast, ax=figure.subplots(), money=money)
        figure.canvas.draw()
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert all(label.startswith(sign) for label in labels if label)
        assert sign in axes.texts[0].get_text()
        small = charts.sparkline(prices, Figure().subplots(), days=7, money=money)
        assert small.yaxis.get_major_formatter()(200.0, 0) == money(200.0, short=True)
