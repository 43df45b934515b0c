"""Prices from a CSV or Parquet file, with its columns mapped to ours."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from string import Formatter

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pokewatch.cards.columns import kind_of, told
from pokewatch.cards.spelling import printing_of
from pokewatch.csv_files import CODES, currency_in, decimal_mark, readings
from pokewatch.errors import UsageError
from pokewatch.files import CSV, PARQUET, read_table
from pokewatch.schema import (
    CARD_COLUMNS,
    OBSERVATION_COLUMNS,
    OPTIONAL_PRICES,
    VALUES,
    Delivery,
    parse_dates,
    product_ids,
)
from pokewatch.sources import About

ABOUT = About(
    serves="whatever a CSV or Parquet file of yours holds, or a folder of them (--path)",
    currency="USD, or what its column 'currency', a header or --currency says",
    history="all dates in the file",
    limits="none",
)
PRICES = ["market_price", *OPTIONAL_PRICES]
VALUE_COLUMNS = [*OBSERVATION_COLUMNS, "currency"]
TARGETS = [*VALUE_COLUMNS, *CARD_COLUMNS[1:-1], "tcgdex_id"]


def fetch(
    path: Path,
    on: date | None = None,
    columns: dict[str, str] | None = None,
    id_template: str | None = None,
    currency: str | None = None,
) -> Delivery:
    """Return every row of a file as observations, and its cards.

    path: ``.csv`` (also ``.csv.gz``) or ``.parquet``.
    on: the rows of that date only; for a file without dates, the date of all rows.
    columns: our column -> the file's column, for files with other names.
    id_template: how a card_id is made of the file's columns, ``"{set}|{name}"`` (``build_ids``).
    currency: that of all prices; default: what the file says, else USD.
    Raises UsageError for a missing file or column, for prices that may mean two numbers and for
    columns that say another language, currency or grade, SourceError for a file that cannot be
    read.
    """
    frame = read_table(path, None if "date" in (columns or {}) else on)
    given = set(frame.columns)
    mapping = {name: name for name in TARGETS if name in given} | check_mapping(
        columns or {}, given, path
    )
    data = pd.DataFrame({target: frame[column] for target, column in mapping.items()})
    for column in data.select_dtypes("object"):
        texts = [one for one in data[column].unique() if isinstance(one, str)]
        if blanks := {one: one.strip() for one in texts if one != one.strip()}:
            data[column] = data[column].map(lambda cell, known=blanks: known.get(cell, cell))
    if path.name.lower().endswith(CSV):
        data = _plain_numbers(data, path, frame.attrs["delimiter"] == ",")
    prices = [mapping[name] for name in PRICES if name in mapping]
    named = {currency_in(name) for name in prices} | {frame.attrs.get("currency", "")}
    data = _in_currency(data, named - {""}, currency, path)
    used = set(mapping.values())
    if "printing" in data:
        names = {one: printing_of(one) or one for one in data["printing"].dropna().unique()}
        data["printing"] = data["printing"].map(names)
    if id_template is not None:
        data["card_id"], fields = build_ids(frame, id_template, path)
        used |= fields
    elif "card_id" not in data and {"product_id", "printing"} <= set(data.columns):
        product = product_ids(data["product_id"]).astype("string")
        joined = product + ":" + data["printing"].astype("string")
        data["card_id"] = joined.astype("object").where(joined.notna(), None)
    if "date" not in data and on is not None:
        data["date"] = pd.Timestamp(on)
    missing = [name for name in ("card_id", "date", "market_price") if name not in data]
    if missing:
        raise UsageError(
            f"'{path}' has no column for {', '.join(missing)} among {', '.join(sorted(given))}: "
            "name it with --map OURS=THEIRS, build ids with --id, or give the day with --date"
        )
    if on is not None:
        # An unreadable date stays in: quality has to say what is wrong with it.
        days = parse_dates(data["date"])
        data = data[days.isna() | (days == pd.Timestamp(on))]
    ignored = sorted(given - used)
    for name in ignored:
        _check_ignored(name, frame[name], path)
    notes = [f"columns not used: {', '.join(ignored)}"] if ignored else []
    observations = data[[name for name in VALUE_COLUMNS if name in data]]
    return Delivery(observations, source="file", cards=card_rows(data), notes=notes)


def _check_ignored(name: str, column: pd.Series, path: Path) -> None:
    """Refuse a column that is not read and says that prices are other ones than they seem."""
    if column.dtype != "object" and not kind_of(name, ()):
        return
    cells = [str(one) for one in column.dropna().unique()]
    kind = kind_of(name, cells)
    if kind in ("grade", "language", "currency") and (found := told(kind, cells)):
        mend = "take those rows out, or make the column a part of the ids with --id"
        raise UsageError(
            f"column '{name}' of '{path}' looks like {kind} and says {found!r}, and prices here "
            f"are of ungraded English cards in USD: "
            f"{f'--map currency={name}' if kind == 'currency' else mend}"
        )


def _plain_numbers(data: pd.DataFrame, path: Path, by_comma: bool) -> pd.DataFrame:
    """Return data with a decimal point in all numbers; UsageError where the mark is unclear.

    by_comma: commas part the file's columns, so that a lone point is a decimal one.
    """
    cells = {name: data[name].dropna().unique() for name in VALUES if name in data}
    mark = decimal_mark(cells.values())
    commas = any("," in one for column in cells.values() for one in column)
    if mark == "." or (not mark and by_comma and not commas):
        return data
    out = data.copy()
    for name, column in cells.items():
        meant = {one: readings(one) for one in column}
        unclear = [one for one, found in meant.items() if len(found) > 1 and "." in one]
        if unclear and not mark:
            raise UsageError(
                f"{unclear[0]!r} in column '{name}' of '{path}' may be thousands or decimals: "
                "write prices with a decimal point and no other mark"
            )
        if mark:
            plain = {one: f"{of.get(mark, min(of.values()))}" for one, of in meant.items() if of}
            out[name] = data[name].map(lambda cell, plain=plain: plain.get(cell, cell))
    return out


def _in_currency(
    data: pd.DataFrame, named: set[str], currency: str | None, path: Path
) -> pd.DataFrame:
    """Return data with ``currency`` where prices are not in USD; named: by headers, comments."""
    code = one_currency(currency or "", named, f"prices of '{path}'")
    if code and "currency" in data:
        column = set(data["currency"].dropna().astype(str).str.upper())
        code = one_currency(code, column, f"prices of '{path}'")
    return data if code in ("", "USD") else data.assign(currency=code)


def one_currency(given: str, said: set[str], what: str) -> str:
    """Return the currency that the user gave or a file said, "" for none; UsageError for two."""
    code = given.upper()
    if code and code not in CODES:
        raise UsageError(f"--currency '{given}' is none: write one of {', '.join(sorted(CODES))}")
    found = {code, *said} - {""}
    if len(found) > 1:
        raise UsageError(f"{what} are in {' and '.join(sorted(found))}: one is wrong")
    return found.pop() if found else ""


def files(folder: Path, on: date | None = None) -> list[Path]:
    """Return a folder's CSV and Parquet files by name; UsageError where there is none.

    on: without the Parquet files whose statistics say that they hold nothing of that date.
    """
    endings = (*PARQUET, *CSV)
    found = sorted(path for path in folder.iterdir() if path.name.lower().endswith(endings))
    if not found:
        raise UsageError(f"'{folder}' holds no file that ends in {', '.join(endings)}")
    return [path for path in found if on is None or _may_hold(path, on)]


def _may_hold(path: Path, on: date) -> bool:
    """Return whether a file may have rows of a date; False only where its own statistics say so."""
    try:
        found = ds.dataset(path, format="parquet")
        if not pa.types.is_date(found.schema.field("date").type):
            return True
        of_day = pc.field("date") == on
        return any(part.split_by_row_group(of_day) for part in found.get_fragments())
    except (OSError, KeyError, pa.ArrowException):  # CSV too; reading a broken file says what it is
        return True


def check_mapping(columns: dict[str, str], given: set[str], path: Path) -> dict[str, str]:
    """Return the mapping; UsageError for a target that we do not know or a column not there."""
    unknown = sorted(set(columns) - set(TARGETS))
    if unknown:
        raise UsageError(
            f"--map names the unknown column {', '.join(unknown)}: known are {', '.join(TARGETS)}"
        )
    absent = sorted(set(columns.values()) - given)
    if absent:
        raise UsageError(
            f"--map names {', '.join(absent)}, which '{path}' does not have: its columns are "
            f"{', '.join(sorted(given))}"
        )
    return columns


def build_ids(frame: pd.DataFrame, template: str, path: Path) -> tuple[pd.Series, set[str]]:
    """Return card ids built by ``template``, and the columns it uses.

    ``product:printing`` is written as services name the card; all others are lower-cased.
    """
    try:
        pieces = [(text, field) for text, field, _, _ in Formatter().parse(template)]
    except ValueError as error:
        raise UsageError(f"--id '{template}' is no template: {error}") from error
    fields = {field for _, field in pieces if field is not None}
    absent = sorted(fields - set(frame.columns))
    if absent or not fields:
        wrong = f"names {', '.join(repr(a) for a in absent)}" if absent else "names no column"
        raise UsageError(
            f"--id '{template}' {wrong}: write columns of '{path}' in braces, it has "
            f"{', '.join(sorted(frame.columns))}"
        )
    ids = pd.Series("", index=frame.index, dtype="string")
    for text, field in pieces:
        ids += text
        if field is not None:
            ids += frame[field].astype("string")  # a missing value makes the id missing
    spelt = {one: _spelt(one) for one in ids.dropna().unique()}
    return ids.map(spelt).astype("object").where(ids.notna(), None), fields


def _spelt(card_id: str) -> str:
    product, _, printing = card_id.partition(":")
    if product.isdecimal() and printing:
        return f"{product}:{printing_of(printing) or printing}"
    return card_id.lower()


def card_rows(data: pd.DataFrame) -> pd.DataFrame:
    """Return the cards of a file, one row a distinct description."""
    rows = data[[name for name in (*CARD_COLUMNS, "tcgdex_id") if name in data]].drop_duplicates()
    names = rows.get("tcgdex_id", pd.Series(index=rows.index, dtype="object"))
    aliases = [[] if pd.isna(name) else [str(name)] for name in names]
    return rows.assign(aliases=aliases).reindex(columns=CARD_COLUMNS)
