"""Simulated markets, which say so wherever they show: the demo's, and one of any size."""

from pokewatch.sources.simulated.demo import ABOUT, FIRST_PRODUCT, SOURCE, deliver, fetch

__all__ = ["ABOUT", "FIRST_PRODUCT", "SOURCE", "deliver", "fetch"]
