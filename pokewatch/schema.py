"""The frames that travel between modules: column names, types and the delivery."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

KEY = ["card_id", "date"]
OPTIONAL_PRICES = ["low_price", "mid_price", "high_price"]
VALUES = ["market_price", *OPTIONAL_PRICES, "volume"]
PRIOR = "prior-"  # begins the ``model`` of the prior's predictions
CHANCES = ("p_rise", "p_fall")  # of a good move; null where no past tells
HORIZONS = (1, 7, 14, 30)
SIGNAL_HORIZON = 7  # days ahead of the signals that a report shows
MODEL = "fair_value"
HISTORY = "pokemonpricetracker_history"  # the source of past days that are filled later
FEW = 100  # times; more of them are mostly the same few
SIMULATED = "simulated"  # the source whose prices are invented, and labelled so

_utc = pa.timestamp("us", tz="UTC")
_observation = [
    ("card_id", pa.string()),
    ("date", pa.date32()),
    *((name, pa.float64()) for name in VALUES),
    ("source", pa.string()),
    ("collected_at", _utc),
]

# Columns that earlier versions did not have: a table or file without them reads as null.
ADDED = frozenset({"accepted_at", "made_at", "basis", *CHANCES})
# When a price became known, see ``on_time``.
_accepted = ("accepted_at", _utc)

# `month` (YYYY-MM) partitions the prices, so that a night rewrites at most one month's files.
PRICES_SCHEMA = pa.schema([*_observation, _accepted, ("month", pa.string())])
CARDS_SCHEMA = pa.schema(
    [
        ("card_id", pa.string()),
        ("name", pa.string()),
        ("set_name", pa.string()),
        ("number", pa.string()),
        ("rarity", pa.string()),
        ("printing", pa.string()),
        ("product_kind", pa.string()),
        ("product_id", pa.int64()),
        ("release_date", pa.date32()),
        ("aliases", pa.list_(pa.string())),
    ]
)
QUARANTINE_SCHEMA = pa.schema(
    [
        ("quarantine_id", pa.string()),
        *_observation,
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("status", pa.string()),
        ("raw", pa.string()),
        ("quarantined_at", _utc),
        _accepted,
    ]
)
PREDICTIONS_SCHEMA = pa.schema(
    [
        ("card_id", pa.string()),
        ("date", pa.date32()),
        ("horizon", pa.int32()),
        ("market_price", pa.float64()),
        ("fair_value", pa.float64()),
        ("lower", pa.float64()),
        ("upper", pa.float64()),
        ("deviation", pa.float64()),
        ("signal", pa.string()),
        ("reason", pa.string()),
        ("thin", pa.bool_()),
        ("stale", pa.bool_()),
        ("model", pa.string()),
        ("data_version", pa.int64()),
        ("made_at", _utc),
        *((name, pa.float64()) for name in CHANCES),
        ("basis", pa.string()),  # a hash of all that they come from, see ``evaluation.stored``
    ]
)

OBSERVATION_COLUMNS = [name for name, _ in _observation]
STORED_COLUMNS = [*OBSERVATION_COLUMNS, "accepted_at"]
CARD_COLUMNS: list[str] = CARDS_SCHEMA.names
PREDICTION_COLUMNS = [n for n in PREDICTIONS_SCHEMA.names if n not in ("made_at", "basis")]


def on_time(collected_at: pd.Series, day: pd.Series) -> pd.Series:
    """Return when prices became known that needed no other one to be believed.

    That is when they were collected, at the latest the end of their day (UTC): history that is
    delivered later counts as if each day had come in time. day: datetime64, NaT stays NaT.
    """
    end = (
        pd.to_datetime(day) + pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)
    ).dt.tz_localize("UTC")
    return collected_at.where(collected_at <= end, end).astype("datetime64[us, UTC]")


def typed(rows: Any, types: Mapping[str, str]) -> pd.DataFrame:
    """Return rows (records or columns) as a frame with these columns, typed also where it is empty.

    types: NumPy's or pandas' name of each column's type.
    """
    frame = pd.DataFrame(rows, columns=list(types))
    return frame if len(frame) else frame.astype(dict(types))


def empty_cards() -> pd.DataFrame:
    """Return a card frame without rows, columns ``CARD_COLUMNS``."""
    return pd.DataFrame({column: pd.Series(dtype="object") for column in CARD_COLUMNS})


def product_ids(values: pd.Series) -> pd.Series:
    """Return TCGplayer's product ids as Int64; what is no whole number above 0 becomes missing."""
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    whole = (numbers > 0) & (numbers < 2**53) & (numbers % 1 == 0)
    return numbers.where(whole).astype("Int64")


def parse_dates(values: pd.Series) -> pd.Series:
    """Return UTC calendar days as datetime64[us]; what cannot be read becomes NaT."""
    return parse_times(values).dt.tz_localize(None).dt.normalize()


def parse_times(values: pd.Series) -> pd.Series:
    """Return UTC timestamps; times without a zone are UTC, what cannot be read becomes NaT."""
    if values.dtype == "object" and len(values) > FEW:
        with suppress(TypeError):  # what is no text may be a list, which cannot be looked up
            number, known = pd.factorize(values)
            if len(known) < len(values) // 2:
                parsed = parse_times(pd.Series(known, dtype="object"))
                return parsed.reindex(pd.Index(number)).set_axis(values.index)
    if pd.api.types.is_numeric_dtype(values):  # a bare number is no date: refuse to guess its unit
        return pd.Series(pd.NaT, index=values.index, dtype="datetime64[us, UTC]")
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        parsed = values.dt.tz_convert("UTC")
    elif isinstance(values.dtype, np.dtype) and values.dtype.kind == "M":
        parsed = values.dt.tz_localize("UTC")
    elif pd.api.types.is_datetime64_any_dtype(values):  # such as Arrow's
        parsed = pd.to_datetime(values, errors="coerce", utc=True)
    else:
        text = values.where(values.isna(), values.astype("string")).astype("string").str.strip()
        text = text.where(
            text.str.match(r"\d{4}[-/]\d{2}[-/]\d{2}")
        )  # "now" and "2025" are no days
        parsed = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601")
        slashed = parsed.isna() & values.notna()
        if slashed.any():  # pokemontcg.io writes YYYY/MM/DD
            again = pd.to_datetime(text[slashed], errors="coerce", utc=True, format="%Y/%m/%d")
            parsed = parsed.fillna(again)
    if parsed.dt.unit != "ns":  # longer units reach years that nanoseconds and Python do not
        parsed = parsed.where(parsed.dt.year.between(1678, 2261))
    return parsed.astype("datetime64[us, UTC]")


def stack(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the frames below each other; empty ones have no say in the column types."""
    filled = [frame for frame in frames if len(frame)] or frames[:1]
    return (
        filled[0].reset_index(drop=True)
        if len(filled) == 1
        else pd.concat(filled, ignore_index=True)
    )


def has_key(frame: pd.DataFrame, other: pd.DataFrame) -> np.ndarray:
    """Return which rows of ``frame`` have a (card_id, date) that ``other`` has too."""
    index = pd.MultiIndex.from_frame(frame[KEY])
    return np.asarray(index.isin(pd.MultiIndex.from_frame(other[KEY])))


@dataclass
class Delivery:
    """What a source hands over, exactly as received.

    observations: one row an observation with any of ``OBSERVATION_COLUMNS``; values may be
        wrong, missing or of another type, because quality decides about each row.
        ``collected_at`` may be missing: the moment of collection is filled in. A column
        ``currency`` tells prices that are not USD.
    cards: what is known about the cards, columns ``CARD_COLUMNS`` (any may be missing).
    source: the source's name, filled in where a row carries none.
    notes: what a person should know (ignored columns, groups that failed).
    failed: groups or cards that were asked for and did not come, after all tries.
    unpriced: cards that came without any price.
    withdrawn: card_id -> aliases that turned out to be another card's.
    elsewhere: what it tells of Cardmarket's cards, which are kept apart.
    """

    observations: pd.DataFrame
    source: str
    cards: pd.DataFrame = field(default_factory=empty_cards)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unpriced: list[str] = field(default_factory=list)
    withdrawn: dict[str, set[str]] = field(default_factory=dict)
    elsewhere: pd.DataFrame = field(default_factory=empty_cards)


@dataclass(frozen=True)
class Wanted:
    """What a source is asked for when only a part of a day is missing.

    cards: the cards to ask for, columns ``CARD_COLUMNS``.
    complete_sets: names of sets that need not be asked for again. A set that is in neither was
        never seen and is asked for by sources that deliver whole sets.
    """

    cards: pd.DataFrame
    complete_sets: frozenset[str] = frozenset()
