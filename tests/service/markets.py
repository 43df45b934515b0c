"""A small market with a champion, as a night leaves it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from builders import curve, delivery, market

from pokewatch.evaluation import backtest, predictions, registry
from pokewatch.evaluation.registry import GateVerdict, TrainedModel
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import open_panel
from pokewatch.models.signals import Rule
from pokewatch.quality.ingest import ingest
from pokewatch.schema import typed
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store

CARDS, DAYS = 30, 160
LAST = "2025-06-09"


def fill(home: Path) -> Settings:
    """Store the market, train, and forecast as a night does."""
    settings = load_settings(home=home, tracking=False, _env_file=None)
    prices = pd.concat([market(CARDS, DAYS, momentum=0.8), curve("two:Holofoil", [5.0] * DAYS)])
    ids = prices["card_id"].unique()
    known = {
        "card_id": [*ids, "two:Reverse Holofoil"],
        "name": [f"Card {one.split(':')[0]}" for one in [*ids, "two:R"]],
        "set_name": "Paldean Fates",
        "printing": [one.split(":")[1] for one in [*ids, "two:Reverse Holofoil"]],
        "aliases": [[f"sv4pt5-{one.split(':')[0]}"] for one in [*ids, "two:R"]],
    }
    ingest(Store.from_settings(settings), delivery(prices, **known), settings)
    panel, version = open_panel(settings)
    promote(settings, FairValueModel(seed=settings.seed).fit(panel), version, LAST)
    predictions.predict_all(settings)
    return settings


def promote(settings: Settings, model: FairValueModel, version: int, as_of: str) -> None:
    """Make a fitted model the champion, whatever the gate would say of it."""
    name = f"fair-value-{as_of}-v{version}"
    score = {"horizon": 7, "model": "fair_value", "n": 900, "rmae": 0.9, "coverage": 0.8}
    score |= {"buy_calls": 30, "buy_precision": 0.6, "buy_base_rate": 0.2, "buy_lift": 3.0}
    rules = {("BUY", 7): Rule("BUY", 7, 0.001)}
    verdict = GateVerdict(passed=True, reasons=["it is the first"], proved=True)
    trained = TrainedModel(name, model, rules, as_of, version, ["file"], [score], verdict)
    registry.save(settings, trained, typed([], backtest.FORECASTS))
    registry.promote(settings, name, verdict.reasons)
