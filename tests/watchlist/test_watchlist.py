"""The watchlist: its file, its command line, and the import of collection exports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pokewatch import csv_files
from pokewatch.cards.catalog import Catalog
from pokewatch.cards.spelling import number_of, plain
from pokewatch.errors import UsageError
from pokewatch.schema import empty_cards
from pokewatch.settings import Settings, load_settings
from pokewatch.watchlist import edit, importers
from pokewatch.watchlist import entries as watchlist
from pokewatch.watchlist.entries import Condition, Entry

EMPTY = Catalog(empty_cards())


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


# -- the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- card: a\n- card: b\n  cost: 1\n  condition: fine\n", r"2 \(line 4\): condition='fine'"),
        ("- {card: a, condition: fine}\n", "write NM, LP, MP, HP or DMG"),
        ("- card: a\n\n- card: b\n  cost: 1,5\n", r"entry 2 \(line 4\): cost='1,5'.*as 12\.50"),
        ("- {card: a, target_above: 0}\n", "target_above=0: .*write it above 0"),
        ("- {card: a, target_below: -3}\n", "target_below=-3"),
        ("- {card: a, target_above: 5, target_below: 9}\n", "above=5 must be more than .*=9: swap"),
        ("- {card: a, target_above: 5, target_below: 5}\n", "must be more than"),
        ("- {card: a, quantity: true}\n", "quantity='true': a number is wanted"),
        ("- card: a\n  cost: 1\n  cost: 2\n", r"entry 1 \(line 3\): 'cost' is there twice"),
        ("- {card: !!int x}\n", "is no YAML"),
        ("- {card: a, quantity: 010}\n", "quantity=010: a zero stands before .* from 1 on"),
        ("- {card: a, quantity: 1_0}\n", "quantity='1_0': .* a whole number from 1 on"),
        ("- {card: a, quantity: 1:30}\n", "quantity='1:30': .*"),
        ("- {card: a, quantity: 0x10}\n", "quantity='0x10'"),
        ("- {card: a, cost: 1:30}\n", "cost='1:30': .* as 12\\.50"),
        ("- {card: a, cost: 0777}\n", "cost=0777: a zero stands before the number; write it"),
        ("- {card: a, cost: 1e3}\n", "cost='1e3'"),
        ("- {card: a, cost: .inf}\n", "cost='.inf'"),
        ("- {card: a, target_above: 20:00}\n", "target_above='20:00'"),
        ("- {card: a, wanted: 3}\n", "unknown field 'wanted', known are card, quantity, cost"),
    ],
)
def test_errors_name_file_entry_line_value_and_mend(path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        watchlist.load(write(path, text))
    assert "'watchlist.yaml'" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("NM", "near_mint"),
        ("Near Mint", "near_mint"),
        ("near-mint", "near_mint"),
        ("LP", "lightly_played"),
        ("Moderately Played", "moderately_played"),
        ("hp", "heavily_played"),
        ("DMG", "damaged"),
    ],
)
def test_conditions_are_read_in_their_usual_spellings(
    path: Path, text: str, condition: str
) -> None:
    (one,) = watchlist.load(write(path, f"- {{card: a, condition: {text}, cost: , note: }}\n"))
    assert (one.condition, one.cost, one.note) == (condition, None, "")


def test_near_mint_is_what_nothing_else_is_said(path: Path) -> None:
    assert watchlist.load(write(path, "- {card: a}\n"))[0].condition is Condition.near_mint


@pytest.mark.parametrize(
    "text",
    [
        "12:30",
        "3.10",
        "010",
        "0252142",
        "2024-01-02",
        "yes",
        "1_0",
        "0x1f",
        "1e3",
        "~x",
        "=",
        "4.0",
    ],
)
def test_what_is_written_is_what_is_meant(path: Path, text: str) -> None:
    write(path, f"- {{card: {text}, note: {text}, quantity: 3}}\n")
    assert watchlist.load(path) == [Entry(card=text, note=text, quantity=3)]
    edit.add(path, [Entry(card=text, note=text), Entry(card="b", note=text)], EMPTY)
    assert path.read_text().startswith(f"- {{card: {text}, note: {text}, quantity: 4}}\n")
    assert watchlist.load(path)[1].note == text


def test_a_field_without_a_value_is_not_told(path: Path) -> None:
    for nothing in ("", "null", "~"):
        write(path, f"- {{card: a, cost: {nothing}, note: {nothing}, quantity: {nothing}}}\n")
        assert watchlist.load(path) == [Entry(card="a")]


def test_more_copies_leave_every_other_letter(path: Path) -> None:
    text = "- {card: 0042, quantity: 2, cost: 1.50, target_above: 20.00, note: 3.10}   # a: 010\n"
    write(path, text)
    edit.add(path, [Entry(card="0042", cost=1.5, quantity=7)], EMPTY)
    assert path.read_text() == text.replace("quantity: 2", "quantity: 9")


COMMENTED = """\
# My cards
---
# the best one
- {card: a, quantity: 2, cost: 1.50}   # from Ann

- card: b   # a lot
  # paid too much
  cost: 7
  note: 'it''s
    long'
# sold: {card: z}
-   card: c
    note: |
      two
      lines
# the end
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("indent", ["", "  "])
def test_adding_and_removing_keep_comments_and_order(path: Path, newline: str, indent: str) -> None:
    head, _, body = COMMENTED.partition("---\n")
    lines = [indent + line if line else "" for line in body.split("\n")[:-1]]
    text = (head + "---\n" + "\n".join(lines) + "\n").replace("\n", newline)
    write(path, text)
    before = watchlist.load(path)
    edit.add(path, [Entry(card="d", target_above=9)], EMPTY)
    added = f"{indent}- {{card: d, quantity: 1, target_above: 9.0}}{newline}"
    assert path.read_bytes().decode() == text + added
    assert path.with_name("watchlist.yaml.bak").read_bytes().decode() == text

    edit.remove(path, [3])
    assert path.read_bytes().decode() == text

    edit.remove(path, [1])
    left = path.read_bytes().decode()
    assert watchlist.load(path) == [before[0], before[2]]
    kept = ["# My cards", "# the best one", "# from Ann", "# sold: {card: z}", "# the end"]
    assert [word for word in kept if word not in left] == []
    assert "card: b" not in left


def test_more_copies_change_the_number_only(path: Path) -> None:
    write(path, COMMENTED)
    more = [Entry(card="A", cost=1.5, quantity=3), Entry(card="b", cost=7, note="n # x")]
    assert edit.add(path, more, EMPTY) == 2
    text = path.read_text()
    assert "- {card: a, quantity: 5, cost: 1.50}   # from Ann" in text
    assert "# paid too much" in text
    found = watchlist.load(path)
    assert [(one.card, one.quantity) for one in found] == [("a", 5), ("b", 2), ("c", 1)]
    assert found[1].note == "it's long; n # x"


def test_another_cost_or_condition_is_another_entry(path: Path) -> None:
    write(path, "- {card: a, cost: 1}\n")
    more = [Entry(card="a", cost=2), Entry(card="a", cost=1, condition="LP"), Entry(card="a")]
    assert edit.add(path, [*more, more[2]], EMPTY) == 0
    assert [one.quantity for one in watchlist.load(path)] == [1, 1, 1, 2]


@pytest.mark.parametrize("text", ["", "[]\n", "# none yet\n", "# none yet", "- {card: z}"])
def test_entries_go_into_any_list(path: Path, text: str) -> None:
    write(path, text)
    edit.add(path, [Entry(card="a")], EMPTY)
    assert watchlist.load(path)[-1] == Entry(card="a")
    assert text.replace("[]\n", "") in path.read_text()


@pytest.mark.parametrize(
    "text",
    ["[{card: a}, {card: b}]\n", "- {card: a}\n...\n", "- &x {card: a}\n- *x\n- {card: b}\n"],
)
def test_what_cannot_be_edited_stays_as_it_is(path: Path, text: str) -> None:
    write(path, text)
    with pytest.raises(UsageError, match="edit it by hand"):
        edit.add(path, [Entry(card="a"), Entry(card="c")], EMPTY)
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_a_file_changed_meanwhile_is_not_overwritten(path: Path) -> None:
    write(path, "- {card: b}\n")
    with pytest.raises(UsageError, match="changed meanwhile"):
        edit.save(path, "- {card: a}\n", "- {card: c}\n")
    assert path.read_text() == "- {card: b}\n"


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    target = write(tmp_path / "real.yaml", "- {card: a}\n")
    path.symlink_to(target)
    edit.add(path, [Entry(card="b")], EMPTY)
    assert path.is_symlink()
    assert len(watchlist.load(target)) == 2


NASTY = [
    "}\n- {card: x",
    "a: b # c",
    "'\"\\",
    "{{7*7}}",
    "!!python/object:os.x",
    "&a *b",
    "- ",
    "no",
]
NASTY += [
    "\x85",
    "x\u2028",
    "=cmd|' /C calc'!A0",
    "\x85\u2028\ufeff",
    "é★♀🂡",
    "null",
    "1e3",
    "a" * 300 + " b" * 300,
]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(NASTY))
def test_no_text_breaks_out_of_its_field(text: str) -> None:
    line = edit.dump({"card": f"x{text}", "note": text})
    assert len(line.splitlines()) == 1
    wrapped = f"# c\n- {line}\n- {{card: last}}\n"
    assert yaml.safe_load(wrapped) == [{"card": f"x{text}", "note": text}, {"card": "last"}]
    one = Entry(card=f"x{text}", note=text)
    assert watchlist.parse(edit.append("- {card: a}\n", [one]), "w")[1] == one


# -- values --------------------------------------------------------------------------------------


def test_holdings_carry_condition_and_targets(settings: Settings) -> None:
    entries = [
        Entry(card="sv03-223", target_above=240, target_below=90, condition="LP", cost=200),
        Entry(card="503", target_below=1.5, quantity=4),
        Entry(card="nowhere", target_above=1),
    ]
    held, day = watchlist.valued(settings, entries)
    assert f"{day:%Y-%m-%d}" == "2025-01-03"
    assert held["condition"].tolist() == ["lightly_played", "near_mint", "near_mint"]
    assert held["value"].tolist()[:2] == [250.0, 6.0]  # no discount is made up
    assert watchlist.crossed(held).tolist() == ["above", "below", None]
    assert "unknown card" in held["problem"][2]


def test_a_list_without_prices_is_still_shown(tmp_path: Path) -> None:
    empty = load_settings(home=tmp_path, store="", tracking=False)
    held, _ = watchlist.valued(empty, [Entry(card="a")])
    assert held["price"].isna().all()
    assert "unknown card" in held["problem"][0]


# -- the command line ----------------------------------------------------------------------------


def test_add_list_and_remove(cli: Callable[..., tuple[int, str, str]], path: Path) -> None:
    code, out, _ = cli("add", "SV3-223", "--cost", "200", "--above", "240", "--note", "[red] a\nb")
    assert (code, "502:Holofoil" in out) == (0, True)
    assert cli("add", "502", "--cost", "200", "--quantity", "2")[0] == 0
    code, _, err = cli("add", "502:Holofoil", "--condition", "lp")
    assert (code, "other copies of this card: 3 x" in err) == (0, True)
    expected = Entry(card="502:Holofoil", quantity=3, cost=200, target_above=240, note="[red] a b")
    assert watchlist.load(path)[0] == expected

    code, out, err = cli("list", "--json")
    found = json.loads(out)
    assert (code, err, found["value"], found["gain"]) == (0, "", 1000.0, 150.0)
    assert "near-mint" in found["prices"]
    assert "1 in another condition" in found["prices"]
    first = found["entries"][0]
    assert (first["name"], first["crossed"], first["stale"]) == (
        "Charizard ex - 223/197",
        "above",
        False,
    )
    code, out, _ = cli("list")
    assert "above 240.00 CROSSED" in out
    assert "[red] a b" in out

    code, _, err = cli("remove", "502")
    assert code == 2
    assert "2 entries: 3 x 502:Holofoil (near mint, lot opening@200.00); 1 x" in err
    assert "--lot" in err
    assert cli("remove", "502", "--cost", "7")[0] == 2
    assert cli("remove", "502", "--cost", "none")[0] == 0
    assert watchlist.load(path) == [expected]
    assert cli("remove", "502:holofoil", "--all")[0] == 0
    assert watchlist.load(path) == []
    assert cli("remove", "502")[0] == 2
    assert "lists no card yet" in cli("list")[1]


def test_a_graded_card_is_not_valued_and_not_counted(cli, path: Path) -> None:
    cli("add", "502", "--cost", "200", "--quantity", "2")
    cli("add", "502", "--cost", "200", "--grade", "PSA 10", "--above", "1", "--quantity", "3")
    write(path, path.read_text() + "- {card: 502, grade: ungraded, cost: 1}\n")
    assert [one.grade for one in watchlist.load(path)] == ["", "PSA 10", ""]
    code, out, _ = cli("list", "--json")
    found = json.loads(out)
    assert (code, found["copies"], found["graded"]) == (0, 3, 3)
    assert (found["value"], found["cost"], found["gain"]) == (750.0, 401.0, 349.0)
    graded = found["entries"][1]
    assert [graded[name] for name in ("price", "value", "gain", "crossed")] == [None] * 4
    code, out, err = cli("list")
    assert "PSA 10" in out
    assert "is graded PSA 10: not valued" in err
    assert "3 x 502:Holofoil (PSA 10" in cli("remove", "502", "--grade", "psa 10")[1]
    assert [one.grade for one in watchlist.load(path)] == ["", ""]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["charizard"], ["fits 3 cards", "502:Holofoil", "--unchecked"]),
        (["charzard"], ["unknown card 'charzard'", "502:Holofoil", "--unchecked"]),
        (["501"], ["2 printings", "501:Reverse Holofoil"]),
        (["502", "--above", "5", "--below", "6"], ["must be more than"]),
        (["502", "--below", "0"], ["target_below=0", "above 0"]),
        (["502", "--cost", "nan"], ["cost=nan"]),
        (["502", "--quantity", "0"], ["quantity=0"]),
        (["502", "--condition", "shiny"], ["condition='shiny'", "NM, LP"]),
        (["502", "--cost", "1,5"], ["cost"]),
    ],
)
def test_what_cannot_be_added_is_refused(cli, path: Path, arguments, words) -> None:
    code, _, err = cli("add", *arguments)
    assert code == 2
    assert [word for word in words if word not in err] == []
    assert not path.exists()


def test_an_unknown_card_can_be_kept(cli, path: Path) -> None:
    assert cli("add", "}\n- {card: x", "--unchecked")[0] == 0
    assert [one.card for one in watchlist.load(path)] == ["}\n- {card: x"]
    code, _, err = cli("list")
    assert code == 0
    assert "no value: unknown card" in err
    assert cli("remove", "}\n- {card: x")[0] == 0


def test_the_list_shows_no_signs_that_a_terminal_acts_on(cli, path: Path) -> None:
    write(path, '- {card: "502", note: "\\e[31mred"}\n- {card: "a\\e[2J"}\n')
    code, out, err = cli("list")
    assert code == 0
    assert "\x1b" not in out + err


def test_help_lists_the_commands(cli) -> None:
    assert "import" in cli("--help")[1]


# -- imports -------------------------------------------------------------------------------------

TCGPLAYER = (
    "Quantity,Name,Simple Name,Set,Card Number,Set Code,Printing,Condition,Language,Rarity,"
    "Product ID,SKU,Price,Price Each\r\n"
    "2,Pikachu,Pikachu,SV04: Paradox Rift,012/182,PAR,Reverse Holofoil,Near Mint,English,Common,"
    "501,77,$6.00,$3.00\r\n"
    "1,Charizard ex - 223/197,Charizard ex,SV03: Obsidian Flames,223/197,OBF,Holofoil,"
    "Lightly Played,English,Rare,502,78,$250.00,$250.00\r\n"
    "0,Pikachu,Pikachu,SV04: Paradox Rift,012/182,PAR,Normal,Near Mint,English,Common,501,79,,\r\n"
)
SELLER = (
    "TCGplayer Id,Product Line,Set Name,Product Name,Title,Number,Rarity,Condition,"
    "TCG Market Price,Total Quantity,Add to Quantity,TCG Marketplace Price,Photo URL\n"
    "502,Pokemon,SV04: Paradox Rift,Pikachu,,012/182,Common,Near Mint Reverse Holofoil,3,4,,3.1,\n"
    "503,Magic,Zendikar,Forest,,1,Common,Near Mint,3,4,,3.1,\n"
)
COLLECTR = (
    "\ufeffPortfolio Name,Category,Set,Product Name,Card Number,Rarity,Variance,Grade,"
    "Card Condition,Average Cost Paid,Quantity,Market Price (As of 2025-01-03),Price Override,"
    "Watchlist,Date Added,Notes\n"
    "Main,Pokemon,Base Set,Charizard,004/102,Holo,Unlimited Holofoil,Ungraded,Near Mint,"
    '"$1,234.50",1,400,0,false,2025-01-01,"=HYPERLINK(""x"")"\n'
    "Main,Pokemon,Base Set,Charizard,004/102,Holo,Unlimited Holofoil,PSA 10,Near Mint,9,1,,,,,\n"
    "Main,Pokemon,Obsidian Flames,Charizard ex,223/197,,Holofoil,Ungraded,,12.5,,250,,,,\n"
    "Main,Pokemon,Obsidian Flames,Charizard ex,223/197,,Normal,Ungraded,,12.5,1,250,,,,\n"
)
CARDMARKET = (
    '"idArticle";"idProduct";"English Name";"Exp. Name";"Price";"Language";"Condition";"Foil?";'
    '"Reverse Holo?";"Comments";"Amount";"Purchase Price";"Currency"\n'
    '"1";"502";"Pikachu";"Paradox Rift";"9,99";"English";"EX";"";"1";"=1+1";"3";"1.234,50";""\n'
    '"2";"9";"Nidoran ♀";"Jungle";"1,00";"English";"LP";"";"";"";"1";"12,5";"USD"\n'
    '"3";"9";"Nidoran ♂";"Jungle";"1,00";"English";"NM";"";"";"";"1";"0,99";"EUR"\n'
    '"4";"9";"Nidoran ♂";"Jungle";"1,00";"German";"NM";"";"";"";"1";"0,99";"USD"\n'
)
DEX = (
    "sep=\t\nPokémon\tCard ID\tVariant\tCount\tÉtat\n"
    "Pikachu\tsv4-12\tReverse\t1\t\n"
    "Pikachu\tsv4-12\t\t1\tNM\n"
    'Pikachu\t="swsh1-65"\tNormal\t 2 \tMP\n'
)


def imported(text: str, catalog: Catalog, folder: Path, encoding: str = "utf-8", **columns: str):
    file = folder / "export.csv"
    file.write_bytes(text.encode(encoding))
    return importers.load(file, catalog, columns)


def short(entries: list[Entry]) -> list[tuple[str, int, str, float | None]]:
    return [(one.card, one.quantity, one.condition.value, one.cost) for one in entries]


def test_tcgplayer_app(catalog: Catalog, tmp_path: Path) -> None:
    found = imported(TCGPLAYER, catalog, tmp_path)
    assert short(found.entries) == [
        ("501:Reverse Holofoil", 2, "near_mint", None),  # a price of the day is no cost
        ("502:Holofoil", 1, "lightly_played", None),
    ]
    assert found.problems == []
    assert found.skipped == [(4, "the quantity is 0: not owned")]


def test_tcgplayer_seller(catalog: Catalog, tmp_path: Path) -> None:
    found = imported(SELLER, catalog, tmp_path)  # its "TCGplayer Id" is a SKU, no product
    assert short(found.entries) == [("501:Reverse Holofoil", 4, "near_mint", None)]
    assert found.skipped == [(3, "'Magic' is not Pokémon")]


def test_collectr(catalog: Catalog, tmp_path: Path) -> None:
    found = imported(COLLECTR, catalog, tmp_path)
    assert short(found.entries) == [("504:Unlimited Holofoil", 1, "near_mint", 1234.5)]
    assert found.entries[0].note == '=HYPERLINK("x")'
    assert found.skipped == [(4, "the quantity is blank: not owned")]
    (graded, printing) = found.problems
    assert graded[0] == 3
    assert "ungraded cards" in graded[1]
    assert printing == (5, "no printing 'Normal' of Charizard ex: known are Holofoil")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_cardmarket(catalog: Catalog, tmp_path: Path, encoding: str) -> None:
    found = imported(CARDMARKET, catalog, tmp_path, encoding)  # idProduct is their own number
    assert short(found.entries) == [
        ("501:Reverse Holofoil", 3, "lightly_played", 1234.5),
        ("505:Normal", 1, "moderately_played", 12.5),
        ("506:Normal", 1, "near_mint", None),
    ]
    assert found.remarks == [(4, "taken without its cost '0,99 EUR': amounts are in USD")]
    assert [line for line, _ in found.problems] == [5]
    assert "language 'German'" in found.problems[0][1]


def test_dex(catalog: Catalog, tmp_path: Path) -> None:
    found = imported(DEX, catalog, tmp_path)
    assert short(found.entries) == [
        ("501:Reverse Holofoil", 1, "near_mint", None),
        ("503:Normal", 2, "moderately_played", None),
    ]
    ((line, reason),) = found.problems
    assert line == 4
    assert "501:Normal, 501:Reverse Holofoil" in reason


def test_a_list_of_ones_own_and_its_lines(catalog: Catalog, tmp_path: Path) -> None:
    text = (
        "Wer,Karte,Stück\n"
        'x,"502",1\n'
        '"two\nlines",poke ball,2\n'
        "\n"
        "y,Pikachu,1\n"
        "z,503,1.5\n"
        "z,503,-1\n"
        "z,503,1,extra\n"
        "z,Pikachu (Staff),1\n"
        "z,,1\n"
    )
    found = imported(text, catalog, tmp_path, card="Karte", quantity="Stück", note="Wer")
    assert short(found.entries) == [
        ("502:Holofoil", 1, "near_mint", None),
        ("508:Normal", 2, "near_mint", None),
    ]
    assert found.entries[1].note == "two lines"
    reasons = dict(found.problems)
    assert list(reasons) == [6, 7, 8, 9, 10, 11]
    assert "3 cards fit Pikachu: 501:Normal" in reasons[6]
    assert reasons[7] == "quantity '1.5' is no whole number"
    assert reasons[9] == "it has 4 cells, the header 3"
    assert reasons[10] == "no card is named 'Pikachu (Staff)'"


def test_an_id_with_another_name_is_not_trusted(catalog: Catalog, tmp_path: Path) -> None:
    found = imported("Product ID,Name,Qty\n502,Mewtwo,1\n999,Poké Ball,1\n", catalog, tmp_path)
    assert [one.card for one in found.entries] == ["508:Normal"]
    assert "is 'Charizard ex - 223/197' here, and 'Mewtwo' in the row" in found.problems[0][1]


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("", {}, "is empty"),
        ("a,b\n1,2\n", {}, "no column that names cards among 'a', 'b'"),
        ("name\nPikachu\n", {"nam": "name"}, "unknown field nam: known are card"),
        ("name\nPikachu\n", {"card": "id"}, "names id, which .* it has 'name'"),
        ("PK\0\3", {}, "is no CSV file"),
    ],
)
def test_files_that_cannot_be_read(
    catalog: Catalog, tmp_path: Path, text: str, columns: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        imported(text, catalog, tmp_path, **columns)
    with pytest.raises(UsageError, match="cannot be read"):
        importers.load(tmp_path / "gone.csv", catalog)


@pytest.mark.parametrize(
    ("text", "decimal", "usd"),
    [
        ("$1,234.50", ".", 1234.5),
        ("1.234,50", ".", 1234.5),
        ("12,5", ".", 12.5),
        ("1,234", ".", 1234.0),
        ("1,234", ",", 1.234),
        ("1.234", ",", 1234.0),
        ("0,125", ".", 0.125),
        ("1,234,567", ".", 1234567.0),
        ("1 234,50", ".", 1234.5),
        ("USD 7", ".", 7.0),
        (".5", ".", 0.5),
    ],
)
def test_amounts(text: str, decimal: str, usd: float) -> None:
    assert csv_files.amount(text, decimal) == usd


@pytest.mark.parametrize("text", ["=1+1", "-5", "(5)", "1,2,3", "five", "1e3", "1.2.3", "$"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(UsageError, match="no amount"):
        csv_files.amount(text)


@given(st.decimals(0, 10**7, places=2), st.sampled_from([",.", ".,", " ,", "'.", " ."]))
def test_every_way_to_write_an_amount_reads_the_same(value, marks: str) -> None:
    written = f"{value:,.2f}".translate(str.maketrans({",": marks[0], ".": marks[1]}))
    assert csv_files.amount(written) == float(value)


def test_names_keep_what_tells_cards_apart() -> None:
    assert plain("Nidoran ♀") != plain("Nidoran ♂")
    assert plain("Farfetch’d") == plain("Farfetch'd")
    assert plain("ポケモンが") != plain("ポケモンか")
    assert number_of("TG012/TG030") == ("tg12", "tg30")


def test_import_command(cli, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "export.csv"
    file.write_text(COLLECTR, encoding="utf-8")
    write(path, "# mine\n- {card: base1-4, cost: 7}  # unclear printing\n")

    code, out, err = cli("import", str(file), "--dry-run")
    assert code == 0
    assert "504:Unlimited Holofoil" in out
    assert "line 3: left out: graded 'PSA 10'" in err
    assert "line 4: skipped: the quantity is blank" in err
    assert len(watchlist.load(path)) == 1

    assert cli("import", str(file), "--strict")[0] == 2
    assert len(watchlist.load(path)) == 1

    code, out, _ = cli("import", str(file), "--json")
    counts = json.loads(out)
    assert (code, counts["imported"], counts["left_out"], counts["written"]) == (0, 1, 3, True)
    assert [row["line"] for row in counts["problems"]] == [3, 5]
    assert path.read_text().startswith("# mine\n- {card: base1-4, cost: 7}  # unclear printing\n")

    code, _, err = cli("import", str(file))
    assert (code, "imported twice counts twice" in err) == (0, True)
    assert [one.quantity for one in watchlist.load(path)] == [1, 2]

    file.write_text("name,quantity\nMewtwo,1\n", encoding="utf-8")
    code, _, err = cli("import", str(file))
    assert (code, "no row of" in err) == (2, True)
    assert "line 2: left out: no card is named 'Mewtwo'" in err
    assert cli("import", str(file), "--map", "name")[0] == 2
