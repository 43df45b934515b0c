"""Names and aliases that come apart from prices: a file that describes cards already known."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pokewatch.cards import frames
from pokewatch.errors import UsageError
from pokewatch.files import read_table
from pokewatch.schema import CARD_COLUMNS, CARDS_SCHEMA, product_ids
from pokewatch.settings import Settings
from pokewatch.store.tables import Store, to_table

CALLED = {"set": "set_name", "id": "alias", "tcgdex_id": "alias"}


def add_names(settings: Settings, path: Path) -> dict[str, int]:
    """Give known cards the names and aliases of a file; what is known already stays.

    path: CSV or Parquet with card_id or product_id (then every printing is meant), and any of
    tcgdex_id or alias, name, set or set_name, number, rarity, release_date. Returns how many rows
    were read, how many are of unknown cards, and how many cards changed: rows, unknown, changed.
    Raises UsageError for a file without an id, SourceError for one that cannot be read.
    """
    given = read_table(path)
    given = given.rename(columns={old: new for old, new in CALLED.items() if old in given})
    given = given.loc[:, ~given.columns.duplicated()]
    key = next((name for name in ("card_id", "product_id") if name in given), None)
    if key is None:
        raise UsageError(
            f"'{path}' has neither card_id nor product_id among {', '.join(given.columns)}: rename "
            "the column that says which card a row describes"
        )
    store = Store.from_settings(settings)
    if key == "product_id":
        given[key] = product_ids(given[key])
    aliases = given["alias"] if "alias" in given else [None] * len(given)
    given["aliases"] = [[] if pd.isna(one) else [str(one)] for one in aliases]
    unknown = changed = 0

    def attempt() -> None:
        nonlocal unknown, changed
        snapshot, known = store.snapshot("cards"), frames.tidy(store.cards())
        found = known[list(dict.fromkeys(["card_id", key]))].merge(given, on=key)
        unknown = int((~given[key].isin(known[key].dropna())).sum())
        # Known fields come last, because later rows win.
        merged = frames.merge(found.reindex(columns=CARD_COLUMNS), known)
        old, new = to_table(known, CARDS_SCHEMA), to_table(merged, CARDS_SCHEMA)
        if not new.equals(old):
            changed = sum(a != b for a, b in zip(old.to_pylist(), new.to_pylist(), strict=True))
            store.replace(snapshot, new, None)

    store.retry(attempt)
    return {"rows": len(given), "unknown": unknown, "changed": changed}
