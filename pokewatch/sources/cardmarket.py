"""Cardmarket's public price guide: prices in EUR, a market of its own in a home of its own."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from pokewatch.errors import PokewatchError, SourceError, UsageError
from pokewatch.files import atomic_write
from pokewatch.schema import CARD_COLUMNS, Delivery
from pokewatch.settings import Settings
from pokewatch.sources import MARKET, About
from pokewatch.sources.delivery import CARDMARKET_PRINTINGS, parsed, text
from pokewatch.sources.http import ARCHIVE_LIMIT, Client
from pokewatch.sources.responses import decoded
from pokewatch.sources.tcgcsv.frames import product_id
from pokewatch.sources.tcgcsv.kept import SUFFIX, SURE, forget_old, line_of, read_answers

GUIDE = "/priceGuide/price_guide_6.json"
LISTS = {
    "single": "/productList/products_singles_6.json",
    "sealed": "/productList/products_nonsingles_6.json",
}
ABOUT = About(
    serves="Cardmarket's trend, lowest and average price of every product",
    currency="EUR, in the home 'cardmarket' inside yours: never mixed with USD",
    history="what you pulled; its averages reach back 30 days",
    limits="one file a day",
    probe=LISTS["sealed"],
)
PULLED = "pulled"
FIELDS = {"market_price": "trend", "low_price": "low", "mid_price": "avg"}
KEPT = ["avg", "low", "trend", "avg1", "avg7", "avg30"]


class _Guide(BaseModel):
    createdAt: datetime  # noqa: N815
    priceGuides: list[Any]  # noqa: N815


class _Products(BaseModel):
    products: list[Any]


def client(settings: Settings) -> Client:
    """Return a client of the service."""
    return Client(settings.cardmarket_url, settings)


def fetch(settings: Settings, on: date | None = None) -> Delivery:
    """Return the guide of the day, a card a product and finish (``Card`` or ``Foil``).

    Prices are EUR: the trend as the market price, the average as the middle one. A trend that is
    missing or 0 is no price; such products are counted. What was pulled in the last 20 hours is
    used again. The files are kept as delivered in ``<home>/archives``, for ``read_guide``.

    Raises SourceError where the guide does not come, UsageError where it is of another day than
    ``on``.
    """
    folder = settings.make_home() / "archives"
    newest = max(folder.glob(f"{MARKET}-????-??-??{SUFFIX}"), default=None)
    notes: list[str] = []
    if newest is None or datetime.now(UTC) - _pulled(newest) > SURE:
        newest = _pull(settings, folder, notes)
    answers, moment = _kept(newest)
    day = moment.date()
    if on is not None and on != day:
        raise UsageError(f"Cardmarket's guide is of {day}, not of {on}: leave out --date")
    rows = read_guide(newest)
    priced = rows[pd.to_numeric(rows["trend"], errors="coerce").ne(0) & rows["trend"].notna()]
    if lacking := rows["product_id"].nunique() - priced["product_id"].nunique():
        notes.append(f"{lacking} products without a trend left out")
    found = {ours: priced[theirs].mask(priced[theirs].eq(0)) for ours, theirs in FIELDS.items()}
    observations = priced[["card_id", "date"]].assign(**found, source=MARKET)
    observations["collected_at"] = pd.Timestamp(moment)
    named = pd.concat([_names(answers, kind, notes) for kind in LISTS], ignore_index=True)
    cards = priced[["card_id", "product_id", "printing"]].merge(
        named.drop_duplicates("product_id"), on="product_id", how="left"
    )
    return Delivery(
        observations.reset_index(drop=True), MARKET, cards.reindex(columns=CARD_COLUMNS), notes
    )


def read_guide(path: Path) -> pd.DataFrame:
    """Return a kept guide: ``card_id, product_id, printing, date`` and ``KEPT`` (EUR) as received.

    Raises SourceError for a file that is none.
    """
    answers, moment = _kept(path)
    guides = _guide(answers).priceGuides
    rows = [
        {
            "card_id": f"{product}:{printing}",
            "product_id": product,
            "printing": printing,
            "date": moment.date(),
            **{name: one.get(name + suffix) for name in KEPT},
        }
        for one in guides
        if isinstance(one, dict) and (product := product_id({"productId": one.get("idProduct")}))
        for suffix, printing in CARDMARKET_PRINTINGS.items()
    ]
    return pd.DataFrame(rows, columns=["card_id", "product_id", "printing", "date", *KEPT])


def _pull(settings: Settings, folder: Path, notes: list[str]) -> Path:
    """Pull the guide and, where they come, the lists of names, into one file of the day."""
    with client(settings) as opened:
        answers = {GUIDE: opened.get_body(GUIDE, limit=ARCHIVE_LIMIT)}
        for address in LISTS.values():
            try:
                answers[address] = opened.get_body(address, limit=ARCHIVE_LIMIT)
            except SourceError as error:
                notes.append(f"names are missing: {error}")
    guide = _guide({GUIDE: answers[GUIDE].decode()})
    answers[PULLED] = datetime.now(UTC).isoformat().encode()
    path = folder / f"{MARKET}-{_utc(guide.createdAt).date()}{SUFFIX}"
    with atomic_write(path) as draft:
        draft.write_bytes(b"".join(line_of(name, body.decode()) for name, body in answers.items()))
    forget_old(path, settings.archive_days)
    return path


def _pulled(path: Path) -> datetime:
    try:
        return datetime.fromisoformat(read_answers(path)[0][PULLED])
    except (KeyError, ValueError):  # damaged: pulled again
        return datetime.min.replace(tzinfo=UTC)


def _kept(path: Path) -> tuple[dict[str, str], datetime]:
    answers, whole = read_answers(path)
    if not whole or GUIDE not in answers:
        raise SourceError(f"'{path}' is damaged; delete it, and collect again if it is of today")
    return answers, _utc(_guide(answers).createdAt)


def _guide(answers: dict[str, str]) -> _Guide:
    return parsed(_Guide, decoded(answers[GUIDE].encode()), "the price guide")


def _utc(moment: datetime) -> datetime:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _names(answers: dict[str, str], kind: str, notes: list[str]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    try:
        if body := answers.get(LISTS[kind]):
            listed = parsed(_Products, decoded(body.encode()), f"the list of {kind} products")
            rows = [one for one in listed.products if isinstance(one, dict)]
    except PokewatchError as error:
        notes.append(f"names are missing: {error}")
    found = [
        {"product_id": product, "name": text(one.get("name")), "product_kind": kind}
        for one in rows
        if (product := product_id({"productId": one.get("idProduct")})) is not None
    ]
    return pd.DataFrame(found, columns=["product_id", "name", "product_kind"])
