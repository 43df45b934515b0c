"""The European Central Bank's reference rates, and the currency that amounts are shown in."""

from __future__ import annotations

import json
import logging
import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from pokewatch.errors import PokewatchError, SourceError
from pokewatch.files import atomic_write, json_bytes
from pokewatch.formatting import Money
from pokewatch.settings import Settings
from pokewatch.sources import MARKET

if TYPE_CHECKING:
    from pokewatch.sources.http import Client

log = logging.getLogger(__name__)

DAILY = "/eurofxref-daily.xml"
KEPT = "rates.json"  # in the data home
OLD = 7  # days, after which a rate is called old; the longest holidays have five
TIMEOUT, ATTEMPTS = 10.0, 2  # no night waits long for a rate


@dataclass(frozen=True)
class Rates:
    """Amounts of each currency for one EUR, of a day; asked: the moment at which they came."""

    day: date
    asked: datetime
    rates: dict[str, float]

    @property
    def days_old(self) -> int:
        """Days since they were set."""
        return (datetime.now(UTC).date() - self.day).days

    def of(self, currency: str, stored: str) -> float | None:
        """Return the rate of a currency for one of another, None where it is not published."""
        known = {"EUR": 1.0} | self.rates
        if currency not in known or stored not in known:
            return None
        return round(known[currency] / known[stored], 8)


def client(settings: Settings) -> Client:
    """Return a client of the bank's server."""
    from pokewatch.sources.http import Client  # what only shows amounts needs none

    return Client(settings.ecb_url, settings)


def stored_currency(settings: Settings) -> str:
    """Return the currency of a home's prices."""
    return "EUR" if settings.store_root.endswith(f"/{MARKET}") else "USD"


def update(settings: Settings) -> Rates:
    """Return the newest rates, asked for unless they came today (UTC) already, and keep them.

    Raises SourceError where the bank does not answer; what was kept stays.
    """
    kept = read(settings)
    if kept and kept.asked.date() == datetime.now(UTC).date():
        return kept
    timeout, tries = settings.request_timeout, settings.request_attempts
    hasty = {"request_timeout": min(timeout, TIMEOUT), "request_attempts": min(tries, ATTEMPTS)}
    with client(settings.model_copy(update=hasty)) as opened:
        found = parse(opened.get_text(DAILY))
    if kept and kept.day > found.day:
        found = Rates(kept.day, found.asked, kept.rates)
    told = {"day": f"{found.day}", "asked": found.asked.isoformat(), "rates": found.rates}
    with atomic_write(settings.make_home() / KEPT) as draft:
        draft.write_bytes(json_bytes(told, indent=True))
    return found


def refresh(settings: Settings) -> None:
    """Ask for the day's rates if amounts are shown in another currency; a failure is a warning."""
    if settings.currency != stored_currency(settings):
        try:
            update(settings)
        except PokewatchError as error:
            log.warning("the day's exchange rates did not come: %s", error)


def parse(text: str) -> Rates:
    """Return the rates of the bank's daily file; SourceError for anything else."""
    now = datetime.now(UTC)
    days = re.findall(r"<Cube time=['\"]([^'\"]*)['\"]", text)
    cubes = re.findall(r"<Cube currency=['\"]([A-Z]{3})['\"] rate=['\"]([^'\"]*)['\"]", text)
    try:
        (day,) = map(date.fromisoformat, days)
        rates = {code: float(rate) for code, rate in cubes}
        whole = text.rstrip().endswith("</gesmes:Envelope>") and (day - now.date()).days <= 1
        if not whole or "USD" not in rates or not all(map(_usable, rates.values())):
            raise ValueError("not the daily file")
    except ValueError as error:
        raise SourceError(
            f"the ECB's exchange rates are not as documented ({error}); run it again later, or "
            "check POKEWATCH_ECB_URL"
        ) from error
    return Rates(day, now, rates)


def _usable(rate: float) -> bool:
    return rate > 0 and math.isfinite(rate)


def read(settings: Settings) -> Rates | None:
    """Return the rates that came last, None where none are kept or they cannot be read."""
    try:
        kept = json.loads((settings.home / KEPT).read_text(encoding="utf-8"))
        asked = datetime.fromisoformat(kept["asked"]).astimezone(UTC)
        rates = {str(code): float(rate) for code, rate in kept["rates"].items()}
        found = Rates(date.fromisoformat(kept["day"]), asked, rates)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if all(map(_usable, rates.values())) else None


def display(settings: Settings) -> Money:
    """Return how a home's amounts are written: in POKEWATCH_CURRENCY, by the rate known last.

    Nothing is asked for. Without a rate they stay in the currency that they are stored in, and the
    note says so; it says the rate's day, and when that is long ago.
    """
    stored, wanted = stored_currency(settings), settings.currency
    if stored == wanted:
        return Money(stored, stored)
    kept = read(settings)
    rate = kept.of(wanted, stored) if kept else None
    if kept is None or rate is None:
        note = f"Amounts are in {stored}: no rate of {wanted} is known yet; 'pokewatch rates' asks"
        return Money(stored, stored, note=f"{note} for it.", doubtful=True)
    note = f"Amounts are in {wanted}, those of past days too, at the European Central Bank's rate"
    note += f" of {kept.day}: 1 {stored} = {rate:.6g} {wanted}."
    if old := kept.days_old > OLD:
        note += f" That rate is {kept.days_old} days old; 'pokewatch rates' asks for a newer one."
    return Money(wanted, stored, rate, kept.day, note, old)
