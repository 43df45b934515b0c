"""Sends notes to the user's recipients, each crossed target of the watchlist once."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from pokewatch.errors import PokewatchError
from pokewatch.files import atomic_write
from pokewatch.settings import Settings
from pokewatch.sources import ecb
from pokewatch.store.tables import Store
from pokewatch.watchlist import alerts, entries
from pokewatch.watchlist.alerts import Crossing

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


def tell_trouble(unusable: str, incomplete: str) -> None:
    """Send a note of what a finished night still ends with exit 3 for; "" is nothing."""
    for title, text in (("no usable champion", unusable), ("the day is incomplete", incomplete)):
        if text:
            send(f"PokeWatch: {title}", text, failed=True)


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


def check_targets(settings: Settings, on: date | None = None) -> list[Crossing]:
    """Send a note of each target that the newest accepted prices have crossed; return the new ones.

    What was sent is remembered in ``alerts.json`` of the data home, together with what could not
    be sent, which is tried again. A stale price crosses nothing and re-arms nothing.
    on: the day of the night; one before the newest prices is a look back, and sends nothing.
    Nothing is raised: an alert must not cost the night.
    """
    try:
        return _check_targets(settings, on)
    except (PokewatchError, OSError) as error:
        log.warning("targets were not looked at: %s", error)
        return []


def _check_targets(settings: Settings, on: date | None) -> list[Crossing]:
    crossed, unsent = _remembered(settings)
    watched = entries.load(settings.watchlist) if settings.watchlist.exists() else []
    watched = [one for one in watched if one.target_above or one.target_below]
    if not watched and not crossed and not unsent:
        return []
    held, day = entries.valued(settings, watched)
    if on is not None and on < day.date():
        log.info("prices up to %s are stored: targets are not judged for %s", day.date(), on)
        return []
    for problem in held["problem"].dropna():
        log.warning("a target cannot be watched: %s", problem)
    found, crossed = alerts.judge(held, crossed, day, settings.stale_days)
    there = {one.key for one, _ in alerts.targets(held, day)}
    unsent = [one for one in unsent if one.key in there] + found
    _remember(settings, crossed, unsent)  # a night killed while it sends has lost nothing
    names = _names(settings, [one.card_id for one in unsent])
    money = ecb.display(settings)
    for one in list(unsent):
        text = alerts.message(one, names.get(one.card_id, one.card_id), money)
        if one in found:
            log.info(text)
        left = [
            url for url in dict.fromkeys(Recipients().urls()) if _digest(url) not in one.reached
        ]
        reached = reach(left, TITLE, text)
        one.reached.extend(map(_digest, reached))
        if len(reached) == len(left):
            unsent.remove(one)
        _remember(settings, crossed, unsent)
    return found


def _names(settings: Settings, card_ids: Sequence[str]) -> dict[str, str]:
    if not card_ids:
        return {}
    cards = Store.from_settings(settings).cards()
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
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(state, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
