"""Writes ``watchlist.yaml``: whole entries and single fields; the rest of the text stays."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pokewatch.cards.catalog import Resolver
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.watchlist.entries import Condition, Entry, entry, parse, read, resolved

HEADER = "# Your cards; 'pokewatch watch --help' shows how to add, remove, list and import them.\n"
BY_HAND = "the file is as it was: edit it by hand"
Lot = tuple[str, Condition, float | None]


class _Dumper(yaml.SafeDumper):
    """Writes one line whatever a text holds."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = '"' if text and text.splitlines() != [text] else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(fields: dict[str, Any]) -> str:
    """Return fields as one line of YAML in braces; no value can end it."""
    return yaml.dump(
        fields,
        Dumper=_Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=math.inf,
    ).strip("\n")


def fields_of(one: Entry) -> dict[str, Any]:
    """Return what is to be written of an entry, in the order in which people read it."""
    fields: dict[str, Any] = {"card": one.card, "quantity": one.quantity}
    if one.condition is not Condition.near_mint:
        fields["condition"] = one.condition.value
    for name in ("cost", "target_above", "target_below"):
        if getattr(one, name) is not None:
            fields[name] = getattr(one, name)
    return fields | ({"note": one.note} if one.note else {})


def lot(one: Entry, resolver: Resolver) -> Lot:
    """Return what makes two entries the same: the card, its condition and what it cost."""
    try:
        card = resolved(resolver, one.card)
    except UsageError:
        card = one.card.casefold()
    return card, one.condition, one.cost


def matching(entries: list[Entry], card: str, resolver: Resolver) -> list[int]:
    """Return the numbers, from 0, of a card's entries, whichever of its names they use."""
    written = [one for one in entries if one.card.casefold() == card.strip().casefold()]
    wanted = {lot(one, resolver)[0] for one in written or [Entry(card=card)]}
    return [at for at, one in enumerate(entries) if lot(one, resolver)[0] in wanted]


def merged(old: Entry, new: Entry) -> Entry:
    """Return one entry for two of the same lot: copies add up, new targets replace old ones."""
    values = old.model_dump() | {"quantity": old.quantity + new.quantity}
    for name in ("target_above", "target_below"):
        if getattr(new, name) is not None:
            values[name] = getattr(new, name)
    if new.note and new.note not in old.note:
        values["note"] = f"{old.note}; {new.note}" if old.note else new.note
    return entry(f"'{old.card}'", values)


def add(path: Path, entries: Iterable[Entry], resolver: Resolver, dry: bool = False) -> int:
    """Add entries to a watchlist, which is made where there is none.

    The same card, condition and cost become one entry. dry: check everything, write nothing.
    Returns how many of the file's entries got more copies.
    """
    before = read(path) if path.exists() else ""
    text = before or HEADER
    have = parse(text, path.name)
    known: dict[Lot, int] = {}
    for number, one in enumerate(have):
        known.setdefault(lot(one, resolver), number)
    now = list(have)
    for one in entries:
        number = known.setdefault(lot(one, resolver), len(now))
        if number == len(now):
            now.append(one)
        else:
            now[number] = merged(now[number], one)
    changes = {
        number: {k: v for k, v in fields_of(new).items() if fields_of(old).get(k) != v}
        for number, (old, new) in enumerate(zip(have, now[: len(have)], strict=True))
        if old != new
    }
    text = append(change(text, changes), now[len(have) :])
    _check(text, path, now)
    if not dry:
        save(path, before, text)
    return len(changes)


def remove(path: Path, numbers: Iterable[int]) -> None:
    """Remove entries, counted from 0, with the lines they stand on; other comments stay."""
    before = read(path)
    gone = set(numbers)
    kept = [one for at, one in enumerate(parse(before, path.name)) if at not in gone]
    node = _list(before)
    column = node.start_mark.column if node else 0
    starts = [
        token.start_mark.index - column
        for token in yaml.scan(before, Loader=yaml.SafeLoader)
        if isinstance(token, yaml.BlockEntryToken) and token.start_mark.column == column
    ]
    text = before
    for number in sorted(gone, reverse=True):
        end = _end(node.value[number]) if node else 0
        if text[end - 1] != "\n":  # a block scalar ends on the next line
            found = text.find("\n", end)
            end = len(text) if found < 0 else found + 1
        text = text[: starts[number]] + text[end:]
    _check(text, path, kept)
    save(path, before, text)


def append(text: str, entries: list[Entry]) -> str:
    """Return the text with entries after its last line, indented as the others."""
    if not entries:
        return text
    node = _list(text)
    column = 0
    if node is not None and not node.value:  # an empty list is written as []
        text = text[: node.start_mark.index] + text[node.end_mark.index :]
    elif node is not None:
        column = node.start_mark.column
    newline = _newline(text)
    if text and not text.endswith("\n"):
        text += newline
    return text + "".join(f"{' ' * column}- {dump(fields_of(one))}{newline}" for one in entries)


def change(text: str, changes: dict[int, dict[str, Any]]) -> str:
    """Return the text with fields set: number of an entry, counted from 0 -> field -> value."""
    node = _list(text) if changes else None
    edits: list[tuple[int, int, str]] = []
    for number, fields in changes.items():
        item = node.value[number] if node else None
        there = {key.value: (key, value) for key, value in item.value} if item else {}
        for name, value in fields.items():
            pair = dump({name: value})[1:-1]
            if name in there:
                key, old = there[name]
                edits.append((key.start_mark.index, old.end_mark.index, pair))
            elif item:
                key, card = there["card"]
                at = card.end_mark.index
                gap = _newline(text) + " " * key.start_mark.column
                edits.append((at, at, (", " if item.flow_style else gap) + pair))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def save(path: Path, before: str, after: str) -> None:
    """Replace the file's text at once; the text before is kept beside it as ``.bak``.

    Raises UsageError where somebody else has written the file meanwhile.
    """
    target = path.resolve()  # a link stays a link
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        draft.write_bytes(after.encode("utf-8"))
        if target.exists():
            shutil.copymode(target, draft)
            shutil.copy2(target, target.with_name(f"{target.name}.bak"))
        if (read(target) if target.exists() else "") != before:
            raise UsageError(f"'{path.name}' was changed meanwhile: do it again")
        draft.replace(target)
    except OSError as error:
        raise PokewatchError(f"'{path}' could not be written: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


def _check(text: str, path: Path, wanted: list[Entry]) -> None:
    """Refuse a text that would not read as wanted: no edit of ours may change other lines."""
    try:
        found = parse(text, path.name)
    except UsageError as error:
        raise UsageError(f"'{path.name}' has a form that cannot be edited: {BY_HAND}") from error
    if found != wanted:
        raise UsageError(f"'{path.name}' has a form that cannot be edited: {BY_HAND}")


def _list(text: str) -> yaml.SequenceNode | None:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
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
