"""The nightly report as a reader and an attacker meet it; notebooks and their parameters."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from pokewatch.analysis.market import movers
from pokewatch.analysis.verdict import verdict
from pokewatch.charts.market import sparkline
from pokewatch.charts.scores import coverage, skill
from pokewatch.charts.style import svg
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.evaluation import track_record
from pokewatch.operations import night as nightly
from pokewatch.quality.completeness import measure
from pokewatch.quality.ingest import ingest
from pokewatch.report import facts, model_health, sections
from pokewatch.report import notebooks as runs
from pokewatch.report import page as report
from pokewatch.report.facts import Night
from pokewatch.report.script import table_script
from pokewatch.report.templating import _environment, read_template
from pokewatch.schema import PREDICTION_COLUMNS, Delivery
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store
from pokewatch.watchlist import entries

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
LAST = date(2026, 3, 1)
WATCHED = """
- {card: "501:Normal", quantity: 2, cost: 4.5, note: "<i>mine</i>"}
- {card: base1-2}
- {card: nowhere-1}
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    (home / "watchlist.yaml").write_text(WATCHED, encoding="utf-8")
    settings = load_settings(home=home, watchlist=home / "watchlist.yaml", store="", tracking=False)
    days = pd.date_range(end=pd.Timestamp(LAST), periods=60)
    rng = np.random.default_rng(7)
    ids = [f"{number}:Normal" for number in range(501, 512)] + ["<b>nameless</b>"]
    steps = rng.normal(0.002, 0.03, (len(days), len(ids))).cumsum(axis=0)
    frame = pd.DataFrame(5 * np.exp(steps).round(2), days, ids)
    rows = frame.rename_axis("date").reset_index()
    observations = rows.melt("date", var_name="card_id", value_name="market_price")
    zero = observations.tail(1).assign(card_id="501:Normal", market_price=0.0)
    cards = pd.DataFrame(
        {
            "card_id": ids[:-1],
            "name": [SCRIPT, IMAGE, *[f"Card {number}" for number in range(9)]],
            "set_name": [IMAGE, SCRIPT, *["Base"] * 9],
            "aliases": [[f"base1-{number}"] for number in range(1, 12)],
        }
    )
    delivery = Delivery(pd.concat([observations, zero]), "simulated", cards)
    ingest(Store.from_settings(settings), delivery, settings)
    nightly.train(settings)
    return settings


@pytest.fixture(scope="module")
def written(settings: Settings) -> Path:
    return report.write_report(settings, copy_to=settings.home / "elsewhere" / "copy.html")


@pytest.fixture(scope="module")
def page(written: Path) -> str:
    return written.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def night(settings: Settings) -> Night:
    return facts.load(settings)


@pytest.fixture
def notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of notebooks in place of the project's."""
    monkeypatch.setattr(runs, "NOTEBOOKS", tmp_path)
    return tmp_path


def test_an_incomplete_day_is_told_on_top(night: Night) -> None:
    assert "INCOMPLETE DAY" not in sections.headline(night).data
    rows = pd.DataFrame({"card_id": list("abcde"), "date": pd.Timestamp("2026-02-28")})
    today = rows.head(3).assign(date=pd.Timestamp(LAST))
    covered = measure(pd.concat([rows, today]).assign(source="tcgcsv"), LAST, 0.95)
    shown = sections.headline(replace(night, covered=covered)).data
    assert "INCOMPLETE DAY" in shown
    assert "Only 3 of the 5 cards" in shown


class Tags(HTMLParser):
    """Collects a page's tags, where they point to, and any event handlers."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "data")]
        assert not [name for name, _ in attrs if name.startswith("on")]


def put_notebook(folder: Path, name: str, parameters: str, code: str) -> None:
    cells = [nbformat.v4.new_code_cell(text) for text in (parameters, code)]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / f"{name}.ipynb")


def outputs(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    return "".join(out.get("text", "") for cell in cells for out in cell.get("outputs", []))


def test_report_files_agree(settings: Settings, written: Path) -> None:
    assert written == settings.reports_dir / "2026-03-01.html"
    latest = settings.reports_dir / "latest.html"
    copy = settings.home / "elsewhere" / "copy.html"
    assert written.read_bytes() == latest.read_bytes() == copy.read_bytes()
    assert written.with_suffix(".ipynb").exists()
    assert not list(settings.reports_dir.glob(".*"))
    assert not list(settings.reports_dir.glob("*.failed.ipynb"))


def test_page_loads_nothing_and_runs_one_named_script(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert tags.found.isdisjoint({"img", "iframe", "link", "object", "base", "form"})
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1 == page.count("<script type=")
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in page
    page = page.replace(scripts[0], "")
    assert tags.links
    assert all(link.startswith("#") for link in tags.links)
    assert not re.search(r"@import|url\((?!#)", page)
    assert "default-src 'none'" in page
    assert "papermill" not in page.lower()
    assert page.count("<title>") == 1


def test_values_are_escaped(page: str) -> None:
    page = page.replace(table_script()[0], "")
    assert "<img" not in page
    assert "<i>mine" not in page
    assert "<b>nameless" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_reader_is_told_what_this_is(page: str) -> None:
    assert "SIMULATED MARKET" in page
    assert "Not financial advice" in page
    assert "unknown card 'nowhere-1'" in html.unescape(page)
    assert "market price is zero or negative" in page.lower()


def test_earlier_date_sees_nothing_later(settings: Settings) -> None:
    early = facts.load(settings, date(2026, 2, 1))
    assert early.on == early.last_date == pd.Timestamp("2026-02-01")
    assert movers(early.panel, 30, settings.stale_days)["card_id"].notna().all()


def test_sections_take_the_first_days(settings: Settings) -> None:
    first = facts.load(settings, date(2026, 1, 3))
    assert len(first.panel.dates) < 7
    assert 'In 30 days</dt><dd><span class="flat">–' in sections.portfolio(first).data
    assert "Needs 31 days of history" in sections.movers(first).data
    spoilt = replace(first, champion_problem="there is no usable champion: <damaged>")
    assert "no usable champion: &lt;damaged&gt;" in sections.headline(spoilt).data
    for section in (sections.market, sections.model, sections.quarantine):
        assert "<section" in section(first).data


def test_signals_are_listed_with_their_count(night: Night) -> None:
    calls = night.calls.assign(signal="HOLD")
    calls.loc[calls.index[:3], "signal"] = "BUY"
    calls.loc[calls.index[:3], "fair_value"] = calls["market_price"].iloc[:3] * [1.1, 1.3, 1.2]
    called = replace(night, calls=calls, champion=night.scored)
    assert facts.with_signal(calls, "BUY")["expected"].round(6).tolist() == [0.3, 0.2, 0.1]
    shown = sections.signals(called, top=2).data
    assert "3 cards, the first 2" in shown
    assert "+30.0\u00a0%" in shown
    assert "3 to buy, 0 to sell" in sections.headline(called).data


def test_without_a_champion_it_is_said_plainly(night: Night) -> None:
    naive = replace(night, champion=None)
    assert "No calls tonight" in sections.headline(naive).data
    assert "NAIVE FAIR VALUES" in sections.headline(naive).data
    assert "<table" not in sections.signals(naive).data
    untrained = replace(naive, scored=None)
    assert "No model has been trained" in sections.model(untrained).data


@pytest.mark.parametrize(
    ("rmae", "low", "high", "words"),
    [
        (0.9, 0.85, 0.95, "10.0 % smaller"),
        (1.1, 1.05, 1.2, "the better forecast"),
        (0.98, 0.9, 1.05, "may well be chance"),
        (0.98, float("nan"), float("nan"), "Too early to tell"),
    ],
)
def test_verdict_follows_the_figures(
    night: Night, rmae: float, low: float, high: float, words: str
) -> None:
    row = {"horizon": 7, "model": "fair_value", "n": 900, "dates": 30, "coverage": 0.6}
    scores = [row | {"rmae": rmae, "rmae_low": low, "rmae_high": high}]
    assert night.scored is not None
    said = verdict(replace(night.scored, scores=scores), night.settings)
    assert words in said[0]
    assert "too narrow: 60 %" in said[-1]


def test_watchlist_is_valued(night: Night) -> None:
    held = night.holdings.set_index("card")
    now = night.history("501:Normal").iloc[-1]
    assert held.loc["501:Normal", "value"] == pytest.approx(2 * now)
    assert held.loc["501:Normal", "gain"] == pytest.approx(2 * (now - 4.5))
    assert held.loc["base1-2", "card_id"] == "502:Normal"
    assert "unknown card" in held.loc["nowhere-1", "problem"]
    week_ago = sum(night.history(card).iloc[-8] * n for card, n in [("501:Normal", 2)])
    week_ago += night.history("502:Normal").iloc[-8]
    worth = held["value"].sum()
    assert entries.total_change(night.holdings, 7) == pytest.approx(worth / week_ago - 1)


def in_currency(
    night: Night, code: str, home: Path, day: str = f"{LAST}", rate: float = 2.0
) -> Night:
    """Return the night with amounts in a currency of which the USD is worth half as much."""
    kept = {"day": day, "asked": f"{day}T01:00:00+00:00", "rates": {"USD": rate}}
    (home / "rates.json").write_text(json.dumps(kept), encoding="utf-8")
    changes = {"home": home, "currency": code}
    return replace(night, settings=night.settings.model_copy(update=changes))


SECTIONS = (sections.headline, sections.market, sections.portfolio, sections.movers, sections.sets)
SECTIONS += (sections.signals, sections.every_card, sections.quarantine, sections.footer)


def test_every_amount_is_in_the_currency_of_the_settings(night: Night, tmp_path: Path) -> None:
    calls = night.calls.assign(signal="BUY")
    called = replace(night, calls=calls, champion=night.scored)
    euros = in_currency(called, "EUR", tmp_path)
    dollars = [section(called).data for section in SECTIONS]
    shown = [section(euros).data for section in SECTIONS]
    assert sum(text.count("$") for text in dollars) > 100
    assert [text.count("$") for text in shown] == [0] * len(SECTIONS)
    assert [text.count("€") for text in shown[1:-1]] == [text.count("$") for text in dollars[1:-1]]
    worth = night.holdings["value"].sum()
    assert f"worth ${worth:,.2f}" in dollars[0]
    assert f"worth €{worth / 2:,.2f}" in shown[0]
    assert "EUR, rate of" in shown[0]
    assert "cards at $1 and more" in dollars[1]
    assert "cards at €0.50 and more" in shown[1]
    assert "1 USD = 0.5 EUR" in shown[-1]


def test_an_old_or_missing_rate_is_told_on_top(night: Night, tmp_path: Path) -> None:
    old = sections.headline(in_currency(night, "EUR", tmp_path, "2020-01-01")).data
    assert "CURRENCY." in old
    assert "2020-01-01" in old
    assert "€" in old
    missing = sections.headline(in_currency(night, "JPY", tmp_path)).data
    assert "no rate of JPY is known" in missing
    assert "$" in missing
    assert "CURRENCY." not in sections.headline(night).data


def test_simulated_watchlist_on_real_prices_is_one_kind_line(
    settings: Settings, night: Night, tmp_path: Path
) -> None:
    path = tmp_path / "watchlist.yaml"
    path.write_text("- {card: sim1-18}\n- {card: '900013:Holofoil'}\n", encoding="utf-8")
    moved = settings.model_copy(update={"watchlist": path})
    held, problem = facts.watched(moved, night.cards, night.panel, simulated=False)
    assert held.empty
    assert "simulated market only" in problem


def test_bad_watchlist_does_not_cost_the_report(
    settings: Settings, night: Night, tmp_path: Path
) -> None:
    path = tmp_path / "watchlist.yaml"
    path.write_text("- {card: a, cost: <b>}\n", encoding="utf-8")
    moved = settings.model_copy(update={"watchlist": path})
    held, problem = facts.watched(moved, night.cards, night.panel, simulated=False)
    shown = sections.headline(replace(night, holdings=held, watch_problem=problem)).data
    assert "entry 1 (line 1)" in shown
    assert "&lt;b&gt;" in shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {card: a}\n\n- {card: b, quantity: 0}\n", r"entry 2 \(line 3\): quantity=0"),
        ("- {card: a, quantity: 1.5}\n", r"entry 1 \(line 1\): quantity=1.5"),
        ("- {card: a, cost: -1}\n", "cost=-1"),
        ("- {card: a, cost: .nan}\n", r"cost='\.nan'"),
        ("- {quantity: 1}\n", "'card' is missing"),
        ("- {card: ''}\n", "card=''"),
        ("- {card: a, price: 3}\n", "unknown field 'price', known are card, quantity, cost, note"),
        ("- a\n", "is 'a': write each card as"),
        ("card: a\n", "must be a list of cards"),
        ("- {card: a\n- b", "line 2 is no YAML"),
    ],
)
def test_watchlist_errors_name_file_line_and_mend(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "watchlist.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=words) as caught:
        entries.load(path)
    assert "'watchlist.yaml'" in str(caught.value)


def test_watchlist_reads_numbers_as_ids_and_empty_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "watchlist.yaml"
    path.write_text("- {card: 451396, note: 7}\n", encoding="utf-8")
    assert entries.load(path) == [entries.Entry(card="451396", note="7")]
    path.write_text("# nothing yet\n", encoding="utf-8")
    assert entries.load(path) == []
    with pytest.raises(UsageError, match=r"there is no 'gone\.yaml' yet"):
        entries.load(tmp_path / "gone.yaml")


def test_failing_notebook_keeps_the_old_report(
    settings: Settings, written: Path, notebooks: Path
) -> None:
    before = {path: path.read_bytes() for path in settings.reports_dir.glob("*.*")}
    put_notebook(notebooks, report.REPORT, 'date: str = ""', "1 / 0")
    with pytest.raises(PokewatchError, match=r"ZeroDivisionError: division by zero.*failed\.ipynb"):
        report.write_report(settings)
    failed = settings.reports_dir / "2026-03-01.failed.ipynb"
    assert "ZeroDivisionError" in failed.read_text(encoding="utf-8")
    failed.unlink()
    assert {path: path.read_bytes() for path in settings.reports_dir.glob("*.*")} == before


def test_report_needs_prices_and_a_file_name(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no prices are stored"):
        report.write_report(load_settings(home=tmp_path, store=""))
    with pytest.raises(UsageError, match="no prices are stored up to 2020-01-01"):
        report.write_report(settings, date(2020, 1, 1))
    with pytest.raises(UsageError, match="is a folder"):
        report.write_report(settings, copy_to=tmp_path)


def test_notebook_gets_typed_parameters_settings_and_our_interpreter(
    settings: Settings, notebooks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POKEWATCH_POKEMONPRICETRACKER_KEY", "a-key")
    code = (
        "import sys, json\n"
        "from pokewatch.settings import get_settings\n"
        "print(json.dumps([sys.executable, str(get_settings().home), get_settings().store,"
        " get_settings().tcgcsv_categories, count, text,"
        " get_settings().pokemonpricetracker_key.get_secret_value()]))"
    )
    put_notebook(notebooks, "n", 'count: int = 1\ntext: str = "a"', code)
    hostile = '"; raise SystemExit  # \\" {x} $HOME'
    moved = settings.model_copy(update={"store": "/nowhere/$HOME", "tcgcsv_categories": [3, 85]})
    done = runs.run_notebook(moved, "n", runs.parse_parameters(["count=5", f"text={hostile}"]))
    assert done == settings.reports_dir / "notebooks" / "n.ipynb"
    values = json.loads(outputs(done))
    assert values == [
        runs.sys.executable,
        str(settings.home),
        "/nowhere/$HOME",
        [3, 85],
        5,
        hostile,
        "a-key",
    ]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"nope": "1"}, "no parameter 'nope': it takes date, top"),
        ({"top; import os": "1"}, "no parameter 'top; import os'"),
        ({"top": "many"}, "top='many' must be of type int"),
        ({"top": "1.5"}, "top=1.5 must be of type int"),
        ({"top": "true"}, "top=True must be of type int"),
        ({"top": [1]}, "must be of type int"),
        ({"date": 20260301}, "must be of type str"),
    ],
)
def test_parameters_are_checked_before_anything_runs(
    parameters: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        runs.check_parameters(report.REPORT, parameters)


@pytest.mark.parametrize(
    "pair", ["top", "=1", "top;import os=1", "a b=1", "x\nimport os\ny=1", "os.system('x')=1"]
)
def test_parameter_names_are_names(pair: str) -> None:
    with pytest.raises(UsageError, match="must read KEY=VALUE"):
        runs.parse_parameters([pair])


def test_parameters_parse_to_text_once() -> None:
    assert runs.parse_parameters(["date=2026-03-01", "a=b=c"]) == {"date": "2026-03-01", "a": "b=c"}
    with pytest.raises(UsageError, match="named twice"):
        runs.parse_parameters(["a=1", "a=2"])


@pytest.mark.parametrize(
    "name", ["../04_nightly_report", "/etc/passwd", "04_nightly_report.ipynb", "", ".", "a/b"]
)
def test_notebook_names_are_no_paths(settings: Settings, name: str) -> None:
    with pytest.raises(UsageError, match=r"unknown notebook .*04_nightly_report"):
        runs.run_notebook(settings, name, {})


def test_charts_are_small_inline_svg_with_the_pages_colours() -> None:
    days = pd.date_range("2026-01-01", periods=90)
    prices = pd.Series(np.linspace(10, 12, 90), days)
    prices.attrs["simulated"] = True
    for options in ({}, {"size": (2.9, 0.95), "days": 7}):
        drawn = svg(sparkline, prices, IMAGE, **options)
        assert len(drawn) < 6000
        assert "<img" not in drawn
        assert "<style" not in drawn
        assert "var(--accent" in drawn or "var(--up" in drawn
    assert "simulated" in drawn
    assert "$12.00" in drawn


def test_charts_take_missing_prices_and_scores() -> None:
    days = pd.date_range("2026-01-01", periods=3)
    nothing = pd.Series([np.nan] * 3, days)
    row = {"horizon": 7, "model": "fair_value", "rmae": 1.0, "coverage": np.nan}
    scores = pd.DataFrame([row | {"rmae_low": np.nan, "rmae_high": np.nan}])
    for chart, frame, options in (
        (sparkline, nothing, {}),
        (sparkline, nothing, {"days": 7}),
        (skill, scores, {}),
        (coverage, scores, {}),
    ):
        assert svg(chart, frame, "empty", **options).startswith("<svg")


def test_sets_move_as_their_cards_do(night: Night) -> None:
    found = facts.sets(night.panel, night.settings.stale_days)
    (base,) = found.to_dict("records")
    assert (base["set_name"], base["cards"]) == ("Base", 9)
    column = list(night.panel.card_ids).index(base["best"])
    rise = night.panel.price[-1, column] / night.panel.price[-8, column] - 1
    assert base["best_change"] == pytest.approx(rise)
    assert base["worst_change"] <= base["change_7"] <= base["best_change"]
    assert "Base" in sections.sets(night).data


def test_targets_are_shown_reached_or_how_far_away(settings: Settings, tmp_path: Path) -> None:
    text = (
        "- {card: '503:Normal', target_above: 0.01, condition: played}\n"
        "- {card: '504:Normal', target_below: 0.01}\n"
    )
    path = tmp_path / "watchlist.yaml"
    path.write_text(text.replace("played", "lightly_played"), encoding="utf-8")
    shown = sections.portfolio(facts.load(settings.model_copy(update={"watchlist": path}))).data
    assert shown.count("TARGET REACHED") == 1
    assert "above $0.01" in shown
    assert re.search(r"below \$0\.01 \(−\d+\.\d.% away\)", shown)
    assert "lightly played" in shown
    assert "near-mint" in shown


def test_inputs_that_changed_since_training_are_named(night: Night) -> None:
    rng = np.random.default_rng(3)
    same, other = rng.normal(size=(2, 5000))
    assert model_health.psi(same, other) < model_health.STABLE
    assert model_health.psi(same, other + 1) > model_health.CHANGED
    assert np.isnan(model_health.psi(same, np.array([np.nan])))
    panel = night.panel
    dearer = panel.price.copy()
    dearer[-7:] *= 50
    changed = dataclasses.replace(panel, price=dearer)
    moved = model_health.drift(changed, panel.dates[-8]).set_index("input")["psi"]
    assert model_health.stability(moved["price level"]) == "changed"
    said = model_health.sentences(facts.months(night), moved.reset_index())
    assert "is unlike" in said[-1]


def test_months_are_those_whose_forecasts_have_ended(night: Night, settings: Settings) -> None:
    months = facts.months(night)
    early = facts.months(facts.load(settings, date(2026, 2, 10)))
    assert months["n"].sum() > early["n"].sum()
    assert months["coverage"].between(0, 1).all()


def test_a_day_whose_back_test_was_tidied_away_has_a_report(
    settings: Settings, tmp_path: Path
) -> None:
    home = shutil.copytree(settings.home, tmp_path / "home")
    for path in home.glob("models/*/backtest.parquet"):
        path.unlink()
    newest = facts.load(settings.model_copy(update={"home": home}))
    assert newest.scored is not None
    assert facts.months(newest).empty
    assert "<section" in sections.model(newest).data


def test_a_day_far_ahead_is_refused_and_the_latest_report_stays(settings: Settings) -> None:
    before = sorted(settings.reports_dir.glob("*"))
    with pytest.raises(UsageError, match="2062-07-10 lies more than"):
        report.write_report(settings, date(2062, 7, 10))
    with pytest.raises(UsageError, match="2062-07-10 lies more than"):
        facts.load(settings, date(2062, 7, 10))
    assert sorted(settings.reports_dir.glob("*")) == before


def test_the_latest_report_is_that_of_the_newest_prices(
    settings: Settings, notebooks: Path, tmp_path: Path
) -> None:
    put_notebook(notebooks, report.REPORT, 'date: str = ""', "print(date)")
    own = settings.model_copy(update={"home": shutil.copytree(settings.home, tmp_path / "home")})
    latest = own.reports_dir / "latest.html"
    ahead = report.write_report(own, LAST + timedelta(days=3))
    assert latest.read_bytes() == ahead.read_bytes()
    tonight = report.write_report(own)
    assert latest.read_bytes() == tonight.read_bytes()
    report.write_report(own, date(2026, 2, 1))
    assert latest.read_bytes() == tonight.read_bytes()


def test_a_past_report_lists_what_was_refused_by_then(settings: Settings) -> None:
    late = Store.from_settings(settings).quarantine(["held", "refused"])["date"]
    assert late.max() == pd.Timestamp(LAST)
    early = facts.load(settings, date(2026, 2, 1)).quarantine["date"]
    assert not (early > pd.Timestamp("2026-02-01")).any()
    assert len(early) == (late <= pd.Timestamp("2026-02-01")).sum()


def forecasts(night: Night, model: str, day: pd.Timestamp, truth: float) -> pd.DataFrame:
    """Stored predictions a week ahead whose error is ``truth`` of the one of "no change"."""
    now, then = (night.panel.dates.get_loc(each) for each in (day, day + pd.Timedelta(days=7)))
    price, later = night.panel.price[now], night.panel.price[then]
    fair = later * (price / later) ** truth
    rows = pd.DataFrame({"card_id": night.panel.card_ids, "date": day, "horizon": 7})
    values = {"market_price": price, "fair_value": fair, "lower": fair * 0.99, "upper": later}
    flags = {"thin": False, "stale": False, "model": model, "data_version": 0}
    rows = rows.assign(**values, deviation=0.0, signal="HOLD", reason="", **flags)
    return rows.reindex(columns=PREDICTION_COLUMNS)


def test_own_record_counts_what_past_nights_said_without_hindsight(
    night: Night, tmp_path: Path
) -> None:
    settings = night.settings.model_copy(update={"store": str(tmp_path)})
    mine = dataclasses.replace(night, settings=settings)
    store = Store.from_settings(settings)
    assert track_record.of_nights(facts.published(mine)) is None
    for back in range(7, 19):
        day = night.on - pd.Timedelta(days=back)
        honest = back % 2 == 0  # the others know how it ended
        model = f"fair-value-{day if honest else night.on:%Y-%m-%d}-v0"
        then = day.tz_localize("UTC") + pd.Timedelta(hours=27)
        store.save_predictions(forecasts(mine, model, day, truth=0.5 if honest else 0.0), then)
        again = forecasts(mine, model, day, truth=0.1)  # too late
        store.save_predictions(again, then + pd.Timedelta(hours=1))
    record = track_record.of_nights(facts.published(mine))
    assert record is not None
    assert record.nights == 6
    assert record.rmae == pytest.approx(0.5)
    said = model_health.sentences(facts.months(mine), pd.DataFrame(), record)
    assert any("last 6 nights" in sentence and "smaller" in sentence for sentence in said)


def test_every_card_is_listed_the_dearest_first_and_the_rest_counted(night: Night) -> None:
    whole, some = sections.every_card(night).data, sections.every_card(night, top=3).data
    assert whole.count("<tr>") == 1 + len(night.calls)
    assert some.count("<tr>") == 1 + 3
    assert f"3 dearest of {len(night.calls)} cards" in some
    prices = [float(text) for text in re.findall(r'"num" data-order="([\d.]+)">\$', whole)]
    assert prices == sorted(prices, reverse=True)


def test_page_sorts_and_searches_its_cards(written: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed: install your system's package chromium")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", f"--user-data-dir={tmp_path}"]
    command += ["--virtual-time-budget=5000", "--dump-dom", written.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    drawn = re.sub(r"<script.*?</script>", "", found, flags=re.DOTALL)
    assert 'type="search"' in drawn
    assert len(re.findall(r"<th [^>]*dt-orderable-asc", drawn)) == 8
    assert "1 to 12 of 12" in drawn


def colours(scheme: str) -> dict[str, str]:
    """The page's colours: light, dark (over light) or print (over light)."""
    css = read_template("report.css")
    blocks = {
        "light": css.split("@media")[0],
        "dark": css[css.index("@media (prefers-color-scheme: dark)") :].split("\n}\n")[0],
        "print": css[css.index("@media print") :],
    }
    names = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", blocks["light"]))
    return names | dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", blocks[scheme]))


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    digits = colour.lstrip("#")
    digits = "".join(2 * one for one in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        *[(ink, paper) for ink in ("ink", "ink-soft") for paper in ("paper", "shade")],
        *[(ink, "paper") for ink in ("accent", "up", "down")],
        ("up", "up-shade"),
        ("down", "down-shade"),
        ("warn", "warn-shade"),
    ],
)
def test_text_has_the_contrast_that_wcag_aa_asks_for(scheme: str, ink: str, paper: str) -> None:
    found = colours(scheme)
    low, high = sorted((luminance(found[ink]), luminance(found[paper])))
    assert (high + 0.05) / (low + 0.05) >= 4.5


@pytest.mark.parametrize(("value", "side"), [(-0.004, "flat"), (-0.006, "down"), (0.006, "up")])
def test_a_gain_of_less_than_half_a_cent_has_no_direction(value, side):
    shown = _environment().get_template("report_macros.html").module.gain(value)
    assert f'class="{side}"' in shown
    assert ("$0.00" in shown, "▼" in shown) == (side == "flat", side == "down")
