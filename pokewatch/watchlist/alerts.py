"""Tells the user, once a crossing, that a price has reached a target of the watchlist."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import pandas as pd
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from pokewatch.errors import PokewatchError
from pokewatch.files import atomic_write
from pokewatch.settings import Settings
from pokewatch.store.tables import Store
from pokewatch.watchlist import entries as watchlist

log = logging.getLogger(__name__)

TITLE = "PokeWatch: a target is reached"


class Recipients(BaseSettings):
    """``POKEWATCH_NOTIFY``: apprise URLs, parted by commas or spaces; they hold credentials."""

    model_config = SettingsConfigDict(
        env_prefix="POKEWATCH_", env_file=Settings.model_config["env_file"], extra="ignore"
    )

    notify: SecretStr = SecretStr("")

    def urls(self) -> list[str]:
        """Return the URLs; a comma inside one does not part it."""
        text = self.notify.get_secret_value().strip(" ,")
        return re.split(r"[,\s]+(?=[A-Za-z][\w+.-]*://)", text) if text else []


def send(title: str, text: str, failed: bool = False) -> bool:
    """Send a note to every recipient; False where one was not reached. Nothing is raised."""
    urls = Recipients().urls()
    return len(reach(urls, title, text, failed)) == len(urls)


def reach(urls: Sequence[str], title: str, text: str, failed: bool = False) -> list[str]:
    """Send a note to these recipients; return those that were reached. Nothing is raised."""
    if not urls:
        return []
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it would log parts of the URLs
    kind = apprise.NotifyType.FAILURE if failed else apprise.NotifyType.SUCCESS
    reached = []
    for url in urls:
        sender = apprise.Apprise()
        try:
            if sender.add(url) and sender.notify(
                body=text, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
            ):
                reached.append(url)
        except Exception as error:  # a note that fails must not fail the night
            log.warning("the note could not be sent: %s", type(error).__name__)
    missed = sorted({url.partition("://")[0] for url in urls if url not in reached})
    if missed:
        log.warning("POKEWATCH_NOTIFY: not every note arrived (%s)", ", ".join(missed))
    return reached


@dataclass(frozen=True)
class Crossing:
    """A price that reached a target: amounts in USD, ``side`` is above or below."""

    card_id: str
    side: str
    target: float
    price: float
    date: str
    condition: str = watchlist.Condition.near_mint.value
    reached: list[str] = field(default_factory=list, compare=False)  # digests of recipients

    @property
    def key(self) -> str:
        """Name the target; a changed one is another target."""
        return _key(self.card_id, self.side, self.target)


def check(settings: Settings, on: date | None = None) -> list[Crossing]:
    """Tell of the targets that the newest accepted prices have crossed; return the new ones.

    What has been told is remembered in ``alerts.json`` of the data home, together with what
    could not be sent, which is tried again. A stale price crosses nothing and re-arms nothing.
    on: the day of the night; one before the newest prices is a look back, and tells nothing.
    Nothing is raised: an alert must not cost the night.
    """
    try:
        return _check(settings, on)
    except (PokewatchError, OSError) as error:
        log.warning("targets were not looked at: %s", error)
        return []


def _check(settings: Settings, on: date | None) -> list[Crossing]:
    crossed, unsent = _remembered(settings)
    entries = watchlist.load(settings.watchlist) if settings.watchlist.exists() else []
    entries = [one for one in entries if one.target_above or one.target_below]
    if not entries and not crossed and not unsent:
        return []
    held, day = watchlist.valued(settings, entries)
    if on is not None and on < day.date():
        log.info("prices up to %s are stored: targets are not judged for %s", day.date(), on)
        return []
    for problem in held["problem"].dropna():
        log.warning("a target cannot be watched: %s", problem)
    found, crossed = judge(held, crossed, day, settings.stale_days)
    watched = {key for key, _, _, _ in _targets(held)}
    unsent = [one for one in unsent if one.key in watched] + found
    _remember(settings, crossed, unsent)  # a night killed while it sends has lost nothing
    names = _names(settings, [one.card_id for one in unsent])
    for one in list(unsent):
        text = message(one, names.get(one.card_id, one.card_id))
        if one in found:
            log.info(text)
        urls = {_digest(url): url for url in Recipients().urls()}
        left = [url for digest, url in urls.items() if digest not in one.reached]
        reached = reach(left, TITLE, text)
        one.reached.extend(_digest(url) for url in reached)
        if len(reached) == len(left):
            unsent.remove(one)
        _remember(settings, crossed, unsent)
    return found


def judge(
    held: pd.DataFrame, crossed: set[str], day: pd.Timestamp, stale_days: int
) -> tuple[list[Crossing], set[str]]:
    """Return the targets crossed anew, and the keys of all that are crossed now.

    held: as ``watchlist.holdings`` values it; crossed: the keys of the day before.
    """
    found: dict[str, Crossing] = {}
    now: set[str] = set()
    for key, side, target, row in _targets(held):
        price = float(row["price"])
        if not row["age"] <= stale_days:  # stale, or no price at all: as it was
            now |= crossed & {key}
        elif price >= target if side == "above" else price <= target:
            now.add(key)
            if key not in crossed:
                known = (f"{day:%Y-%m-%d}", str(row["condition"]))
                found.setdefault(key, Crossing(row["card_id"], side, target, price, *known))
    return list(found.values()), now


def message(crossing: Crossing, name: str) -> str:
    """Return what the user is told, in one line."""
    text = (
        f"{' '.join(name.split())} stood at ${crossing.price:,.2f} on {crossing.date}: "
        f"{'at or above' if crossing.side == 'above' else 'at or below'} your target of "
        f"${crossing.target:,.2f}."
    )
    if crossing.condition == watchlist.Condition.near_mint:
        return text
    return f"{text} This is the near-mint price; yours is {crossing.condition.replace('_', ' ')}."


def _targets(held: pd.DataFrame) -> Iterable[tuple[str, str, float, dict[Any, Any]]]:
    for row in held[held["card_id"].notna()].to_dict("records"):
        for side in ("above", "below"):
            target = float(row[f"target_{side}"])
            if target > 0:
                yield _key(row["card_id"], side, target), side, target, row


def _key(card_id: str, side: str, target: float) -> str:
    return f"{card_id} {side} {target!r}"


def _names(settings: Settings, card_ids: Sequence[str]) -> dict[str, str]:
    cards = Store.from_settings(settings).cards() if card_ids else pd.DataFrame(columns=["card_id"])
    out = {}
    for row in cards[cards["card_id"].isin(card_ids)].to_dict("records"):
        about = [str(row[name]) for name in ("set_name", "number", "printing") if row[name]]
        name = row["name"] or row["card_id"]
        out[row["card_id"]] = f"{name} ({', '.join(about)})" if about else str(name)
    return out


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _remembered(settings: Settings) -> tuple[set[str], list[Crossing]]:
    path = settings.home / "alerts.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return set(state["crossed"]), [Crossing(**one) for one in state["unsent"]]
    except FileNotFoundError:
        return set(), []
    except (ValueError, KeyError, TypeError):
        log.warning("'%s' cannot be read: crossed targets are told again", path.name)
        return set(), []


def _remember(settings: Settings, crossed: set[str], unsent: list[Crossing]) -> None:
    path = settings.make_home() / "alerts.json"
    state = {"crossed": sorted(crossed), "unsent": [asdict(one) for one in unsent]}
    with atomic_write(path) as part:
        part.write_text(json.dumps(state, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
