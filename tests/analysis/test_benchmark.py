"""What stands beside PokeWatch's times must have done the same work."""

from __future__ import annotations

import pandas as pd
import pytest
from builders import market

from pokewatch.analysis import benchmark as comparison
from pokewatch.models.panel import Panel

ROWS = market(12, 90)


def test_every_tool_gives_the_same_features():
    table = comparison.feature_query(Panel.from_prices(ROWS), 10)
    done = table[table["skipped"] == ""]
    assert {"PokeWatch", "pandas, loop over cards"} <= set(done["tool"])
    assert done["same"].all()


def test_the_row_loop_and_the_model_give_the_same_prices():
    assert comparison.predictions(ROWS, 60)["same"].all()


def test_the_fitted_power_is_the_one_that_is_there():
    sizes = pd.DataFrame({"cards": [10, 100, 1000], "days": 5, "open": [1.0, 10.0, 100.0]})
    sizes["flat"] = 3.0
    found = comparison.exponents(sizes)
    assert found == {"open": pytest.approx(1.0), "flat": pytest.approx(0.0)}
