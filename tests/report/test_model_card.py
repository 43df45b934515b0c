from __future__ import annotations

import json
from pathlib import Path

import pytest
from builders import market

from pokewatch.errors import UsageError
from pokewatch.evaluation import backtest
from pokewatch.models.panel import open_panel
from pokewatch.quality.ingest import ingest
from pokewatch.report import model_card
from pokewatch.settings import PROJECT, load_settings
from pokewatch.sources.file import fetch
from pokewatch.store.tables import Store

pytestmark = pytest.mark.slow

CARD = PROJECT / "docs" / "model_card.md"
STORED = sorted((PROJECT / "docs" / "backtests").glob("*.json"))

FULL_MODELS = True


@pytest.fixture(scope="module")
def stored() -> dict:
    from pokewatch.models.panel import Panel

    settings = load_settings(seed=7)
    panel = Panel.from_prices(market(30, 100, momentum=0.8))
    tested = backtest.walk_forward(panel, settings, [7])
    return model_card.record(tested, panel, settings, ["simulated"], 3)


def written(stored: dict, folder: Path) -> str:
    source, card = folder / "small_market.json", folder / "card.md"
    source.write_text(json.dumps(stored))
    model_card.write(card, [source])
    return card.read_text()


def test_the_committed_card_holds_the_figures_of_the_stored_backtests():
    text = CARD.read_text(encoding="utf-8")
    assert STORED
    inside = text.split(model_card.START)[1].split(model_card.END)[0]
    assert inside.strip() == model_card.figures(STORED).strip()


def test_a_changed_figure_changes_the_card(stored, tmp_path):
    first = written(stored, tmp_path)
    row = next(row for row in stored["scores"] if row["model"] == "fair_value")
    assert f"{row['rmae']:.3f}" in first
    assert "small market (simulated)" in first
    other = json.loads(json.dumps(stored))
    next(r for r in other["scores"] if r["model"] == "fair_value")["rmae"] = 0.4321
    assert "0.432" in written(other, tmp_path)


def test_unproved_figures_are_called_so(stored, tmp_path):
    other = json.loads(json.dumps(stored))
    row = next(r for r in other["scores"] if r["model"] == "fair_value")
    row |= {"rmae_low": None, "rmae_high": None}
    assert "too few days to tell" in written(other, tmp_path)
    row |= {"rmae_low": 1.01, "rmae_high": 1.2}
    assert "worse than no change" in written(other, tmp_path)
    row |= {"rmae_low": 0.9, "rmae_high": 1.2}
    assert "not proved better" in written(other, tmp_path)


def test_prose_around_the_figures_is_kept_and_no_other_file_is_taken(stored, tmp_path):
    card, source = tmp_path / "card.md", tmp_path / "b.json"
    source.write_text(json.dumps(stored))
    card.write_text(f"above\n{model_card.START}\nreplaced figures\n{model_card.END}\nbelow\n")
    model_card.write(card, [source])
    text = card.read_text()
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "replaced figures" not in text
    model_card.write(card, [source])
    assert card.read_text() == text
    source.write_text("[]")
    with pytest.raises(UsageError, match="no stored back-test"):
        model_card.write(card, [source])
    assert card.read_text() == text


def test_the_stored_figures_of_popular_cards_are_reproduced(shared_data, tmp_path):
    kept = json.loads((PROJECT / "docs" / "backtests" / "popular_cards.json").read_text())
    settings = load_settings(home=tmp_path)
    store = Store.from_settings(settings)
    ingest(store, fetch(shared_data / "panels" / "chase_with_volume.parquet"), settings)
    panel, _ = open_panel(settings)
    tested = backtest.walk_forward(panel, settings, [7])
    again = tested.scores(settings).set_index("model").loc["fair_value"]
    before = next(
        row for row in kept["scores"] if row["horizon"] == 7 and row["model"] == "fair_value"
    )
    assert again["n"] == before["n"]
    for name in ("rmae", "mdape", "coverage", "rank_ic"):
        assert again[name] == pytest.approx(before[name], abs=0.01)
    months = [row for row in kept["by"]["month"] if row["horizon"] == 7 and row["n"] >= 100]
    assert all(0.70 <= row["coverage"] <= 0.90 for row in months)
