"""A simulated market of any size, written day after day to Parquet files in bounded memory.

Prices move as those of ``simulated`` do; cards go missing for weeks, and new sets appear.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from pokewatch.errors import SourceError, UsageError
from pokewatch.schema import VALUES
from pokewatch.sources.simulated.demo import FIRST_PRODUCT, PRODUCTS, SOURCE, STEMS, TAILS, daily

SET_SIZE, NEW_SHARE = 180, 0.1
FILE_ROWS = 500_000  # a file ends with its month, or with the day that makes it this long
GAP_BEGINS, GAP_DAYS = 0.001, 20  # chance a day, and mean length: 2 % of the rows
TEXT = ["card_id", "name", "set_name", "number", "rarity", "printing", "product_kind", "source"]


def write(
    folder: Path,
    cards: int,
    days: int,
    until: date | None = None,
    seed: int = 7,
    progress: bool = False,
) -> dict[str, Any]:
    """Write the last ``days`` days up to ``until`` (default: today, UTC) of a simulated market.

    Returns folder, files, cards, days, rows, first and last day and seed. The files have the
    columns that source ``file`` takes, and ``source`` says simulated in every row. The same
    arguments write the same prices. Raises UsageError for a folder that is not empty.
    """
    last = until or datetime.now(UTC).date()
    if cards < 1 or days < 1:
        raise UsageError(f"cards={cards}, days={days}: ask for 1 or more of each")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"'{folder}' is not an empty folder: name a new one")
    folder.mkdir(parents=True, exist_ok=True)
    tables = market(cards, days, last, seed)
    files, rows, room = 0, 0, 0
    month, writer = "", None
    try:
        for table in tqdm(tables, "simulate", days, unit=" days", disable=not progress):
            day = table["date"][0].as_py()
            if writer is None or f"{day:%Y-%m}" != month or room <= 0:
                if writer is not None:
                    writer.close()
                month, room, files = f"{day:%Y-%m}", FILE_ROWS, files + 1
                path = folder / f"{day}.parquet"
                writer = pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            rows, room = rows + len(table), room - len(table)
    except OSError as error:
        raise SourceError(f"'{folder}' could not be written: {error}; free some space") from error
    finally:
        if writer is not None:
            writer.close()
    first = last - timedelta(days=days - 1)
    said = {"folder": str(folder), "files": files, "cards": cards, "days": days, "rows": rows}
    return said | {"first": f"{first}", "last": f"{last}", "seed": seed, "source": SOURCE}


def market(cards: int, days: int, last: date, seed: int = 7) -> Iterator[pa.Table]:
    """Yield one table of observations, with what is known of their cards, a day.

    Prices are USD. In a gap half of the cards come without a market price, the others not at all.
    """
    known, typical, released = _cards(cards, days, last, seed)
    first = last - timedelta(days=days - 1)
    columns = {name: _column(name, known[name]) for name in known}
    gone = np.zeros(cards, dtype=bool)
    blank = np.random.default_rng([seed, 8]).random(cards) < 0.5
    prices = daily(seed, first, typical, released, known["product_kind"])
    for number, values in enumerate(islice(prices, days)):
        day = first + timedelta(days=number)
        rng = np.random.default_rng([seed, day.toordinal(), 9])
        chance = rng.random(cards)
        gone = np.where(gone, chance > 1 / GAP_DAYS, chance < GAP_BEGINS)
        values[0, gone & blank] = np.nan
        here = np.flatnonzero((released <= number) & ~(gone & ~blank))
        if not len(here):
            here = np.array([0])
        size = len(here)
        collected = datetime.combine(day, datetime.min.time(), UTC)
        yield pa.table(
            {name: column.take(pa.array(here)) for name, column in columns.items()}
            | {"date": pa.repeat(pa.scalar(day, pa.date32()), size)}
            | {
                name: pa.array(row[here], from_pandas=True)
                for name, row in zip(VALUES, values, strict=True)
            }
            | {"collected_at": pa.repeat(pa.scalar(collected, pa.timestamp("us", "UTC")), size)}
        )


def _cards(
    cards: int, days: int, last: date, seed: int
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return the cards, their typical log prices and the days since the first they appear on."""
    rng = np.random.default_rng([seed, 7])
    first = last - timedelta(days=days - 1)
    sets = -(-cards // SET_SIZE)
    new = int(sets * NEW_SHARE)
    sealed = [product for product in PRODUCTS if product[0] is None]
    single = [product for product in PRODUCTS if product[0] is not None for _ in range(product[2])]
    names = [stem + tail for stem in STEMS for tail in TAILS]
    rows, released, price = [], [], []
    product_id = FIRST_PRODUCT - 1
    for number in range(cards):
        k, place = divmod(number, SET_SIZE)
        old = k < sets - new
        appears = -90 * (sets - new - k) if old else days * (k - sets + new + 1) // (new + 1)
        box = place < len(sealed)
        rarity, label, _, usual = (sealed if box else single)[
            place if box else (place - len(sealed)) % len(single)
        ]
        # Every third of the cheap cards is the second printing of the one before it.
        reverse = not box and usual < 2 and number % 3 == 2
        product_id += not reverse
        set_name = f"Simulated Set {k + 1:03d}"
        name = f"{set_name} {label}" if box else names[product_id % len(names)] + label
        printing = "Reverse Holofoil" if reverse else "Holofoil" if usual >= 2 else "Normal"
        printing = "Normal" if box else printing
        rows.append(
            (
                f"{product_id}:{printing}",
                name,
                set_name,
                None if box else str(place),
                rarity,
                printing,
                "sealed" if box else "single",
                product_id,
                first + timedelta(days=appears),
            )
        )
        released.append(appears)
        price.append(np.log(usual) + (0.4 if box else 0.9) * rng.standard_normal())
    columns = [*TEXT[:-1], "product_id", "release_date"]
    known = pd.DataFrame(rows, columns=columns).assign(source=SOURCE)
    return known, np.clip(price, -1.9, 6.9), np.array(released)


def _column(name: str, values: pd.Series) -> pa.Array:
    column = pa.array(values, from_pandas=True)
    return column.dictionary_encode() if name in TEXT else column
