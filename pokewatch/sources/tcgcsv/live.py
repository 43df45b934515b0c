"""tcgcsv's live snapshot: TCGplayer's prices of the day, group after group."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from pokewatch.errors import SourceError, UsageError
from pokewatch.schema import CARD_COLUMNS, Delivery, Wanted
from pokewatch.settings import Settings
from pokewatch.sources import About
from pokewatch.sources.delivery import failure_notes, listed_names, text
from pokewatch.sources.http import Client
from pokewatch.sources.responses import NotFoundError, decoded
from pokewatch.sources.tcgcsv.frames import (
    SOURCE,
    answer_rows,
    archive_date,
    price_frames,
    product_id,
    usable_categories,
)
from pokewatch.sources.tcgcsv.kept import SURE, UPDATED, KeptAnswers, moment_of, read_answers

ABOUT = About(
    serves="TCGplayer's prices of every product and printing, English and Japanese",
    currency="USD",
    history="what you pulled, and archives that you have: its own is closed since 2026-09-16",
    limits="a price file once in 24 hours, 10,000 requests in 24 hours",
    probe="/tcgplayer/3/groups",
)
ROUNDS = 2  # what failed is asked for once more, when some time has passed
Ask = Callable[[str], list[dict[str, Any]]]


def client(settings: Settings) -> Client:
    """Return a client of the service."""
    return Client(settings.tcgcsv_url, settings, per_day=10_000)


def last_updated(settings: Settings) -> datetime:
    """Return the UTC moment of the newest live snapshot."""
    with client(settings) as opened:
        return _last_updated(opened)


def fetch(
    settings: Settings, on: date | None = None, progress: bool = False, wanted: Wanted | None = None
) -> Delivery:
    """Return the live snapshot of the categories in the settings.

    Prices are USD; ``date`` is the UTC date of the service's last update. Code cards are left
    out. A group that fails is asked for once more, then noted; what is kept (``KeptAnswers``) is
    not asked for again. wanted: groups whose set is complete already are not asked for.

    Raises SourceError when nothing usable came, UsageError when ``on`` is another day than the
    snapshot's or a category cannot be used.
    """
    categories = usable_categories(settings.tcgcsv_categories)
    with client(settings) as opened:
        updated = _last_updated(opened)
        if on is not None and on != updated.date():
            raise UsageError(
                f"tcgcsv serves the snapshot of {updated.date()} only, not of {on}; if you have an "
                f"archive of it: 'pokewatch backfill --since {on} --until {on} --path FOLDER'"
            )
        kept = KeptAnswers(settings, updated)

        def ask(path: str) -> list[dict[str, Any]]:
            if (known := kept[path]) is not None:
                return answer_rows(decoded(known.encode()))
            rows = answer_rows(decoded(body := opened.get_body(path)))
            kept.add(path, body)
            return rows

        place = f"tcgcsv at {opened.shown}"
        delivery = _snapshot(ask, kept.updated, categories, place, wanted, progress, opened)
    if _went_on(settings, updated):
        raise SourceError(
            f"tcgcsv went on from {updated.date()} to the next day while its prices were "
            "read, so they mix two days; run collect again"
        )
    kept.flush()
    return delivery


def read_kept(path: Path, categories: list[int]) -> Delivery:
    """Return the snapshot in a file of kept answers; SourceError where it cannot be used."""
    answers, whole = read_answers(path)
    updated, day = moment_of(answers), archive_date(path)
    if updated is None or updated.date() != day:
        raise SourceError(
            f"'{path}' is damaged or of another day ({updated and updated.date()}) than its name "
            "says; take it out of the folder"
        )

    def ask(address: str) -> list[dict[str, Any]]:
        if address not in answers:
            raise NotFoundError("it was not kept")
        return answer_rows(decoded(answers[address].encode()))

    delivery = _snapshot(ask, updated, categories, f"'{path}'")
    if not whole:
        delivery.notes.append(f"{path.name} is cut: what comes before the cut was read")
    return delivery


def _snapshot(
    ask: Ask,
    updated: datetime,
    categories: list[int],
    place: str,
    wanted: Wanted | None = None,
    progress: bool = False,
    asked_of: Client | None = None,
) -> Delivery:
    """Return the delivery that answers make; ask: the rows of an address, or SourceError."""
    notes: list[str] = []
    failures: dict[str, SourceError] = {}
    rows: list[dict[str, Any]] = []
    products: dict[int, dict[str, Any]] = {}
    unpriced: list[str] = []
    groups = _groups(ask, categories, notes, failures)
    if wanted is not None:
        groups = _not_complete(groups, wanted)
    left, shown = groups, progress and sys.stderr.isatty()
    for _ in range(ROUNDS):
        asked, left = left, []
        for category, group in tqdm(asked, SOURCE, unit=" groups", disable=not shown):
            name = f"group {group['groupId']} of category {category}"
            try:
                group_rows, group_products = _group(ask, category, group)
            except SourceError as error:
                left.append((category, group))
                failures[name] = error
            else:
                rows += group_rows
                products |= group_products
                failures.pop(name, None)
                if group_products and all(row.get("marketPrice") is None for row in group_rows):
                    unpriced.append(text(group.get("name")) or name)
        if (asked_of and asked_of.stopped) or len(left) in (0, len(groups)):
            break
    notes = failure_notes(failures) + notes
    if len(left) == len(groups) and (failures or wanted is None):
        why = notes[0] if notes else "it lists none"
        why += "; run collect again later" if asked_of else ""
        raise SourceError(f"{place} delivered no group of categories {categories}: {why}")
    if unpriced:
        notes.append(f"{len(unpriced)} groups came without a price: {listed_names(unpriced)}")
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
        if datetime.now(UTC) - updated < SURE:
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
    ask: Ask, categories: list[int], notes: list[str], failures: dict[str, SourceError]
) -> list[tuple[int, dict[str, Any]]]:
    groups: list[tuple[int, dict[str, Any]]] = []
    for category in categories:
        try:
            rows = ask(f"/tcgplayer/{category}/groups")
        except SourceError as error:
            failures[f"the groups of category {category}"] = error
            continue
        usable = [row for row in rows if type(row.get("groupId")) is int]
        if len(usable) < len(rows):
            notes.append(f"category {category}: {len(rows) - len(usable)} groups without an id")
        groups += [(category, row) for row in usable]
    return groups


def _group(
    ask: Ask, category: int, group: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
    address = f"/tcgplayer/{category}/{group['groupId']}"
    products = ask(f"{address}/products")
    rows = ask(f"{address}/prices")
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
    answer = client.get_text(UPDATED).strip()
    try:
        moment = datetime.fromisoformat(answer)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:  # 0001-01-01T00:00+01:00 has no UTC day
        raise SourceError(
            f"tcgcsv's last-updated.txt reads '{answer[:80]}', which is no date; "
            "check POKEWATCH_TCGCSV_URL, or run collect again later"
        ) from error
