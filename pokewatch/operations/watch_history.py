"""Past days of the user's own cards, from PokemonPriceTracker, which tells them by product."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import pandas as pd
from tqdm import tqdm

from pokewatch.cards.catalog import Catalog
from pokewatch.errors import GateError, PokewatchError, SourceError, UsageError
from pokewatch.files import atomic_write, json_bytes
from pokewatch.quality.ingest import Counts, ingest, refuse_mixture
from pokewatch.schema import HISTORY, Delivery, Wanted, parse_dates
from pokewatch.settings import Settings
from pokewatch.sources import home_of, pokemonpricetracker
from pokewatch.sources.delivery import DeliveryBuilder
from pokewatch.sources.http import Client
from pokewatch.store.tables import Store
from pokewatch.watchlist import entries

SOURCE = "pokemonpricetracker"
KEPT = "history.json"  # in the data home: what was told, and when


@dataclass
class Filled:
    """What became of the watchlist's cards, each by how it is written there.

    cards: days that were filled; before: cards that lack nothing the service would tell; left: why
    it tells nothing of them; failed: why they were not filled, though it might tell.
    """

    counts: Counts = field(default_factory=lambda: Counts(HISTORY))
    cards: dict[str, int] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def error(self) -> PokewatchError | None:
        """Return what to end with: SourceError if nothing came, GateError if a part, or None."""
        if not self.failed:
            return None
        if not self.cards and not self.before:
            names: dict[str, list[str]] = {}
            for name, why in self.failed.items():
                names.setdefault(why, []).append(name)
            return SourceError("; ".join(f"{', '.join(of)}: {why}" for why, of in names.items()))
        return GateError(
            f"{len(self.failed)} cards could not be filled ({', '.join(self.failed)}): run it "
            "again, what was filled is not asked for again"
        )


def fill(settings: Settings, progress: bool = False) -> Filled:
    """Bring the past days of the watchlist's cards into the store, a commit a card.

    Days that are stored already are left as they are; the others pass the gate, with the source
    ``HISTORY``. A card whose past was told is asked for again only when a later day is missing.
    Raises UsageError without a key, without a card to ask for, and in a home of EUR or of
    simulated prices.
    """
    client = pokemonpricetracker.client(settings)
    store = Store.from_settings(home_of(SOURCE, [], settings))
    refuse_mixture(store.snapshot("prices"), pd.DataFrame({"source": [HISTORY]}))
    cards, found = store.cards(), Filled()
    wanted = _wanted(settings, cards, found)
    today = datetime.now(UTC).date()
    first = today - timedelta(days=pokemonpricetracker.DAYS)
    prices = store.prices(["card_id", "date"], card_ids=list(wanted.values()), since=first)
    stored = {card: set(days.dt.date) for card, days in prices.groupby("card_id")["date"]}
    window = {first + timedelta(days=ago) for ago in range((today - first).days)}
    with client:
        for text, card_id in tqdm(wanted.items(), HISTORY, unit=" cards", disable=not progress):
            asked, newest = _told(settings).get(card_id, (date.min, date.min))
            known = stored.get(card_id, set())
            if asked == today or not any(day > newest for day in window - known):
                found.before.append(text)
                continue
            try:
                delivery = _ask(client, settings, cards, card_id)
                days = parse_dates(delivery.observations["date"]).dt.date
                past = days.isna() | ((days < today) & ~days.isin(known))
                rows = delivery.observations[past].assign(source=HISTORY)
                filling = replace(delivery, observations=rows, source=HISTORY)
                counts = ingest(store, filling, settings)
            except SourceError as error:
                found.failed[text] = str(error)
                continue
            found.counts.add(counts)
            days = days[delivery.observations["card_id"].eq(card_id) & (days < today)]
            if days.empty:
                found.failed[text] = "; ".join(["no past day of it was told", *delivery.notes])
                continue
            found.cards[text] = counts.accepted
            _remember(settings, card_id, today, days.max())
    return found


def _wanted(settings: Settings, cards: pd.DataFrame, found: Filled) -> dict[str, str]:
    """Return the cards to ask for, as written -> card_id; ``found.left`` gets all others."""
    name, catalog, wanted = settings.watchlist.name, Catalog(cards), {}
    listed = entries.load(settings.watchlist)
    if not listed:
        raise UsageError(f"'{name}' lists no card yet: {entries.EXAMPLE}")
    known = cards.set_index("card_id")
    for one in listed:
        try:
            card_id = catalog.resolve(one.card)
        except UsageError as error:
            found.left[one.card] = str(error)
            continue
        row = known.loc[card_id]
        printings = set() if pd.isna(row["product_id"]) else catalog.printings(row["product_id"])
        if one.grade:
            found.left[f"{one.card} ({one.grade})"] = "graded: its past is told of ungraded cards"
        elif row["product_kind"] == "sealed":
            found.left[one.card] = "sealed: its past is told of single cards only"
        elif len(printings) != 1:
            found.left[one.card] = (
                f"its product has printings {', '.join(sorted(printings))}: a past names none"
                if printings
                else "no product of TCGplayer is known of it: its past is told by product"
            )
        else:
            wanted[one.card] = card_id
    if not wanted:
        causes = "; ".join(f"{text}: {why}" for text, why in found.left.items())
        raise UsageError(f"no card of '{name}' can be filled: {causes}")
    return wanted


def _ask(client: Client, settings: Settings, cards: pd.DataFrame, card_id: str) -> Delivery:
    """Return what the service tells of a card; SourceError where it does not answer."""
    mine = cards[cards["card_id"] == card_id]
    family = cards[cards["product_id"].isin(mine["product_id"])]
    builder = DeliveryBuilder(SOURCE, settings, family, Wanted(mine))
    pokemonpricetracker.ask(client, builder)
    for error in builder.failures.values():
        raise error
    return builder.delivery(None)


def _told(settings: Settings) -> dict[str, tuple[date, date]]:
    """Return when each card was asked for, and the newest past day that was told of it then.

    A damaged file only costs requests.
    """
    try:
        kept = json.loads((settings.home / KEPT).read_text(encoding="utf-8"))["told"]
        return {
            str(card): (date.fromisoformat(asked), date.fromisoformat(newest))
            for card, (asked, newest) in kept.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _remember(settings: Settings, card_id: str, asked: date, newest: date) -> None:
    told = _told(settings) | {card_id: (asked, newest)}
    with atomic_write(settings.make_home() / KEPT) as draft:
        draft.write_bytes(json_bytes({"told": told}, indent=True))
