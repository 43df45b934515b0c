"""Reads CSV files as collection apps and spreadsheets write them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pokewatch.cards.spelling import printable
from pokewatch.errors import UsageError


@dataclass(frozen=True)
class Table:
    """A file's header, and its rows with the line that each starts on."""

    header: list[str]
    rows: list[tuple[int, list[str]]]
    delimiter: str

    def cell(self, row: list[str], name: str) -> str:
        """Return a cell without what spreadsheets put around and terminals would act on."""
        at = self.header.index(name)
        text = row[at] if at < len(row) else ""
        guarded = re.fullmatch(r'="(.*)"', text)  # Excel's way to keep a number a text
        text = guarded[1] if guarded else text
        return printable(text).strip()


def read(path: Path, known: Callable[[str], bool]) -> Table:
    """Read a CSV file: any usual encoding and delimiter, quoted line breaks, Excel's ``sep=``.

    known: whether a header's name is one we know; the delimiter that gives the most is taken.
    Raises UsageError for what is no CSV file.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"'{path}' cannot be read: {error.strerror or error}") from error
    if b"\0" in raw and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"'{path}' is no CSV file: export the collection as CSV")
    for encoding in ("utf-16" if b"\0" in raw else "utf-8-sig", "cp1252", "latin-1"):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    tried = []
    for delimiter in (",", ";", "\t"):
        try:
            rows = list(_records(text, delimiter))
        except csv.Error as error:
            raise UsageError(f"'{path}' is no CSV file: {error}") from error
        if rows:
            names = rows[0][1]
            tried.append((sum(map(known, names)), len(names), delimiter, rows))
    if not tried:
        raise UsageError(f"'{path}' is empty: export the collection as CSV")
    _, _, delimiter, rows = max(tried, key=lambda one: one[:2])
    return Table(rows[0][1], rows[1:], delimiter)


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    line = 1
    for cells in reader:
        cells = [cell.strip() for cell in cells]
        # Excel's first line may name the delimiter.
        if any(cells) and not (line == 1 and re.match(r"sep=", text, re.IGNORECASE)):
            yield line, cells
        line = reader.line_num + 1


def amount(text: str, decimal: str = ".") -> float:
    """Return the USD of ``$1,234.50``, ``1.234,50`` or ``12,5``.

    decimal: the decimal mark where one mark with three digits after it leaves it open.
    """
    digits = re.sub(r"USD|US\$|\$|['’\s]", "", text.upper())
    at = max(digits.rfind("."), digits.rfind(","))
    if at >= 0:
        mark, tail = digits[at], digits[at + 1 :]
        other = "," if mark == "." else "."
        whole, cut = digits[:at].replace(other, ""), f".{tail}"
        if re.fullmatch(r"\d{1,3}([.,]\d{3})+", whole + mark + tail) and mark in whole:
            whole, cut = whole.replace(mark, ""), tail  # it parts thousands
        elif other not in digits and len(tail) == 3 and mark != decimal and whole != "0":
            cut = tail
        digits = whole + cut
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", digits):
        raise UsageError(f"{text!r} is no amount of USD")
    return float(digits)


def decimal_mark(texts: Iterable[str], default: str) -> str:
    """Return the decimal mark that a column's clear cases show."""
    marks = [found[1] for text in texts if (found := re.search(r"([.,])\d{1,2}\D*$", text))]
    return max(set(marks), key=marks.count) if marks else default
