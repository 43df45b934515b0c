"""Another processor, as far as NumPy goes: its functions differ in the last bit.

Each result is moved by one unit in the last place, up or down as the argument tells, so that equal
arguments keep equal results.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from types import ModuleType
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
            first = np.nextafter(
                first, np.where(mixed == 1, np.inf, -np.inf).astype(np.asarray(first).dtype)
            )
        if out is not None:
            out = out[0] if isinstance(out, tuple) else out
            out[...] = first
            return out
        return (first, *result[1:]) if isinstance(result, tuple) else first

    return call


def elsewhere() -> ModuleType:
    """Return NumPy as it is on another processor."""
    found, algebra = ModuleType("numpy"), ModuleType("numpy.linalg")
    vars(found).update(vars(np))
    vars(algebra).update(vars(np.linalg))
    for name in NAMES:
        setattr(found, name, moved(getattr(np, name)))
    for name in SOLVERS:
        setattr(algebra, name, moved(getattr(np.linalg, name)))
    vars(found)["linalg"] = algebra
    return found


@contextmanager
def another_processor() -> Iterator[None]:
    """Give every loaded module of PokeWatch the other NumPy while this lasts."""
    other = elsewhere()
    ours = [one for name, one in sys.modules.items() if name.split(".")[0] == "pokewatch"]
    ours = [one for one in ours if vars(one).get("np") is np]
    for module in ours:
        vars(module)["np"] = other
    try:
        yield
    finally:
        for module in ours:
            vars(module)["np"] = np


def for_this_process() -> None:
    """Give every module of PokeWatch that this process loads the other NumPy."""
    other, load = elsewhere(), SourceFileLoader.exec_module

    def exec_module(self: SourceFileLoader, module: ModuleType) -> None:
        load(self, module)
        if module.__name__.split(".")[0] == "pokewatch" and vars(module).get("np") is np:
            vars(module)["np"] = other

    SourceFileLoader.exec_module = exec_module  # type: ignore[method-assign]
