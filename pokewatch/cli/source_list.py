"""The sources with what each needs and serves, and what came of it so far."""

from __future__ import annotations

from typing import Any

from pokewatch import sources
from pokewatch.errors import PokewatchError
from pokewatch.settings import Settings
from pokewatch.store.tables import Store


def listed(settings: Settings, check: bool = False) -> list[dict[str, Any]]:
    """Return all sources as plain values, a key as set or not, never itself.

    rows: accepted prices of it in the store; newest: their last day; collected: the UTC moment of
    the last of them. check: ask each service once; ``check`` is "ok" or says what fails.
    """
    rows = Store.from_settings(settings).prices(["date", "source", "collected_at"])
    stored = rows.groupby("source").agg(
        rows=("date", "size"), newest=("date", "max"), collected=("collected_at", "max")
    )
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
            "rows": 0,
            "newest": None,
            "collected": None,
        }
        if name in stored.index:
            state = stored.loc[name]
            one["rows"] = int(state["rows"])
            one["newest"] = f"{state['newest']:%Y-%m-%d}"
            one["collected"] = state["collected"].isoformat(timespec="seconds")
        if check:
            one["check"] = checked(name, settings)
        found.append(one)
    return found


def key_state(about: sources.About, settings: Settings) -> str:
    """Return "none" (it has no keys), "set", "not set" (it does without) or "missing"."""
    if not about.key_setting:
        return "none"
    key = getattr(settings, about.key_setting.removeprefix("POKEWATCH_").lower())
    if key.get_secret_value():
        return "set"
    return "missing" if about.key_needed else "not set"


def checked(source: str, settings: Settings) -> str:
    """Return "ok" for a source that answers, else what fails and how to mend it."""
    try:
        sources.check(source, settings)
    except PokewatchError as error:
        return str(error)
    return "ok"
