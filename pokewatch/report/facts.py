"""What the nightly report tells, as frames and sentences; the store is read once."""

from __future__ import annotations

import logging
from bisect import bisect_left
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from pokewatch.cards.catalog import Catalog
from pokewatch.errors import UsageError
from pokewatch.evaluation import registry
from pokewatch.evaluation.registry import TrainedModel
from pokewatch.models.panel import PANEL_COLUMNS, Panel
from pokewatch.operations import night as nightly
from pokewatch.quality import rules
from pokewatch.quality.completeness import Coverage, latest
from pokewatch.schema import SIMULATED
from pokewatch.settings import Settings
from pokewatch.store.tables import Store
from pokewatch.watchlist import entries as watchlist

log = logging.getLogger(__name__)

UNUSABLE = "Your watchlist could not be used"
MOVER_SPANS = (1, 7, 30)
FLOOR = 1.0  # USD; below it a cent more is a big move
LEAST_CARDS = 3  # of a set, to speak of it
INDEX_DAYS = 365
INDEX_CAP = np.log(1.2)  # one day's move of one card counts no more than this


@dataclass(frozen=True)
class Night:
    """One date's state of everything a report shows.

    cards: all known cards, indexed by card_id; calls: predictions at the signal horizon, indexed
    by card_id; scored: the champion, or without one the last trained model; held: the watchlist as
    ``watchlist.holdings`` values it; watch_problem: why it is empty, if it is;
    covered: how complete the last day with prices of a service is, None without one.
    """

    settings: Settings
    panel: Panel
    version: int
    last_date: pd.Timestamp
    priced: int
    sources: list[str]
    cards: pd.DataFrame
    calls: pd.DataFrame
    champion: TrainedModel | None
    scored: TrainedModel | None
    repeated: list[pd.Timestamp]
    quarantine: pd.DataFrame
    held: pd.DataFrame
    watch_problem: str
    covered: Coverage | None

    @property
    def on(self) -> pd.Timestamp:
        """The report's date."""
        return self.panel.dates[-1]

    @property
    def simulated(self) -> bool:
        """Whether any price is simulated."""
        return SIMULATED in self.sources

    def history(self, card_id: str, days: int = 90) -> pd.Series:
        """Return a card's last prices in USD, index of dates."""
        column = bisect_left(self.panel.card_ids, card_id)  # a panel's ids are sorted
        return pd.Series(self.panel.price[-days:, column], self.panel.dates[-days:])


def load(settings: Settings, on: date | None = None) -> Night:
    """Read the store up to a day (default: all of it) and predict that day."""
    store = Store.from_settings(settings)
    snapshot = store.snapshot("prices")
    cards = store.cards()
    panel = Panel.from_tables(snapshot.by_month(PANEL_COLUMNS, on), cards, on)
    champion = registry.champion(settings)
    calls = nightly.predict_panel(
        settings, panel, snapshot.version, champion, [nightly.SIGNAL_HORIZON]
    )
    row = panel.last_priced()
    last = panel.dates[row]
    names = sorted(store.sources(snapshot, on))
    held, problem = watched(settings, cards, panel, SIMULATED in names)
    return Night(
        settings=settings,
        panel=panel,
        version=snapshot.version,
        last_date=last,
        priced=int((panel.age[row] == 0).sum()),
        sources=names,
        cards=cards.set_index("card_id", drop=False),
        calls=calls.set_index("card_id", drop=False),
        champion=champion,
        scored=champion or last_trained(settings),
        repeated=panel.repeated_days(),
        quarantine=store.quarantine(["held", "refused"]),
        held=held,
        watch_problem=problem,
        covered=latest(store, snapshot, settings.coverage_floor, on),
    )


def last_trained(settings: Settings) -> TrainedModel | None:
    """Return the model trained on the newest prices, None before the first."""
    return max(
        registry.usable(settings), key=lambda one: (one.as_of, one.data_version), default=None
    )


def called(night: Night, side: str) -> pd.DataFrame:
    """Return the day's BUY or SELL with ``expected``, the largest expected moves first.

    Cards under ``FLOOR`` come last: a cent is a big move for them, and buys nothing.
    """
    found = night.calls[night.calls["signal"] == side]
    found = found.assign(expected=found["fair_value"] / found["market_price"] - 1)
    order = np.lexsort([-found["expected"].abs(), found["market_price"] < FLOOR])
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
    return watchlist.holdings(entries, Catalog(cards), panel), ""


def movers(night: Night, span: int) -> pd.DataFrame:
    """Return cards by change over ``span`` days, the largest rise first.

    Columns card_id, before, price (USD), change; only cards of ``FLOOR`` and more at both
    ends whose prices are not stale there. Empty where the history is shorter.
    """
    panel = night.panel
    now, then = len(panel.dates) - 1, len(panel.dates) - 1 - span
    if then < 0:
        return pd.DataFrame(columns=["card_id", "before", "price", "change"])
    table = pd.DataFrame(
        {"card_id": panel.card_ids, "before": panel.price[then], "price": panel.price[now]}
    )
    fresh = (panel.age[[then, now]] <= night.settings.stale_days).all(axis=0)
    dear = (table[["before", "price"]] >= FLOOR).all(axis=1)
    table["change"] = table["price"] / table["before"] - 1
    kept = table[fresh & dear & (table["change"] != 0)]
    return kept.sort_values("change", ascending=False, kind="stable")


def every_card(night: Night) -> pd.DataFrame:
    """Return the day's predictions, the dearest cards first.

    Columns ``PREDICTION_COLUMNS`` and expected, week, month (changes as fractions), spread (the
    interval's width as a share of the price).
    """
    table = night.calls.reset_index(drop=True)
    price = table["market_price"]
    table["expected"] = table["fair_value"] / price - 1
    table["spread"] = (table["upper"] - table["lower"]) / price
    place = {card_id: number for number, card_id in enumerate(night.panel.card_ids)}
    columns = table["card_id"].map(place).to_numpy()
    now = len(night.panel.dates) - 1
    for name, span in (("week", 7), ("month", 30)):
        before = night.panel.price[now - span, columns] if now >= span else np.nan
        table[name] = price / before - 1
    return table.sort_values(["market_price", "card_id"], ascending=[False, True])


def sets(night: Night) -> pd.DataFrame:
    """Return how each set moved, the largest rise of a week first.

    Columns set_name, cards, change_7, change_30 (median changes of its cards as in ``movers``,
    cards that did not move included), best and worst (card_id), best_change, worst_change.
    """
    panel, now = night.panel, len(night.panel.dates) - 1
    names = panel.cards["set_name"]
    table = pd.DataFrame({"card_id": panel.card_ids, "set_name": names.to_numpy(dtype=object)})
    for span in (7, 30):
        then = now - span
        if then < 0:
            table[f"change_{span}"] = np.nan
            continue
        fresh = (panel.age[[then, now]] <= night.settings.stale_days).all(axis=0)
        dear = (panel.price[[then, now]] >= FLOOR).all(axis=0)
        change = panel.price[now] / panel.price[then] - 1
        table[f"change_{span}"] = np.where(fresh & dear, change, np.nan)
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
    found = found[found["cards"] >= LEAST_CARDS].reset_index()
    return found.sort_values("change_7", ascending=False, kind="stable").reset_index(drop=True)


def market_index(panel: Panel, stale_days: int = 3) -> pd.Series:
    """Return an equal-weighted index of the last year, 100 on its first day.

    A day's change is the mean log change of the cards at ``FLOOR`` and more the day before
    with fresh prices, each capped at ``INDEX_CAP``; new cards enter without moving it.
    """
    price, age = panel.price[-INDEX_DAYS:], panel.age[-INDEX_DAYS:]
    move = np.clip(np.diff(np.log(price), axis=0), -INDEX_CAP, INDEX_CAP)
    counts = (price[:-1] >= FLOOR) & (age[1:] <= stale_days)
    mean = np.where(counts, np.nan_to_num(move), 0).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    level = 100 * np.exp(np.concatenate([[0.0], np.cumsum(mean)]))
    return pd.Series(level, panel.dates[-INDEX_DAYS:])


def quarantined(night: Night) -> pd.DataFrame:
    """Return refused and held rows by reason: columns reason, meaning, rows, held, last_date."""
    rows = night.quarantine.assign(held=night.quarantine["status"] == "held")
    table = (
        rows.groupby("reason")
        .agg(rows=("reason", "size"), held=("held", "sum"), last_date=("date", "max"))
        .sort_values("rows", ascending=False)
        .reset_index()
    )
    table["meaning"] = [rules.REASONS.get(reason, reason) for reason in table["reason"]]
    return table
