"""tcgcsv: today's prices, live, and its archive of the days before."""

from pokewatch.sources.tcgcsv.archive import archives, is_closed, read_archive
from pokewatch.sources.tcgcsv.frames import archive_date
from pokewatch.sources.tcgcsv.live import ABOUT, client, fetch, last_updated

__all__ = [
    "ABOUT",
    "archive_date",
    "archives",
    "client",
    "fetch",
    "is_closed",
    "last_updated",
    "read_archive",
]
