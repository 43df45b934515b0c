"""The nightly report: facts, sections and the one HTML page."""

import lazy_loader

SECTIONS = [
    "every_card",
    "footer",
    "headline",
    "health",
    "market",
    "model",
    "movers",
    "open_night",
    "portfolio",
    "quarantine",
    "sets",
    "signals",
    "style",
]
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"sections": SECTIONS})
