"""The market that all visitors share: read once, replaced whole when newer data is stored."""

from __future__ import annotations

import logging
from functools import cached_property

import pandas as pd

from pokewatch.analysis import card_history
from pokewatch.analysis.market import Market, market
from pokewatch.cards.catalog import Catalog
from pokewatch.errors import PokewatchError
from pokewatch.evaluation import registry
from pokewatch.evaluation.predictions import model_for, predict_panel
from pokewatch.operations.latest import Latest
from pokewatch.operations.status import mark
from pokewatch.report import facts
from pokewatch.schema import PRIOR, SIGNAL_HORIZON
from pokewatch.settings import Settings, get_settings
from pokewatch.sources import ecb

log = logging.getLogger(__name__)

NAMED = ["name", "set_name", "number", "rarity", "printing", "product_kind"]
ORDER = {"BUY": 0, "SELL": 1, "HOLD": 2}


class Current:
    """The newest prices, what is forecast of them and what came of past calls; never changed."""

    def __init__(self, settings: Settings):
        self.mark = mark(settings)
        self.market: Market = market()
        panel, version = self.market.panel, self.market.data_version
        self.trained = model_for(settings, "champion", panel.dates[-1])
        self.forecasts = predict_panel(settings, panel, version, self.trained)
        by_prior = self.forecasts["model"].astype(str).str.startswith(PRIOR).any()
        naive = "naive, and a prior" if by_prior else "naive"
        self.speaks = self.trained.name if self.trained else naive
        self.catalog = Catalog(self.market.known)
        self.simulated = self.market.simulated
        self.money = ecb.display(settings)

    @cached_property
    def _by_card(self) -> dict[str, list[int]]:
        return self.forecasts.groupby("card_id").indices

    def forecast(self, card_id: str) -> pd.DataFrame:
        """Return a card's forecasts, a row a horizon; none for a card without a price."""
        return self.forecasts.iloc[self._by_card.get(card_id, [])].sort_values("horizon")

    @cached_property
    def signals(self) -> pd.DataFrame:
        """Every card with what is expected of it in a week: BUY, SELL, HOLD, the most first."""
        week = self.forecasts[self.forecasts["horizon"] == SIGNAL_HORIZON]
        table = facts.every_card(week, self.market.panel)
        table = table.merge(self.market.known[["card_id", *NAMED]], on="card_id", how="left")
        table["solo"] = table["card_id"].map(card_history.solo(self.market)).astype(bool)
        order = table["signal"].map(ORDER) - table["expected"].abs().rank(pct=True)
        return table.loc[order.sort_values(kind="stable").index].reset_index(drop=True)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """``signals`` by card_id."""
        return self.signals.set_index("card_id")

    @cached_property
    def past_calls(self) -> pd.DataFrame:
        """Past BUY and SELL and what came of them, as ``card_history.past_calls``."""
        return card_history.past_calls(self.market)

    def prepare(self) -> Current:
        """Compute what the pages show, so that no visitor waits for it; returns itself."""
        _ = self.rows, self.past_calls, self._by_card, self.market.cards
        _ = self.market.quarantine, self.catalog.search("a")
        return self


def _newer(settings: Settings) -> Current:
    _, problem = registry.try_champion(settings)
    if problem:
        raise PokewatchError(problem)
    return Current(settings).prepare()


_shared = Latest(_newer)


def trouble() -> str:
    """Return why the newest data are not shown, "" where they are."""
    return _shared.trouble


def current() -> Current:
    """Return the market that is shown now, read when it is first asked for.

    Raises UsageError where nothing is stored.
    """
    with _shared.lock:
        if _shared.market is None:
            _shared.market = Current(get_settings())
        return _shared.market


def look() -> None:
    """Read the market anew where the store or the champion has changed; the old one serves on."""
    if _shared.look(get_settings()):
        log.info("showing data version %d", current().market.data_version)
