"""tcgcsv's rows, live or archived, as frames of observations and cards."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from pokewatch.errors import SourceError, UsageError

SOURCE = "tcgcsv"
UNUSABLE_CATEGORIES = (21, 69, 70)
_filename = re.compile(r"prices-(\d{4}-\d{2}-\d{2})\b.*\.(7z|jsonl\.gz)", re.ASCII)
FIELDS = {
    "market_price": "marketPrice",
    "low_price": "lowPrice",
    "mid_price": "midPrice",
    "high_price": "highPrice",
}
_row = pa.struct(
    [
        ("productId", pa.int64()),
        ("subTypeName", pa.string()),
        *((name, pa.float64()) for name in FIELDS.values()),
    ]
)
_answer = pa.schema([("success", pa.bool_()), ("results", pa.list_(_row))])


def answer_rows(answer: Any) -> list[dict[str, Any]]:
    """Return an answer's rows; one that is no object becomes an empty row, so that it counts.

    Raises SourceError for an answer of another shape or without ``"success": true``.
    """
    if not isinstance(answer, dict) or answer.get("success") is not True:
        errors = answer.get("errors") if isinstance(answer, dict) else None
        raise SourceError(f"tcgcsv says the answer is no success (errors: {str(errors)[:200]})")
    results = answer.get("results")
    if not isinstance(results, list):
        raise SourceError("tcgcsv's answer has no list 'results'")
    return [row if type(row) is dict else {} for row in results]


def product_id(row: dict[str, Any]) -> int | None:
    """Return a row's product id, None if it has no usable one."""
    product = row.get("productId")
    return product if type(product) is int and 0 < product < 2**63 else None


def price_frames(
    rows: list[dict[str, Any]], day: date, collected_at: datetime, notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (observations, cards) of one day's price rows.

    observations: one row a price row, values (USD) as received, in columns ``card_id, date,
        market_price, low_price, mid_price, high_price, source, collected_at``; ``card_id`` is
        None where the product or the printing is unusable, which is added to ``notes``.
    cards: one row a card, columns ``card_id, product_id, printing``.
    """
    ids: list[str | None] = []
    keys: dict[str, tuple[int, str]] = {}
    for row in rows:
        product, printing = product_id(row), row.get("subTypeName")
        if product is not None and type(printing) is str and printing:
            card_id = f"{product}:{printing}"
            keys[card_id] = product, printing
            ids.append(card_id)
        else:
            ids.append(None)
    if nameless := ids.count(None):
        example = str(rows[ids.index(None)])[:200]
        notes.append(f"{nameless} rows without a usable product or printing, such as {example}")
    values = {column: [row.get(name) for row in rows] for column, name in FIELDS.items()}
    cards = pd.DataFrame(
        {
            "card_id": pd.Series(list(keys), dtype="object"),
            "product_id": pd.Series([product for product, _ in keys.values()], dtype="int64"),
            "printing": pd.Series([printing for _, printing in keys.values()], dtype="object"),
        }
    )
    return _observations(ids, values, day, collected_at), cards


def usual_rows(answers: list[bytes]) -> pa.StructArray | None:
    """Return the rows of answers that are all as documented, each with its product and printing.

    None where one of them, or one of their rows, is in any way unusual: whoever reads them row by
    row can tell which. Other threads can go on meanwhile.
    """
    text = b"\n".join(answers)
    alone = all(one[:1] == b"{" and b"\n" not in one for one in answers)
    if not (answers and alone and text.isascii()) or b"NaN" in text or b"Inf" in text:
        return None  # Arrow takes these for numbers, JSON knows none of them
    try:
        read = pj.read_json(
            pa.BufferReader(text),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=_answer, unexpected_field_behavior="ignore"
            ),
        ).combine_chunks()
    except pa.ArrowException:
        return None
    success, results = read["success"], read["results"]
    if len(read) != len(answers) or not pc.all(success, skip_nulls=False).as_py():
        return None
    rows = pc.list_flatten(results).combine_chunks()
    product, printing = rows.field("productId"), rows.field("subTypeName")
    complete = not any(part.null_count for part in (results, rows, product, printing))
    if not complete or pc.any(pc.or_(pc.less(product, 1), pc.equal(printing, ""))).as_py():
        return None
    return rows


def usual_frames(
    rows: pa.StructArray, day: date, collected_at: datetime
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return of ``usual_rows`` what ``price_frames`` would, sooner."""
    product, printing = rows.field("productId"), rows.field("subTypeName")
    ids = pc.binary_join_element_wise(product.cast(pa.string()), printing, ":").to_pandas()
    values = {column: rows.field(name).to_pandas() for column, name in FIELDS.items()}
    cards = pd.DataFrame(
        {"card_id": ids, "product_id": product.to_pandas(), "printing": printing.to_pandas()}
    ).drop_duplicates("card_id", ignore_index=True)
    return _observations(ids, values, day, collected_at), cards


def _observations(
    ids: Iterable[str | None], values: Mapping[str, Any], day: date, collected_at: datetime
) -> pd.DataFrame:
    card_id = pd.Series(ids, dtype="object")
    dates = pd.Series(np.full(len(card_id), day, dtype="object"))
    try:
        prices = pd.DataFrame(values)
    except OverflowError:  # a whole number of JSON may have more digits than a float has room for
        prices = pd.DataFrame(values, dtype="object")
    prices.insert(0, "card_id", card_id)
    prices.insert(1, "date", dates)
    return prices.assign(source=SOURCE, collected_at=pd.Timestamp(collected_at))


def usable_categories(categories: Iterable[int]) -> list[int]:
    """Return the categories without doubles; UsageError for none or one without prices."""
    wanted = list(dict.fromkeys(categories))
    refused = [category for category in wanted if category in UNUSABLE_CATEGORIES]
    if refused or not wanted:
        raise UsageError(
            f"POKEWATCH_TCGCSV_CATEGORIES={wanted}: "
            + (f"tcgcsv has no usable prices of {refused}" if refused else "none is named")
            + "; use 3 (Pokémon) and 85 (Pokémon Japan)"
        )
    return wanted


def archive_date(path: Path) -> date | None:
    """Return the date in an archive's file name, None if it is not one."""
    name = _filename.fullmatch(path.name)
    try:
        return date.fromisoformat(name[1]) if name else None
    except ValueError:
        return None
