"""Names and aliases that come apart from prices: a file that describes cards already known."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pokewatch.cards import catalog as card_frames
from pokewatch.errors import UsageError
from pokewatch.files import read_table
from pokewatch.schema import CARD_COLUMNS, CARDS_SCHEMA, product_ids
from pokewatch.settings import Settings
from pokewatch.store.tables import Store, to_table

CALLED = {"set": "set_name", "id": "alias", "tcgdex_id": "alias"}


@dataclass(frozen=True)
class Named:
    """What became of a file of names: rows read, rows of unknown cards, cards that changed."""

    rows: int
    unknown: int
    changed: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        return asdict(self)


def add_names(settings: Settings, path: Path) -> Named:
    """Give known cards the names and aliases of a file; what is known already stays.

    path: CSV or Parquet with card_id or product_id (then every printing is meant), and any of
    tcgdex_id or alias, name, set or set_name, number, rarity, release_date. Raises UsageError for
    a file without an id, SourceError for one that cannot be read.
    """
    given = read_table(path)
    given = given.rename(columns={old: new for old, new in CALLED.items() if old in given})
    given = given.loc[:, ~given.columns.duplicated()]
    key = next((name for name in ("card_id", "product_id") if name in given), None)
    if key is None:
        raise UsageError(
            f"'{path}' has neither card_id nor product_id among {', '.join(given.columns)}: rename "
            "the column that tells which card a row describes"
        )
    store = Store.from_settings(settings)
    if key == "product_id":
        given[key] = product_ids(given[key])
    given["aliases"] = [[] if pd.isna(one) else [str(one)] for one in given.get("alias", [None])]
    unknown = changed = 0

    def attempt() -> None:
        nonlocal unknown, changed
        snapshot, known = store.snapshot("cards"), card_frames.tidy(store.cards())
        described = given.drop(columns=["card_id"] if key != "card_id" else [], errors="ignore")
        columns = ["card_id"] if key == "card_id" else ["card_id", key]
        found = known[columns].merge(described, on=key, how="inner")
        unknown = int((~given[key].isin(known[key].dropna())).sum())
        # Known fields come last, because later rows win.
        merged = card_frames.merge(found.reindex(columns=CARD_COLUMNS), known)
        old, new = to_table(known, CARDS_SCHEMA), to_table(merged, CARDS_SCHEMA)
        if not new.equals(old):
            changed = sum(a != b for a, b in zip(old.to_pylist(), new.to_pylist(), strict=True))
            store.replace(snapshot, new, None)

    store.retry(attempt)
    return Named(len(given), unknown, changed)
