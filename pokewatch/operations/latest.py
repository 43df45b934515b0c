"""What a server shows: read once, and replaced whole when the data home has something newer."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from pokewatch.operations.status import mark
from pokewatch.settings import Settings

log = logging.getLogger(__name__)

LOOK_EVERY = 3.0  # seconds between two looks for newer data
TRY_EVERY = 60.0  # seconds between two tries to read what could not be read


class Latest:
    """The market that is served now; ``trouble`` says why a newer one is not.

    read: makes a market, whose ``mark`` is that of ``status`` before it was read.
    """

    def __init__(self, read: Callable[[Settings], Any]):
        self.read, self.trouble = read, ""
        self.market: Any = None
        self.lock = threading.Lock()
        self._tried: tuple[object, float] = ("", 0.0)  # the mark that failed last, and when

    def look(self, settings: Settings, again: bool = False) -> bool | None:
        """Read the market where it has changed (again: in any case); the old one serves meanwhile.

        Returns True where a newer one serves now, False where it could not be read, None where
        nothing was tried.
        """
        newest = None
        with self.lock:
            try:
                newest = mark(settings)
                changed = again or self.market is None or self.market.mark != newest
                if changed:
                    failed, when = self._tried
                    if not again and newest == failed and time.monotonic() < when + TRY_EVERY:
                        return None
                    self.market = self.read(settings)
                    gc.collect()  # its caches hold the old one in a circle
                self.trouble, self._tried = "", ("", 0.0)
                return changed or None
            except Exception as error:  # whatever it is, the next look may find it mended
                told = f"the market cannot be read: {type(error).__name__}: {error}"
                if told != self.trouble:
                    log.error("%s", told)
                self.trouble, self._tried = told, (newest, time.monotonic())
                return False


def keep_looking(look: Callable[[], object], end: threading.Event) -> None:
    """Look every ``LOOK_EVERY`` seconds, in a thread of its own, until ``end`` is set."""

    def run() -> None:
        while not end.wait(LOOK_EVERY):
            look()

    threading.Thread(target=run, name="market", daemon=True).start()
