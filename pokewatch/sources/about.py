"""What is worth knowing of a source before one asks it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """One source, as ``pokewatch sources`` lists it.

    key_setting: the setting that holds its key, "" for a source without keys. probe: a cheap
    address that answers JSON, "" for a source that is no service.
    """

    serves: str
    currency: str
    history: str
    limits: str
    key_setting: str = ""
    key_needed: bool = False
    probe: str = ""
