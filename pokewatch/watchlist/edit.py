"""Edits ``watchlist.yaml``: entries are added, changed and removed, every other line stays.

The text is cut at the places that PyYAML reports. A round trip through ruamel.yaml would lose line
breaks in quoted texts, comments before ``---`` and the indentation of single entries.
"""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from pokewatch.cards.catalog import Catalog
from pokewatch.cards.spelling import plain
from pokewatch.errors import UsageError
from pokewatch.files import atomic_write
from pokewatch.watchlist.entries import Condition, Entry, Loader, Sale, entry, held, parse, read

HEADER = "# Your cards; 'pokewatch watch --help' shows how to add, remove, list and import them.\n"
BY_HAND = "the file is as it was: edit it by hand"
UNEDITABLE = f"has a form that cannot be edited: {BY_HAND}"
Lot = tuple[str, Condition, str, float | None, date | None]
Edit = tuple[int, int, str]  # from, to, what is written there
WRITTEN = "quantity price date sale_fees cost buy_fees bought condition grade"
WRITTEN += " target_above target_below note"


class _Dumper(yaml.SafeDumper):
    """Writes one line whatever a text holds."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if text and text.splitlines() != [text] else None
    ),
)


def dump(fields: dict[str, Any]) -> str:
    """Return fields as one line of YAML in braces; no value can end it."""
    text = yaml.dump(
        fields,
        Dumper=_Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=math.inf,
    )
    return text.strip("\n")


def fields_of(one: Entry) -> dict[str, Any]:
    """Return what is to be written of an entry, in the order in which people read it."""
    given = one.model_dump(exclude_defaults=True) | {"quantity": one.quantity}
    if "condition" in given:
        given["condition"] = one.condition.value
    known = {name: given[name] for name in WRITTEN.split() if name in given}
    return {"sold" if isinstance(one, Sale) else "card": one.card, **known}


def card_of(one: Entry, catalog: Catalog) -> str:
    """Return the card_id of an entry, or its own text where that means no one card."""
    try:
        return catalog.resolve(one.card)
    except UsageError:
        return one.card.casefold()


def lot(one: Entry, catalog: Catalog) -> Lot:
    """Return what makes two entries the same: the card, condition, grade, cost and day."""
    return card_of(one, catalog), one.condition, plain(one.grade), one.cost, one.bought


def matching(entries: Sequence[Entry | None], card: str, catalog: Catalog) -> list[int]:
    """Return the numbers, from 0, of a card's entries, whichever of its names they use.

    Sales are none of them.
    """
    mine = held(entries)
    written = [one for one in mine if one.card.casefold() == card.strip().casefold()]
    wanted = {card_of(one, catalog) for one in written or [Entry(card=card)]}
    found = {id(one) for one in mine if card_of(one, catalog) in wanted}
    return [at for at, one in enumerate(entries) if id(one) in found]


def merged(old: Entry, new: Entry) -> Entry:
    """Return one entry for two of the same lot: copies add up, new targets replace old ones."""
    values = old.model_dump() | {"quantity": old.quantity + new.quantity}
    for name in ("target_above", "target_below"):
        if getattr(new, name) is not None:
            values[name] = getattr(new, name)
    if new.buy_fees is not None:
        values["buy_fees"] = round((old.buy_fees or 0) + new.buy_fees, 2)
    if new.note and new.note not in old.note.split("; "):
        values["note"] = f"{old.note}; {new.note}" if old.note else new.note
    return entry(f"'{old.card}'", values)


def add(path: Path, entries: Iterable[Entry], catalog: Catalog, dry: bool = False) -> int:
    """Add entries to a watchlist, which is made where there is none.

    The same card, condition, grade, cost and day become one entry. dry: check everything, write
    nothing. Returns how many of the file's entries got more copies.
    """
    before = read(path) if path.exists() else ""
    have = parse(before, path.name)
    now = joined(have, entries, catalog)
    write(path, before, have, now, dry)
    return sum(old != new for old, new in zip(have, now, strict=False))


def joined(
    have: Sequence[Entry | None], more: Iterable[Entry], catalog: Catalog
) -> list[Entry | None]:
    """Return entries with more copies: of a lot that is there in its place, else at the end."""
    now = list(have)
    known: dict[Lot, int] = {}
    for number, one in enumerate(now):
        if one is not None and not isinstance(one, Sale):
            known.setdefault(lot(one, catalog), number)
    for one in more:
        number = known.setdefault(lot(one, catalog), len(now))
        if number == len(now):
            now.append(one)
        else:
            now[number] = merged(now[number] or one, one)
    return now


def remove(path: Path, numbers: Iterable[int]) -> None:
    """Remove entries, counted from 0, with the lines they stand on; other comments stay."""
    before, gone = read(path), set(numbers)
    have = parse(before, path.name)
    write(path, before, have, [None if at in gone else one for at, one in enumerate(have)])


def write(
    path: Path, before: str, have: Sequence[Entry], now: Sequence[Entry | None], dry: bool = False
) -> None:
    """Give a watchlist other entries in one step; all that is not changed stays to the letter.

    before: the file's text; have: its entries; now: for each of them what it becomes, None to
    remove it, and then those to append. dry: check everything, write nothing. Raises UsageError for
    a file that cannot be edited or was changed meanwhile.
    """
    text = before or HEADER
    node, edits = _list(text), list[Edit]()
    places = _places(text, node) if None in now[: len(have)] else []
    if None in now[: len(have)] and len(places) != len(have):
        raise UsageError(f"'{path.name}' {UNEDITABLE}")
    for at, (old, new) in enumerate(zip(have, now, strict=False)):
        if node and new is None:
            edits.append((*places[at], ""))
        elif node and new and old != new:
            fields = {k: v for k, v in fields_of(new).items() if fields_of(old).get(k) != v}
            edits += _changes(text, node.value[at], fields)
    for first, last, written in sorted(edits, reverse=True):
        text = text[:first] + written + text[last:]
    text = append(text, [one for one in now[len(have) :] if one is not None], node)
    _check(text, path, [one for one in now if one is not None])
    if not dry:
        save(path, before, text)


def append(text: str, entries: list[Entry], node: yaml.SequenceNode | None = None) -> str:
    """Return the text with entries after its last line, indented as the others.

    node: the list that the text began as.
    """
    if not entries:
        return text
    indent, newline = "", _newline(text)
    if node and node.value:
        indent = " " * node.start_mark.column
    elif node:  # an empty list is written as []
        text = text[: node.start_mark.index] + text[node.end_mark.index :]
    if text and not text.endswith("\n"):
        text += newline
    return text + "".join(f"{indent}- {dump(fields_of(one))}{newline}" for one in entries)


def _places(text: str, node: yaml.SequenceNode | None) -> list[tuple[int, int]]:
    """Return from where to where each entry's own lines reach; comments between them are none's.

    None of them where a text looks like the beginning of an entry.
    """
    if node is None:
        return []
    dash = rf"(?<![^\n\ufeff]){' ' * node.start_mark.column}-(?!\S)"
    starts = [found.start() for found in re.finditer(dash, text)]
    if len(starts) != len(node.value):
        return []
    out = []
    for start, item in zip(starts, node.value, strict=True):
        end = _end(item)
        if text[end - 1] != "\n":  # a block scalar ends on the next line
            end = text.find("\n", end) + 1 or len(text)
        out.append((start, end))
    return out


def _changes(text: str, item: yaml.MappingNode, fields: dict[str, Any]) -> list[Edit]:
    """Return what to write where for an entry to have these fields."""
    there = {key.value: (key.start_mark, value.end_mark) for key, value in item.value}
    known = there.get("sold") or there.get("card")
    if known is None:  # it comes from another entry, by a merge key
        raise UsageError(f"the list {UNEDITABLE}")
    start, end = known
    gap = ", " if item.flow_style else _newline(text) + " " * start.column
    edits = []
    for name, value in fields.items():
        pair = dump({name: value})[1:-1]
        if name in there:
            edits.append((there[name][0].index, there[name][1].index, pair))
        else:
            edits.append((end.index, end.index, gap + pair))
    return edits


def save(path: Path, before: str, after: str) -> None:
    """Replace the file's text at once; the text before is kept beside it as ``.bak``.

    Raises UsageError where somebody else has written the file meanwhile.
    """
    target = path.resolve()  # a link stays a link
    with atomic_write(target) as draft:
        draft.write_bytes(after.encode("utf-8"))
        if target.exists():
            shutil.copymode(target, draft)
            shutil.copy2(target, target.with_name(f"{target.name}.bak"))
        if (read(target) if target.exists() else "") != before:
            raise UsageError(f"'{path.name}' was changed meanwhile: do it again")


def _check(text: str, path: Path, wanted: list[Entry]) -> None:
    """Refuse a text that would not read as wanted: no edit of ours may change other lines."""
    try:
        same = parse(text, path.name) == wanted
    except UsageError:
        same = False
    if not same:
        raise UsageError(f"'{path.name}' {UNEDITABLE}")


def _list(text: str) -> yaml.SequenceNode | None:
    node = yaml.compose(text, Loader=Loader)
    if not isinstance(node, yaml.SequenceNode):
        return None
    if node.flow_style and node.value:
        raise UsageError(f"the list is in brackets: {BY_HAND}, or start each card with '- '")
    return node


def _end(node: yaml.Node) -> int:
    """Return where a node's own text ends; a block's mark lies after the comments below it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
