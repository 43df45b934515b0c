"""The one spelling of what people and services write in many ways: names, numbers, ids."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

SIGNS = str.maketrans({"♀": " f ", "♂": " m ", "★": " star ", "☆": " star ", "'": "", "’": ""})
PRINTINGS = {
    "nonholo": "normal",
    "nonholofoil": "normal",
    "nonfoil": "normal",
    "regular": "normal",
    "standard": "normal",
    "holo": "holofoil",
    "foil": "holofoil",
    "reverse": "reverseholofoil",
    "reverseholo": "reverseholofoil",
    "reversefoil": "reverseholofoil",
    "firstedition": "1stedition",
    "firsteditionholo": "1steditionholofoil",
    "firsteditionholofoil": "1steditionholofoil",
    "1steditionholo": "1steditionholofoil",
    "unlimitedholo": "unlimitedholofoil",
}
# Sets that pokemontcg.io names otherwise than TCGdex, beyond zeros and the "pt" of a half set.
SETS_ELSEWHERE = {
    "base6": "lc",
    "bp": "bog",
    "cel25c": "cel25cc",
    "fut20": "fut2020",
    "hsp": "hgssp",
    "pgo": "swsh10.5",
    "rsv10.5": "sv10.5w",
    "sm35": "sm3.5",
    "sm75": "sm7.5",
    "swsh35": "swsh3.5",
    "swsh45": "swsh4.5",
    "swsh45sv": "swsh4.5sv",
    "zsv10.5": "sv10.5b",
}


def plain(text: str) -> str:
    """Return a text without case, accents and punctuation; the signs of Pokémon become letters."""
    return " ".join(re.findall(r"[^\W_]+", unaccented(text.translate(SIGNS))))


def unaccented(text: str) -> str:
    """Return a text without case and accents."""
    parts = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", re.sub(r"[\u0300-\u036f]", "", parts)).casefold()


def printing_of(text: str) -> str:
    """Return the one spelling of a printing: ``Reverse Holo`` is ``reverseholofoil``."""
    word = plain(text).replace(" ", "")
    return PRINTINGS.get(word, word)


def number_of(text: str) -> tuple[str, str]:
    """Return a card's number and the set's size, without leading zeros: ``("4", "102")``."""
    first, _, total = text.strip().lstrip("#").casefold().partition("/")
    return (
        re.sub(r"(?<!\d)0+(?=\d)", "", first.strip()),
        re.sub(r"(?<!\d)0+(?=\d)", "", total.strip()),
    )


def normal_alias(text: str) -> str:
    """Return the one spelling of an alias: ``sv4pt5-001`` and ``sv04.5-001`` are ``sv4.5-1``."""
    text = unquote(text.strip()).lower()  # TCGdex writes the Unown "?" as exu-%3F
    text = re.sub(r"(?<=\d)pt(?=\d)", ".", text)
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)
    name, dash, number = text.rpartition("-")
    return f"{SETS_ELSEWHERE.get(name, name)}{dash}{number}"
