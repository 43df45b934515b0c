"""The ledger: forecasts of walk-forward origins, kept so that no night fits them again."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from pokewatch.errors import PokewatchError
from pokewatch.evaluation import registry
from pokewatch.files import atomic_write
from pokewatch.models import fair_value
from pokewatch.models.panel import MATRICES, Panel
from pokewatch.settings import Settings

log = logging.getLogger(__name__)

FOLDER = "ledger"  # in the data home
UNUSED = 60 * 24 * 3600.0  # seconds after which an entry that nothing read is removed
DESCRIBED = ["name", "set_name", "product_kind", "release_date"]  # what features read of a card


RECIPE = registry.recipe("backtest.py")


def known_by(panel: Panel) -> list[str]:
    """Return for each day of a panel a hash of all that was known at its end."""
    ids = pd.util.hash_array(panel.card_ids.astype(object))
    about = pd.util.hash_pandas_object(panel.cards[DESCRIBED].astype(str), index=False).to_numpy()
    found, out = hashlib.sha256(), []
    for row, day in enumerate(panel.dates):
        alive = ~np.isnan(panel.price[row])
        found.update(day.isoformat().encode())
        for values in (ids, about, *(getattr(panel, name)[row] for name in MATRICES)):
            found.update(np.ascontiguousarray(values[alive]).tobytes())
        out.append(found.hexdigest())
    return out


class Ledger:
    """Forecasts of origins by what they were made from; a folder of Parquet files."""

    def __init__(self, settings: Settings, panel: Panel, horizons: list[int]):
        """Prepare for a panel; nothing is written yet."""
        self.folder = settings.home / FOLDER
        self.known = known_by(panel)
        options = fair_value.BOOSTING, fair_value.SMALL, horizons, settings.seed, settings.good_move
        self.about = f"{RECIPE} {options}"

    def path(self, origin: int, rows: list[int], cards: np.ndarray) -> Path:
        """Return where the forecasts of an origin for some days and cards are kept.

        cards: which are forecast, of those that have a price.
        """
        parts = [self.about, self.known[origin], self.known[rows[-1]], str(rows[-1] - origin)]
        days = [str(row - origin) for row in rows]
        text = " ".join([*parts, *days]).encode() + np.packbits(cards).tobytes()
        return self.folder / f"{hashlib.sha256(text).hexdigest()[:32]}.parquet"

    def read(self, path: Path, cases: int, columns: list[str]) -> pd.DataFrame | None:
        """Return the forecasts of a file, None where it is not there or not whole."""
        if not path.exists():
            return None
        try:
            found = pd.read_parquet(path)
            whole = list(found.columns) == columns and len(found) == cases
            os.utime(path)
        except (OSError, ValueError) as error:
            log.warning("'%s' cannot be read and is made anew: %s", path, error)
            return None
        return found if whole else None

    def write(self, path: Path, forecasts: pd.DataFrame) -> None:
        """Keep the forecasts of an origin; what cannot be written is fitted again next time."""
        try:
            self.folder.mkdir(exist_ok=True)
            with atomic_write(path) as draft:
                forecasts.to_parquet(draft, index=False, compression="zstd")
        except (OSError, PokewatchError) as error:
            log.warning("'%s' could not be kept: %s", path, error)

    def tidy(self) -> None:
        """Remove what nothing has read for ``UNUSED`` seconds."""
        for path in self.folder.glob("*"):
            with suppress(OSError):  # another training tidies as well
                if time.time() - path.stat().st_mtime > UNUSED:
                    path.unlink()
