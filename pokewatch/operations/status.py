"""State of the store, its last day and the champion, as ``pokewatch status`` prints it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd

from pokewatch.evaluation import gate, registry
from pokewatch.models.panel import Panel
from pokewatch.quality import completeness
from pokewatch.settings import Settings
from pokewatch.sources import ecb
from pokewatch.store.tables import Store


def status(settings: Settings) -> dict[str, Any]:
    """Return coverage, freshness, quarantine counts, data version and the champion's score."""
    store = Store.from_settings(settings)
    snapshot = store.snapshot("prices")
    quarantined = store.quarantine(["held", "refused"])
    reasons = quarantined["reason"].value_counts().sort_index()
    sizes = store.sources(snapshot)
    out: dict[str, Any] = {
        "home": str(settings.home),
        "store": store.root,
        "data_version": snapshot.version,
        "observations": sum(sizes.values()),
        "cards": 0,
        "cards_known": len(store.cards()),
        "sources": sizes,
        **dict.fromkeys(["first_date", "last_date", "days_old", "coverage", "last_day"]),
        "repeated_days": [],
        "quarantined": {str(reason): int(count) for reason, count in reasons.items()},
        "held": int((quarantined["status"] == "held").sum()),
        "champion": None,
    }
    if sizes:
        tables = snapshot.by_month(["card_id", "date", "market_price"])
        panel = Panel.from_tables(tables, store.cards())
        last = panel.dates[-1]
        alive = (panel.age[-completeness.LOOK_BACK :] == 0).any(axis=0)
        covered = completeness.latest(store, snapshot, settings.coverage_floor)
        today = pd.Timestamp.now(tz="UTC").tz_localize(None).normalize()
        silent = unpriced_since(quarantined, last, today)
        if silent is not None:
            covered = completeness.of_day(store, silent, settings.coverage_floor)
        out |= {
            "cards": len(panel.card_ids),
            "first_date": f"{panel.dates[0]:%Y-%m-%d}",
            "last_date": f"{last:%Y-%m-%d}",
            "days_old": int((today - last).days),
            "coverage": float(
                0 if silent else (panel.age[-1] == 0).sum() / max(int(alive.sum()), 1)
            ),
            "last_day": covered.as_dict() if covered else None,
            "repeated_days": [f"{day:%Y-%m-%d}" for day in panel.repeated_days()],
        }
    if (champion := registry.champion(settings)) is not None:
        row = champion.score(gate.GATE_HORIZON)
        out["champion"] = {
            "name": champion.name,
            "as_of": champion.as_of,
            "data_version": champion.data_version,
            **{name: row.get(name) for name in ("rmae", "rmae_low", "rmae_high", "coverage")},
        }
    return out


def unpriced_since(
    quarantined: pd.DataFrame, last: pd.Timestamp, today: pd.Timestamp
) -> date | None:
    """Return the newest day after the last prices for which services had cards without a price."""
    missing = quarantined["reason"].eq("price_missing")
    missing &= ~quarantined["source"].isin(completeness.UNMEASURED)
    days = quarantined.loc[missing & quarantined["date"].gt(last), "date"]
    days = days[days <= today]
    return None if days.empty else days.max().date()


def mark(settings: Settings) -> str:
    """Return a text that changes with data version, known cards, champion and exchange rate."""
    store = Store.from_settings(settings)
    pointer = settings.models_dir / registry.CHAMPION
    champion = pointer.read_text(encoding="utf-8") if pointer.exists() else ""
    rate = "".join(map(str, ecb.display(settings).about().values()))
    return f"{store.snapshot('prices').version} {store.snapshot('cards').version} {champion}{rate}"
