"""PokeWatch: Pokémon trading-card prices, fair values and signals, scored out of sample.

``import pokewatch as pw`` and press Tab after ``pw.``; each name is loaded when it is first used.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pokewatch import plot
    from pokewatch.analysis.card import Card
    from pokewatch.analysis.experiment import Trial, trial
    from pokewatch.analysis.market import Market
    from pokewatch.analysis.studies import following, importance, momentum, seasons, track_record
    from pokewatch.api import backtest, fair_value, market, score, signals, status, train

__version__ = "0.1.0"
__all__ = [
    "Card",
    "Market",
    "Trial",
    "backtest",
    "fair_value",
    "following",
    "importance",
    "market",
    "momentum",
    "plot",
    "score",
    "seasons",
    "signals",
    "status",
    "track_record",
    "train",
    "trial",
]
_HOMES = {
    "Card": "analysis.card",
    "Market": "analysis.market",
    "Trial": "analysis.experiment",
    "following": "analysis.studies",
    "importance": "analysis.studies",
    "momentum": "analysis.studies",
    "seasons": "analysis.studies",
    "track_record": "analysis.studies",
    "trial": "analysis.experiment",
}

# Libraries' progress bars miss widgets in a notebook, and would name a folder of this machine.
warnings.filterwarnings("ignore", "IProgress not found")


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that the import itself costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'pokewatch' has no attribute '{name}'")
    if name == "plot":
        return import_module("pokewatch.plot")
    value = getattr(import_module(f"pokewatch.{_HOMES.get(name, 'api')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
