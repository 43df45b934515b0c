"""State of the store, its last day and the champion, as ``pokewatch status`` prints it."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import suppress
from datetime import date, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pandas as pd
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pokewatch.errors import PokewatchError
from pokewatch.evaluation import registry, stored
from pokewatch.evaluation.registry import TrainedModel
from pokewatch.files import atomic_write, json_bytes
from pokewatch.models.panel import Panel
from pokewatch.quality import completeness
from pokewatch.schema import SIGNAL_HORIZON
from pokewatch.settings import Settings
from pokewatch.sources import ecb
from pokewatch.store.tables import Snapshot, Store, date_range, to_frame

KEPT = "repeated_days.json"  # in the data home; may be deleted


def status(settings: Settings) -> dict[str, Any]:
    """Return coverage, freshness, quarantine counts, data version and the champion's score."""
    store = Store.from_settings(settings)
    snapshot = store.snapshot("prices")
    left = [ds.field("status").isin(["held", "refused"])]
    columns = ["date", "source", "reason", "status"]
    quarantined = to_frame(store.snapshot("quarantine").read(columns, left))
    reasons = quarantined["reason"].value_counts().sort_index()
    sizes, said = store.sources(snapshot), stored.of_day(settings)
    out: dict[str, Any] = {
        "home": str(settings.home),
        "store": store.root,
        "data_version": snapshot.version,
        "observations": sum(sizes.values()),
        "cards": 0,
        "cards_known": len(store.snapshot("cards").read(["card_id"])),
        "sources": sizes,
        **dict.fromkeys(["first_date", "last_date", "days_old", "coverage", "last_day"]),
        "repeated_days": [],
        "quarantined": {str(reason): int(count) for reason, count in reasons.items()},
        "held": int((quarantined["status"] == "held").sum()),
        "champion": None,
    }
    if sizes:
        seen = said.cards() if said else None
        first = first_day(snapshot)
        last = pd.Timestamp(store.last_day(snapshot=snapshot))
        since = last.date() - timedelta(completeness.LOOK_BACK - 1)
        recent = snapshot.read(["card_id", "date"], date_range(since, None))
        alive = pc.count_distinct(recent["card_id"]).as_py()
        fresh = len(recent.filter(pc.field("date") == last.date()))
        covered = completeness.latest(store, snapshot, settings.coverage_floor)
        today = pd.Timestamp.now(tz="UTC").tz_localize(None).normalize()
        silent = unpriced_since(quarantined, last, today)
        if silent is not None:
            covered = completeness.of_day(store, silent, settings.coverage_floor)
        out |= {
            "cards": count_cards(snapshot) if seen is None else len(seen),
            "first_date": f"{first:%Y-%m-%d}",
            "last_date": f"{last:%Y-%m-%d}",
            "days_old": int((today - last).days),
            "coverage": 0.0 if silent else fresh / alive,
            "last_day": covered.as_dict() if covered else None,
            "repeated_days": repeated_days(settings, snapshot),
        }
    # A champion that speaks here and now need not be loaded to know that it can.
    if said and said.model != "naive":
        champion: TrainedModel | None = registry.load(settings, "champion", bare=True)
    else:
        champion = registry.champion(settings)
    if champion is not None:
        row = champion.score(SIGNAL_HORIZON)
        out["champion"] = {
            "name": champion.name,
            "as_of": champion.as_of,
            "data_version": champion.data_version,
            **{name: row.get(name) for name in ("rmae", "rmae_low", "rmae_high", "coverage")},
        }
    return out


def first_day(snapshot: Snapshot) -> date:
    """Return the first day of a pinned prices table that is not empty."""
    month = [ds.field("month") == snapshot.months()[0]]
    return pc.min(snapshot.read(["date"], month)["date"]).as_py()


def count_cards(snapshot: Snapshot) -> int:
    """Return how many cards have a price in a pinned prices table."""
    seen: set[str] = set()
    for table in snapshot.by_month(["card_id"]):
        seen.update(pc.unique(table["card_id"]).to_pylist())
    return len(seen)


def repeated_days(settings: Settings, snapshot: Snapshot) -> list[str]:
    """Return the days that ``Panel.repeated_days`` finds in a pinned prices table.

    What was found in a month is kept in the data home, for as long as its files and those of the
    month before are the same; files never change.
    """
    path, files = settings.home / KEPT, defaultdict(list)
    kept, found = {}, {}
    for one in snapshot.facts():
        files[one["partition.month"]].append(one["path"])
    with suppress(OSError, ValueError):
        kept = json.loads(path.read_text(encoding="utf-8"))
    for before, month in pairwise(["", *sorted(files)]):
        names = sorted(files[month] + files.get(before, []))
        mark = sha256(" ".join([stored.RECIPE, *names]).encode()).hexdigest()
        found[mark] = kept.get(mark) if isinstance(kept, dict) else None
        if found[mark] is None:
            first = date.fromisoformat(f"{month}-01")
            until = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
            days = date_range(first - timedelta(days=1), until)
            table = snapshot.read(["card_id", "date", "market_price"], days)
            table = table.set_column(0, "card_id", table["card_id"].dictionary_encode())
            repeated = Panel.from_tables([table]).repeated_days()
            found[mark] = [f"{day:%Y-%m-%d}" for day in repeated if day.date() >= first]
    if found != kept:
        with suppress(OSError, PokewatchError), atomic_write(path) as draft:
            draft.write_bytes(json_bytes(found))
    return [day for days in found.values() for day in days or ()]


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
