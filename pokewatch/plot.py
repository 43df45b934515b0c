"""Charts for notebooks."""

from pokewatch.charts.market import *  # noqa: F403
