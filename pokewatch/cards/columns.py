"""Columns of a file that change what its rows are worth, whatever they are called."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pokewatch.cards.spelling import plain
from pokewatch.csv_files import header_words

# Our field: what headers of such columns look like.
LOOKS_LIKE = {
    "grade": r"\b(grad\w*|psa|bgs|cgc|sgc|slab\w*)\b(?!.*\b(price|value|pop|population)\b)",
    "language": r"\b(lang\w*|sprach\w*|idioma\w*|lingua\w*|taal|jezyk)\b",
    "currency": r"\b(currenc\w*|wahrung\w*|waehrung\w*|devise\w*|moneda|valuta|moeda)\b",
    "quantity": r"\b(quant\w*|qty|counts?|copies|owned|inventory|in stock|playsets?|anzahl|menge"
    r"|stuck\w*|stk|exempl\w*|cantidad|pcs|pieces|aantal|antal|ilosc)\b",
}
GRADE = re.compile(
    r"\b(PSA|BGS|BVG|CGC|SGC|TAG|ACE)[\s:-]*(10|[1-9])([.,]\d)?(?![\w/])", re.IGNORECASE
)
UNGRADED = {"", "ungraded", "raw", "none", "no", "na", "n a", "null", "0", "false"}
ENGLISH = {"", "en", "eng", "english", "englisch", "anglais", "ingles", "inglese", "en us", "en gb"}
USD = {"", "usd", "us", "dollar", "dollars", "us dollar", "us dollars"}
GRANTED = {"grade": UNGRADED, "language": ENGLISH, "currency": USD, "quantity": {"", "1"}}


def kind_of(name: str, cells: Iterable[str]) -> str:
    """Return grade, language, currency or quantity, whatever a column looks like, or ""."""
    header = plain(" ".join(header_words(name)))
    found = next((kind for kind, like in LOOKS_LIKE.items() if re.search(like, header)), "")
    return found or ("grade" if any(GRADE.search(cell) for cell in cells) else "")


def told(kind: str, cells: Iterable[str], granted: set[str] | None = None) -> str:
    """Return the first cell that tells more than what is taken for granted, or ""."""
    usual = granted or GRANTED[kind]
    return next((cell for cell in cells if plain(cell) not in usual), "")
