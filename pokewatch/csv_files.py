"""Reads CSV files as collection apps and spreadsheets write them: rows, amounts, currencies."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from pokewatch import formatting
from pokewatch.errors import UsageError

DELIMITERS = (",", ";", "\t", "|")
LONGEST = 30  # signs of a number
BLANK = {"", "-", "n/a", "na", "null", "none"}
SIGNS = {sign: code for code, sign in formatting.SIGNS.items()}
SIGNS |= {"US$": "USD", "￥": "JPY", "zł": "PLN", "Kč": "CZK", "₽": "RUB", "C$": "CAD"}
SIGNS |= {"AU$": "AUD", "NT$": "TWD"}
CODES = {*SIGNS.values(), "CHF", "SEK", "NOK", "DKK", "HUF", "RON", "BGN", "ISK", "UAH", "TRY"}
CODES |= {"ILS", "ZAR", "CNY", "RMB", "THB", "IDR", "MYR", "PHP", "VND", "CLP", "COP", "ARS"}
CURRENCY_WORDS = {"EURO": "EUR", "EUROS": "EUR", "YEN": "JPY", "REAIS": "BRL", "DOLLARS": "USD"}
# Codes that are words as well: in a comment they name a currency in capitals or after "in" only.
WORDS = re.compile(
    r"(?<!\bin )(?<!currency )(?<!currency: )"
    r"\b([Aa]rs|[Cc]ad|[Cc]op|[Hh]uf|[Ii]ls|[Nn]ok|[Pp]hp|[Rr]on|[Ss]ek|[Tt]ry)\b"
)
FORMULA = re.compile("[=+\\-@\\t\\n\uff1d\uff0b\uff0d\uff20]")  # what a spreadsheet runs
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_SIGNS = {sign.upper(): code for sign, code in SIGNS.items()}
_SIGN = "|".join(map(re.escape, sorted(SIGNS, key=len, reverse=True)))


@dataclass(frozen=True)
class Table:
    """A file's header, and its rows with the line that each starts on.

    problems: by line, rows whose cells cannot be told apart; comments: rows that start with #.
    """

    header: list[str]
    rows: list[tuple[int, list[str]]]
    delimiter: str = ","
    problems: list[tuple[int, str]] = field(default_factory=list)
    comments: list[tuple[int, str]] = field(default_factory=list)

    def column(self, name: str) -> list[str]:
        """Return the cells of a column."""
        at = self.header.index(name)
        return [cells[at] for _, cells in self.rows]

    @property
    def currency(self) -> str:
        """The currency that a comment names, "" where none does."""
        named = (currency_in(WORDS.sub("", text)) for _, text in self.comments)
        return next(filter(None, named), "")


def read(path: Path, known: Callable[[str], bool] = bool) -> Table:
    """Read a CSV file: any usual encoding and delimiter, quoted line breaks, Excel's ``sep=``.

    known: whether a header's name is one we know; the delimiter that gives the most is taken.
    Blank cells after the header's last are no cells. Raises UsageError for what is no CSV file.
    """
    text, skipped = _text(path), 0
    if named := re.match(r'"?sep=([,;|\t])"?[,;|\t" ]*(\r\n|\r|\n|$)', text, re.IGNORECASE):
        text, skipped = text[named.end() :], 1
    tried = [
        (one, next((cells for _, cells, _ in _records(text, one) if _is_header(cells)), []))
        for one in ([named[1]] if named else DELIMITERS)
    ]
    delimiter, _ = max(tried, key=lambda one: (sum(map(known, one[1])), len(one[1])))
    records = [
        (line + skipped, cells, problem)
        for line, cells, problem in _records(text, delimiter)
        if any(cells) or problem
    ]
    comments: list[tuple[int, str]] = []
    while records and _is_comment(records[0][1], len(records[1][1]) if records[1:] else 0):
        line, cells, _ = records.pop(0)
        comments.append((line, " ".join(cells)))
    if not records:
        raise UsageError(f"'{path}' is empty: export it as CSV, with a header")
    line, header, problem = records[0]
    if problem or any(len(name.splitlines()) > 1 and delimiter in name for name in header):
        raise UsageError(f"'{path}', line {line}: {problem or 'a quote swallows the header'}")
    while header and not header[-1]:
        header.pop()
    header = [" ".join(name.split()) or f"column {at}" for at, name in enumerate(header, start=1)]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UsageError(f"'{path}' has the column '{twice[0]}' twice: rename or delete one")
    table = Table(header, [], delimiter, comments=comments)
    widths = Counter(len(cells) for _, cells, problem in records[1:] if not problem)
    usual = max(widths, key=lambda one: widths[one], default=0)
    filled = all(
        cells[len(header) - 1] for _, cells, _ in records[1:] if len(header) <= len(cells) == usual
    )
    for line, cells, problem in records[1:]:
        if not problem and _is_comment(cells, len(header)):
            comments.append((line, " ".join(cells).strip()))
        elif problem := problem or _misfit(cells, len(header), usual, filled, delimiter):
            table.problems.append((line, problem))
        else:
            table.rows.append((line, cells[: len(header)]))
    return table


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.name.lower().endswith(".gz") else raw
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"'{path}' cannot be read: {reason}; export it again") from error
    if b"\0" in raw and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"'{path}' is no CSV file: export it as CSV")
    for encoding in ("utf-16" if b"\0" in raw else "utf-8-sig", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Yield each row's first line, its cells, and what is wrong with its quotes."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    while True:
        line, cells, problem = reader.line_num + 1, [], ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"up to line {reader.line_num}, a quote is open or misplaced ({error})"
        yield line, [_cell(cell) for cell in cells], problem


def _cell(text: str) -> str:
    """Return a cell without what spreadsheets put around and terminals would act on."""
    text = text.strip()
    guarded = re.fullmatch(r'="(.*)"', text)  # Excel's way to keep a number a text
    if guarded:
        return guarded[1].strip()
    guarded = re.match("'+", text)  # that keeps a spreadsheet from running what follows
    return text[1:] if guarded and FORMULA.match(text, guarded.end()) else text


def _is_header(cells: list[str]) -> bool:
    """Return whether a row may tell the delimiter: one with a remark's commas does not."""
    return any(cells) and not re.match(r"#.*\w", cells[0])


def _is_comment(cells: list[str], width: int) -> bool:
    """Return whether a row is a remark such as ``# as of May``, and not as wide as the others.

    What begins with the number of a card, such as ``#4``, is none.
    """
    if not cells or not re.match(r"#(?!\w*\d)", cells[0]):
        return False
    return len(cells) < width or not any(cells[1:])


def _misfit(cells: list[str], width: int, usual: int, filled: bool, delimiter: str) -> str:
    """Return why a row's cells cannot be told apart: their number, or one that holds other rows.

    width: of the header; usual: of most rows; filled: whether those have no blank last cell, so
    that a blank one beyond it is none of theirs that was moved.
    """
    beyond = any(cells[width:]) or (len(cells) > usual and not filled)
    if beyond or len(cells) < width or (len(cells) < usual and not cells[-1]):
        others = "" if usual == width else f", most rows {usual}"
        return f"it has {len(cells)} cells, the header {width}{others}"
    for cell in cells:
        lines = cell.splitlines()
        if len(lines) > 1 and cell.count(delimiter) >= width - 1:
            return f"a quoted cell runs over {len(lines)} lines and looks like rows"
    return ""


def currency_in(text: str) -> str:
    """Return the currency that a header or a comment names, as in ``price_brl``, "" if none."""
    for word in header_words(text):
        found = word.upper()
        if found in CODES or found in CURRENCY_WORDS:
            return CURRENCY_WORDS.get(found, found)
    sign = re.search(_SIGN, text)
    return SIGNS[sign[0]] if sign else ""


def without_currency(name: str) -> str:
    """Return a header without the currency it names."""
    words = [word for word in header_words(name) if not currency_in(word)]
    return " ".join(word for word in words if word.casefold() != "in" or len(words) == 1)


def header_words(text: str) -> list[str]:
    """Return the words of a header: those of ``Preis (EUR)``, ``price_eur`` and ``priceEUR``."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return re.findall(r"[^\W_]+", parted)


def currency_of(text: str) -> tuple[str, str]:
    """Return the currency beside an amount, and the amount: of ``12,50 €`` EUR and ``12,50``.

    The currency is "" where there is none, ``?`` where it is not known.
    """
    number = re.search(r"[\d.,](?:[\d.,'’\s]*[\d.,])?", text)
    if not number:
        return "", text
    sign = (text[: number.start()] + text[number.end() :]).strip().upper().strip(".")
    if not sign:
        return "", number[0]
    found = _SIGNS.get(sign) or CURRENCY_WORDS.get(sign) or (sign if sign in CODES else "")
    if not found and not re.fullmatch(r"[^\W\d_]{1,4}|[^\w\s()+\-=*/%&|<>~]", sign):
        return "", text  # no currency, and so no amount
    return found or "?", number[0]


def readings(text: str) -> dict[str, float]:
    """Return what a number may mean, by the decimal mark: ``1.234`` is 1.234 or 1234.

    The mark is "" where the number shows none; an empty answer: it is no number.
    """
    found: dict[str, float] = {}
    if len(text) > LONGEST:
        return found
    if single := re.fullmatch(r"(?=.*\d)(\d*)([.,]?)(\d*)", text):
        found[single[2]] = float(f"{single[1]}.{single[3]}")
    grouped = re.fullmatch(r"([1-9]\d{0,2}([.,'’\s])\d{3}(?:\2\d{3})*)(?:([.,])(\d*))?", text)
    indian = re.fullmatch(r"([1-9]\d?(?:(,)\d\d)+,\d{3})(?:(\.)(\d*))?", text)
    if (parted := grouped or indian) and parted[2] != parted[3]:
        mark = parted[3] or {".": ",", ",": "."}.get(parted[2], "")
        found[mark] = float(f"{re.sub('[^0-9]', '', parted[1])}.{parted[4] or ''}")
    return found


def amount(text: str, decimal: str = "") -> float:
    """Return the number of ``1,234.50``, ``1.234,50``, ``$12`` or ``12,5``.

    decimal: the file's decimal mark, "" where nothing shows it. Raises UsageError for what is no
    amount, and for one that may mean two numbers.
    """
    currency, number = currency_of(text)
    found = readings(number)
    if not found or currency not in ("", "USD"):
        raise UsageError(f"{text!r} is no amount")
    if len(found) > 1 and decimal not in found:
        either = " or ".join(f"{one:g}" for one in sorted(found.values()))
        raise UsageError(f"{text!r} is unclear, {either}: write it with two decimals")
    return found[decimal] if len(found) > 1 else next(iter(found.values()))


def decimal_mark(columns: Iterable[Iterable[str]]) -> str:
    """Return the decimal mark that the columns of numbers among these show, "" if none or both.

    A column with one other text is no column of numbers.
    """
    marks: set[str] = set()
    for cells in columns:
        shown: set[str] = set()
        for cell in {cell for cell in cells if cell.casefold() not in BLANK}:
            found = readings(currency_of(cell.lstrip("-+").rstrip("% "))[1])
            if not found:
                break
            shown |= set(found) if len(found) == 1 else set()
        else:
            marks |= shown
    marks.discard("")
    return marks.pop() if len(marks) == 1 else ""


def days(text: str) -> dict[str, date]:
    """Return what a day may mean, by the order of its parts: ``03/04/2025`` as dmy and as mdy.

    The order is "" where there is but one; a time of the day is not read. An empty answer: it is
    no day.
    """
    text = re.sub(r"[T\s]+\d{1,2}:\d\d.*$", "", text.strip())
    found: dict[str, tuple[int, int, int]] = {}
    if iso := re.fullmatch(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})", text):
        found[""] = int(iso[1]), int(iso[3]), int(iso[4])
    elif parted := re.fullmatch(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d\d)", text):
        first, second, year = int(parted[1]), int(parted[3]), int(parted[4])
        found["dmy"] = year, second, first
        if parted[2] != ".":
            found["mdy"] = year, first, second
    elif named := re.fullmatch(r"([A-Za-z]{3,9}|\d{1,2})\.?[- ](\w+)\.?,?[- ](\d{4}|\d\d)", text):
        words = sorted([named[1].lower(), named[2].lower()], key=str.isalpha)  # the number first
        if words[0].isdigit() and words[1][:3] in MONTHS:
            found[""] = int(named[3]), MONTHS.index(words[1][:3]) + 1, int(words[0])
    out: dict[str, date] = {}
    for order, (year, month, day) in found.items():
        try:
            out[order] = date(year + 2000 if year < 100 else year, month, day)
        except ValueError:
            continue
    return out


def day_order(cells: Iterable[str]) -> str:
    """Return the order of day and month that a column shows: dmy or mdy, "" if none or both."""
    shown = {next(iter(found)) for cell in cells if len(found := days(cell)) == 1} - {""}
    return shown.pop() if len(shown) == 1 else ""


def day(text: str, order: str = "") -> date:
    """Return the day that a text means; order: that of the file, "" where nothing shows it.

    Raises UsageError for what is no day, and for one that may mean two.
    """
    found = days(text)
    if not found:
        raise UsageError(f"{text!r} is no day: write it as 2025-01-31")
    if len(set(found.values())) > 1 and order not in found:
        either = " or ".join(f"{one}" for one in sorted(found.values()))
        raise UsageError(f"{text!r} is unclear, {either}: write it as 2025-01-31")
    return found.get(order, next(iter(found.values())))
