"""tcgcsv: today's prices, live, and its archive of the days before."""

from pokewatch.sources.tcgcsv.archive import archive_date, archives, read_archive
from pokewatch.sources.tcgcsv.live import ABOUT, client, fetch, last_updated

__all__ = ["ABOUT", "archive_date", "archives", "client", "fetch", "last_updated", "read_archive"]
