"""A table's content as one hash: the same for the same rows, in whatever order and files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pokewatch.store.tables import TABLES, Store

NULL = np.uint64(0x9E3779B97F4A7C15)


def content_hash(store: Store, table: str = "prices", version: int | None = None) -> str:
    """Return the hash of a stored table's rows, that of no rows while it does not exist."""
    snapshot = store.snapshot(table, version)
    if snapshot.handle is None:
        return hash_rows([])[0]
    schema = TABLES[table]
    batches = snapshot.dataset.to_batches(columns=schema.names)
    return hash_rows(batch.cast(schema) for batch in batches)[0]


def hash_rows(batches: Iterable[pa.RecordBatch]) -> tuple[str, int]:
    """Return hash and number of rows.

    Each row becomes 64 bits, and rows are added up in two ways, so that their order is of no
    account but how often each comes is. Finds damage and loss; it is no signature. NumPy and
    pandas may change their own hashes, and back-ups outlive them: hence this one.
    """
    total, mixed, count = np.uint64(0), np.uint64(0), 0
    with np.errstate(over="ignore"):
        for batch in batches:
            rows = np.zeros(len(batch), dtype=np.uint64)
            for column in batch.columns:
                rows = _mix(rows * np.uint64(31) + _bits(column))
            total += rows.sum(dtype=np.uint64)
            mixed += _mix(rows ^ NULL).sum(dtype=np.uint64)
            count += len(rows)
    return f"{count}-{int(total):016x}{int(mixed):016x}", count


def _bits(column: pa.Array) -> np.ndarray:
    """Return 64 bits of each value; equal values of a type have equal bits."""
    kind = column.type
    missing = pc.is_null(column).to_numpy(zero_copy_only=False)
    if pa.types.is_list(kind):  # only the aliases of the cards
        texts = [None if value is None else "\x1f".join(value) for value in column.to_pylist()]
        column, kind = pa.array(texts, pa.string()), pa.string()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        coded = column.dictionary_encode()
        known = np.array([_text(value) for value in coded.dictionary.to_pylist()], dtype=np.uint64)
        codes = pc.fill_null(coded.indices, 0).to_numpy(zero_copy_only=False)
        bits = known[codes] if len(known) else np.zeros(len(column), dtype=np.uint64)
    elif pa.types.is_floating(kind):
        numbers = pc.fill_null(column, 0.0).to_numpy(zero_copy_only=False).astype(np.float64)
        bits = np.where(np.isnan(numbers), np.nan, numbers + 0.0).view(np.uint64)
    else:
        width = pa.int32() if pa.types.is_date32(kind) else pa.int64()
        whole = pc.fill_null(column.cast(width), 0).to_numpy(zero_copy_only=False)
        bits = whole.astype(np.int64).view(np.uint64)
    return np.where(missing, NULL, _mix(bits))


def _text(value: str) -> int:
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "little")


def _mix(bits: np.ndarray) -> np.ndarray:
    """Scatter 64 bits (the finaliser of splitmix64, Steele and others 2014)."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
