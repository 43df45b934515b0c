"""What the watchlist's graded copies sell for, asked once a day where there is a key."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import UTC, datetime

from pokewatch.cards.catalog import Catalog
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.models.panel import price_sources
from pokewatch.schema import SIMULATED
from pokewatch.settings import Settings
from pokewatch.sources import ecb, pokemonpricetracker
from pokewatch.store.tables import Store
from pokewatch.watchlist import entries, graded

log = logging.getLogger(__name__)

TIMEOUT, PATIENCE = 10.0, 120.0  # seconds of one answer, and of all: what is left waits


def refresh(settings: Settings) -> None:
    """Ask for the medians of graded copies that were not asked for today; failures are warnings.

    Sales are told by product: of one with several printings nobody could say whose they are, so it
    is not asked for. Without a key, of a simulated market, and in a home of euro prices, nothing
    is. No night waits long.
    """
    path, key = settings.watchlist, settings.pokemonpricetracker_key.get_secret_value()
    if not key or ecb.stored_currency(settings) != "USD" or not path.exists():
        return
    # One try: the pause that a service asks for before another one may be minutes.
    hasty = {"request_timeout": min(settings.request_timeout, TIMEOUT), "request_attempts": 1}
    try:
        if SIMULATED not in price_sources(settings):
            _ask(settings.model_copy(update=hasty))
    except PokewatchError as error:
        log.warning("graded copies are not valued anew: %s", error)


def _ask(settings: Settings) -> None:
    path = settings.watchlist
    held = entries.held(entries.parse(entries.read(path), path.name))
    cards = Store.from_settings(settings).cards()
    catalog, wanted = Catalog(cards), dict[str, str]()
    for one in held:
        if one.grade and graded.key(one.grade):
            with suppress(UsageError):  # 'watch list' says that it is no one card
                wanted[catalog.resolve(one.card)] = one.card
    product = cards.set_index("card_id")["product_id"]
    before, today = graded.read(settings), datetime.now(UTC).date()
    kept = {card_id: before[card_id] for card_id in wanted if card_id in before}
    todo = [one for one in wanted if one not in kept or kept[one].asked != today]
    if not todo:
        return
    end = time.monotonic() + PATIENCE
    with pokemonpricetracker.client(settings) as client:
        for card_id in todo:
            number, last = product[card_id], kept.get(card_id, graded.Kept(today, today, {}))
            kept[card_id] = last._replace(asked=today)
            try:
                if not number or (product == number).sum() != 1:
                    raise UsageError(
                        "sales are told by product; its one is not known or has several printings"
                    )
                told = pokemonpricetracker.sold_by_grade(client, int(number))
            except PokewatchError as error:
                log.warning("graded copies of '%s' are not valued anew: %s", wanted[card_id], error)
            else:
                kept[card_id] = graded.Kept(today, today, told)
            if client.stopped or time.monotonic() > end:  # the others are asked the next time
                break
    graded.write(settings, kept)
