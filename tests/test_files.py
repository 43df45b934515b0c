"""JSON as it is written everywhere, and files that one process holds against the others."""

from __future__ import annotations

import errno
import json
import os
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


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX systems")
def test_one_process_holds_a_file_or_folder_and_another_is_told(tmp_path):
    for path in (tmp_path, tmp_path / "a.lock"):
        with files.alone(path) as held, files.alone(path) as other:
            assert (held, other) == (True, False)
        with files.alone(path) as held:
            assert held is True


def test_an_error_of_what_is_done_meanwhile_is_its_own(tmp_path):
    with pytest.raises(BlockingIOError, match="mine"), files.alone(tmp_path):
        raise BlockingIOError("mine")


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX systems")
def test_a_file_system_without_locks_is_told_apart(tmp_path, monkeypatch):
    def refused(*_: object) -> None:  # as NFS does for a folder
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr("fcntl.flock", refused)
    with files.alone(tmp_path) as held:
        assert held is None
