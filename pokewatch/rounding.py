"""Logarithms on a fixed grid: the same figures on every processor.

A processor's last bit of a logarithm is its own: NumPy has several kernels, and they differ. A
forecast must not depend on it, so logarithms of prices are rounded where they are taken, to
multiples of ``GRID``, a millionth. Sums of such values are exact, in whatever order they are
added; what is decided by comparing them is decided alike everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

GRID = 2.0**-20


def on_grid(values: Any) -> Any:
    """Return values (a number, an array, a Series) rounded to the nearest multiple of ``GRID``."""
    return np.rint(values * (1 / GRID)) * GRID


def log(values: Any) -> Any:
    """Return natural logarithms on the grid; NaN where a value is not known."""
    return on_grid(np.log(values))
