"""tcgcsv's live snapshot: TCGplayer's prices of the day, group after group."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
from tqdm import tqdm

from pokewatch.errors import SourceError, UsageError
from pokewatch.schema import CARD_COLUMNS, Delivery, Wanted
from pokewatch.settings import Settings
from pokewatch.sources import About
from pokewatch.sources.delivery import failure_notes, text
from pokewatch.sources.http import Client
from pokewatch.sources.tcgcsv.frames import (
    SOURCE,
    answer_rows,
    price_frames,
    product_id,
    usable_categories,
)

ABOUT = About(
    serves="TCGplayer's prices of every product and printing, English and Japanese",
    currency="USD",
    history="daily since 2024-02-08, by 'pokewatch backfill'",
    limits="one pull a day, 10,000 requests in 24 hours",
    probe="/tcgplayer/3/groups",
)
NEXT_SNAPSHOT = timedelta(hours=20)  # they come about 24 hours after each other
ROUNDS = 2  # what failed is asked for once more, when some time has passed


def client(settings: Settings) -> Client:
    """Return a client of the service."""
    return Client(settings.tcgcsv_url, settings, per_day=10_000)


def last_updated(settings: Settings) -> datetime:
    """Return the UTC moment of the newest live snapshot."""
    with client(settings) as opened:
        return _last_updated(opened)


def fetch(
    settings: Settings,
    on: date | None = None,
    progress: bool = False,
    wanted: Wanted | None = None,
) -> Delivery:
    """Return the live snapshot of the categories in the settings.

    Prices are USD; ``date`` is the UTC date of the service's last update. Code cards are left
    out. A group that fails is asked for once more after all others, then noted. wanted: groups
    whose set is complete already are not asked for.

    Raises SourceError when nothing usable came, UsageError when ``on`` is another day than the
    snapshot's or a category cannot be used.
    """
    categories = usable_categories(settings.tcgcsv_categories)
    notes: list[str] = []
    failures: dict[str, SourceError] = {}
    rows: list[dict[str, Any]] = []
    products: dict[int, dict[str, Any]] = {}
    with client(settings) as opened:
        updated = _last_updated(opened)
        if on is not None and on != updated.date():
            raise UsageError(
                f"tcgcsv serves the snapshot of {updated.date()} only, not of {on}; "
                f"use 'pokewatch backfill --since {on} --until {on}'"
            )
        groups = _groups(opened, categories, notes, failures)
        if wanted is not None:
            groups = _not_complete(groups, wanted)
        left, shown = groups, progress and sys.stderr.isatty()
        for _ in range(ROUNDS):
            asked, left = left, []
            for category, group in tqdm(asked, SOURCE, unit=" groups", disable=not shown):
                name = f"group {group['groupId']} of category {category}"
                try:
                    group_rows, group_products = _group(opened, category, group)
                except SourceError as error:
                    left.append((category, group))
                    failures[name] = error
                else:
                    rows += group_rows
                    products |= group_products
                    failures.pop(name, None)
            if opened.stopped or len(left) in (0, len(groups)):
                break
        notes = failure_notes(failures) + notes
        if len(left) == len(groups) and (failures or wanted is None):
            raise SourceError(
                f"tcgcsv at {opened.shown} delivered no group of categories {categories}: "
                f"{notes[0] if notes else 'it lists none'}; run collect again later"
            )
    if _went_on(settings, updated):
        raise SourceError(
            f"tcgcsv went on from {updated.date()} to the next day while its prices were "
            "read, so they mix two days; run collect again"
        )
    if codes := {key for key, product in products.items() if product["code_card"]}:
        notes.append(f"{len(codes)} code cards left out")
        rows = [row for row in rows if product_id(row) not in codes]
    # The service's own time, not ours: pulled twice, a snapshot is the same delivery.
    observations, cards = price_frames(rows, updated.date(), updated, notes)
    facts = [products.get(key, {}) for key in cards["product_id"]]
    for column in CARD_COLUMNS:
        if column not in cards:
            cards[column] = pd.Series([fact.get(column) for fact in facts], dtype="object")
    cards["aliases"] = pd.Series([[] for _ in facts], dtype="object")
    return Delivery(observations, SOURCE, cards[CARD_COLUMNS], notes, list(failures))


def _went_on(settings: Settings, updated: datetime) -> bool:
    """Return whether another day's snapshot may be served by now."""
    try:
        return last_updated(settings).date() != updated.date()
    except SourceError:
        # It broke down half-way; too early for the next snapshot, all that came is good.
        if datetime.now(UTC) - updated < NEXT_SNAPSHOT:
            return False
        raise


def _not_complete(
    groups: list[tuple[int, dict[str, Any]]], wanted: Wanted
) -> list[tuple[int, dict[str, Any]]]:
    """Return the groups to ask for; of two with one name both, since either may be the missing."""
    names = Counter(text(group.get("name")) for _, group in groups)
    complete = {name for name in wanted.complete_sets if names[name] == 1}
    return [(number, group) for number, group in groups if group.get("name") not in complete]


def _groups(
    client: Client, categories: list[int], notes: list[str], failures: dict[str, SourceError]
) -> list[tuple[int, dict[str, Any]]]:
    groups: list[tuple[int, dict[str, Any]]] = []
    for category in categories:
        try:
            rows = answer_rows(client.get_json(f"/tcgplayer/{category}/groups"))
        except SourceError as error:
            failures[f"the groups of category {category}"] = error
            continue
        usable = [row for row in rows if type(row.get("groupId")) is int]
        if len(usable) < len(rows):
            notes.append(f"category {category}: {len(rows) - len(usable)} groups without an id")
        groups += [(category, row) for row in usable]
    return groups


def _group(
    client: Client, category: int, group: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
    address = f"/tcgplayer/{category}/{group['groupId']}"
    products = answer_rows(client.get_json(f"{address}/products"))
    rows = answer_rows(client.get_json(f"{address}/prices"))
    return rows, {
        key: _facts(product, group)
        for product in products
        if (key := product_id(product)) is not None
    }


def _facts(product: dict[str, Any], group: dict[str, Any]) -> dict[str, Any]:
    extended = product.get("extendedData")
    data = {
        item.get("name"): item.get("value")
        for item in (extended if isinstance(extended, list) else [])
        if isinstance(item, dict) and isinstance(item.get("name"), str)
    }
    name = text(product.get("name"))
    return {
        "name": name,
        "set_name": text(group.get("name")),
        "number": text(data.get("Number")),
        "rarity": text(data.get("Rarity")),
        "product_kind": "single" if "Number" in data or "Rarity" in data else "sealed",
        "release_date": _release_date(group.get("publishedOn")),
        "code_card": name is not None and "code card" in name.lower(),
    }


def _release_date(published: Any) -> date | None:
    # Groups without a known date are served with the moment of the update, ending in Z.
    if not isinstance(published, str) or not published.endswith("T00:00:00"):
        return None
    try:
        return date.fromisoformat(published[:10])
    except ValueError:
        return None


def _last_updated(client: Client) -> datetime:
    answer = client.get_text("/last-updated.txt").strip()
    try:
        moment = datetime.fromisoformat(answer)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:  # 0001-01-01T00:00+01:00 has no UTC day
        raise SourceError(
            f"tcgcsv's last-updated.txt reads '{answer[:80]}', which is no date; "
            "check POKEWATCH_TCGCSV_URL, or run collect again later"
        ) from error
