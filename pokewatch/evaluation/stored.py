"""Predictions of the store that asking their model again would give once more, to the digit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pokewatch.errors import PokewatchError
from pokewatch.evaluation import registry
from pokewatch.schema import HORIZONS
from pokewatch.settings import Settings
from pokewatch.store.tables import Store

LOOK_BACK = 14  # days; a call that was given earlier is kept no longer
RECIPE = registry.recipe("predictions.py", "registry.py", "stored.py")
INPUTS = ("prices", "cards", "quarantine")  # tables that a panel is made of
TYPES = {"date": "datetime64[ns]", "horizon": "int64", "data_version": "int64"}
# Settings of model and words.
TUNED_BY = {"seed", "stale_days", "good_move", "signal_lift", "fee", "prior"}


def basis(settings: Settings, day: date, model: str = "champion") -> tuple[str, str] | None:
    """Return a hash of all that a day's predictions come from, and the name of their model.

    That is tables, earlier calls, model, settings and code. None where only the model itself, once
    loaded, tells who speaks: it has seen later days, or cannot be used.
    """
    store, name = Store.from_settings(settings), "naive"
    found = hashlib.sha256(RECIPE.encode())
    about: list[object] = [day, sorted(settings.model_dump(include=TUNED_BY).items())]
    try:
        for table in INPUTS:
            snapshot = store.snapshot(table)
            about += [table, snapshot.version, snapshot.committed_at]
        first, last = (day - timedelta(days=ago) for ago in (LOOK_BACK, 1))
        about.append(store.count_predictions(first, last))
        if model != "champion" or registry.champion_name(settings):
            folder = registry.folder(settings, model)
            for path in sorted(folder.glob("[!.]*")):
                if path.name != registry.BACKTEST:
                    found.update(path.name.encode() + path.read_bytes())
            known = json.loads((folder / registry.ABOUT).read_text(encoding="utf-8"))
            name = str(known["name"])
            if date.fromisoformat(known["as_of"]) > day:
                return None
    except (PokewatchError, OSError, ValueError, KeyError, TypeError):
        return None  # the long way says what is wrong
    found.update(repr(about).encode())
    return found.hexdigest()[:32], name


@dataclass(frozen=True)
class Said:
    """A day whose stored predictions stand on what they would stand on now, and their model."""

    store: Store
    day: date
    basis: str
    model: str

    def rows(
        self,
        horizons: Sequence[int] | None = None,
        card_ids: Sequence[str] | None = None,
        calls: bool = False,
    ) -> pd.DataFrame | None:
        """Return rows and columns as ``predictions.predict`` does; None where some were not stored.

        calls: only signals matter, not intervals.
        """
        wanted = sorted(set(horizons or ()))
        # Without a model the intervals of a horizon depend on which others are asked for.
        if self.model == "naive" and wanted not in ([], list(HORIZONS)) and not calls:
            return None
        only, asked = wanted[0] if len(wanted) == 1 else None, card_ids
        try:
            found = self.store.predictions(self.day, horizon=only, card_ids=asked, basis=self.basis)
        except PokewatchError:
            return None  # damaged: the model needs them not
        if wanted:
            found = found[found["horizon"].isin(wanted)]
        if found.empty or not set(found["horizon"]).issuperset(wanted):
            return None
        if card_ids is not None and not set(found["card_id"]).issuperset(card_ids):
            return None
        return found.sort_values(["horizon", "card_id"], ignore_index=True).astype(TYPES)

    def cards(self, among: Iterable[str] | None = None) -> set[str] | None:
        """Return all cards that had a price by that day, or which of some had one.

        None where that cannot be read.
        """
        where = [ds.field("date") == pa.scalar(self.day), ds.field("basis") == self.basis]
        if among is not None:
            where.append(ds.field("card_id").isin(pa.array(list(among), pa.string())))
        try:
            table = self.store.snapshot("predictions").read(["card_id"], where)
        except PokewatchError:
            return None
        return set(pc.unique(table["card_id"]).to_pylist())


def of_day(settings: Settings, on: date | None = None, model: str = "champion") -> Said | None:
    """Return what is stored of a day (default: the last), None where it would be another today."""
    store = Store.from_settings(settings)
    try:
        if (day := on or store.last_day()) is None or not (made_of := basis(settings, day, model)):
            return None
        found = Said(store, day, *made_of)
        return found if store.count_predictions(day, day, found.basis) else None
    except (PokewatchError, OSError, ValueError):
        return None  # the long way says what is wrong


def priced(settings: Settings, card_ids: Iterable[str]) -> Iterable[str]:
    """Return which of some cards have any price; all of them where no stored day tells."""
    said = of_day(settings)
    found = said.cards(card_ids) if said else None
    return card_ids if found is None else found
