"""Notebooks as pages: widgets over one market that all visitors share."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"cards": ["cards"], "portfolio": ["portfolio"]}
)
