"""A small market whose names try to be HTML, and where its pages are served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from builders import curve, delivery, market
from markets import promote

from pokewatch.evaluation import predictions
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import open_panel
from pokewatch.quality.ingest import ingest
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store

EVIL = '<img src=x onerror="document.title=`owned`"> Mew'
DAYS = 160
LAST = "2025-06-09"


def evil_cards() -> pd.DataFrame:
    """Two printings of a card with an evil name: one rises at the end, the other stands still."""
    rising = [5.0 + 0.01 * (day % 7) for day in range(DAYS - 7)] + [
        5.5 + 0.1 * day for day in range(7)
    ]
    return pd.concat([curve("77:Holofoil", rising), curve("77:Reverse Holofoil", [3.0] * DAYS)])


def fill(home: Path) -> Settings:
    """Store the market, train, and forecast as nights do."""
    settings = load_settings(home=home, tracking=False, _env_file=None)
    prices = pd.concat([market(30, DAYS, momentum=0.8), evil_cards()])
    ids = prices["card_id"].unique()
    evil = [one.startswith("77:") for one in ids]
    known = {
        "card_id": ids,
        "name": [EVIL if one.startswith("77:") else f"Card {one.split(':')[0]}" for one in ids],
        "set_name": ["<b>Evil</b> & Co" if bad else "Paldean Fates" for bad in evil],
        "number": [f"{one.split(':')[0]}/199" for one in ids],
        "printing": [one.split(":")[1] for one in ids],
        "product_kind": "single",
        "product_id": [int(one.split(":")[0]) + 1 for one in ids],
        "aliases": [[f"sv4pt5-{one.split(':')[0]}"] for one in ids],
    }
    ingest(Store.from_settings(settings), delivery(prices, **known), settings)
    panel, version = open_panel(settings)
    promote(
        settings,
        FairValueModel(seed=settings.seed).fit(panel.until(DAYS - 20)),
        version,
        "2025-05-20",
    )
    for day in (DAYS - 15, DAYS - 1):
        predictions.predict_all(settings, panel.dates[day].date())
    return settings


@dataclass(frozen=True)
class Served:
    """Pages that are served, and where their prices are stored."""

    address: str
    settings: Settings
    log: Path
