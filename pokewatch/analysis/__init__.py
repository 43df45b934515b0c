"""The market and its cards as an analyst holds them, and the questions asked of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["benchmark", "narrative", "tables"]
)
