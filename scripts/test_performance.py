"""Measure how fast PokeWatch is, each figure beside a yardstick of the same run.

Times differ between machines, ratios hardly do: each figure stands beside what a user would write
otherwise, or what the machine can do at best. The market is simulated; nothing is measured on
your own data home.

    .venv/bin/python scripts/test_performance.py --cards 1000 --days 200
    .venv/bin/python scripts/test_performance.py --save docs/performance.json   # 43,000 x 900
    .venv/bin/python scripts/test_performance.py --compare docs/performance.json
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pokewatch import schema
from pokewatch.analysis import benchmark as comparison
from pokewatch.cards.frames import tidy
from pokewatch.models import features
from pokewatch.models.baseline import load_baseline_model
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import open_panel
from pokewatch.operations import night as nightly
from pokewatch.parallel import keep_freed_memory
from pokewatch.quality import ingest as collect
from pokewatch.settings import Settings, load_settings
from pokewatch.sources.simulated import large
from pokewatch.sources.tcgcsv import archive
from pokewatch.store.tables import Store

LAST = date(2026, 6, 30)
ASKED = 200_000  # single predictions timed
LOOP_CARDS = 40  # cards that the per-card loop computes; the rest is extrapolated
TOLERANCE = 0.25  # change of a ratio that counts as better or worse
LOG = logging.getLogger("performance")


class Table:
    """The measured rows: what, value, unit, yardstick, ratio, aim, met."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        yardstick: str = "",
        ratio: float | None = None,
        most: float | None = None,
        least: float | None = None,
        of: str = "ratio",
        **more: Any,
    ) -> None:
        """Add a row; most, least: the target that ``of`` (ratio or value) must meet."""
        figure = ratio if of == "ratio" else value
        met, aim = None, ""
        if figure is not None and (most is not None or least is not None):
            met = (most is None or figure <= most) and (least is None or figure >= least)
            aim = f"{'≤' if most is not None else '≥'} {most if most is not None else least:,g}"
            aim += " x" if of == "ratio" else f" {unit}"
        self.rows.append(
            {
                "name": name,
                "value": value,
                "unit": unit,
                "yardstick": yardstick,
                "ratio": ratio,
                "aim": aim,
                "met": met,
                **more,
            }
        )
        LOG.info("%s: %.4g %s %s", name, value, unit, "" if ratio is None else f"({ratio:.2f} x)")

    def skip(self, name: str, reason: str) -> None:
        """Say why something was not measured."""
        self.rows.append({"name": name, "skipped": reason})
        LOG.info("%s skipped: %s", name, reason)


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Append the seconds of a block."""
    started = time.perf_counter()
    yield
    into.append(time.perf_counter() - started)


def best(job: Callable[[], Any], times: int = 3) -> float:
    """Return the seconds of the quickest of some runs: what noise adds is never negative."""
    laps: list[float] = []
    for _ in range(times):
        with timed(laps):
            job()
    return min(laps)


def make_store(settings: Settings, cards: int, days: int) -> None:
    """Store a simulated market up to the day before ``LAST``, month by month, without quality."""
    store = Store.from_settings(settings)
    month: list[pa.Table] = []
    known: pd.DataFrame | None = None
    names = schema.PRICES_SCHEMA.names

    def write() -> None:
        table = pa.concat_tables(month)
        label = f"{table['date'][0].as_py():%Y-%m}"
        table = table.filter(pc.field("market_price").is_valid())
        table = table.append_column("month", pa.repeat(pa.scalar(label), len(table)))
        table = table.append_column("accepted_at", table["collected_at"])
        store.replace(store.snapshot("prices"), table.select(names), f"month = '{label}'")
        month.clear()

    for table in large.market(cards, days, LAST - timedelta(days=1)):
        day = table["date"][0].as_py()
        if month and day.month != month[-1]["date"][0].as_py().month:
            write()
        month.append(table)
        known = table.select([n for n in schema.CARD_COLUMNS if n in table.column_names])
    write()
    described = known.to_pandas()
    for name in described.columns:
        if isinstance(described[name].dtype, pd.CategoricalDtype):
            described[name] = described[name].astype(object)
    store.replace(store.snapshot("cards"), tidy(described), None)


def tonight(cards: int, days: int, folder: Path) -> Path:
    """Write the day after the stored ones as a file and return it."""
    *_, table = large.market(cards, days + 1, LAST)
    path = folder / "tonight.parquet"
    pq.write_table(table, path)
    return path


def latency(table: Table, settings: Settings) -> None:
    """Single predictions, cold and warm, and many at once."""
    model = load_baseline_model(settings)
    rng = np.random.default_rng(1)
    panel, _ = open_panel(settings)
    alive = np.flatnonzero(~np.isnan(panel.price[-60]))
    size = min(ASKED, len(alive) * 50)
    row = len(panel.dates) - 1 - rng.integers(0, 50, size)
    ids = panel.card_ids[rng.choice(alive, size)].tolist()
    days = [panel.dates[r].date() for r in row]
    pairs = list(dict.fromkeys(zip(ids, days, strict=True)))

    def each(ask: Callable[..., float], asked: list[tuple[str, date]]) -> np.ndarray:
        out, clock = np.empty(len(asked)), time.perf_counter_ns
        for number, (card_id, day) in enumerate(asked):
            started = clock()
            ask(card_id, day)
            out[number] = clock() - started
        return out / 1000 - empty

    started = [time.perf_counter_ns() for _ in range(2001)]
    empty = float(np.median(np.diff(started))) / 1000  # the clock's own share

    def whole(ask: Callable[..., float], asked: list[tuple[str, date]]) -> float:
        begun = time.perf_counter()
        for card_id, day in asked:
            ask(card_id, day)
        return (time.perf_counter() - begun) / len(asked) * 1e6

    bare = lru_cache(maxsize=1000)(lambda card_id, day: 1.0)
    warm_pairs = pairs[:500] * 200
    whole(bare, pairs[:500])
    whole(model.predict, pairs[:500])
    hits, yard = [], []
    for _ in range(5):
        yard.append(whole(bare, warm_pairs))
        hits.append(whole(model.predict, warm_pairs))
    singles = each(model.predict, warm_pairs)
    table.add(
        "warm prediction",
        min(hits),
        "µs",
        f"bare lru_cache hit {min(yard):.3f} µs",
        min(hits) / min(yard),
        most=2,
        **spread(singles),
        hit_rate=model.cache.statistics.hit_rate,
    )
    model.cache.clear()
    cold = whole(model.predict, pairs)
    model.cache.clear()
    singles = each(model.predict, pairs)
    long = panel_series(panel, 60)
    asked = [(c, pd.Timestamp(d)) for c, d in pairs[:3000]]
    loc = min(whole(lambda c, d: long.loc[(c, d)], asked) for _ in range(2))
    table.add(
        "cold prediction",
        cold,
        "µs",
        f"MultiIndex .loc {loc:.1f} µs",
        loc / cold,
        least=6,
        **spread(singles),
    )
    table.add("cold prediction, time", cold, "µs", most=5, of="value")
    many = np.resize(np.array([p[0] for p in pairs], dtype=object), 1_000_000)
    when = np.resize(np.array([p[1] for p in pairs], dtype="datetime64[D]"), 1_000_000)
    rate = 1 / best(lambda: model.predict_many(many, when))
    table.add("batch prediction", rate, "million rows/s", least=1, of="value")


def spread(values: np.ndarray) -> dict[str, float]:
    """Return mean, quantiles and extremes (µs) of single calls."""
    points = zip(("p50", "p95", "p99"), np.percentile(values, [50, 95, 99]), strict=True)
    extremes = {"mean": values.mean(), "min": max(values.min(), 0.0), "max": values.max()}
    return {name: float(value) for name, value in [*points, *extremes.items()]}


def panel_series(panel: Any, days: int) -> pd.Series:
    """Return the last days of a panel as a series with a sorted MultiIndex."""
    frame = pd.DataFrame(panel.price[-days:], panel.dates[-days:], panel.card_ids)
    return frame.T.stack().sort_index()


def feature_building(table: Table, settings: Settings) -> None:
    """All features of a market, beside a loop over cards that makes the same columns."""
    panel, _ = open_panel(settings)
    cells = panel.price.size
    some = min(len(panel.card_ids), max(3_000_000 // len(panel.dates), 256))
    part = panel.cards_only(slice(0, some))
    jobs = os.cpu_count() or 1
    seconds = best(lambda: features.build(part, jobs=jobs), 5) / part.price.size
    loop = min(comparison.feature_loop(panel, LOOP_CARDS) for _ in range(3))
    table.add(
        "features",
        seconds * cells,
        "s",
        f"per-card groupby loop {loop * cells:,.0f} s (extrapolated from {LOOP_CARDS} cards)",
        loop / seconds,
        least=30,
        extrapolated_from_cards=some,
    )
    last = len(panel.dates) - 1
    card = np.flatnonzero(~np.isnan(panel.price[last]))
    day = np.full(len(card), last)
    table.add("features of tonight", best(lambda: features.cases(panel, day, card, 2), 1), "s")


def scan(table: Table, settings: Settings, folder: Path) -> None:
    """The whole store, beside one compacted Parquet file of the same rows."""
    store = Store.from_settings(settings)
    columns = ["date", "market_price", "low_price", "mid_price"]
    path = folder / "one.parquet"
    with pq.ParquetWriter(
        path, store.snapshot("prices").read(columns, [pc.field("month") == ""]).schema
    ) as out:
        for part in store.snapshot("prices").by_month(columns):
            out.write_table(part)
    ours, plain = [], []
    for _ in range(3):
        with timed(plain):
            size = len(pq.read_table(path, columns=columns))
        with timed(ours):
            assert len(store.snapshot("prices").read(columns)) == size
    table.add(
        "full scan of the store",
        min(ours),
        "s",
        f"plain pyarrow {min(plain):.2f} s",
        min(ours) / min(plain),
        most=1.5,
        rows=size,
    )
    months = best(lambda: [len(t) for t in store.snapshot("prices").by_month(columns)])
    table.add("scan of one month after the other", months, "s")
    path.unlink()


def archives(table: Table, folder: Path, given: Path | None) -> None:
    """The original archives, beside 7-Zip's own decoding of the same files."""
    program = shutil.which("7z") or shutil.which("7zz")
    files = archive_files(given) if given else []
    if not files or program is None:
        why = "no --archives FOLDER" if not files else "7z is not installed"
        table.skip("archive ingest", why)
        return
    assert given

    def decode(jobs: int) -> None:
        for at in range(0, len(files), jobs):
            running = [
                subprocess.Popen([program, "t", "-mmt1", str(path)], stdout=subprocess.DEVNULL)
                for path in files[at : at + jobs]
            ]
            assert not any(process.wait() for process in running)

    seven = best(lambda: decode(1), 2)
    # In turns: what the machine does beside this falls on both.
    laps = [[ingest(given, folder, jobs) for jobs in (1, 2)] for _ in range(4)]
    one, two = map(min, zip(*laps, strict=True))
    both = best(lambda: decode(2), 2)
    apart = 2 * ingest_apart(given, folder, 1) / ingest_apart(given, folder, 2)
    table.add(
        "archive ingest, 1 job",
        one / len(files),
        "s/archive",
        f"7z t {seven / len(files):.2f} s",
        one / seven,
        most=1.6,
    )
    table.add(
        "archive ingest, 2 jobs",
        two / len(files),
        "s/archive",
        f"1 job {one / len(files):.2f} s; 7z t with 2 at once {both / len(files):.2f} s; two "
        f"ingests that share nothing {apart:.2f} x",
        one / two,
        least=1.5,
        two_that_share_nothing=apart,
    )


def archive_files(given: Path) -> list[Path]:
    """Return the archives that are measured."""
    return sorted(given.glob("prices-*.7z"))[:8]


def ingest(given: Path, folder: Path, jobs: int) -> float:
    """Return the seconds that the archives take into an empty store."""
    files = archive_files(given)
    first, last = map(archive.archive_date, (files[0], files[-1]))
    assert first
    assert last
    with tempfile.TemporaryDirectory(dir=folder) as home:
        settings = load_settings(home=Path(home), tracking=False)
        seconds: list[float] = []
        with timed(seconds):
            list(collect.backfill(settings, first, last, path=given, jobs=jobs))
        return seconds[0]


def ingest_apart(given: Path, folder: Path, processes: int) -> float:
    """Return the mean seconds of ingests at once, each with a process and a store of its own."""
    settings = load_settings(home=folder / "apart", tracking=False)
    with ThreadPoolExecutor(processes) as pool:
        runs = [
            pool.submit(child, settings, "ingest", str(given), str(folder))
            for _ in range(processes)
        ]
        return sum(run.result()["steps"]["ingest"] for run in runs) / processes


def night(table: Table, settings: Settings, cards: int, days: int, folder: Path) -> None:
    """Training, then a whole night in which the trained model is used."""
    trained = child(settings, "train")
    table.add("training", trained["seconds"], "s", most=180, of="value", memory_gb=trained["gb"])
    path = tonight(cards, days, folder)
    ingested = child(settings, "collect", str(path))
    recent = settings.model_copy(update={"home": folder / "recent"})
    keep_last(settings, recent, 70)
    again = child(recent, "collect", str(path))
    table.add(
        "adding one night",
        ingested["seconds"],
        "s",
        f"the same with 70 stored days {again['seconds']:.1f} s",
        ingested["seconds"] / again["seconds"],
        most=5,
        of="value",
    )
    keep_last(settings, settings, 30)  # the night itself begins where that one began
    whole = child(settings, "night", str(path))
    table.add("whole night", whole["seconds"], "s", most=60, of="value")
    table.add("memory of a night", whole["gb"], "GB", most=6, of="value")


def keep_last(settings: Settings, to: Settings, days: int) -> None:
    """Store the last days only in another home."""
    old, new = Store.from_settings(settings), Store.from_settings(to)
    since = LAST - timedelta(days=days)
    for month in sorted({f"{since + timedelta(days=n):%Y-%m}" for n in range(days)}):
        rows = old.snapshot("prices").read(schema.PRICES_SCHEMA.names, [pc.field("month") == month])
        rows = rows.filter(pc.field("date") < pa.scalar(LAST))
        new.replace(new.snapshot("prices"), rows, f"month = '{month}'")
    new.replace(new.snapshot("cards"), old.cards(), None)


def child(settings: Settings, job: str, *arguments: str) -> dict[str, Any]:
    """Run a job in a process of its own; its seconds, steps and peak memory."""
    command = [sys.executable, __file__, "--job", job, str(settings.home), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{job} failed: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run_job(job: str, home: str, *arguments: str) -> None:
    """Do one job as a night does it, and print what it took."""
    settings = load_settings(home=Path(home), tracking=False)
    steps: dict[str, float] = {}
    started = time.perf_counter()

    def step(name: str, work: Callable[[], Any]) -> None:
        laps: list[float] = []
        with timed(laps):
            work()
        steps[name] = laps[0]

    if job == "train":
        step("train", lambda: nightly.train(settings, jobs=os.cpu_count() or 1))
    elif job == "collect":
        step("collect", lambda: nightly.collect_night(settings, "file", path=Path(arguments[0])))
    elif job == "ingest":
        given, folder = map(Path, arguments)
        ingest(given, folder, 1)  # loads what it needs
        step("ingest", lambda: ingest(given, folder, 1))
        ingest(given, folder, 1)  # company for one that is later
    else:
        path = Path(arguments[0])
        step("night", lambda: nightly.run(settings, "file", path=path, training=False))
    seconds = time.perf_counter() - started
    own, others = (
        resource.getrusage(who).ru_maxrss / 2**20
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    gb = max(own, others)  # the report's kernel is a child
    sys.stdout.write(json.dumps({"seconds": seconds, "steps": steps, "gb": gb}) + "\n")


def start_up(table: Table) -> None:
    """The command's version and the import, in fresh processes."""
    version = [sys.executable, "-c", "from pokewatch.cli.main import main; main()", "--version"]

    def run(*command: str) -> float:
        return best(lambda: subprocess.run(command, check=True, capture_output=True))

    bare = f"python itself {run(sys.executable, '-c', ''):.2f} s"
    imported = [sys.executable, "-c", "import pokewatch"]
    table.add("pokewatch --version", run(*version), "s", bare, most=0.3, of="value")
    table.add("import pokewatch", run(*imported), "s", bare, most=0.3, of="value")


def growth(sizes: list[int], days: int, folder: Path) -> list[dict[str, float]]:
    """Seconds of each part of the work for markets of several sizes."""
    out = []
    for size in sizes:
        settings = load_settings(home=folder / f"size-{size}", tracking=False)
        make_store(settings, size, days)
        out.append({"cards": size, "days": days, **parts(settings, size, days, folder)})
        LOG.info("%s", out[-1])
        shutil.rmtree(settings.home)
    return out


def parts(settings: Settings, cards: int, days: int, folder: Path) -> dict[str, float]:
    """Seconds of opening the store, of all features, of tonight's forecasts and of one ingest."""
    panel, _ = open_panel(settings)
    model = FairValueModel([7], settings.seed).fit(panel)
    last = [len(panel.dates) - 1]
    return {
        "open": best(lambda: open_panel(settings)),
        "features": best(lambda: features.build(panel, jobs=os.cpu_count() or 1), 2),
        "forecast": best(lambda: model.predict_days(panel, last)),
        "ingest": child(settings, "collect", str(tonight(cards, days, folder)))["seconds"],
    }


def compare(rows: list[dict[str, Any]], stored: Path) -> list[str]:
    """Return a line a row: better, worse or the same as in a stored run; ratios count first."""
    before = {row["name"]: row for row in json.loads(stored.read_text())["rows"]}
    lines = []
    for row in rows:
        old = before.get(row["name"])
        if old is None or "value" not in row or "value" not in old:
            continue
        name = "ratio" if row["ratio"] and old["ratio"] else "value"
        change = row[name] / old[name] - 1
        more_is_better = row["aim"].startswith("≥") or row["unit"].endswith("/s")
        if not row["aim"] and name == "ratio":
            more_is_better = False
        good = change if more_is_better else -change
        word = "better" if good > TOLERANCE else "worse" if good < -TOLERANCE else "same"
        lines.append(f"{row['name']:28} {name} {old[name]:10.3g} -> {row[name]:10.3g}  {word}")
    return lines


def show(found: dict[str, Any]) -> None:
    """Print the table of figures and targets."""
    sys.stdout.write(f"{found['cards']:,} series x {found['days']} days, simulated\n")
    for row in found["rows"]:
        if "skipped" in row:
            sys.stdout.write(f"{row['name']:26} skipped: {row['skipped']}\n")
            continue
        ratio = "" if row["ratio"] is None else f"{row['ratio']:8.2f} x"
        met = {None: "", True: "met", False: "MISSED"}[row["met"]]
        sys.stdout.write(
            f"{row['name']:26} {row['value']:10.3g} {row['unit']:15} {ratio:10} {row['aim']:18} "
            f"{met:7} {row['yardstick']}\n"
        )
    for name, power in found.get("exponents", {}).items():
        sys.stdout.write(f"cost of {name} grows with cards to the power of {power:.2f}\n")


def main() -> int:
    """Run the measurements that were asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cards", type=int, default=43_000)
    parser.add_argument("--days", type=int, default=900)
    parser.add_argument("--sizes", default="", help="1000,5000,...: also fit cost against size")
    parser.add_argument("--archives", type=Path, help="folder of original tcgcsv archives")
    parser.add_argument("--folder", type=Path, help="where the market is kept while measuring")
    parser.add_argument("--compare", type=Path, help="say better or worse than a stored run")
    parser.add_argument("--save", type=Path, help="store this run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--strict", action="store_true", help="exit 3 where a target is missed")
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr)
    LOG.setLevel(logging.INFO)
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    table = Table()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="pokewatch-speed-") as name:
        folder = Path(name)
        settings = load_settings(home=folder / "home", tracking=False)
        laps: list[float] = []
        with timed(laps):
            make_store(settings, options.cards, options.days)
        table.add("simulating and storing", laps[0], "s")
        start_up(table)
        latency(table, settings)
        feature_building(table, settings)
        scan(table, settings, folder)
        archives(table, folder, options.archives)
        night(table, settings, options.cards, options.days, folder)
        sizes = [int(size) for size in options.sizes.split(",") if size]
        curve = growth(sizes, min(options.days, 200), folder) if sizes else []
    found: dict[str, Any] = {
        "cards": options.cards,
        "days": options.days,
        "market": "simulated",
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "seconds": time.perf_counter() - started,
        "rows": table.rows,
        "growth": curve,
    }
    if len(curve) > 1:
        found["exponents"] = comparison.exponents(pd.DataFrame(curve))
    if options.save:
        options.save.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        show(found)
    if options.compare:
        sys.stderr.write("\n".join(compare(table.rows, options.compare)) + "\n")
    missed = [row["name"] for row in table.rows if row.get("met") is False]
    return 3 if options.strict and missed else 0


if __name__ == "__main__":
    keep_freed_memory()  # as the command line does
    if sys.argv[1:2] == ["--job"]:
        run_job(*sys.argv[2:])
    else:
        sys.exit(main())
