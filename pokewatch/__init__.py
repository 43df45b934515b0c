"""PokeWatch: Pokémon trading-card prices, fair values and signals, scored out of sample.

``import pokewatch as pw`` and press Tab after ``pw.``; each name is loaded when it is first used.
"""

import warnings
from typing import Any

import lazy_loader

__version__ = "0.1.0"

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_RENAMED = {  # the old names go with version 0.2
    "Trial": "Experiment",
    "following": "equity_curve",
    "importance": "permutation_importance",
    "trial": "experiment",
}

# Libraries' progress bars miss widgets in a notebook, and would name a folder of this machine.
warnings.filterwarnings("ignore", "IProgress not found")


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that the import itself costs nothing."""
    new = _RENAMED.get(name)
    if new is None:
        return _load(name)
    text = f"pw.{name} is called pw.{new} now, and its old name goes with version 0.2"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    if name == "following":  # least_price became min_price
        return lambda forecasts=None, horizon=7, least_price=1.0: _load(new)(
            forecasts, horizon, least_price
        )
    return _load(new)
