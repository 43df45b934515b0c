"""Buys, sales, sets and exports on the command line, and logs of sales."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from pokewatch.errors import UsageError
from pokewatch.schema import CARD_COLUMNS, PREDICTION_COLUMNS
from pokewatch.settings import Settings
from pokewatch.store.tables import Store
from pokewatch.watchlist import completion, entries, importers
from pokewatch.watchlist.entries import Sale

OLD = "# mine\n- {card: sv03-223, quantity: 2, cost: 200}  # from Ann\n"


def test_buy_sell_history(cli, path: Path, tmp_path: Path) -> None:
    path.write_text(OLD)
    buy = ("502", "--price", "210.5", "--quantity", "2", "--date", "2025-01-02", "--fees", "3")
    assert cli("buy", *buy)[0] == 0
    code, out, err = cli(
        "sell", "502", "--price", "300", "--quantity", "3", "--fees", "30", "--date", "2025-01-05"
    )
    assert (code, "1 copies of it left" in err) == (0, True)
    assert "opening@200.00" in out
    assert path.read_text() == (
        "# mine\n"
        "- {card: '502:Holofoil', quantity: 1, cost: 210.5, buy_fees: 1.5, bought: 2025-01-02}\n"
        "- {sold: sv03-223, quantity: 2, price: 300.0, date: 2025-01-05, sale_fees: 20.0, "
        "cost: 200.0}\n"
        "- {sold: '502:Holofoil', quantity: 1, price: 300.0, date: 2025-01-05, sale_fees: 10.0, "
        "cost: 210.5, buy_fees: 1.5, bought: 2025-01-02}\n"
    )
    rows = json.loads(cli("history", "charizard ex", "--json")[1])
    assert [(row["type"], row["quantity"], row["amount"], row["gain"]) for row in rows] == [
        ("opening", 2, -400.0, None),
        ("buy", 2, -424.0, None),
        ("sell", 2, 580.0, 180.0),
        ("sell", 1, 290.0, 78.0),
    ]
    code, _, err = cli("history", "501:Normal")
    assert (code, "has no copy of '501:Normal', held or sold" in err) == (2, True)
    assert json.loads(cli("history", " ", "--json")[1]) == rows
    file = tmp_path / "log.csv"
    assert json.loads(cli("history", "--output", str(file), "--json")[1]) == rows
    assert cli("history", "--output", str(file))[:2] == (0, "")
    assert pd.read_csv(file)["gain"].sum() == 258.0
    found = json.loads(cli("list", "--json")[1])
    assert (found["cost"], found["realised"], found["copies"]) == (212.0, 258.0, 1)
    assert "realised gain" in cli("list")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sell", "502", "--price", "1", "--quantity", "3"], ["3 x '502'", "2 were held", "buy"]),
        (["sell", "505", "--price", "1"], ["the list has no entry of it"]),
        (["sell", "502", "--price", "-1"], ["price=-1"]),
        (["sell", "502", "--price", "1.001"], ["part of a cent"]),
        (["sell", "502", "--price", "1", "--fees", "0.001"], ["fees 0.001 is no amount in cents"]),
        (["sell", "502", "--price", "1", "--date", "2999-01-01"], ["still to come"]),
        (["sell", "502", "--price", "1", "--lot", "x"], ["held are 2 x sv03-223", "lot opening"]),
        (["sell", "502", "--price", "1", "--quantity", "0"], ["Invalid value"]),
        (["buy", "502", "--price", "0.001"], ["--price", "in cents"]),
        (["buy", "502", "--price", "nan"], ["--price nan is no amount"]),
        (["sell", "502", "--price", "1", "--fees", "nan"], ["--fees"]),
        (["buy", "502", "--price", "-1"], ["cost=-1"]),
        (["buy", "charizard", "--price", "1"], ["fits 3 cards"]),
        (["history", "--output", "x.xlsx"], ["must end in"]),
        (["history", "zzz"], ["unknown card 'zzz'"]),
        (["set", "zzz"], ["unknown set 'zzz'"]),
        (["export", "--format", "dex"], ["Invalid value"]),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_changed(cli, path, arguments, words) -> None:
    path.write_text(OLD)
    code, _, err = cli(*arguments)
    assert (code, [word for word in words if word not in err]) == (2, [])
    assert path.read_text() == OLD


LOG = (
    "Sale Date,Item,Sale Price,Qty,Fees,Type,Notes\n"
    "01/13/2025,502,$300.00,1,-30.00,Sold,eBay\n"
    "01/02/2025,502,$250.00,2,,buy,\n"
    "01/14/2025,502,€300.00,1,,Sold,\n"
    "01/15/2025,502,$1.00,9,,Sold,\n"
    "01/15/2025,502,$1.00,1,,Lost,\n"
)


def test_a_log_of_sales(cli, path: Path, tmp_path: Path) -> None:
    path.write_text(OLD)
    file = tmp_path / "log.csv"
    file.write_text(LOG, encoding="utf-8")
    arguments = ("import-sales", str(file), "--map", "card=Item")
    code, _, err = cli(*arguments, "--dry-run")
    assert "line 5: left out" in err
    assert (code, path.read_text()) == (0, OLD)
    assert cli(*arguments, "--strict")[0] == 2
    assert path.read_text() == OLD
    code, out, _ = cli(*arguments, "--json")
    found = json.loads(out)
    assert (code, found["sales"], found["buys"], found["left_out"]) == (0, 1, 1, 3)
    assert (found["received"], found["realised_gain"]) == (270.0, 70.0)
    reasons = {row["line"]: row["reason"] for row in found["problems"]}
    assert "€300.00" in reasons[4]
    assert "9 x '502:Holofoil' cannot be sold, 3 were held" in reasons[5]
    assert "'Lost' is neither buy nor sell" in reasons[6]
    assert [(one.quantity, one.cost) for one in entries.load(path)] == [(1, 200.0), (2, 250.0)]
    assert path.read_text().startswith(OLD.replace("quantity: 2", "quantity: 1"))
    assert "imported twice counts twice" in cli(*arguments)[2]


def test_sales_of_copies_that_are_gone_take_none_from_the_list(cli, path, tmp_path) -> None:
    path.write_text(OLD)
    file = tmp_path / "log.csv"
    file.write_text("date,card,price,cost,bought\n2025-01-13,505,3.5,1.25,2024-12-01\n")
    code, _, err = cli("import-sales", str(file))
    assert (code, "cannot be sold" in err) == (2, True)
    assert cli("import-sales", str(file), "--gone")[0] == 0
    sale = entries.parse(path.read_text(), path.name)[1]
    assert isinstance(sale, Sale)
    assert (sale.card, sale.cost, f"{sale.bought}") == ("505:Normal", 1.25, "2024-12-01")
    assert path.read_text().startswith(OLD)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("card,price\n502,1\n", "no column with the date of the sales"),
        ("card,date\n502,2025-01-01\n", "no column with the price of the sales"),
    ],
)
def test_a_log_without_day_or_price_is_refused(catalog, tmp_path, text, words) -> None:
    file = tmp_path / "log.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=words):
        importers.load(file, catalog, sales=True)


def test_a_day_that_may_be_two_is_left_out(catalog, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_text("card,date,price\n502,03/04/2025,1\n502,soon,1\n502,,1\n")
    found = importers.load(file, catalog, sales=True)
    assert found.entries == []
    reasons = dict(found.problems)
    assert "unclear, 2025-03-04 or 2025-04-03" in reasons[2]
    assert "'soon' is no day: write it as 2025-01-31" in reasons[3]
    file.write_text("card,date,price\n502,03/04/2025,1\n502,13.04.2025,1\n")
    found = importers.load(file, catalog, sales=True)
    assert [f"{one.date}" for one in found.entries] == ["2025-04-03", "2025-04-13"]


def forecasts(horizon: int, **changes: float) -> pd.DataFrame:
    """Return predictions of the store's last day: card_id -> expected change."""
    rows = [
        {"card_id": card.replace("_", ":"), "fair_value": 10 * (1 + change), "signal": "HOLD"}
        for card, change in changes.items()
    ]
    table = pd.DataFrame(rows).reindex(columns=PREDICTION_COLUMNS)
    known = {"date": pd.Timestamp("2025-01-03"), "horizon": horizon, "market_price": 10.0}
    return table.assign(**known, thin=False, stale=False, data_version=1)


def test_a_set_shows_what_lacks_and_what_can_wait(cli, path, settings: Settings, tmp_path) -> None:
    Store.from_settings(settings).save_predictions(
        forecasts(7, **{"505:Normal": -0.05, "506:Normal": 0.005, "508:Normal": 0.04})
    )
    path.write_text("- {card: base2-57, grade: PSA 9}\n- {card: base1-4}\n")
    code, out, err = cli("set", "jungle", "--json")
    found = json.loads(out)
    assert (code, found["set_name"], found["predicted_on"]) == (0, "Jungle", "2025-01-03")
    assert (found["have"], found["lack"], found["cost"]) == (1, 2, 3.5)
    assert [(one["card_id"], one["have"], one["advice"]) for one in found["cards"]] == [
        ("508:Normal", 0, "buy now"),
        ("506:Normal", 0, ""),
        ("505:Normal", 1, "wait"),
    ]
    assert json.loads(cli("set", "BASE2", "--json")[1]) == found  # a code names it too
    assert "1 entries of your list name no one card" in cli("set", "Jungle")[2]
    code, _, err = cli("set", "Jungle", "--horizon", "3")
    assert (code, "3 days ahead: choose among 7" in err) == (2, True)
    file = tmp_path / "set.csv"
    assert json.loads(cli("set", "Jungle", "--output", str(file), "--json")[1]) == found
    assert cli("set", "Jungle", "--output", str(file))[:2] == (0, "")
    assert pd.read_csv(file)["price"].tolist() == [1.0, 2.5, 2.5]


def test_without_forecasts_and_a_list_a_set_has_its_cost(cli) -> None:
    code, out, err = cli("set", "paradox rift")
    assert (code, "11.00" in out) == (0, True)
    assert "nothing is predicted yet" in err


def cards_of(*names: str) -> pd.DataFrame:
    ids = [f"{number}:Normal" for number in range(len(names))]
    return pd.DataFrame(
        {"card_id": ids, "set_name": names, "aliases": [[] for _ in names]}
    ).reindex(columns=CARD_COLUMNS)


def test_sets_are_found_by_name_part_and_code_and_never_guessed() -> None:
    cards = cards_of("SV: Scarlet & Violet 151", "SV03: Obsidian Flames", "Base Set", "Base Set 2")
    cards.at[1, "aliases"] = ["sv3-1"]
    assert completion.find_set(cards, "151") == "SV: Scarlet & Violet 151"
    assert completion.find_set(cards, "obsidian flames") == "SV03: Obsidian Flames"
    assert completion.find_set(cards, "SV03") == "SV03: Obsidian Flames"
    assert completion.find_set(cards, "base set") == "Base Set"
    with pytest.raises(UsageError, match="'base' fits 2 sets, name one of them: Base Set, Base"):
        completion.find_set(cards, "base")
    with pytest.raises(UsageError, match="unknown set 'obsidain flame': there are SV03: Obsidian"):
        completion.find_set(cards, "obsidain flame")
    with pytest.raises(UsageError, match="unknown set ''"):
        completion.find_set(cards, "")


def test_exports_are_read_back_by_import(cli, path: Path, tmp_path: Path) -> None:
    path.write_text(
        "- {card: sv03-223, quantity: 2, cost: 200, note: =1, target_above: 300}\n"
        "- {card: '501:Normal', grade: PSA 10, bought: 2025-01-01, buy_fees: 0.5, cost: 0}\n"
    )
    before = entries.load(path)
    file = tmp_path / "out.csv"
    assert cli("export", "--output", str(file))[0] == 0
    assert "'=1" in file.read_text()
    assert "'=1" in cli("export", "--format", "collectr")[1]
    path.unlink()
    assert cli("import", str(file))[0] == 0
    assert [one.model_copy(update={"card": ""}) for one in entries.load(path)] == [
        one.model_copy(update={"card": ""}) for one in before
    ]
    code, _, err = cli("export", "--format", "cardmarket")
    assert (code, "1 entries of graded copies left out" in err) == (0, True)
    listed = cli("export", "--format", "insurance")[1]
    assert "Pikachu" in listed
    assert "PSA 10" in listed


EUROS = "- {card: sv03-223, quantity: 2, cost: 200, buy_fees: 5}\n"


@pytest.fixture
def euros(home: Path, monkeypatch: pytest.MonkeyPatch):
    """Amounts shown in EUR, at 0.8 for a dollar."""
    kept = {"day": "2025-01-03", "asked": "2025-01-03T03:00:00+00:00", "rates": {"USD": 1.25}}
    monkeypatch.setenv("POKEWATCH_CURRENCY", "EUR")
    (home / "rates.json").write_text(json.dumps(kept))
    yield
    (home / "rates.json").unlink()


def test_what_people_read_is_in_their_currency(euros, cli, path: Path, tmp_path: Path) -> None:
    path.write_text(EUROS)
    sale = ("sell", "502", "--price", "250", "--fees", "10", "--date", "2025-01-03")
    out = cli(*sale)[1]
    for text in ("€200.00", "€8.00", "€192.00", "€162.00", "€30.00"):
        assert text in out
    out = cli("history")[1]
    for text in ("paid           €324.00", "received       €192.00", "realised gain  €30.00"):
        assert text in out
    assert "€30.00" in cli("list")[1]
    file = tmp_path / "log.csv"
    file.write_text("date,card,price\n2025-01-03,502,10\n")
    assert "received       €8.00" in cli("import-sales", str(file), "--dry-run")[1]
    file.write_text("card,cost\n505,10\n")
    assert "€8.00" in cli("import", str(file), "--dry-run")[1]
    assert "€168.40" in cli("buy", "502", "--price", "210.5")[1]
    out = cli("set", "paradox rift")[1]
    assert "€8.80" in out
    assert json.loads(cli("history", "--json")[1])[0]["amount"] == -405.0


def test_a_sum_of_which_nothing_is_known_is_not_0(cli, path: Path) -> None:
    path.write_text("- {card: sv03-223}\n- {sold: sv03-223, price: 9, date: 2025-01-02}\n")
    out = cli("history")[1]
    known = {line[:55].split("  ")[0]: line.split()[-1] for line in out.splitlines()[-4:]}
    assert (known["paid"], known["received"], known["realised gain"]) == ("-", "9.000", "-")
    assert "lots without a cost, in neither paid nor realised gain  1" in out
    assert json.loads(cli("list", "--json")[1])["realised"] is None


@pytest.fixture
def market_in_euros(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the home whose prices are Cardmarket's."""
    there = tmp_path / "cardmarket"
    shutil.copytree(home, there)
    monkeypatch.setenv("POKEWATCH_CURRENCY", "EUR")
    return there


def test_a_home_in_euros_never_says_dollars(
    market_in_euros, cli, path, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("POKEWATCH_HOME", str(market_in_euros))
    path.write_text(EUROS)
    for command in (["list"], ["history"], ["set", "paradox rift"], ["buy", "502", "--price", "x"]):
        _, out, err = cli(*command)
        assert "USD" not in out + err
        assert "$" not in out + err
    assert "11.00" in cli("set", "paradox rift")[1]
    assert "€410.00" not in cli("history")[1]
    assert "€405.00" in cli("history")[1]
    assert ";200.00;EUR;" in cli("export", "--format", "cardmarket")[1]
    file = tmp_path / "cards.csv"
    file.write_text("card,cost\n505,12 €\n506,$12\n")
    code, _, err = cli("import", str(file))
    assert (code, "line 3: taken without its cost '$12': amounts are in EUR" in err) == (0, True)
    assert [one.cost for one in entries.load(path)][-2:] == [12.0, None]


def test_a_lot_is_removed_by_its_name(cli, path: Path) -> None:
    path.write_text(
        "- {card: '502', cost: 5, bought: 2025-01-01}\n- {card: '502', cost: 6}\n"
        "- {card: '502', cost: 5, bought: 2025-01-02}\n"
    )
    code, _, err = cli("remove", "502", "--lot", "2024-01-01")
    assert (code, "there are 1 x 502 (near mint, lot 2025-01-01@5.00); 1 x" in err) == (2, True)
    code, out, _ = cli("remove", "502", "--lot", "2025-01-01")
    assert (code, out) == (0, "watchlist.yaml: removed 1 x 502 (near mint, lot 2025-01-01@5.00)\n")
    assert cli("remove", "502", "--lot", "opening@6.00")[0] == 0
    assert [f"{one.bought}" for one in entries.load(path)] == ["2025-01-02"]


def test_a_prior_gives_no_advice() -> None:
    cards = pd.DataFrame({"card_id": ["1:Normal", "2:Normal"], "product_kind": "single"})
    cards = cards.reindex(columns=CARD_COLUMNS)
    said = forecasts(7, **{"1:Normal": 0.2, "2:Normal": 0.2})
    said["model"] = ["prior-popular", "fair-value-2025-01-03-v1"]
    nothing = pd.Series(dtype="int64")
    last = pd.Series(10.0, index=cards["card_id"])
    table = completion.completion(cards, nothing, last, said).set_index("card_id")
    assert table["advice"].tolist() == [None, "buy now"]
    assert pd.isna(table.loc["1:Normal", "expected"])
