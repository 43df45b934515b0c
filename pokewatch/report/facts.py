"""The figures of the nightly report as frames: one read of the store, then functions of it."""

from __future__ import annotations

import logging
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import pandas as pd

from pokewatch.analysis.market import MIN_PRICE, changes
from pokewatch.cards.catalog import Catalog
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.evaluation import registry, track_record
from pokewatch.evaluation.gate import RECENT
from pokewatch.evaluation.predictions import model_for, predict_panel
from pokewatch.evaluation.registry import TrainedModel
from pokewatch.formatting import Money
from pokewatch.models.panel import Panel, read_panel
from pokewatch.quality.completeness import Completeness, latest
from pokewatch.schema import PRIOR, SIGNAL_HORIZON, SIMULATED
from pokewatch.settings import Settings
from pokewatch.sources import ecb
from pokewatch.store.tables import Store
from pokewatch.watchlist import entries as watchlist
from pokewatch.watchlist import graded

log = logging.getLogger(__name__)

UNUSABLE = "Your watchlist could not be used"
MIN_SET_CARDS = 3  # a set with fewer moved cards is left out


@dataclass(frozen=True)
class Night:
    """One date's state of everything a report shows.

    version: the store's data version; sources: names of its sources; cards: all known cards,
    indexed by card_id; calls: predictions at the signal horizon, indexed by card_id; champion: the
    model that speaks for the day, as ``predictions.model_for`` tells; champion_problem: why the
    promoted one cannot; scored: that model, or without one the last trained by then; quarantine:
    refused and held rows; holdings: the watchlist as ``watchlist.holdings`` values it;
    watch_problem: why it is empty, if it is; covered: how complete the last day with prices of a
    service is, None without one.
    """

    settings: Settings
    panel: Panel
    version: int
    sources: list[str]
    cards: pd.DataFrame
    calls: pd.DataFrame
    champion: TrainedModel | None
    champion_problem: str
    scored: TrainedModel | None
    quarantine: pd.DataFrame
    holdings: pd.DataFrame
    watch_problem: str
    covered: Completeness | None

    @property
    def on(self) -> pd.Timestamp:
        """The report's date."""
        return self.panel.dates[-1]

    @property
    def last_date(self) -> pd.Timestamp:
        """The last day on which any price was observed."""
        return self.panel.dates[self.panel.last_priced()]

    @property
    def priced(self) -> int:
        """How many cards were observed on ``last_date``."""
        return int((self.panel.age[self.panel.last_priced()] == 0).sum())

    @cached_property
    def repeated(self) -> list[pd.Timestamp]:
        """The days that are the day before again, as ``Panel.repeated_days`` finds them."""
        return self.panel.repeated_days()

    @cached_property
    def money(self) -> Money:
        """How amounts are written."""
        return ecb.display(self.settings)

    @property
    def simulated(self) -> bool:
        """Whether any price is simulated."""
        return SIMULATED in self.sources

    @property
    def prior(self) -> int:
        """How many cards the prior speaks of."""
        return int(self.calls["model"].str.startswith(PRIOR).sum())

    def history(self, card_id: str, days: int = 90) -> pd.Series:
        """Return a card's last prices in USD, index of dates."""
        column = bisect_left(self.panel.card_ids, card_id)  # a panel's ids are sorted
        return pd.Series(self.panel.price[-days:, column], self.panel.dates[-days:])


def load(settings: Settings, on: date | None = None) -> Night:
    """Read the store up to a day (default: all of it) and predict that day."""
    store = Store.from_settings(settings)
    snapshot = store.snapshot("prices")
    cards = store.cards()
    panel = read_panel(store, snapshot, cards, on)
    champion = model_for(settings, "champion", panel.dates[-1])
    calls = predict_panel(settings, panel, snapshot.version, champion, [SIGNAL_HORIZON])
    names = sorted(store.sources(snapshot, on))
    refused = store.quarantine(["held", "refused"])
    holdings, problem = watched(settings, cards, panel, SIMULATED in names)
    return Night(
        settings=settings,
        panel=panel,
        version=snapshot.version,
        sources=names,
        cards=cards.set_index("card_id", drop=False),
        calls=calls.set_index("card_id", drop=False),
        champion=champion,
        champion_problem="" if champion else registry.why_none(settings),
        scored=champion or registry.last_trained(settings, panel.dates[-1]),
        quarantine=refused[~(refused["date"] > panel.dates[-1])],
        holdings=holdings,
        watch_problem=problem,
        covered=latest(store, snapshot, settings.coverage_floor, on),
    )


def with_signal(calls: pd.DataFrame, side: str) -> pd.DataFrame:
    """Return the predictions that are a BUY or SELL, the largest expected moves first.

    side: BUY or SELL; column ``expected`` (a fraction) is added. Cards under ``MIN_PRICE`` come
    last: a cent is a big move for them, and buys nothing.
    """
    found = calls[calls["signal"] == side]
    found = found.assign(expected=found["fair_value"] / found["market_price"] - 1)
    order = np.lexsort([-found["expected"].abs(), found["market_price"] < MIN_PRICE])
    return found.iloc[order]


def watched(
    settings: Settings, cards: pd.DataFrame, panel: Panel, simulated: bool
) -> tuple[pd.DataFrame, str]:
    """Return the valued watchlist and a sentence that says why it is empty, if it is."""
    nothing = watchlist.holdings([], Catalog(cards.iloc[:0]), panel)
    name = settings.watchlist.name
    try:
        entries = watchlist.load(settings.watchlist)
    except UsageError as error:
        log.warning("%s", error)
        return nothing, f"{UNUSABLE}: {error}."
    if not entries:
        return nothing, f"{name} lists no card yet: {watchlist.EXAMPLE}."
    if not simulated and all(watchlist.is_simulated(entry.card) for entry in entries):
        return nothing, (
            f"{name} names cards of the simulated market only, and these prices are real: put your "
            "own cards into it; 'pokewatch cards TEXT' finds their ids."
        )
    medians = graded.medians(settings, panel.dates[-1])
    return watchlist.holdings(entries, Catalog(cards), panel, medians), ""


def every_card(calls: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Return a day's predictions, the dearest cards first; panel: up to that day.

    Columns ``PREDICTION_COLUMNS`` and expected, week, month (changes as fractions), spread (the
    interval's width as a share of the price).
    """
    table = calls.reset_index(drop=True)
    price = table["market_price"]
    table["expected"] = table["fair_value"] / price - 1
    table["spread"] = (table["upper"] - table["lower"]) / price
    columns = pd.Index(panel.card_ids).get_indexer(table["card_id"])
    for name, span in (("week", 7), ("month", 30)):
        before = panel.price[-1 - span, columns] if span < len(panel.dates) else np.nan
        table[name] = price / before - 1
    return table.sort_values(["market_price", "card_id"], ascending=[False, True])


def sets(panel: Panel, stale_days: int) -> pd.DataFrame:
    """Return how each set moved, the largest rise of a week first.

    Columns set_name, cards, change_7, change_30 (medians over its cards of ``market.changes``),
    best and worst (card_id), best_change, worst_change.
    """
    table = changes(panel, 7, stale_days).rename(columns={"change": "change_7"})
    table["change_30"] = changes(panel, 30, stale_days)["change"]
    table["set_name"] = panel.cards["set_name"].to_numpy(dtype=object)
    known = table.dropna(subset=["set_name", "change_7"]).sort_values("change_7", kind="stable")
    found = known.groupby("set_name").agg(
        cards=("card_id", "size"),
        change_7=("change_7", "median"),
        change_30=("change_30", "median"),
        best=("card_id", "last"),
        best_change=("change_7", "last"),
        worst=("card_id", "first"),
        worst_change=("change_7", "first"),
    )
    found = found[found["cards"] >= MIN_SET_CARDS].reset_index()
    return found.sort_values("change_7", ascending=False, kind="stable", ignore_index=True)


def months(night: Night) -> pd.DataFrame:
    """Return the walk-forward record by month, as ``track_record.by_month`` does."""
    if night.scored is None:
        return track_record.NO_MONTHS
    name = night.scored.name
    if name == registry.champion_name(night.settings):  # a newer model may have its name
        name = "champion"
    try:
        past = registry.past_forecasts(night.settings, name)
    except PokewatchError:  # back-tests of old models are not kept
        return track_record.NO_MONTHS
    return track_record.by_month(past, SIGNAL_HORIZON, night.on)


def published(night: Night) -> pd.DataFrame:
    """Return what the nights of the last ``RECENT`` days said, as ``track_record.live`` does."""
    return track_record.live(night.settings, night.panel, SIGNAL_HORIZON, RECENT)
