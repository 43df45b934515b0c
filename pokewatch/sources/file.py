"""Prices from a CSV or Parquet file, with its columns mapped to ours."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from string import Formatter

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pokewatch.errors import SourceError, UsageError
from pokewatch.schema import CARD_COLUMNS, OBSERVATION_COLUMNS, Delivery

TARGETS = [*OBSERVATION_COLUMNS, *CARD_COLUMNS[1:-1], "tcgdex_id"]


def fetch(
    path: Path,
    on: date | None = None,
    columns: dict[str, str] | None = None,
    id_template: str | None = None,
) -> Delivery:
    """Return every row of a file as observations, and its cards.

    path: ``.csv`` (also ``.csv.gz``) or ``.parquet``.
    on: the rows of that date only; for a file without dates, the date of all rows.
    columns: our column -> the file's column, for files with other names.
    id_template: how a card_id is made of the file's columns, ``"{set}|{name}"``; lower-cased.
    Raises UsageError for a missing file or column, SourceError for a file that cannot be read.
    """
    frame = read(path)
    given = set(frame.columns)
    mapping = {name: name for name in TARGETS if name in given} | check_mapping(
        columns or {}, given, path
    )
    data = pd.DataFrame({target: frame[column] for target, column in mapping.items()})
    used = set(mapping.values())
    if id_template is not None:
        data["card_id"], fields = build_ids(frame, id_template, path)
        used |= fields
    elif "card_id" not in data and {"product_id", "printing"} <= set(data.columns):
        product = (
            pd.to_numeric(data["product_id"], errors="coerce").astype("Int64").astype("string")
        )
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
        days = pd.to_datetime(data["date"], errors="coerce", format="mixed", utc=True)
        data = data[days.isna() | (days.dt.date == on)]
    ignored = sorted(given - used)
    notes = [f"columns not used: {', '.join(ignored)}"] if ignored else []
    observations = data[[name for name in OBSERVATION_COLUMNS if name in data]]
    return Delivery(observations, source="file", cards=card_rows(data), notes=notes)


def read(path: Path) -> pd.DataFrame:
    """Return the file as it is: CSV fields as text, Parquet columns with their own types."""
    if not path.is_file():
        raise UsageError(f"file '{path}' does not exist: check --path")
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            return plain(pq.read_table(path), path).to_pandas()
        if name.endswith((".csv", ".csv.gz")):
            return pd.read_csv(path, dtype=str, encoding="utf-8-sig", skipinitialspace=True)
    except (OSError, ValueError, pa.ArrowException, EOFError) as error:
        raise SourceError(f"'{path}' cannot be read: {error}; export it again") from error
    raise UsageError(f"'{path}' is no CSV or Parquet file: its name must end in .csv or .parquet")


def plain(table: pa.Table, path: Path) -> pa.Table:
    """Return a table of plain columns: dictionaries decoded, bytes as text, ids as text.

    Raises UsageError for a nested column, which could only be guessed at.
    """
    for number, column in enumerate(table.schema):
        kind = column.type
        if pa.types.is_nested(kind):
            raise UsageError(f"column '{column.name}' of '{path}' is nested: export plain columns")
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or column.name == "card_id":
            kind = pa.string()
        if pa.types.is_decimal(kind):
            kind = pa.float64()
        if kind != column.type:
            table = table.set_column(number, column.name, table.column(number).cast(kind))
    return table


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
    """Return lower-cased card ids built by ``template``, and the columns it uses."""
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
    ids = pd.Series("", index=frame.index, dtype="object")
    complete = pd.Series(True, index=frame.index)
    for text, field in pieces:
        ids += text
        if field is not None:
            complete &= frame[field].notna()
            ids += frame[field].astype("string").fillna("").astype("object")
    return ids.str.lower().where(complete, None), fields


def card_rows(data: pd.DataFrame) -> pd.DataFrame:
    """Return the cards of a file, one row a distinct description."""
    known = [name for name in CARD_COLUMNS if name in data]
    aliases = ["tcgdex_id"] if "tcgdex_id" in data else []
    rows = data[known + aliases].drop_duplicates().copy()
    names = rows["tcgdex_id"] if aliases else pd.Series(None, index=rows.index)
    rows["aliases"] = [[] if pd.isna(name) else [str(name)] for name in names]
    return rows.reindex(columns=CARD_COLUMNS)
