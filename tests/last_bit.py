"""Another processor, as far as NumPy goes: its functions differ in the last bit.

Each result is moved by one unit in the last place, up or down as the argument tells, so that equal
arguments keep equal results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

NAMES = ("log", "log2", "log10", "log1p", "exp", "exp2", "expm1", "power", "tanh", "cbrt")
SOLVERS = ("solve", "lstsq", "inv", "pinv")


def moved(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose results are off by one unit in the last place."""

    def call(*arguments: Any, out: Any = None, **options: Any) -> Any:
        given = np.asarray(arguments[0], dtype=np.float64)
        # Bits of the argument, mixed: whether a result moves up or down is the argument's own.
        mixed = given.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(63)
        result = function(*arguments, **options)
        if isinstance(result, tuple) or np.shape(result) != given.shape:
            mixed = np.zeros((), dtype=np.uint64)
        first = result[0] if isinstance(result, tuple) else result
        if np.asarray(first).dtype.kind == "f":
            first = np.nextafter(first, np.where(mixed == 1, np.inf, -np.inf).astype(first.dtype))
        if out is not None:
            out = out[0] if isinstance(out, tuple) else out
            out[...] = first
            return out
        return (first, *result[1:]) if isinstance(result, tuple) else first

    return call


@contextmanager
def another_processor() -> Iterator[None]:
    """Move the last bits while this lasts."""
    places = [(np, name) for name in NAMES] + [(np.linalg, name) for name in SOLVERS]
    kept = [(module, name, getattr(module, name)) for module, name in places]
    for module, name, function in kept:
        setattr(module, name, moved(function))
    try:
        yield
    finally:
        for module, name, function in kept:
            setattr(module, name, function)
