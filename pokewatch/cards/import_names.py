"""Names and aliases apart from prices: a file describes known cards, aliases are withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pokewatch.cards import frames
from pokewatch.cards.catalog import Catalog, listed
from pokewatch.cards.spelling import normal_alias
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
        found = known[list(dict.fromkeys(["card_id", key]))].merge(given.dropna(subset=key), on=key)
        unknown = int((~given[key].isin(known[key].dropna())).sum())
        # Known fields come last, because later rows win.
        merged = frames.merge(found.reindex(columns=CARD_COLUMNS), known)
        old, new = to_table(known, CARDS_SCHEMA), to_table(merged, CARDS_SCHEMA)
        if not new.equals(old):
            changed = sum(a != b for a, b in zip(old.to_pylist(), new.to_pylist(), strict=True))
            store.replace(snapshot, new, None)

    store.retry(attempt)
    return {"rows": len(given), "unknown": unknown, "changed": changed}


def withdraw_aliases(store: Store, withdrawn: Mapping[str, set[str]]) -> int:
    """Take aliases from known cards (card_id -> aliases); return how many cards lost one."""
    if not withdrawn:
        return 0
    changed = 0

    def attempt() -> None:
        nonlocal changed
        snapshot, known = store.snapshot("cards"), store.cards()
        kept = [
            [one for one in listed(names) if one not in withdrawn.get(card_id, ())]
            for card_id, names in zip(known["card_id"], known["aliases"], strict=True)
        ]
        changed = sum(
            len(names) < len(listed(old)) for names, old in zip(kept, known["aliases"], strict=True)
        )
        if changed:
            store.replace(snapshot, to_table(known.assign(aliases=kept), CARDS_SCHEMA), None)

    store.retry(attempt)
    return changed


def remove_alias(settings: Settings, alias: str, card: str | None = None) -> dict[str, int]:
    """Take an alias, in any spelling, from all cards that bear it, or from one card's printings.

    Returns how many cards lost it: changed. Raises UsageError where no such card bears it.
    """
    store = Store.from_settings(settings)
    catalog = Catalog(store.cards())
    rows = catalog.rows(card) if card else range(len(catalog.ids))
    withdrawn = {
        catalog.ids[row]: same
        for row in rows
        if (
            same := {
                one
                for one in listed(catalog.cards["aliases"].iloc[row])
                if normal_alias(one) == normal_alias(alias)
            }
        )
    }
    if not withdrawn:
        of = f"card '{card}'" if card else "known card"
        raise UsageError(f"no {of} has the alias '{alias}': see 'pokewatch cards {card or alias}'")
    return {"changed": withdraw_aliases(store, withdrawn)}
