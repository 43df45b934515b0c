"""The price sources: what each needs and serves, and which of its prices are stored."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pokewatch import sources
from pokewatch.errors import PokewatchError
from pokewatch.settings import Settings
from pokewatch.store.tables import Store


def source_status(settings: Settings, check: bool = False) -> list[dict[str, Any]]:
    """Return every source as plain values; its key is only named, never shown.

    rows: its accepted prices in the store; newest: their last day; collected: the UTC moment at
    which the last of them was collected. check: ask each service once; ``check`` is then "ok" or
    what fails and what to do about it.
    """
    homes = (settings, sources.home_of(sources.MARKET, [], settings))
    stores = {one.store_root: Store.from_settings(one) for one in homes}
    figures = [("date", "count"), ("date", "max"), ("collected_at", "max")]
    months = [
        part
        for store in stores.values()
        for month in store.snapshot("prices").by_month(["source", "date", "collected_at"])
        for part in month.group_by("source").aggregate(figures).to_pylist()
    ]
    by_month = pd.DataFrame(months, columns=["source", *map("_".join, figures)])
    totals = {"date_count": "sum", "date_max": "max", "collected_at_max": "max"}
    stored = by_month.groupby("source").agg(totals)
    found = []
    for name in sources.SOURCES:
        about = sources.about(name)
        one: dict[str, Any] = {
            "source": name,
            "serves": about.serves,
            "currency": about.currency,
            "history": about.history,
            "limits": about.limits,
            "key": key_state(about, settings),
            "key_setting": about.key_setting or None,
            "ends": about.ends and f"{about.ends}",
            "notice": about.notice,
            "rows": 0,
            "newest": None,
            "collected": None,
        }
        if name in stored.index:
            rows, newest, collected = stored.loc[name]
            one |= {
                "rows": int(rows),
                "newest": f"{newest:%Y-%m-%d}",
                "collected": collected.isoformat(timespec="seconds"),
            }
        if check:
            try:
                sources.check(name, settings)
                one["check"] = "ok"
            except PokewatchError as error:
                one["check"] = str(error)
        found.append(one)
    return found


def key_state(about: sources.About, settings: Settings) -> str:
    """Return "none" (no key exists), "set", "not set" (it works without) or "missing"."""
    if not about.key_setting:
        return "none"
    key = getattr(settings, about.key_setting.removeprefix("POKEWATCH_").lower())
    if key.get_secret_value():
        return "set"
    return "missing" if about.key_needed else "not set"
