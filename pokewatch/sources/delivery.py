"""A delivery in the making, for services that are asked card by card or set by set."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from pokewatch import schema
from pokewatch.cards.catalog import Catalog, listed
from pokewatch.cards.matching import base_name
from pokewatch.cards.spelling import normal_alias, normal_set, number_of, set_of
from pokewatch.errors import SourceError, UsageError
from pokewatch.schema import CARD_COLUMNS, KEY, VALUES, Delivery, Wanted, empty_cards, stack
from pokewatch.settings import Settings
from pokewatch.sources.responses import NotFoundError, StoppedError

COLUMNS = [*KEY, *VALUES, "currency", "source"]
SHOWN = 5  # failures that are described; Delivery.failed names them all
CARDMARKET_PRINTINGS = {"": "Card", "-holo": "Foil"}  # its prices tell no more of a printing
LISTED = 20  # cards that a note names

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


def parsed(model: type[M], answer: Any, what: str) -> M:
    """Return an answer of the documented shape; SourceError for one of another."""
    try:
        return model.model_validate(answer)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise SourceError(
            f"the answer for {what} is not as documented ({place}: {first['msg']}); run it again "
            "later, or use another source until PokeWatch knows the new shape"
        ) from error


def text(value: Any) -> str | None:
    """Return a text that says something, else None."""
    return value if isinstance(value, str) and value else None


def is_other_card(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> bool:
    """Return whether two (name, number) cannot be one card; what is not told contradicts nothing.

    One name may say more than the other, as ``Umbreon V (Alternate Full Art)`` does.
    """
    first, other = (set(base_name(text(name) or "").split()) for name, _ in (ours, theirs))
    if first and other and not (first <= other or other <= first):
        return True
    (number, total), (another, size) = (number_of(text(one) or "") for _, one in (ours, theirs))
    return bool(number and another and number != another) or bool(total and size and total != size)


def listed_names(names: list[str]) -> str:
    """Return names as a note shows them."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def failure_notes(failures: Mapping[str, SourceError]) -> list[str]:
    """Return notes on what failed, by name, and on how much was not asked for because of it."""
    unasked = [error for error in failures.values() if isinstance(error, StoppedError)]
    notes = [
        f"{name} failed: {error}"
        for name, error in failures.items()
        if not isinstance(error, StoppedError)
    ]
    if len(notes) > SHOWN:
        notes[SHOWN:] = [f"{len(notes) - SHOWN} more failed"]
    if unasked:
        notes.append(f"{len(unasked)} were not asked for: {unasked[0]}")
    return notes


class DeliveryBuilder:
    """What a source is asked for, which prices came and what failed.

    known: the known cards, wanted: as in ``sources.fetch``; columns ``CARD_COLUMNS``.
    asked: the cards to ask for. aliases and sets: theirs, in the normal spelling, with
    POKEWATCH_SETS where no cards are wanted. notes: what a person should know.
    """

    def __init__(
        self,
        source: str,
        settings: Settings,
        known: pd.DataFrame | None,
        wanted: Wanted | None,
        progress: bool = False,
    ):
        frames = [empty_cards() if known is None else known]
        frames += [] if wanted is None else [wanted.cards]
        self.cards = stack(frames)
        self.known = Catalog(self.cards)
        self.wanted = wanted
        self.asked = self.cards if wanted is None else wanted.cards
        self.sets = {normal_set(one) for one in settings.sets} if wanted is None else set()
        self.aliases = {
            normal_alias(alias) for names in self.asked["aliases"] for alias in listed(names)
        }
        self.notes: list[str] = []
        self.failures: dict[str, SourceError] = {}
        self.unpriced: dict[str, str] = {}
        self.withdrawn: dict[str, set[str]] = defaultdict(set)
        self._linked: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._doubts: list[str] = []
        self._claims: dict[str, set[str]] = defaultdict(set)
        self._source = source
        self._progress = progress and sys.stderr.isatty()
        self._rows: list[dict[str, Any]] = []
        self._described: list[dict[str, Any]] = []

    def sets_to_ask(self) -> list[str]:
        """Return the normal ids of all sets with something in them to ask for.

        Raises UsageError where nothing is wanted and nothing is known.
        """
        found = sorted(self.sets | {set_of(alias) for alias in self.aliases} - {""})
        if not found and self.wanted is None:
            raise UsageError(
                f"nothing to ask {self._source} for: no known card has an alias. Name sets in "
                'POKEWATCH_SETS, such as ["sv4pt5"], or give known cards aliases with '
                "'pokewatch cards --names FILE'"
            )
        nameless = sum(not listed(names) for names in self.asked["aliases"])
        if nameless and self.wanted is not None:
            self.notes.append(
                f"{nameless} cards have no alias and cannot be asked for: add aliases with "
                "'pokewatch cards --names FILE'"
            )
        return found

    def products_to_ask(self) -> list[int]:
        """Return the TCGplayer ids of all single cards to ask for, of POKEWATCH_SETS if any.

        Raises UsageError where nothing is wanted and nothing is known.
        """
        cards = self.asked[self.asked["product_id"].notna()]
        cards = cards[cards["product_kind"] != "sealed"]
        found = {
            int(product): None
            for product, names in zip(cards["product_id"], cards["aliases"], strict=True)
            if not self.sets or any(set_of(alias) in self.sets for alias in listed(names))
        }
        if not found and self.wanted is None:
            where = " in POKEWATCH_SETS" if self.sets else ""
            raise UsageError(
                f"nothing to ask {self._source} for: no single card with a product id is known"
                f"{where}; collect from tcgcsv first"
            )
        return list(found)

    def covers(self, alias: str) -> bool:
        """Return whether the card of an alias is asked for."""
        return normal_alias(alias) in self.aliases or set_of(alias) in self.sets

    def ask_each(
        self, kind: str, things: Iterable[T], ask: Callable[[T], None], progress: bool = True
    ) -> None:
        """Call ``ask`` with each thing, such as a set or a card; note which of them failed."""
        shown = progress and self._progress
        for thing in tqdm(things, desc=self._source, unit=f" {kind}s", disable=not shown):
            try:
                ask(thing)
            except SourceError as error:
                self.failures[f"{kind} {thing}"] = error

    def facts(
        self, alias: str, name: Any, set_name: Any, number: Any, rarity: Any
    ) -> dict[str, Any]:
        """Return what an answer says about the card of an alias, as ``add`` takes it.

        Known cards that bear the alias and are another card, by name or number, lose it.
        """
        found = {"name": name, "set_name": set_name, "number": number, "rarity": rarity}
        facts: dict[str, Any] = {column: text(value) for column, value in found.items()}
        others = {row for row in self.known.of_alias(alias) if self._is_other(row, facts)}
        for row in others:
            names = listed(self.cards["aliases"].iloc[row])
            same = {one for one in names if normal_alias(one) == normal_alias(alias)}
            if same:
                self.withdrawn[self.known.ids[row]] |= same
        self.known.forget(alias, others)
        return facts | {"aliases": [alias]}

    def _is_other(self, row: int, facts: Mapping[str, Any]) -> bool:
        ours = self.known.text["name"][row], self.known.text["number"][row]
        return is_other_card(ours, (facts.get("name"), facts.get("number")))

    def add(
        self,
        card_id: str | None,
        day: Any,
        block: Any,
        fields: Mapping[str, str],
        currency: Any = "USD",
        claim: str = "",
        **facts: Any,
    ) -> None:
        """Add one price as received, and what the answer says about its card.

        card_id: None where the card or its printing is unknown. block: the service's object of
        prices; anything else becomes a price that is no number. fields: our column -> its field.
        claim: what the service says the price is of, by default ``card_id``: where two of its
        cards claim the same, or a card is known under another name or number, the price is set
        aside.
        """
        row = {"card_id": card_id, "date": day, "currency": currency, "source": self._source}
        row |= {"claim": claim or card_id, "nameless": card_id is None}
        if row["claim"]:
            aliases = {normal_alias(one) for one in facts.get("aliases", ())}
            self._claims[row["claim"]] |= aliases
        if card_id is not None:
            product = facts.get("product_id")
            known = self.known.of_id(card_id) | (
                set() if product is None else self.known.of_alias(str(product))
            )
            other = next((at for at in known if self._is_other(at, facts)), None)
            if other is not None:
                said = " ".join(filter(None, (facts.get("name"), facts.get("number"))))
                self._doubts.append(
                    f"{self._source} says that {card_id} is {said}, here it is "
                    f"{self.known.describe(other)}: its price is set aside"
                )
                card_id = row["card_id"] = None
        if isinstance(block, dict):
            row |= {column: block.get(name) for column, name in fields.items()}
        else:
            row["market_price"] = f"no prices: {block!r}"[:200]
        self._rows.append(row)
        if card_id is not None:
            self._described.append({"card_id": card_id, "product_kind": "single", **facts})

    def add_unpriced(self, alias: str, name: Any) -> None:
        """Note a card that came without any price; the known ones lack it."""
        self.unpriced[alias] = f"{alias} ({name})" if text(name) else alias

    def delivery(self, on: date | None) -> Delivery:
        """Return what came: of the day ``on``, and of the wanted cards, where these are given.

        Prices are as received, with their ``currency``; ``date`` is that of their last update. A
        known card that came without a price is a row without one, of the newest day.
        Raises SourceError where nothing came because of failures, UsageError where the service
        has nothing of that day.
        """
        self._set_doubtful_aside()
        rows = pd.DataFrame(self._rows, columns=[*COLUMNS, "nameless"])
        failures = list(self.failures.values())
        if self.wanted is not None:  # that it has not the few which are missing is an answer
            failures = [one for one in failures if not isinstance(one, NotFoundError)]
        if rows.empty and failures and not self.unpriced:
            raise SourceError("; ".join(failure_notes(self.failures))) from failures[0]
        if on is not None:
            rows = self._of_day(rows, on)
        if self.wanted is not None:
            rows = rows[rows["card_id"].isna() | rows["card_id"].isin(self.asked["card_id"])]
        if nameless := int(rows.pop("nameless").sum()):
            self.notes.append(f"{nameless} prices whose card or printing is not told are set aside")
        delivered = set(rows["card_id"].dropna())
        failed = list(self.failures)
        if self.wanted is not None:
            failed = sorted(set(self.asked["card_id"]) - delivered)
        if self.unpriced:
            names = list(self.unpriced.values())
            self.notes.append(f"{len(names)} cards came without a price: {listed_names(names)}")
            rows = stack([rows, self._rows_without_price(rows, on)])
        # Without collected_at: fetched again, the same price is the same row.
        return Delivery(
            rows.reset_index(drop=True),
            self._source,
            self._card_rows(delivered),
            self.notes + failure_notes(self.failures),
            failed,
            list(self.unpriced.values()),
            dict(self.withdrawn),
            self._elsewhere(),
        )

    def link(self, product: int, facts: Mapping[str, Any]) -> None:
        """Note that Cardmarket's product is the card that these facts tell of."""
        self._linked[product][normal_alias(facts["aliases"][0])] = dict(facts)

    def _elsewhere(self) -> pd.DataFrame:
        """Return the cards of Cardmarket's products; one that stands on several cards is none's."""
        found = [
            {**facts, "card_id": f"{product}:{printing}", "name": None}  # names are Cardmarket's
            for product, cards in self._linked.items()
            if len(cards) == 1
            for facts in cards.values()
            for printing in CARDMARKET_PRINTINGS.values()
        ]
        return pd.DataFrame(found, columns=CARD_COLUMNS)

    def _set_doubtful_aside(self) -> None:
        """Take the card from rows that two cards of the service claim."""
        doubtful = {claim: by for claim, by in self._claims.items() if len(by) > 1}
        for claim, aliases in doubtful.items():
            self._doubts.append(
                f"{listed_names(sorted(aliases))} are all {claim} at {self._source}: their prices "
                "are set aside"
            )
        self.notes += self._doubts[:LISTED]
        if (more := len(self._doubts) - LISTED) > 0:
            self.notes.append(f"{more} more are in doubt and set aside")
        for row in self._rows:
            if row["claim"] in doubtful:
                row["card_id"] = None

    def _rows_without_price(self, rows: pd.DataFrame, on: date | None) -> pd.DataFrame:
        today = datetime.now(UTC).date()
        days = schema.parse_dates(rows["date"]).dt.date.dropna()
        day = on or max((one for one in days if one <= today), default=today)
        asked = set(self.asked["card_id"])
        lacking = {
            self.known.ids[row] for alias in self.unpriced for row in self.known.of_alias(alias)
        }
        found = [
            {"card_id": one, "date": f"{day:%Y-%m-%d}", "currency": "USD", "source": self._source}
            for one in sorted(lacking & asked - set(rows["card_id"]))
        ]
        return pd.DataFrame(found, columns=COLUMNS)

    def _of_day(self, rows: pd.DataFrame, on: date) -> pd.DataFrame:
        days = schema.parse_dates(rows["date"]).dt.date
        # An unreadable date stays in: quality has to say what is wrong with it.
        found = rows[days.isna() | (days == on)]
        if len(rows) and found.empty and self.wanted is None:
            raise UsageError(
                f"{self._source} has no price of {on}, its newest is of {days.max()}: leave out "
                "--date, or take that one"
            )
        if left := len(rows) - len(found):
            self.notes.append(f"{left} prices of other days than {on} left out")
        return found

    def _card_rows(self, delivered: set[str]) -> pd.DataFrame:
        """Return what is new about the delivered cards: another source's words stay as they are."""
        cards = pd.DataFrame(self._described, columns=CARD_COLUMNS)
        cards = cards[cards["card_id"].isin(delivered)].reset_index(drop=True)
        known = self.cards.drop_duplicates("card_id").set_index("card_id")
        for column in CARD_COLUMNS[1:-1]:
            described = cards["card_id"].map(known[column]).notna()
            cards[column] = cards[column].astype("object").mask(described, None)
        return cards
