"""The user's own cards: ``watchlist.yaml`` read, checked line by line, and valued."""

from __future__ import annotations

import contextlib
import datetime
import math
import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pokewatch.cards.catalog import Catalog
from pokewatch.cards.columns import UNGRADED
from pokewatch.cards.spelling import plain
from pokewatch.errors import UsageError
from pokewatch.evaluation import stored
from pokewatch.models.panel import Panel
from pokewatch.settings import Settings
from pokewatch.sources.simulated import FIRST_PRODUCT
from pokewatch.store.tables import Snapshot, Store
from pokewatch.watchlist import graded

SPANS = (1, 7, 30)  # days over which a value's change is shown
WRITTEN = (
    "tag:yaml.org,2002:null",
    "tag:yaml.org,2002:merge",
)  # what plain values may be but texts
EXAMPLE = "write each card as '- {card: sv4pt5-1, quantity: 2, cost: 12.50}'"
SOLD = "write each sale as '- {sold: sv4pt5-1, quantity: 1, price: 20.00, date: 2025-01-31}'"


class Condition(StrEnum):
    """How a copy looks; prices are the market's near-mint prices."""

    near_mint = "near_mint"
    lightly_played = "lightly_played"
    moderately_played = "moderately_played"
    heavily_played = "heavily_played"
    damaged = "damaged"


CONDITIONS = dict(zip(("nm", "lp", "mp", "hp", "dmg"), Condition, strict=True))
CONDITIONS |= {name.replace("_", ""): name for name in Condition}
ADVICE = {
    "card": "write an id or alias, in quotes",
    "quantity": "write a whole number from 1 on",
    "cost": "write it as 12.50",
    "target_above": "write it above 0, as 12.50",
    "target_below": "write it above 0, as 12.50",
    "condition": "write NM, LP, MP, HP or DMG",
    "grade": "write it as PSA 10",
    "note": "put it in quotes",
    "bought": "write the day as 2025-01-31",
    "buy_fees": "write it as 12.50",
    "sold": "write an id or alias, in quotes",
    "price": "write what a copy brought as 12.50",
    "date": "write the day of the sale as 2025-01-31",
    "sale_fees": "write it as 12.50",
}
FIRST_DAY = datetime.date(1996, 1, 1)  # of the year of the first cards
AMOUNTS = ("cost", "target_above", "target_below", "buy_fees")


class Loader(yaml.SafeLoader):
    """Reads every value as the text that is written, but for null: YAML 1.1 makes 010 an 8."""


Loader.yaml_implicit_resolvers = {
    first: kept
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (kept := [one for one in known if one[0] in WRITTEN])
}


def condition_of(text: str) -> Condition | None:
    """Return the condition meant by ``near_mint``, ``Near Mint``, ``NM`` and the like, or None."""
    word = re.sub(r"[\W_]+", "", text.casefold())
    return CONDITIONS.get(word)


class Entry(BaseModel):
    """Copies that one has, a line of the watchlist: a lot, if they were bought together.

    Amounts are in the currency of the home's prices: ``cost`` is what one copy cost, ``buy_fees``
    what all of them cost on top.
    """

    model_config = ConfigDict(
        extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False, str_strip_whitespace=True
    )

    card: str = Field(min_length=1)
    quantity: int = Field(default=1, ge=1, le=10**9)
    cost: float | None = Field(default=None, ge=0)
    note: str = ""
    condition: Condition = Condition.near_mint
    grade: str = ""  # PSA 10; "" for a card that is not graded
    target_above: float | None = Field(default=None, gt=0)
    target_below: float | None = Field(default=None, gt=0)
    bought: datetime.date | None = None
    buy_fees: float | None = Field(default=None, ge=0)

    @field_validator("condition", mode="before")
    @classmethod
    def _spelt(cls, value: Any) -> Any:
        return (condition_of(value) or value) if isinstance(value, str) else value

    @field_validator("grade")
    @classmethod
    def _ungraded(cls, value: str) -> str:
        return "" if plain(value) in UNGRADED else value

    @field_validator("bought", "date", mode="before", check_fields=False)
    @classmethod
    def _day(cls, value: Any) -> Any:
        if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            raise ValueError("it is no date")  # a number would be taken for seconds since 1970
        return value

    @field_validator("bought", "date", check_fields=False)
    @classmethod
    def _past(cls, value: datetime.date | None) -> datetime.date | None:
        now = datetime.datetime.now(tz=datetime.UTC).date()
        if value and not FIRST_DAY <= value <= now + datetime.timedelta(days=1):  # time zones
            raise ValueError(f"it is still to come, or before {FIRST_DAY:%Y}")
        return value

    @field_validator("price", "buy_fees", "sale_fees", check_fields=False)
    @classmethod
    def _to_the_cent(cls, value: float | None) -> float | None:
        if value is not None and not whole_cents(value):
            raise ValueError("it has a part of a cent")
        return value

    @field_validator("quantity", *AMOUNTS, "price", "sale_fees", mode="before", check_fields=False)
    @classmethod
    def _number(cls, value: Any) -> Any:
        """Take a text for a number only where every reader would take it for the same one."""
        if isinstance(value, bool) or value in ("true", "false"):
            raise ValueError("a number is wanted")
        if isinstance(value, str) and re.match(r"[-+]?0\d", value):
            raise ValueError("a zero stands before the number")
        if isinstance(value, str) and re.search(r"\d[eE_]", value):
            raise ValueError("Input should be a valid number")
        return value

    @model_validator(mode="after")
    def _apart(self) -> Entry:
        above, below = self.target_above, self.target_below
        if above is not None and below is not None and above <= below:
            raise ValueError(
                f"target_above={above:g} must be more than target_below={below:g}: "
                "swap them, or leave one out"
            )
        return self


class Sale(Entry):
    """Copies of one lot that were sold: ``price`` is what one brought, ``sale_fees`` what all cost.

    In the file ``sold`` stands in place of ``card``; the other fields are those of the lot.
    """

    card: str = Field(min_length=1, alias="sold")
    price: float = Field(ge=0)
    date: datetime.date
    sale_fees: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _bought_before(self) -> Sale:
        if self.bought and self.bought > self.date:
            raise ValueError(
                f"sold on {self.date}, before it was bought on {self.bought}: mend one"
            )
        return self


FIELDS = list(Entry.model_fields)


def cents(usd: float) -> int:
    """Return an amount as it is written, in whole cents."""
    return int((Decimal(repr(float(usd))) * 100).to_integral_value(ROUND_HALF_UP))


def whole_cents(usd: float) -> bool:
    """Return whether an amount has no part of a cent."""
    return math.isfinite(usd) and cents(usd) == Decimal(repr(float(usd))) * 100


def exact_cents(name: str, usd: float) -> int:
    """Return an amount in cents; UsageError that names it for one that has a part of a cent."""
    if whole_cents(usd):
        return cents(usd)
    raise UsageError(f"{name} {usd:g} is no amount in cents: write it as 12.50")


def entry(here: str, fields: Mapping[str, Any], lines: Mapping[str, int] | None = None) -> Entry:
    """Return a checked entry; UsageError names ``here``, the field, its value and what to write.

    fields: with ``sold`` they are those of a ``Sale``. lines: where each field stands in the file;
    named where it is known.
    """
    kind, example = (Sale, SOLD) if "sold" in fields else (Entry, EXAMPLE)
    try:
        return kind.model_validate({k: v for k, v in fields.items() if v is not None})
    except ValidationError as error:
        first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if lines:
        here += f" (line {lines.get(field, lines[''])})"
    if first["type"] == "extra_forbidden":
        known = ", ".join(one.alias or name for name, one in kind.model_fields.items())
        raise UsageError(f"{here}: unknown field '{field}', known are {known}")
    if first["type"] == "missing":
        raise UsageError(f"{here}: '{field}' is missing; {example}")
    problem = first["msg"].removeprefix("Value error, ")
    if not field:
        raise UsageError(f"{here}: {problem}")
    advice = f"; {ADVICE[field]}" if field in ADVICE else ""
    given = first["input"]
    shown = given if re.fullmatch(r"-?\d+(\.\d+)?", str(given)) else repr(given)
    raise UsageError(f"{here}: {field}={shown}: {problem}{advice}")


def load(path: Path) -> list[Entry]:
    """Read what a watchlist says one has; an empty file is an empty list.

    Raises UsageError that names the file, the entry with its line, and what to write.
    """
    return held(parse(read(path), path.name))


def held(entries: Iterable[Entry | None]) -> list[Entry]:
    """Return the entries that are no sales, and that are not removed (None)."""
    return [one for one in entries if one is not None and not isinstance(one, Sale)]


def read(path: Path) -> str:
    """Return the file's text as it is, line ends too; UsageError where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"there is no '{path.name}' yet: {EXAMPLE}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"'{path.name}' cannot be read: {error}") from error


def parse(text: str, name: str) -> list[Entry]:
    """Return the entries and sales of a watchlist's text in its order; name: the file's."""
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        values = loader.construct_document(node) if node else None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise UsageError(f"'{name}'{where} is no YAML ({problem}): {EXAMPLE}") from error
    if values is None:
        return []
    if not isinstance(values, list) or not isinstance(node, yaml.SequenceNode):
        raise UsageError(f"'{name}' must be a list of cards: {EXAMPLE}")
    return [
        _entry(f"'{name}', entry {number}", item, value)
        for number, (item, value) in enumerate(zip(node.value, values, strict=True), start=1)
    ]


def _entry(here: str, node: yaml.Node, value: object) -> Entry:
    line = node.start_mark.line + 1
    if not isinstance(value, dict) or not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{here} (line {line}) is {value!r}: {EXAMPLE}")
    lines = {"": line}
    for key, _ in node.value:
        if key.value in lines:
            line = key.start_mark.line + 1
            raise UsageError(f"{here} (line {line}): '{key.value}' is there twice: keep one")
        lines[key.value] = key.start_mark.line + 1
    return entry(here, value, lines)


def is_simulated(card: str) -> bool:
    """Return whether an id or alias can only be one of the simulated market."""
    return bool(re.fullmatch(r"sim\d+-\d+", card)) or card.split(":")[0] in {
        str(FIRST_PRODUCT + number) for number in range(1000)
    }


def holdings(
    entries: list[Entry], catalog: Catalog, panel: Panel, medians: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Value the watchlist on the panel's last day, one row an entry, in its order.

    Returns columns card (as written), card_id, quantity, cost, note, condition, target_above,
    target_below, bought, buy_fees, paid (for all copies, with fees), price, value, gain (USD; all
    of them at near-mint prices), age (days since the price was observed), value_1, value_7,
    value_30 (value that many days ago, NaN where unknown), grade and problem: why an entry has no
    price, else None. A graded card has the price of its grade in ``graded.medians``, or none.
    """
    columns = {card_id: column for column, card_id in enumerate(panel.card_ids)}
    held = pd.DataFrame([one.model_dump(mode="json") for one in entries], columns=FIELDS)
    amounts = dict.fromkeys(AMOUNTS, "float64")
    held = held.astype({"quantity": "int64", **amounts})
    ids: list[str | None] = []
    problems: list[str | None] = []
    for text, grade in zip(held["card"], held["grade"], strict=True):
        card_id, problem = None, None
        try:
            card_id = catalog.resolve(text)
            known = medians is not None and graded.name(card_id, grade) in medians.index
            if grade and not (known and card_id in columns):
                problem = f"'{text}' is graded {grade}: not valued, prices are of ungraded cards"
            elif card_id not in columns:
                problem = f"no accepted price up to {panel.dates[-1]:%Y-%m-%d} for '{text}'"
        except UsageError as error:
            problem = str(error)
        ids.append(card_id)
        problems.append(problem)
    held["card_id"] = pd.Series(ids, dtype="object")
    slabs = held["grade"] != ""
    at = [-1 if no else columns.get(one, -1) for one, no in zip(ids, slabs, strict=True)]
    held["paid"] = held["quantity"] * held["cost"] + held["buy_fees"].fillna(0)
    held["price"] = np.append(panel.price[-1], np.nan)[at]  # -1: the NaN at the end
    held["age"] = np.append(panel.age[-1], np.nan)[at]
    if medians is not None and slabs.any():
        slabs &= np.array([problem is None for problem in problems])
        names = [*map(graded.name, held["card_id"][slabs], held["grade"][slabs])]
        sold = medians.reindex(names).set_axis(held.index[slabs])
        held.loc[slabs, "price"] = sold["price"]
        held.loc[slabs, "age"] = (panel.dates[-1] - sold["day"]).dt.days.clip(lower=0)
    held["value"] = held["quantity"] * held["price"]
    held["gain"] = held["value"] - held["paid"]
    for span in SPANS:
        then = np.append(panel.price[-1 - span], np.nan)[at] if span < len(panel.dates) else np.nan
        held[f"value_{span}"] = held["quantity"] * then
    held["problem"] = pd.Series(problems, dtype="object")
    first = ["card", "card_id", "quantity", "cost", "note", "condition"]
    return held[[*first, *held.columns.drop(first)]]


def valued(
    settings: Settings,
    entries: list[Entry],
    snapshot: Snapshot | None = None,
    catalog: Catalog | None = None,
) -> tuple[pd.DataFrame, pd.Timestamp]:
    """Return ``holdings`` on the store's last day, and that day; reads the watched cards only.

    snapshot: of the prices, default the newest; catalog: default the store's cards.
    """
    store = Store.from_settings(settings)
    catalog = catalog or Catalog(store.cards())
    watched: set[str] = set()
    for held in entries:
        with contextlib.suppress(UsageError):
            watched.add(catalog.resolve(held.card))
    snapshot, priced = snapshot or store.snapshot("prices"), partial(stored.priced, settings)
    last = store.last_day(snapshot=snapshot)
    first = (last or FIRST_DAY) - datetime.timedelta(days=max(SPANS))
    prices = store.recent_prices(snapshot, watched, first, priced)
    if last is None or prices.empty:
        day = pd.Timestamp.now(tz="UTC").tz_localize(None).normalize()
        nothing = np.empty((1, 0))
        empty = (np.array([], dtype=object), *[nothing] * 5, pd.DataFrame())
        panel = Panel(pd.DatetimeIndex([day]), *empty)
    else:
        day, panel = pd.Timestamp(last), Panel.from_prices(prices, until=last)
    return holdings(entries, catalog, panel, graded.medians(settings, day)), day


def totals(held: pd.DataFrame, day: pd.Timestamp) -> dict[str, Any]:
    """Return the sums of a valued watchlist: date, copies, and value, cost and gain in USD.

    An amount is None where it is known of no entry. Graded copies of no known price are left out;
    where there are any, ``graded`` counts them.
    """
    counted = held[(held["grade"] == "") | held["price"].notna()]
    sums = {
        "value": counted["value"].sum(min_count=1),
        "cost": counted["paid"].sum(min_count=1),
        "gain": counted["gain"].sum(min_count=1),
    }
    copies = int(counted["quantity"].sum())
    graded = {"graded": int(held["quantity"].sum()) - copies} if len(counted) < len(held) else {}
    known = {name: None if pd.isna(usd) else round(usd, 2) for name, usd in sums.items()}
    return {"date": f"{day:%Y-%m-%d}", "copies": copies, **graded, **known}


def crossed(held: pd.DataFrame) -> pd.Series:
    """Return which target each entry's price has reached: ``above``, ``below`` or None."""
    sides = np.select(
        [held["price"] >= held["target_above"], held["price"] <= held["target_below"]],
        ["above", "below"],
        default="",
    )
    return pd.Series(sides, index=held.index, dtype="object").replace("", None)


def total_change(held: pd.DataFrame, span: int) -> float:
    """Return the change in value over ``span`` days of the entries that had a price then."""
    both = held.dropna(subset=["value", f"value_{span}"])
    before = both[f"value_{span}"].sum()
    return float(both["value"].sum() / before - 1) if before > 0 else float("nan")
