"""Price sources: one module each, asked through ``fetch``, all of which return a ``Delivery``.

A module has ``ABOUT``. A service has ``client(settings)`` too, which opens its connection; one that
is asked card by card or set by set has ``ask(client, delivery)``, which fills a ``DeliveryBuilder``
with the answers, the others have a ``fetch``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from pokewatch.errors import SourceError, UsageError
from pokewatch.schema import OPTIONAL_PRICES, SIMULATED, Delivery, Wanted
from pokewatch.settings import MARKET, Settings

PRICES = ["market_price", *OPTIONAL_PRICES]

BY_ALIAS = ("tcgdex", "pokemontcg", "pokemonpricetracker")  # asked for the cards that are known
SELECTIVE = ("tcgcsv", *BY_ALIAS)  # can be asked for a part of a day
SOURCES = (SIMULATED, "file", *SELECTIVE, MARKET)


@dataclass(frozen=True)
class About:
    """What is worth knowing of a source before one asks it, as ``pokewatch sources`` lists it.

    key_setting: the setting that holds its key, "" for a source without keys. probe: a cheap
    address that answers JSON, "" for a source that is no service. ends: the day on which the
    service is switched off, if one is announced.
    """

    serves: str
    currency: str
    history: str
    limits: str
    key_setting: str = ""
    key_needed: bool = False
    probe: str = ""
    ends: date | None = None

    @property
    def notice(self) -> str:
        """What to know of a service that ends, "" of the others."""
        return f"ends on {self.ends}, new keys are not given out" if self.ends else ""


def fetch(
    source: str,
    settings: Settings,
    on: date | None = None,
    path: Path | None = None,
    progress: bool = False,
    wanted: Wanted | None = None,
    known: pd.DataFrame | None = None,
    **of_file: Any,
) -> Delivery:
    """Return what ``source`` delivers.

    on: the day of the snapshot (default: the source's newest).
    path, columns, id_template, currency: for the source ``file`` only, see ``file.fetch``.
    wanted: only these cards; None asks for all that the source has, sources ``BY_ALIAS`` for the
        known cards with an alias and for POKEWATCH_SETS.
    known: the known cards (columns ``CARD_COLUMNS``), by which sources ``BY_ALIAS`` tell what to
        ask for and whose price an answer is.
    Prices in EUR are converted to USD where the settings have a rate; others keep their currency.

    Raises UsageError for an unknown source, an option that it does not take, nothing to ask for
    or a day that it does not have, SourceError where the source fails.
    """
    if source not in SOURCES:
        raise UsageError(f"unknown source '{source}': choose one of {', '.join(SOURCES)}")
    module = import_module(f"pokewatch.sources.{source}")
    if source == "file":
        if path is None:
            raise UsageError("source 'file' needs the file: add --path FILE.csv or FILE.parquet")
        return in_usd(module.fetch(path, on, **of_file), settings.eur_usd)
    if path is not None or any(of_file.values()):
        raise UsageError(
            f"source '{source}' takes no --path, --map, --id or --currency: use --source file"
        )
    if source in BY_ALIAS:
        from pokewatch.sources.delivery import DeliveryBuilder

        builder = DeliveryBuilder(source, settings, known, wanted, progress)
        with module.client(settings) as client:
            module.ask(client, builder)
        return in_usd(builder.delivery(on), settings.eur_usd)
    if source == "tcgcsv":
        return module.fetch(settings, on=on, progress=progress, wanted=wanted)
    return module.fetch(settings, on=on)


def home_of(source: str, fallbacks: Sequence[str], settings: Settings) -> Settings:
    """Return the settings of the home that a source's prices go to; EUR have one of their own.

    Raises UsageError for sources of two currencies, USD in the home of EUR, and for what is no
    fallback or takes none: both are ``SELECTIVE``.
    """
    if MARKET in fallbacks or (source == MARKET and fallbacks):
        raise UsageError(
            f"'{MARKET}' is a market of its own in EUR: it is no fallback and takes none; collect "
            "from it by a command of its own"
        )
    if wrong := [one for one in fallbacks if one not in SELECTIVE]:
        raise UsageError(f"'{wrong[0]}' is no fallback: choose among {', '.join(SELECTIVE)}")
    if fallbacks and source not in SELECTIVE:
        raise UsageError(f"source '{source}' takes no fallback: leave out {', '.join(fallbacks)}")
    if source == MARKET:
        inside = settings.home.name == MARKET
        return settings if inside else settings.model_copy(update={"home": settings.home / MARKET})
    if settings.store_root.endswith(f"/{MARKET}"):
        raise UsageError(
            f"the home '{settings.home}' holds prices in EUR, '{source}' serves USD: set "
            "POKEWATCH_HOME (and POKEWATCH_STORE, if you use it) to another folder"
        )
    return settings


def in_usd(delivery: Delivery, eur_usd: float) -> Delivery:
    """Return a delivery with its EUR prices in USD; without a rate (0) they stay what they are."""
    rows = delivery.observations
    if not eur_usd or "currency" not in rows:
        return delivery
    european = rows["currency"].astype("string").str.strip().str.upper().eq("EUR").fillna(False)
    if not european.any():
        return delivery
    rows = rows.copy()
    for column in [name for name in PRICES if name in rows]:
        euros = pd.to_numeric(rows[column].where(european), errors="coerce")
        # What is no number stays as it is: quality has to say what is wrong with it.
        rows[column] = rows[column].mask(euros.notna(), (euros * eur_usd).round(4))
    rows.loc[european, "currency"] = "USD"
    note = f"{int(european.sum())} prices converted from EUR at {eur_usd:g} USD"
    return replace(delivery, observations=rows, notes=[*delivery.notes, note])


def about(source: str) -> About:
    """Return what is worth knowing of a source."""
    found: About = import_module(f"pokewatch.sources.{source}").ABOUT
    return found


def check(source: str, settings: Settings) -> None:
    """Ask a service once for something small; SourceError or UsageError if it does not answer."""
    if probe := about(source).probe:
        once = settings.model_copy(update={"request_attempts": 1})
        try:
            with import_module(f"pokewatch.sources.{source}").client(once) as opened:
                opened.get_json(probe)
        except ImportError as error:
            raise SourceError(f"{source} cannot be asked: {error}") from error
