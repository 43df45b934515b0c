"""Buys and sales: lots, their gains, and the file that keeps them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokewatch.cards.catalog import Catalog
from pokewatch.errors import UsageError
from pokewatch.schema import CARD_COLUMNS, empty_cards
from pokewatch.watchlist import edit, entries, lots, portfolio
from pokewatch.watchlist.entries import Condition, Entry, Sale

EMPTY = Catalog(empty_cards())
D1, D2, D3 = date(2025, 1, 1), date(2025, 2, 1), date(2025, 3, 1)


def catalog_of(*card_ids: str) -> Catalog:
    cards = pd.DataFrame({"card_id": card_ids}).reindex(columns=CARD_COLUMNS)
    return Catalog(cards.assign(name=[f"Card {one}" for one in card_ids], aliases=None))


KNOWN = catalog_of("a1", "b2")


def sold(now: list[Entry | None]) -> list[Sale]:
    return [one for one in now if isinstance(one, Sale)]


def test_what_was_bought_first_is_sold_first_and_the_undated_before_all() -> None:
    have = [
        Entry(card="a", quantity=2, cost=5, bought=D2),
        Entry(card="a", quantity=2, cost=3, bought=D1, buy_fees=0.99),
        Entry(card="A", quantity=1, cost=1),
    ]
    now = lots.sell(have, EMPTY, "a", 4, 10.0, D3, fees=1.0)
    assert [(one.quantity, one.cost, one.sale_fees) for one in sold(now)] == [
        (1, 1, 0.25),
        (2, 3, 0.5),
        (1, 5, 0.25),
    ]
    assert entries.held(now) == [Entry(card="a", quantity=1, cost=5, bought=D2)]
    table = lots.lots(sold(now), EMPTY)
    assert table["gain"].tolist() == [8.75, 12.51, 4.75]


def test_a_named_lot_is_sold_and_no_other() -> None:
    have = [Entry(card="a", cost=5, bought=D1), Entry(card="a", cost=6, bought=D1), Entry(card="a")]
    now = lots.sell(have, EMPTY, "a", 1, 9.0, D2, lot="2025-01-01@6.00")
    assert [one.cost for one in sold(now)] == [6]
    assert lots.sell(have, EMPTY, "a", 1, 9.0, D2, lot="opening")[2] is None
    with pytest.raises(UsageError, match=r"names several lots: .*2025-01-01@5\.00"):
        lots.sell(have, EMPTY, "a", 1, 9.0, D2, lot="2025-01-01")
    with pytest.raises(UsageError, match="no such copies of 'a': held are 1 x a"):
        lots.sell(have, EMPTY, "a", 1, 9.0, D2, lot="2024-01-01")


def test_more_than_was_held_on_that_day_is_refused() -> None:
    have = [Entry(card="a", quantity=2), Entry(card="a", quantity=5, bought=D2)]
    with pytest.raises(UsageError, match="3 x 'a' cannot be sold, 2 were held on 2025-01-01"):
        lots.sell(have, EMPTY, "a", 3, 1.0, D1)
    assert len(sold(lots.sell(have, EMPTY, "a", 3, 1.0, D2))) == 2
    with pytest.raises(UsageError, match="'z' cannot be sold, the list has no entry of it"):
        lots.sell(have, EMPTY, "z", 1, 1.0, D1)


def test_errors_have_no_signs_that_a_terminal_acts_on() -> None:
    with pytest.raises(UsageError) as caught:
        lots.sell([Entry(card="a", grade="\x1b[2J")], EMPTY, "a", 2, 1.0, D1)
    assert "\x1b" not in str(caught.value)


def test_which_copies_are_meant_is_never_guessed() -> None:
    have = [Entry(card="a"), Entry(card="a", condition="LP"), Entry(card="a", grade="PSA 10")]
    with pytest.raises(UsageError, match="differ in condition: name it with --condition"):
        lots.sell(have, EMPTY, "a", 1, 1.0, D1)
    near_mint = {"condition": Condition.near_mint}
    with pytest.raises(UsageError, match="differ in grade: name it with --grade"):
        lots.sell(have, EMPTY, "a", 1, 1.0, D1, **near_mint)
    now = lots.sell(have, EMPTY, "a", 1, 1.0, D1, **near_mint, grade="psa 10")
    assert [one.grade for one in sold(now)] == ["PSA 10"]


def test_a_file_of_before_is_read_as_opening_lots_and_kept_to_the_letter(tmp_path: Path) -> None:
    path = tmp_path / "watchlist.yaml"
    text = (
        "# mine\n- {card: a, quantity: 3, cost: 1.50, note: n}   # from Ann\n\n- card: b  # other\n"
    )
    path.write_text(text)
    have = entries.parse(text, path.name)
    assert lots.transactions(lots.lots(have, EMPTY))["type"].tolist() == ["opening"] * 2
    edit.write(path, text, have, lots.sell(have, EMPTY, "a", 1, 2.0, D1))
    changed = text.replace("quantity: 3", "quantity: 2")
    line = "- {sold: a, quantity: 1, price: 2.0, date: 2025-01-01, cost: 1.5, note: n}\n"
    assert path.read_text() == changed + line
    assert entries.load(path) == [Entry(card="a", quantity=2, cost=1.5, note="n"), Entry(card="b")]


def test_a_line_becomes_a_sale_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "watchlist.yaml"
    path.write_text(
        "- {sold: 0042, quantity: 2, cost: 3, target_above: 9, price: 5.10, date: 2025-01-31}\n"
    )
    assert entries.load(path) == []
    (one,) = entries.parse(path.read_text(), path.name)
    assert lots.lots([one], EMPTY)["gain"].tolist() == [4.2]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{sold: a, price: 1}", "'date' is missing; write each sale as"),
        ("{sold: a, price: 1, date: 2025-02-30}", "date='2025-02-30'.*write the day of the sale"),
        ("{sold: a, price: 1, date: 20250131}", "date=20250131: it is no date"),
        ("{sold: a, price: 1.005, date: 2025-01-31}", "price=1.005: it has a part of a cent"),
        ("{sold: a, card: a, price: 1, date: 2025-01-31}", "unknown field 'card', known are sold,"),
        ("{card: a, price: 1}", "unknown field 'price', known are card,"),
        ("{card: a, bought: 9999-01-01}", "bought='9999-01-01': it is still to come, or before"),
        ("{card: a, bought: 0001-01-01}", "bought='0001-01-01': it is still to come, or before"),
        (
            "{sold: a, price: 1, date: 2025-01-31, bought: 2025-02-01}",
            "sold on 2025-01-31, before it was bought on 2025-02-01",
        ),
        ("{card: a, bought: yesterday}", "bought='yesterday': it is no date; write the day as"),
    ],
)
def test_mistakes_in_sales_are_named(line: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        entries.parse(f"- {line}\n", "watchlist.yaml")


def test_one_lot_is_one_buy_however_much_of_it_was_sold() -> None:
    have = [Entry(card="a1", quantity=3, cost=10, bought=D1, buy_fees=1.0)]
    now = lots.sell(have, KNOWN, "a1", 1, 12.0, D2, fees=2.0)
    table = lots.transactions(lots.lots(entries_of(now), KNOWN))
    assert table[["type", "quantity", "price", "fees", "amount"]].to_numpy().tolist() == [
        ["buy", 3, 10.0, 1.0, -31.0],
        ["sell", 1, 12.0, 2.0, 10.0],
    ]
    assert table["gain"].tolist()[1] == pytest.approx(10 - 10.33)


def test_a_log_is_applied_day_by_day() -> None:
    trades = [
        Sale(sold="a1", quantity=2, price=9.0, date=D2),
        Sale(sold="a1", quantity=1, price=9.0, date=D1),
        Entry(card="a1", quantity=2, cost=4.0, bought=D1),
        Sale(sold="b2", quantity=1, price=9.0, date=D3),
    ]
    now, problems = lots.apply([], trades, KNOWN)
    assert [(one.date, one.quantity) for one in sold(now)] == [(D1, 1)]
    assert sorted(problems) == [0, 3]
    assert "1 were held on 2025-02-01" in problems[0]
    now, problems = lots.apply([], trades, KNOWN, gone=True)
    assert [type(one) for one in now] == [Sale] * 3
    assert list(problems) == [2]
    assert "--gone takes only sales" in problems[2]


def test_an_entry_that_has_its_card_from_another_is_not_edited(tmp_path: Path) -> None:
    path = tmp_path / "watchlist.yaml"
    text = "- &x {card: a1, quantity: 2}\n- {<<: *x, cost: 3}\n"
    path.write_text(text)
    have = entries.parse(text, path.name)
    with pytest.raises(UsageError, match="cannot be edited"):
        edit.write(path, text, have, lots.sell(have, KNOWN, "a1", 1, 9.0, D2, lot="opening@3.00"))
    assert path.read_text() == text


def entries_of(now: list[Entry | None]) -> list[Entry]:
    return [one for one in now if one is not None]


@pytest.mark.parametrize("cost", [0.335, 0.333, 12.3456])
def test_copies_sold_one_by_one_cost_together_what_their_lot_did(cost: float) -> None:
    whole = [Entry(card="a1", quantity=3, cost=cost, bought=D1, buy_fees=0.5)]
    spent = lots.lots(whole, KNOWN)["paid"].sum()
    now: list[Entry | None] = list(whole)
    known: list[float] = []
    for _ in range(3):
        now = lots.sell(now, KNOWN, "a1", 1, 20.0, D2)
        table = lots.lots(entries_of(now), KNOWN)
        assert round(table["paid"].sum(), 2) == spent
        gains = table["gain"].dropna().tolist()
        assert gains[:-1] == known  # what was realised stays
        known = gains
        log = lots.transactions(table)
        assert (log["fees"][0], log["amount"][0]) == (0.5, -spent)


def test_a_buy_has_no_note_of_its_sale() -> None:
    bought = [Entry(card="a1", quantity=2, cost=1.0, bought=D1, note="Booster box")]
    part = lots.sell(bought, KNOWN, "a1", 1, 20.0, D2, note="eBay")
    gone = lots.sell(part, KNOWN, "a1", 1, 20.0, D2, note="eBay")
    for now, of_buy in ((part, "Booster box"), (gone, "")):
        log = lots.transactions(lots.lots(entries_of(now), KNOWN))
        assert log.loc[log["type"] == "buy", "note"].tolist() == [of_buy]
        assert log.loc[log["type"] == "sell", "note"].eq("Booster box; eBay").all()


def test_a_note_that_another_one_holds_is_kept() -> None:
    first, more = (Entry(card="a1", note=note) for note in ("Booster box", "box"))
    (both,) = edit.joined([first], [more, more], KNOWN)
    assert both is not None
    assert both.note == "Booster box; box"


@dataclass
class Book:
    """A collection kept by hand in whole cents."""

    copies: dict[str, int] = field(default_factory=lambda: {"a1": 0, "b2": 0})
    paid: int = 0
    received: int = 0


TRADES = st.lists(
    st.tuples(
        st.sampled_from(["a1", "b2"]),
        st.booleans(),
        st.integers(1, 7),
        st.integers(0, 99_999),  # cents
        st.integers(0, 999),  # cents of fees
        st.integers(0, 3),  # days since the last one
    ),
    max_size=25,
)


@given(TRADES, st.tuples(st.integers(1, 99_999), st.integers(1, 99_999)), st.booleans())
def test_value_less_paid_plus_received_is_gain_to_the_cent(tmp_path_factory, trades, prices, old):
    path = tmp_path_factory.mktemp("lots") / "watchlist.yaml"
    path.write_text("# mine\n" + ("- {card: a1, quantity: 2, cost: 1.35}  # old\n" if old else ""))
    book, day = Book(), D1
    if old:
        book.copies["a1"], book.paid = 2, 270
    for card, buys, quantity, price, fees, later in trades:
        day += timedelta(days=later)
        if buys:
            new = Entry(
                card=card, quantity=quantity, cost=price / 100, bought=day, buy_fees=fees / 100
            )
            edit.add(path, [new], KNOWN)
            book.copies[card] += quantity
            book.paid += quantity * price + fees
            continue
        before = path.read_text()
        have = entries.parse(before, path.name)
        ask = card, quantity, price / 100, day, fees / 100
        if quantity > book.copies[card]:
            with pytest.raises(UsageError, match="cannot be sold"):
                lots.sell(have, KNOWN, *ask)
            assert path.read_text() == before
            continue
        edit.write(path, before, have, lots.sell(have, KNOWN, *ask))
        book.copies[card] -= quantity
        book.received += quantity * price - fees
    have = entries.parse(path.read_text(), path.name)
    assert path.read_text().startswith("# mine\n")
    table = lots.lots(have, KNOWN)
    last = pd.Series([cents / 100 for cents in prices], index=["a1", "b2"])
    sums = portfolio.totals(table, last)
    value = book.copies["a1"] * prices[0] + book.copies["b2"] * prices[1]
    exact = {name: Decimal(repr(sums[name])) for name in ("value", "spent", "received", "gain")}
    assert exact["value"] * 100 == value
    assert exact["spent"] * 100 == book.paid
    assert exact["received"] * 100 == book.received
    assert exact["gain"] * 100 == value - book.paid + book.received
    both = Decimal(repr(sums["realised"])) + Decimal(repr(sums["unrealised"]))
    assert both == exact["gain"]
    assert sums["copies"] == sum(book.copies.values())
    log = lots.transactions(table)
    assert round(-100 * log.loc[log["type"] != "sell", "amount"].sum()) == book.paid
    # Written anew from what was read, the file holds the same.
    again = path.with_name("again.yaml")
    again.write_text(edit.append("", have))
    assert entries.parse(again.read_text(), "again.yaml") == have


KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from pokewatch.cards.catalog import Catalog
from pokewatch.schema import empty_cards
from pokewatch.watchlist import edit, entries, lots
path, at, kind = Path(sys.argv[1]), int(sys.argv[2]), None
calls = 0
def trace(event, args):
    global calls
    if event in ("open", "os.rename", "os.remove", "shutil.copyfile", "shutil.copymode"):
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
text = entries.read(path)
have = entries.parse(text, path.name)
catalog = Catalog(empty_cards())
now = lots.sell(have, catalog, "a", 2, 5.0, date(2025, 1, 1))
sys.addaudithook(trace)
edit.write(path, text, have, now)
"""


@pytest.mark.slow
def test_killed_at_any_moment_a_sale_is_done_or_not_begun(tmp_path: Path) -> None:
    before = "# mine\n- {card: a, quantity: 3, cost: 2}\n"
    path = tmp_path / "watchlist.yaml"
    seen = set()
    for at in range(1, 40):
        path.write_text(before)
        command = [sys.executable, "-c", KILLED, str(path), str(at)]
        done = subprocess.run(command, env=dict(os.environ), check=False)
        held = sum(one.quantity for one in entries.load(path))
        gone = sum(one.quantity for one in sold(entries.parse(path.read_text(), path.name)))
        assert held + gone == 3
        seen.add(gone)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    assert seen == {0, 2}
