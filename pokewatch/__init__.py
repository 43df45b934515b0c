"""PokeWatch: Pokémon trading-card prices, fair values and signals, scored out of sample."""

__version__ = "0.1.0"
