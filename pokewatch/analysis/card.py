"""One card of a market: its prices, what is known of it, what it is worth."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pokewatch.formatting import usd
from pokewatch.operations import night
from pokewatch.store.tables import Store

if TYPE_CHECKING:
    from pokewatch.analysis.market import Market


@dataclass(frozen=True, repr=False, eq=False)
class Card:
    """A card of a market, as ``market.card`` returns it.

    >>> import pokewatch as pw
    >>> card = pw.market().card()
    >>> card.prices.name == card.card_id
    True
    """

    market: Market
    card_id: str

    @property
    def prices(self) -> pd.Series:
        """Market prices in USD from its first one on, index of dates, gaps filled causally."""
        prices = self.market.prices[self.card_id].dropna()
        prices.attrs["simulated"] = self.market.simulated
        return prices

    @property
    def observations(self) -> pd.DataFrame:
        """The stored observations themselves: market, low, mid, high price (USD), volume."""
        days = self.market.dates
        rows = Store.from_settings(self.market.settings).prices(
            None, [self.card_id], days[0].date(), days[-1].date(), self.market.data_version
        )
        rows.attrs["simulated"] = self.market.simulated
        return rows

    @property
    def info(self) -> dict[str, Any]:
        """What is known of it: name, set_name, number, rarity, printing, aliases, last_price."""
        row = self.market.cards.loc[self.card_id]
        values = {
            str(name): value.item() if isinstance(value, np.generic) else value
            for name, value in row.items()
        }
        values["aliases"] = list(values["aliases"])
        blank = {name: None for name, value in values.items() if value is pd.NA or value != value}
        return {"card_id": self.card_id} | values | blank

    @property
    def title(self) -> str:
        """Its name, or its id where it has none."""
        return str(self.info["name"] or self.card_id)

    def change(self, days: int = 7) -> float:
        """Return its change (a fraction) over the market's last ``days`` days, NaN if unknown.

        >>> import pokewatch as pw
        >>> pw.market().card().change(days=7) > -1
        True
        """
        if days >= len(self.market.panel.dates):
            return float("nan")
        return float(self.market.returns(days)[self.card_id].iloc[-1])

    def fair_value(
        self, horizons: int | Sequence[int] | None = None, model: str = "champion"
    ) -> pd.DataFrame:
        """Return fair value and 80 % interval (USD) at the market's last day, a row a horizon.

        Columns ``PREDICTION_COLUMNS``; UsageError for a horizon that was not trained.

        >>> import pokewatch as pw
        >>> pw.market().card().fair_value(horizons=7)["horizon"].tolist()
        [7]
        """
        if horizons is None and model == "champion":
            return self._forecast.copy()
        return self._predicted(horizons, model)

    @cached_property
    def _forecast(self) -> pd.DataFrame:
        return self._predicted(None, "champion")

    def _predicted(self, horizons: int | Sequence[int] | None, model: str) -> pd.DataFrame:
        wanted = [horizons] if isinstance(horizons, int) else horizons
        on = self.market.dates[-1].date()
        version = self.market.data_version
        rows = night.predict(
            self.market.settings, [self.card_id], on, wanted, model, data_version=version
        )
        rows.attrs["simulated"] = self.market.simulated
        return rows

    def __repr__(self) -> str:
        return f"Card({self.card_id!r}, {self.title!r}, last price {self.info['last_price']:,.2f})"

    def _repr_html_(self) -> str:
        """Return its name, set, last price and moves, with the curve of its last 90 days."""
        from pokewatch.charts.market import sparkline
        from pokewatch.charts.style import svg

        info = self.info
        about = [info[name] for name in ("set_name", "number", "rarity", "printing") if info[name]]
        moved = ", ".join(
            f"{change:+.1%} in {days} days"
            for days in (7, 30)
            if (change := self.change(days)) == change
        )
        said = f"{usd(info['last_price'], short=True)} on {info['last_date']:%Y-%m-%d}"
        said += f" ({moved})" if moved else ""
        said += " · <em>simulated</em>" if self.market.simulated else ""
        line = svg(sparkline, self.prices.tail(90), "prices of the last 90 days")
        return (
            f'<div class="mathjax_ignore"><strong>'  # a dollar sign is money
            f"{html.escape(self.title)}</strong> · "
            f"{html.escape(' · '.join(str(part) for part in about))} · "
            f"<code>{html.escape(self.card_id)}</code><br>{said}"
            f'<div style="width: 9em">{line}</div></div>'
        )
