"""What the watchlist's graded copies sell for, asked once a day where there is a key."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from pokewatch.cards.catalog import Catalog
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.settings import Settings
from pokewatch.sources import ecb, pokemonpricetracker
from pokewatch.store.tables import Store
from pokewatch.watchlist import entries, graded

log = logging.getLogger(__name__)


def refresh(settings: Settings) -> None:
    """Ask for the medians of graded copies that were not asked for today; failures are warnings.

    Sales are told by product: of one with several printings nobody could say whose they are, so it
    is not asked for. Without a key, and in a home of euro prices, nothing is.
    """
    path, key = settings.watchlist, settings.pokemonpricetracker_key.get_secret_value()
    if not key or ecb.stored_currency(settings) != "USD" or not path.exists():
        return
    try:
        _ask(settings)
    except PokewatchError as error:
        log.warning("graded copies are not valued anew: %s", error)


def _ask(settings: Settings) -> None:
    path = settings.watchlist
    held = entries.held(entries.parse(entries.read(path), path.name))
    cards = Store.from_settings(settings).cards()
    catalog, wanted = Catalog(cards), dict[str, str]()
    for one in held:
        if one.grade and graded.key(one.grade):
            try:
                wanted[catalog.resolve(one.card)] = one.card
            except UsageError:
                continue  # 'watch list' says that it is no one card
    product = cards.set_index("card_id")["product_id"]
    kept, today = graded.read(settings), datetime.now(UTC).date()
    told = {card_id: kept[card_id] for card_id in wanted if card_id in kept}
    todo = [card_id for card_id in wanted if card_id not in told or told[card_id][0] != today]
    if not todo:
        return
    with pokemonpricetracker.client(settings) as client:
        for card_id in todo:
            number = product[card_id]
            if not number or (product == number).sum() != 1:
                log.warning(
                    "graded copies of '%s' are not valued: sales are told by product, and its one "
                    "has several printings or is not known",
                    wanted[card_id],
                )
                continue
            try:
                found = pokemonpricetracker.sold_by_grade(client, int(number))
            except PokewatchError as error:
                log.warning("graded copies of '%s' are not valued anew: %s", wanted[card_id], error)
                continue
            told[card_id] = today, found
    graded.write(settings, told)
