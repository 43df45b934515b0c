"""CSV files as people have them: quotes, widths, comments, decimal marks and currencies."""

from __future__ import annotations

from pathlib import Path

import pytest

from pokewatch import csv_files
from pokewatch.errors import UsageError


def table(folder: Path, text: str, encoding: str = "utf-8") -> csv_files.Table:
    path = folder / "export.csv"
    path.write_bytes(text.encode(encoding))
    return csv_files.read(path)


def lines_of(found: csv_files.Table) -> list[int]:
    return [line for line, _ in found.problems]


def test_a_quote_that_never_closes_names_the_lines_it_takes(tmp_path):
    found = table(tmp_path, 'name,image,note\nMew,",first\nEevee,,second\n')
    assert (found.rows, lines_of(found)) == ([], [2])
    assert "up to line 3, a quote is open" in found.problems[0][1]


def test_a_quote_that_closes_in_another_row_swallows_none(tmp_path):
    found = table(tmp_path, 'name,image,note\nMew,",first\nEevee,,2\nMuk,",third\nMewtwo,,4\n')
    assert [cells[0] for _, cells in found.rows] == ["Mewtwo"]
    assert lines_of(found) == [2]
    assert "runs over 3 lines and looks like rows" in found.problems[0][1]


def test_rows_after_a_misplaced_quote_are_read(tmp_path):
    found = table(tmp_path, 'name,note\n"Mew"x,1\nEevee,2\n')
    assert (found.rows, lines_of(found)) == ([(3, ["Eevee", "2"])], [2])


def test_cells_over_many_lines_are_cells(tmp_path):
    found = table(tmp_path, 'name,number,note\nMew,1,"one, two\r\nthree"\nEevee,2,x\n')
    assert [cells[0] for _, cells in found.rows] == ["Mew", "Eevee"]
    assert found.problems == []


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", '"sep=;";;', "\ufeffsep=;"])
def test_excel_may_name_the_delimiter(tmp_path, first):
    found = table(tmp_path, f"{first}\r\nname;price,paid;note\r\nMew;1;x\r\n")
    assert (found.header, found.rows) == (["name", "price,paid", "note"], [(3, ["Mew", "1", "x"])])


@pytest.mark.parametrize(
    ("text", "rows", "problems"),
    [
        ("a,b\n1,2,\n", [["1", "2"]], []),
        ("a,b\n1,2,,\n3,4\n", [["1", "2"], ["3", "4"]], []),
        ("a,b\n3,4\n1,2,\n", [["3", "4"], ["1", "2"]], []),
        ("a,b,c\n1,2,\n3,4,\n5,x,6,\n", [["1", "2", ""], ["3", "4", ""]], [4]),
        ("a,b,\n1,2\n", [["1", "2"]], []),
        ("a,b\n1,2,3\n4,5\n", [["4", "5"]], [2]),
        ("a,b,c\n1,2\n4,5,6\n", [["4", "5", "6"]], [2]),
        ("a,b,c\n1,2,3,\n1,2,3,\n4,6,\n", [["1", "2", "3"]] * 2, [4]),  # a lost cell, no blank one
        ("a,b,c\n1,,\n", [["1", "", ""]], []),
    ],
)
def test_cells_beyond_the_header_must_be_blank_and_none_may_lack(tmp_path, text, rows, problems):
    found = table(tmp_path, text)
    assert [cells for _, cells in found.rows] == rows
    assert lines_of(found) == problems


def test_comments_are_no_rows_and_may_name_the_currency(tmp_path):
    found = table(tmp_path, "# my cards, prices in EUR\nname,cost,no\n# half of them\nMew,1,#2\n")
    assert [line for line, _ in found.comments] == [1, 3]
    assert (found.currency, [cells for _, cells in found.rows]) == ("EUR", [["Mew", "1", "#2"]])
    assert table(tmp_path, "#,name\n1,Mew\n").header == ["#", "name"]


def test_a_comment_does_not_choose_the_delimiter(tmp_path):
    first = "# Sammlung von Max, Stand 1.7.2026, Preise in EUR"
    found = table(tmp_path, f"{first}\nname;cost\nMew;1,50\n")
    assert (found.header, found.delimiter, found.currency) == (["name", "cost"], ";", "EUR")
    assert [cells for _, cells in found.rows] == [["Mew", "1,50"]]


@pytest.mark.parametrize(
    ("comment", "code"),
    [
        ("exported by pokedex.php", ""),
        ("please try again", ""),
        ("Try this", ""),
        ("prices: eur", "EUR"),
        ("all in try", "TRY"),
        ("TRY", "TRY"),
        ("cop sets", ""),
        ("prices in EUR", "EUR"),
        ("currency: eur", "EUR"),
        ("Currency=brl", "BRL"),
        ("all prices in eur", "EUR"),
        ("in euros", "EUR"),
        ("costs in €", "EUR"),
        ("GBP", "GBP"),
    ],
)
def test_only_what_a_comment_calls_a_currency_is_one(tmp_path, comment, code):
    assert table(tmp_path, f"# {comment}\nname,cost\nMew,1\n").currency == code


def test_a_card_number_begins_a_row_and_no_comment(tmp_path):
    found = table(tmp_path, "number,name,cost\n#4,Charizard\n#TG05,Mew\n#5,Eevee,1\n# 6 of 9\n")
    assert [cells for _, cells in found.rows] == [["#5", "Eevee", "1"]]
    assert (lines_of(found), found.comments) == ([2, 3], [(5, "# 6 of 9")])


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    with pytest.raises(UsageError, match="column 'price' twice: rename or delete one"):
        table(tmp_path, "name,price,price\nMew,1,2\n")


@pytest.mark.parametrize(
    ("cells", "mark"),
    [
        ([["352.068", "1.125"], ["538.64"]], "."),
        ([["1.234"], ["0,5"]], ","),
        ([["1.234"], ["1,234,567"]], "."),
        ([["1.234"], ["12 €", "3,5 €"]], ","),
        ([["1.234"], ["2.000"]], ""),
        ([["1.50"], ["2,75"]], ""),
        ([["1.50", "soon"], ["2,75", "-"]], ","),  # a column with a text is none of numbers
    ],
)
def test_the_decimal_mark_is_what_all_columns_of_numbers_show(cells, mark):
    assert csv_files.decimal_mark(cells) == mark


def test_an_amount_of_two_meanings_is_refused():
    assert csv_files.amount("1.234", ".") == 1.234
    assert csv_files.amount("1.234", ",") == 1234
    with pytest.raises(UsageError, match=r"'1\.234' is unclear, 1\.234 or 1234"):
        csv_files.amount("1.234")
    for text in ("12 €", "R$ 5", "7 kr"):
        with pytest.raises(UsageError, match="is no amount"):
            csv_files.amount(text)


@pytest.mark.parametrize(
    ("name", "code", "rest"),
    [
        ("Purchase Price (EUR)", "EUR", "Purchase Price"),
        ("price_brl", "BRL", "price"),
        ("priceEUR", "EUR", "price"),
        ("Preis in €", "EUR", "Preis"),
        ("Price ($)", "USD", "Price"),
        ("Average Cost Paid", "", "Average Cost Paid"),
    ],
)
def test_headers_may_name_a_currency(name, code, rest):
    assert (csv_files.currency_in(name), csv_files.without_currency(name)) == (code, rest)
