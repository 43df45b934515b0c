"""Charts draw what they are given, say so where there is nothing, and mark simulated prices."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import nbformat
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from test_api import home

import pokewatch as pw
from pokewatch.settings import PROJECT

__all__ = ["home"]


@pytest.fixture(autouse=True)
def _close(home):
    yield
    plt.close("all")


FRAMES = {
    "market": lambda: pw.market().index(),
    "movers": lambda: pw.market().movers(),
    "moves": lambda: pw.market().returns(7),
    "momentum": lambda: pw.momentum(days=[1, 7]),
    "seasons": lambda: pw.seasons(),
    "groups": lambda: pw.market().by_set(),
    "observed": lambda: pw.market().observed(),
    "skill": lambda: pw.score(),
    "calibration": lambda: pw.backtest(),
    "by_month": lambda: pw.backtest(),
    "drawdown": lambda: pw.equity_curve(),
    "methods": lambda: pw.score(pw.backtest(horizons=7)),
}


@pytest.mark.parametrize("name", FRAMES)
def test_simulated_prices_are_marked_and_real_ones_are_not(name):
    frame = FRAMES[name]()
    assert getattr(pw.plot, name)(frame).get_title(loc="right") == "simulated"
    frame.attrs["simulated"] = False
    assert getattr(pw.plot, name)(frame).get_title(loc="right") == ""


@pytest.mark.parametrize("name", sorted(set(FRAMES) - {"methods"}))
def test_without_a_frame_the_store_is_read(name):
    assert getattr(pw.plot, name)().has_data()


@pytest.mark.parametrize(
    "name", ["movers", "moves", "skill", "calibration", "by_month", "drawdown"]
)
def test_nothing_to_draw_is_said(name):
    axes = getattr(pw.plot, name)(FRAMES[name]().iloc[:0])
    assert axes.texts[0].get_text().startswith(("no", "nothing"))


def test_given_axes_are_used():
    _, axes = plt.subplots()
    assert pw.plot.market(ax=axes) is axes


def test_skill_takes_forecasts_as_well_as_scores():
    forecasts = pw.backtest()
    drawn = [
        [points.get_offsets().tolist() for points in axes.collections]
        for axes in (pw.plot.skill(forecasts), pw.plot.skill(pw.score(forecasts)))
    ]
    assert drawn[0] == drawn[1] != []


def test_a_dollar_sign_in_a_name_is_money():
    frame = pw.market().movers().assign(name="Cards $1 to $2_x")
    axes = pw.plot.movers(frame)
    axes.figure.canvas.draw()
    assert not any(label.get_parse_math() for label in axes.get_yticklabels())


def test_price_of_an_alias_and_of_a_card_are_one():
    first, second = pw.plot.price("test1-1"), pw.plot.price(pw.market().card("1:Normal"))
    assert first.get_title(loc="left") == second.get_title(loc="left") == "Card 1, Set A, Normal"
    line = second.get_lines()[0]
    assert pd.Series(line.get_ydata()).equals(pw.market().prices["1:Normal"].reset_index(drop=True))


@pytest.mark.parametrize(
    "path", sorted((PROJECT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem
)
def test_every_chart_of_a_notebook_is_seen(path):
    cells = [cell for cell in nbformat.read(path, 4).cells if "pw.plot." in cell.source]
    for cell in (cell for cell in cells if cell.cell_type == "code"):
        assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source
