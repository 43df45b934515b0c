"""Fit the prior that comes along: make_prior.py HOME, whose prices are of sealed products only.

For instance HOME after ``pokewatch collect --source file --path sealed_daily.parquet``. No price
leaves it: pokewatch/models/prior_model holds trees, coefficients and the day of the last price.
"""

from __future__ import annotations

import sys

from pokewatch.errors import UsageError
from pokewatch.files import json_bytes
from pokewatch.models import prior
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import open_panel
from pokewatch.settings import load_settings


def main(home: str) -> None:
    """Fit on all prices of a home and write the model's files."""
    panel, _ = open_panel(load_settings(home=home))
    if set(panel.cards["product_kind"]) != {"sealed"}:
        raise UsageError(f"'{home}' holds other prices than those of sealed products")
    model = FairValueModel(prior.HORIZONS).fit(panel, intervals=False)
    prior.FOLDER.mkdir(exist_ok=True)
    model.save(prior.FOLDER)
    about = {"as_of": f"{panel.dates[-1]:%Y-%m-%d}", "cards": len(panel.card_ids)}
    about |= {"days": len(panel.dates)}
    (prior.FOLDER / "about.json").write_bytes(json_bytes(about, indent=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
