"""The one spelling of what people and services write in many ways: names, numbers, ids."""

from __future__ import annotations

import re
import unicodedata
from typing import Any
from urllib.parse import unquote

SIGNS = str.maketrans({"♀": " f ", "♂": " m ", "★": " star ", "☆": " star ", "'": "", "’": ""})
SLASHED = r"#?[a-z]*\d+[a-z]*/[a-z]*\d+[a-z]*"  # a number with its set's size
PRINTINGS = (
    "Normal",
    "Holofoil",
    "Reverse Holofoil",
    "Unlimited",
    "Unlimited Holofoil",
    "1st Edition",
    "1st Edition Holofoil",
)
NORMAL_PRINTINGS = {
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
    "1steditionnormal": "1stedition",
    "firsteditionholo": "1steditionholofoil",
    "firsteditionholofoil": "1steditionholofoil",
    "1steditionholo": "1steditionholofoil",
    "unlimitednormal": "unlimited",
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


def printable(text: str) -> str:
    """Return a text without signs that a terminal would act on."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def plain(text: str) -> str:
    """Return a text without case, accents and punctuation; the signs of Pokémon become letters."""
    return " ".join(re.findall(r"[^\W_]+", unaccented(text.translate(SIGNS))))


def unaccented(text: str) -> str:
    """Return a text without case and accents."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", re.sub(r"[\u0300-\u036f]", "", parts)).casefold()


def words_of(text: str) -> list[str]:
    """Return a text's words in order: ``Charizard ex - 054/091`` is charizard, ex, 54/91."""
    words = []
    for part in re.split(f"({SLASHED})", text.translate(SIGNS), flags=re.IGNORECASE):
        if re.fullmatch(SLASHED, part, re.IGNORECASE):
            words.append("/".join(number_of(part)))
        else:
            words += [unpadded(word) for word in plain(part).split()]
    return words


def unpadded(text: str) -> str:
    """Return a text whose numbers have no leading zeros."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)


def number_of(text: str) -> tuple[str, str]:
    """Return a card's number and the set's size, without leading zeros: ``("4", "102")``."""
    first, _, total = text.strip().lstrip("#").casefold().partition("/")
    return unpadded(first.strip()), unpadded(total.strip())


def normal_printing(text: str) -> str:
    """Return the one spelling of a printing: ``Reverse Holo`` is ``reverseholofoil``."""
    word = plain(text).replace(" ", "")
    return NORMAL_PRINTINGS.get(word, word)


def printing_of(name: Any) -> str | None:
    """Return which of ``PRINTINGS`` a service's ``reverse-holofoil`` means, None if none."""
    return _printings.get(normal_printing(name)) if isinstance(name, str) else None


def normal_alias(text: str) -> str:
    """Return the one spelling of an alias: ``sv4pt5-001`` and ``sv04.5-001`` are ``sv4.5-1``."""
    text = unquote(text.strip()).lower()  # TCGdex writes the Unown "?" as exu-%3F
    text = re.sub(r"(?<=\d)pt(?=\d)", ".", text)
    text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)
    name, dash, number = text.rpartition("-")
    return f"{SETS_ELSEWHERE.get(name, name)}{dash}{number}"


def set_of(alias: str) -> str:
    """Return the normal id of the set that an alias such as ``sv4pt5-001`` lies in."""
    return normal_alias(alias).rpartition("-")[0]


def normal_set(set_id: str) -> str:
    """Return the one spelling of a set's id: ``sv4pt5`` and ``sv04.5`` are ``sv4.5``."""
    return set_of(f"{set_id}-1")


_printings = {normal_printing(name): name for name in PRINTINGS}
