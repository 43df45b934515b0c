"""JSON as it is written everywhere."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import pandas as pd
import pytest

from pokewatch import files


def test_what_is_not_known_is_null_and_other_types_are_plain_values():
    frame = pd.DataFrame({"day": pd.to_datetime(["2025-01-02", None]), "price": [np.nan, 1.5]})
    value = {
        "unknown": [float("nan"), np.inf, np.float64("nan"), pd.NaT, pd.NA, None],
        "numbers": [np.int64(3), np.float32(0.5), np.bool_(True)],
        "arrays": [np.array([1.0, np.nan]), np.arange(6)[::2], np.array(["a"], dtype=object)],
        "days": [date(2025, 1, 2), pd.Timestamp("2025-01-02"), pd.Timestamp("2025-01-02 03:00")],
        "frame": frame,
        7: "é",
    }
    expected = {
        "unknown": [None] * 6,
        "numbers": [3, 0.5, True],
        "arrays": [[1.0, None], [0, 2, 4], ["a"]],
        "days": ["2025-01-02", "2025-01-02", "2025-01-02T03:00:00"],
        "frame": [{"day": "2025-01-02", "price": None}, {"day": None, "price": 1.5}],
        "7": "é",
    }
    assert files.json_values(value) == expected
    assert json.loads(files.json_bytes(value, indent=True)) == expected


def test_a_value_without_a_json_form_is_refused():
    with pytest.raises(TypeError):
        files.json_bytes({"x": object()})
