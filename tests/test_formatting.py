"""Figures as people read them: signs, thousands, and what is not known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pokewatch.formatting import DASH, Money, days, duration, listed, number, percent, usd


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (-0.0123, {"sign": True}, "−1.2 %"),
        (0.0123, {"sign": True}, "+1.2 %"),
        (0.0003, {"sign": True}, "0.0 %"),
        (-0.0, {"digits": 0}, "0 %"),
        (12.5, {}, "1,250.0 %"),
        (np.nan, {}, DASH),
        (np.inf, {"unknown": "unknown"}, "unknown"),
        (None, {"sign": True}, DASH),
    ],
)
def test_percent(value, options, text):
    assert percent(value, **options) == text


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        (1234.5, {}, "$1,234.50"),
        (1234.5, {"short": True}, "$1,234"),
        (0.35, {"short": True}, "$0.35"),
        (3, {"sign": True}, "+$3.00"),
        (-3, {"sign": True}, "−$3.00"),
        (-0.004, {}, "$0.00"),
        (1e-16, {"sign": True}, "$0.00"),
        (-2.675, {}, "−$2.67"),
        (pd.NA, {}, DASH),
    ],
)
def test_usd(value, options, text):
    assert usd(value, **options) == text


@pytest.mark.parametrize(
    ("money", "value", "options", "text"),
    [
        (Money("EUR", rate=0.5), 2469.0, {}, "€1,234.50"),
        (Money("EUR", rate=0.5), -3, {"sign": True}, "−€1.50"),
        (Money("GBP", rate=2.0), 600, {"short": True}, "£1,200"),
        (Money("JPY", rate=150.0), 12.34, {"sign": True}, "+¥1,851"),
        (Money("BRL", rate=5.0), 0.1, {}, "R$0.50"),
        (Money("JPY", rate=150.0), -0.003, {"sign": True}, "¥0"),
        (Money("PLN", rate=4.0), 2.5, {}, "10.00 zł"),
        (Money("CHF", rate=1.0), -2.5, {}, "−CHF 2.50"),
        (Money("EUR", "EUR"), np.nan, {"unknown": ""}, ""),
    ],
)
def test_money_has_the_sign_place_and_decimals_of_its_currency(money, value, options, text):
    assert money(value, **options) == text


def test_only_dollars_stored_as_dollars_are_plain():
    assert usd == Money()
    assert [Money().plain, Money("EUR", rate=2).plain, Money("EUR", "EUR").plain] == [
        *(True, False, False)
    ]
    assert [Money().converts, Money("EUR", rate=2).converts, Money("EUR", "EUR").converts] == [
        *(False, True, False)
    ]


def test_number():
    assert number(-1234.567, 2) == "−1,234.57"
    assert number(-0.001, 2) == number(0.001, 2, sign=True) == "0.00"
    assert number(np.int64(1234567)) == "1,234,567"
    assert number(pd.NaT) == DASH


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.0, "2.0 s"), (0.0123, "12.3 ms"), (4.2e-6, "4.2 µs")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_words():
    assert [days(1), days(7)] == ["1 day", "7 days"]
    assert [listed(["a"]), listed(["a", "b", "c"])] == ["a", "a, b and c"]
