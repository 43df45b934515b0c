"""What is served: one state of prices, cards and champion, replaced whole when it changes."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import lru_cache
from time import monotonic
from typing import Any

import pandas as pd

from pokewatch.cards.catalog import Catalog
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.evaluation import predictions, registry, stored, track_record
from pokewatch.evaluation.registry import TrainedModel
from pokewatch.files import json_bytes, json_values
from pokewatch.models.panel import open_panel, read_panel
from pokewatch.operations import status
from pokewatch.operations.latest import Latest, keep_looking
from pokewatch.operations.status import mark
from pokewatch.report import facts
from pokewatch.schema import CARD_COLUMNS, HORIZONS, PREDICTION_COLUMNS, SIGNAL_HORIZON
from pokewatch.service import metrics
from pokewatch.service.problems import UNREADABLE, Problem
from pokewatch.service.replies import shown_beside
from pokewatch.settings import Settings
from pokewatch.sources import ecb
from pokewatch.store.tables import Store
from pokewatch.watchlist import entries

log = logging.getLogger(__name__)

CACHED = 10_000  # answers in memory
HEAVY = 2  # long reads of the store at a time; the others wait
WAITING = 8  # more are refused: each takes one of the threads that answer
WAIT = 20.0  # seconds
STATUS_SECONDS = 60.0
IN_RECORD = ("calls", "precision", "base_rate", "lift")


class Market:
    """The newest prices with the champion's forecasts for them; nothing in it changes."""

    def __init__(self, settings: Settings):
        """Read it from the store; raises PokewatchError where that or the champion is damaged."""
        self.settings = settings
        self.mark = mark(settings)
        self.money = ecb.display(settings)
        store = Store.from_settings(settings)
        self.snapshot = store.snapshot("prices")
        self.version = self.snapshot.version
        last = store.last_day(snapshot=self.snapshot)
        if last is None:
            raise PokewatchError("no prices are stored: run 'pokewatch collect' first")
        self.first, self.last = status.first_day(self.snapshot), last
        self.cards = store.cards()
        self.catalog = Catalog(self.cards)
        _, problem = registry.try_champion(settings)
        if problem:
            raise PokewatchError(problem)
        self.trained = predictions.model_for(settings, "champion", pd.Timestamp(last))
        calls = self._stored()
        if calls is None:
            panel = read_panel(store, self.snapshot, self.cards)
            calls = predictions.predict_panel(settings, panel, self.version, self.trained)
        self.calls = _by_horizon(calls)
        self.ids = sorted(calls["card_id"].unique())
        self.known = frozenset(self.ids)
        about = f"{self.mark} {self.model} {settings.store_root}"
        self.tag = f"{self.version}-{hashlib.sha256(about.encode()).hexdigest()[:16]}"
        self.fair_price = lru_cache(maxsize=CACHED)(self._fair_price)
        self.of_day = lru_cache(maxsize=2)(self._of_day)
        self.record = lru_cache(maxsize=1)(self._record)
        self._heavy = threading.BoundedSemaphore(HEAVY)
        self._places = threading.BoundedSemaphore(HEAVY + WAITING)
        self.catalog.search("1")  # makes its indexes, for which no request is to wait
        self.catalog.rows("a 1:b")

    @property
    def model(self) -> str:
        """Name of the model that speaks, "naive" without one."""
        return self.trained.name if self.trained else "naive"

    def _stored(self) -> pd.DataFrame | None:
        """Return what the night said, None where it said nothing of this very state."""
        said = stored.of_day(self.settings, self.last)
        horizons = self.trained.model.horizons if self.trained else HORIZONS
        found = said.rows(horizons) if said and said.model == self.model else None
        if found is None or (found["data_version"] != self.version).any():
            return None
        return found[PREDICTION_COLUMNS]

    def card(self, text: str) -> str:
        """Return the id of one card; Problem 404 for none, 409 with the list for several."""
        try:
            return self.catalog.resolve(text)
        except UsageError as error:
            ids = [self.catalog.ids[row] for row in sorted(self.catalog.rows(text.strip()))]
            raise Problem(409 if ids else 404, str(error), cards=ids[:100]) from error

    def forecasts(self, horizon: int, on: date | None = None) -> pd.DataFrame:
        """Return the predictions of all cards at a horizon (days), indexed by card_id.

        on: as known at the end of that day. Problem 404 for a day without data.
        """
        days = self.calls if on in (None, self.last) else self.of_day(on)
        if horizon not in days:
            raise Problem(400, f"horizon={horizon} is not forecast: choose among {sorted(days)}")
        return days[horizon]

    def _of_day(self, on: date) -> dict[int, pd.DataFrame]:
        if not self.first <= on <= self.last:
            raise Problem(
                404, f"no data on {on}: there are prices from {self.first} to {self.last}"
            )
        with self.reading():
            found = predictions.predict(self.settings, on=on, data_version=self.version)
        return _by_horizon(found)

    def forecast(self, text: str, horizon: int, on: date | None = None) -> dict[str, Any]:
        """Return one card's prediction; Problem 404 where it has no price yet on that day."""
        card_id, found = self.card(text), self.forecasts(horizon, on)
        if card_id not in found.index:
            raise Problem(
                404,
                f"no data of '{card_id}' on {on or self.last}: GET /v1/cards/{card_id}/prices "
                "lists its days",
            )
        return found.loc[card_id].to_dict()

    def every_horizon(
        self, text: str, horizons: Sequence[int] | None, on: date | None
    ) -> pd.DataFrame:
        """Return one card's predictions, a row a horizon (default: all)."""
        rows = [self.forecast(text, one, on) for one in sorted({*(horizons or self.calls)})]
        return pd.DataFrame(rows)[PREDICTION_COLUMNS]

    def _fair_price(self, text: str, on: date | None, horizon: int) -> tuple[bytes, str]:
        """Return the first system's answer about one card as JSON, and its signal."""
        row = self.forecast(text, horizon, on)
        answer = {"card_id": text, "date": row["date"], "market_price": row["market_price"]}
        answer |= {"fair_price": row["fair_value"], "deviation_pct": row["deviation"]}
        answer |= {"signal": row["signal"], "canonical_id": row["card_id"]}
        answer |= {"deviation_percent": 100 * row["deviation"]}
        names = ["lower", "upper", "horizon", "reason", "thin", "stale", "model", "data_version"]
        answer |= {name: row[name] for name in names}
        answer["track_record"] = self.walk_forward(horizon, row["signal"], row["model"])
        return json_bytes(shown_beside(answer, self.money)), row["signal"]

    def walk_forward(self, horizon: int, signal: str, model: str) -> dict[str, Any] | None:
        """Return how the model's forecasts, and calls such as this one, did out of sample."""
        if self.trained is None or model != self.trained.name:
            return None
        row = self.trained.score(horizon)
        side = signal.lower()
        calls = {name: row.get(f"{side}_{name}") for name in IN_RECORD} if side != "hold" else {}
        about = {name: row.get(name) for name in ("n", "rmae", "coverage")}
        return {"kind": "walk-forward", **about, **calls}

    def signals(self, horizon: int, on: date | None) -> pd.DataFrame:
        """Return a day's BUY, then its SELL, each best first, with names."""
        found = self.forecasts(horizon, on)
        sides = [facts.with_signal(found, side) for side in ("BUY", "SELL")]
        names = self.cards[["card_id", "name", "set_name", "printing"]]
        columns = [*PREDICTION_COLUMNS, "name", "set_name", "printing"]
        return pd.concat(sides, ignore_index=True).merge(names, "left", "card_id")[columns]

    def batch(self, texts: Sequence[str], horizon: int, on: date | None) -> pd.DataFrame:
        """Return one row a text, in their order: card as asked, its prediction, or an error."""
        found = self.forecasts(horizon, on)
        ids: list[str | None] = []
        errors: list[str | None] = []
        for text in texts:
            rows = self.catalog.rows(text)
            one = self.catalog.ids[next(iter(rows))] if len(rows) == 1 else None
            error = f"fits {len(rows)} cards: name one by its id" if rows else "unknown card"
            if one is not None:
                error = "no data of this card on that day"
            ids.append(one)
            errors.append(None if one in found.index else error)
        table = found.reindex(ids).convert_dtypes().reset_index(drop=True)
        table["card_id"] = pd.Series(ids, dtype="object")
        table.insert(0, "card", list(texts))
        table["error"] = pd.Series(errors, dtype="object")
        return table

    def search(self, text: str, after: str, limit: int) -> tuple[pd.DataFrame, str | None]:
        """Return up to ``limit`` cards after an id, and the id to go on after, None at the end."""
        found = self.catalog.search(text) if text else self.cards
        left = found[found["card_id"] > after]
        page = left.head(limit)
        return self.described(page), page["card_id"].iloc[-1] if len(left) > limit else None

    def described(self, cards: pd.DataFrame) -> pd.DataFrame:
        """Return cards with their last price (USD)."""
        price = self.calls[SIGNAL_HORIZON]["market_price"]
        return cards[CARD_COLUMNS].assign(last_price=price.reindex(cards["card_id"]).to_numpy())

    def prices(self, card_id: str, since: date | None, until: date | None) -> pd.DataFrame:
        """Return a card's accepted observations."""
        with self.reading():
            store = Store.from_settings(self.settings)
            return store.prices(None, [card_id], since, until, snapshot=self.snapshot)

    def about_model(self) -> dict[str, Any]:
        """Return the champion, its score table, and what nights really said, with the outcome."""
        one: TrainedModel | None = self.trained
        facts_ = ("name", "as_of", "data_version", "sources", "code_version", "scores")
        about = {name: getattr(one, name) for name in facts_} if one else {"name": "naive"}
        reasons = one.verdict.reasons if one else [registry.why_none(self.settings)]
        return {
            "horizons": sorted(self.calls),
            **about,
            "reasons": reasons,
            "record": self.record(),
        }

    def _record(self) -> list[dict[str, Any]]:
        with self.reading():
            panel, _ = open_panel(self.settings, data_version=self.version)
            return json_values(track_record.read(self.settings, panel, SIGNAL_HORIZON))

    def portfolio(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Return the watchlist valued, and its sums."""
        listed = entries.load(self.settings.watchlist)
        with self.reading():
            held, day = entries.valued(self.settings, listed, self.snapshot, self.catalog)
        return held, entries.totals(held, day)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Take one of the ``HEAVY`` places for long reads; Problem 503 where none gets free.

        At most ``WAITING`` wait for one.
        """
        with ExitStack() as taken:
            for places, seconds in ((self._places, 0.0), (self._heavy, WAIT)):
                if not places.acquire(timeout=seconds):
                    busy = "too many long reads at once: try again"
                    raise Problem(503, busy, {"Retry-After": "5"})
                taken.callback(places.release)
            yield


def _by_horizon(calls: pd.DataFrame) -> dict[int, pd.DataFrame]:
    return {
        int(horizon): rows.set_index("card_id", drop=False)
        for horizon, rows in calls.groupby("horizon")
    }


class Current(Latest):
    """The market that is served now; a thread looks for a newer one and puts it in its place."""

    def __init__(self, settings: Settings):
        super().__init__(Market)
        self.settings = settings
        self._end = threading.Event()
        self._status: tuple[float, dict[str, Any]] | None = None

    @property
    def problem(self) -> str:
        """Why the newest prices are not served, "" where they are."""
        if self.trouble:
            return UNREADABLE
        return "" if self.market else "the prices are being read: try again in some seconds"

    def start(self, meanwhile: Callable[[], object]) -> None:
        """Begin to look, in a thread of its own, which calls ``meanwhile`` every time."""

        def look() -> None:
            self.refresh()
            meanwhile()
            if self.market:
                metrics.observe(self.market)

        self._end.clear()
        keep_looking(look, self._end)

    def stop(self) -> None:
        """Look no more."""
        self._end.set()

    def get(self) -> Market:
        """Return the market; Problem 503 before the first."""
        if self.market is None:
            raise Problem(503, self.problem, {"Retry-After": "5"})
        return self.market

    def refresh(self, again: bool = False) -> None:
        """Read the market where it has changed (again: in any case); the old one serves meanwhile.

        What cannot be read is told in ``problem``; the old market goes on.
        """
        read = self.look(self.settings, again)
        if read:
            market, self._status = self.get(), None
            metrics.reloaded("success", market)
            log.info("serving data version %d, %s", market.version, market.model)
        elif read is False:
            metrics.reloaded("error")

    def status(self) -> dict[str, Any]:
        """Return ``operations.status`` without the places of files, at most a minute old."""
        moment, kept = monotonic(), self._status
        if kept is None or moment - kept[0] > STATUS_SECONDS:
            with self.get().reading():
                kept = self._status = moment, status.status(self.settings)
        return {name: value for name, value in kept[1].items() if name not in ("home", "store")}
