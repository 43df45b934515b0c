"""Jobs that fault tests run in processes of their own, and what a home holds after them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import py7zr
from builders import curve, delivery, market

from pokewatch.evaluation import predictions, registry
from pokewatch.models import fair_value
from pokewatch.operations import exports, night
from pokewatch.quality import ingest
from pokewatch.report import notebooks
from pokewatch.report import page as report
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store

PPMD = [{"id": py7zr.FILTER_PPMD, "order": 6, "mem": 24}]
DAYS = pd.date_range("2025-03-01", periods=4)


def config(home: Path, **values: Any) -> Settings:
    return load_settings(**{"home": home, "tracking": False, "store": "", **values})


def prepare_collect(home: Path) -> None:
    """A market, a file that adds, corrects, repeats and spoils, and a held row it releases."""
    settings = config(home)
    prices = market(40, 40)
    jump = curve("0:Normal", [900.0], start="2025-02-10")
    ingest.ingest(Store.from_settings(settings), delivery(prices, jump), settings)
    last = prices[prices["date"] == prices["date"].max()]
    later = last["collected_at"] + pd.Timedelta(hours=5)
    frames = [prices.tail(80), last.assign(market_price=last["market_price"] * 1.02)]
    frames[1] = frames[1].assign(collected_at=later)
    frames += [curve(f"{card}:Normal", [3.0, 3.1, 3.0], start="2025-02-10") for card in (98, 99)]
    frames += [curve("0:Normal", [905.0, 910.0, 905.0], start="2025-02-11")]
    frames += [curve("5:Normal", [0.0, -1.0, 22_376_779.59], start="2025-02-10")]
    pd.concat(frames).to_parquet(home / "night.parquet")


def run_collect(home: Path) -> None:
    ingest.collect(config(home), "file", path=home / "night.parquet")


def pack(folder: Path, day: date, rows: list[dict[str, Any]]) -> Path:
    """One archive of tcgcsv with these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"prices-{day}.ppmd.7z"
    text = json.dumps({"success": True, "errors": [], "results": rows})
    with py7zr.SevenZipFile(path, "w", filters=PPMD) as archive:
        archive.writestr(text, f"{day}/3/604/prices")
    return path


def price(product: Any, market: Any = 5.0, printing: Any = "Normal", low: Any = None) -> dict:
    return {
        "productId": product,
        "lowPrice": low,
        "midPrice": None,
        "highPrice": None,
        "marketPrice": market,
        "directLowPrice": None,
        "subTypeName": printing,
    }


def prepare_backfill(home: Path) -> None:
    for number, day in enumerate(DAYS):
        rows = [price(card, 5 + number / 10) for card in range(1, 60)]
        pack(home / "archives", day.date(), [*rows, price(60, 0.0), price(61, None)])


def run_backfill(home: Path) -> None:
    first, last = DAYS[0].date(), DAYS[-1].date()
    for _ in ingest.backfill(config(home), first, last, path=home / "archives"):
        pass


def prepare_train(home: Path) -> None:
    settings = config(home)
    rows = delivery(market(16, 26))
    ingest.ingest(Store.from_settings(settings), rows, settings)
    run_train(home)


def run_train(home: Path) -> None:
    """Train and make it champion, whatever the gate says: its name is the same each time."""
    fair_value.BOOSTING["max_iter"] = fair_value.SMALL["max_iter"] = 2  # saving is what is killed
    settings = config(home)
    trained = night.train(settings)
    registry.promote(settings, trained.name, ["for the test"])
    predictions.predict_all(settings)


def prepare_report(home: Path) -> None:
    settings = config(home)
    ingest.ingest(Store.from_settings(settings), delivery(market(3, 5)), settings)
    put_notebook(home / "notebooks", "print('figures')")
    settings.reports_dir.mkdir()
    (settings.reports_dir / "latest.html").write_text("<html>before</html>", encoding="utf-8")


def put_notebook(folder: Path, code: str) -> None:
    """A nightly notebook of one cell in place of the project's."""
    cells = [nbformat.v4.new_code_cell(text) for text in ('date: str = ""', code)]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    folder.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / f"{report.REPORT}.ipynb")


def run_report(home: Path) -> None:
    notebooks.NOTEBOOKS = home / "notebooks"
    report.write_report(config(home))


def prepare_predict(home: Path) -> None:
    prepare_report(home)
    (home / "forecasts.csv").write_text("before", encoding="utf-8")


def run_predict(home: Path) -> None:
    settings = config(home)
    cards = Store.from_settings(settings).cards()["card_id"]
    exports.write_frame(predictions.predict(settings, list(cards)), home / "forecasts.csv")


JOBS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "collect": (prepare_collect, run_collect),
    "backfill": (prepare_backfill, run_backfill),
    "train": (prepare_train, run_train),
    "report": (prepare_report, run_report),
}


def prepare(name: str, home: Path) -> None:
    if name == "predict":
        prepare_predict(home)
    else:
        JOBS[name][0](home)


def run(name: str, home: Path) -> None:
    if name == "predict":
        run_predict(home)
    else:
        JOBS[name][1](home)


def content(home: Path) -> dict[str, Any]:
    """All that a home holds, without the moments at which it was written."""
    settings = config(home)
    store = Store.from_settings(settings)
    quarantine = store.quarantine().drop(columns="quarantined_at")
    predictions = store.predictions()
    held: dict[str, Any] = {
        "prices": store.prices(),
        "cards": store.cards().assign(aliases=lambda cards: cards["aliases"].map(list)),
        "quarantine": quarantine.sort_values("quarantine_id", ignore_index=True),
        "predictions": predictions.sort_values(["card_id", "horizon"], ignore_index=True),
    }
    for name in registry.names(settings):
        model = registry.load(settings, name)
        held[name] = (repr(model.scores), repr(model.model.fits), repr(model.verdict))
    held["champion"] = registry.champion_name(settings)
    for page in settings.reports_dir.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        held[page.name] = re.sub(r"cell-id=\w+", "", text)  # drawn anew in every run
    return held


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(found[name], value)
        else:
            assert found[name] == value, name


def assert_sound(home: Path, before: dict[str, Any]) -> None:
    """Whatever happened, all opens, nothing is doubled and what was there before is there."""
    found = content(home)  # loads every model, the champion too
    for name, key in (
        ("prices", ["card_id", "date"]),
        ("cards", ["card_id"]),
        ("quarantine", ["quarantine_id"]),
        ("predictions", ["card_id", "date", "horizon"]),
    ):
        assert not found[name].duplicated(key).any(), name
        lost = pd.MultiIndex.from_frame(before[name][key]).difference(
            pd.MultiIndex.from_frame(found[name][key])
        )
        # A held row may have been released: then it is a price now.
        assert not len(lost) or name == "quarantine", (name, list(lost))
    assert found["champion"] == before["champion"]
    assert found["champion"] is None or found["champion"] in found
    for page in (name for name in found if name.endswith(".html")):
        assert found[page].rstrip().endswith("</html>"), page
    gone = before["quarantine"][
        ~before["quarantine"]["quarantine_id"].isin(found["quarantine"]["quarantine_id"])
    ]
    kept = gone.merge(found["prices"], on=["card_id", "date", "market_price"])
    assert len(kept) == len(gone)
