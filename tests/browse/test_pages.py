from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import httpx
import pandas as pd
import pytest
from builders import curve, delivery
from chromium import Browser
from evil_market import DAYS, EVIL, Served
from typer.testing import CliRunner

from pokewatch.cli.main import build_app
from pokewatch.formatting import usd
from pokewatch.quality.ingest import ingest
from pokewatch.settings import get_settings
from pokewatch.store.tables import Store

pytestmark = pytest.mark.slow

ACTIVE = (
    "(() => { let one = document.activeElement;"
    " while (one?.shadowRoot) one = one.shadowRoot.activeElement; return one })()"
)
OPEN = "Past calls and what came of them"
# What Tabulator draws itself: the roles inside its grid, and a heading of a column that is hidden.
LEFT_OUT = ("aria-required-children", "empty-table-header")
AXE = {"rules": {name: {"enabled": False} for name in LEFT_OUT}}
VIEWS = {  # and what each says once it is there
    "07_portfolio?view=value": "What each card brought",
    "07_portfolio?view=insurance": "Insurance list",
    "07_portfolio?view=sets": "the cheapest lacking first",
    "06_cards?view=market": "Signals a week ahead",
    "06_cards?card=1:Normal": OPEN,
}


@pytest.fixture
def cards(served: Served, window: Browser) -> Iterator[Browser]:
    """The window, on the cards' page; nothing is asked of other hosts, and nothing goes wrong."""
    window.asked.clear()
    window.errors.clear()
    window.look()
    window.open(f"{served.address}/06_cards?card=1:Normal", OPEN)
    yield window
    assert window.asked
    hosts = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:http://127.0.0.1")
    assert [one for one in window.asked if not one.startswith(hosts)] == []
    assert window.errors == []
    assert window.js("document.title") == "PokeWatch: cards and market"
    log = served.log.read_text(encoding="utf-8")
    assert "pokewatch/browse" not in log
    assert "ERROR" not in log


def answer(served: Served, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[dict]:
    """What the command line answers, as JSON."""
    monkeypatch.setenv("POKEWATCH_HOME", str(served.settings.home))
    get_settings.cache_clear()
    try:
        done = CliRunner().invoke(build_app(), [*arguments, "--json"])
    finally:
        get_settings.cache_clear()
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def rows(window: Browser, table: int) -> list[list[str]]:
    """The cells of the page's n-th table, as they are shown."""
    code = f"deep('.tabulator')[{table}]"
    return window.js(
        f"[...{code}.querySelectorAll('.tabulator-row')].map(row =>"
        " [...row.querySelectorAll('.tabulator-cell')].filter(cell => cell.offsetWidth)"
        ".map(cell => cell.textContent.trim()))"
    )


def type_into(window: Browser, label: str, text: str) -> None:
    window.js(
        f"(() => {{ const input = deep('label').find(one => one.textContent.includes('{label}'))"
        ".parentNode.querySelector('input'); input.focus(); input.select() })()"
    )
    window.press(text)


def test_a_card_is_searched_chosen_and_told_to_the_cent(cards, served, monkeypatch):
    type_into(cards, "Search", "mew 77")
    cards.until("said().includes('Cards found: 2')")
    cards.until("deep('select')[0].options.length == 3")
    listed = cards.js("[...deep('select')[0].options].map(one => one.text)")
    assert listed[1:] == [
        f"{EVIL} · <b>Evil</b> & Co · 77/199 · {printing}  [77:{printing}]".replace("  ", " ")
        for printing in ("Holofoil", "Reverse Holofoil")
    ]
    cards.js(
        "(() => { const list = deep('select')[0]; list.value = '77:Holofoil';"
        " list.dispatchEvent(new Event('change')) })()"
    )
    cards.until("location.search.includes('card=77%3AHolofoil')")
    cards.until("said().includes('only this printing moved')")
    told = answer(served, monkeypatch, "predict", "77:Holofoil")
    price = usd(told[0]["market_price"])  # the table of the card before goes last
    cards.until(f"deep('.tabulator')[0].textContent.split('{price}').length > {len(told)}")
    shown = rows(cards, 0)
    assert [row[:5] for row in shown] == [
        [str(one["horizon"])]
        + [usd(one[name]) for name in ("market_price", "fair_value", "lower", "upper")]
        for one in told
    ]
    assert [row[6] for row in shown] == [one["signal"] for one in told]
    week = next(one for one in told if one["horizon"] == 7)
    said = cards.js("said()")
    assert f"{usd(week['lower'])} – {usd(week['upper'])}" in said
    assert week["reason"] in said
    assert "fair value with its 80 % band" in said  # the fan in the chart's legend
    assert cards.js("deep('canvas').length") > 0
    assert cards.js("deep('img').length") == 0
    assert EVIL.replace("  ", " ") in said


def test_the_market_s_signals_are_those_of_the_command_line(cards, served, monkeypatch):
    cards.open(f"{served.address}/06_cards?view=market", "Signals a week ahead")
    told = answer(served, monkeypatch, "signals")
    cards.until("deep('.tabulator-row').length > 5")
    shown = rows(cards, 0)
    mine = {(row[0], row[1], *row[4:8]) for row in shown}
    expected = {
        (
            one["signal"],
            one["name"],
            *(usd(one[name]) for name in ("market_price", "fair_value", "lower", "upper")),
        )
        for one in told
    }
    assert len(mine) == min(len(expected), 15)
    assert mine <= expected
    cards.open(
        f"{served.address}/06_cards?view=market&signal=any&set=%3Cb%3EEvil%3C/b%3E%20%26%20Co",
        "Signals",
    )
    cards.until("deep('.tabulator')[0].querySelectorAll('.tabulator-row').length == 2")
    assert cards.js("deep('img, .tabulator b').length") == 0


def test_every_view_has_a_link_that_opens_it_again(cards, served):
    cards.js("deep('.bk-btn').find(one => one.textContent === '1 year').click()")
    cards.js("deep('.bk-btn').find(one => one.textContent === 'Listings').click()")
    cards.until("location.search.includes('days=365') && location.search.includes('listings')")
    link = cards.js("location.href")
    cards.open("about:blank", "")
    cards.open(link, OPEN)
    active = cards.js("deep('.bk-btn.bk-active').map(one => one.textContent)")
    assert active == ["One card", "1 year", "Past calls", "Listings"]
    cards.open(f"{served.address}/06_cards?days=abc&card=nonsense", "unknown card 'nonsense'")
    assert "days='abc' in the address is none of 30" in cards.js("said()")


def test_back_shows_the_view_before(cards):
    cards.until("location.search.includes('card=1%3ANormal')")
    first = cards.js("history.length")
    cards.press("Tab")  # as a person does: an address that nobody chose is no step
    cards.js("deep('.bk-btn').find(one => one.textContent === 'Market').click()")
    cards.until("location.search.includes('view=market')")
    cards.until("said().includes('Signals a week ahead')")
    assert cards.js("history.length") == first + 1
    cards.js("history.back()")
    cards.until(f"said().includes('{OPEN}')")
    assert "view=market" not in cards.js("location.search")


def test_the_page_may_talk_to_its_own_host_only(served):
    host = served.address.removeprefix("http://")
    page = httpx.get(f"{served.address}/06_cards").text
    assert f"connect-src 'self' ws://{host} wss://{host};" in page
    evil = httpx.get(f"{served.address}/06_cards", headers={"Host": f"{host}; script-src *"})
    assert "script-src *" not in evil.text


def test_the_keyboard_is_enough_and_every_control_has_a_name(cards):
    assert cards.unnamed() == []
    for _ in range(12):
        cards.press("Tab")
        if cards.js(f"{ACTIVE}?.placeholder?.includes('charizard')"):
            break
    cards.press("sv4pt5-29")
    cards.until("said().includes('Cards found: 1')")
    cards.press("Enter")
    cards.until("location.search.includes('card=29%3ANormal')")
    cards.press("Tab", "ArrowDown")
    assert cards.js(f"{ACTIVE}.tagName") == "SELECT"


def test_a_phone_and_dark_pages_fit(cards, served):
    cards.look(390, dark=True)
    cards.open(f"{served.address}/06_cards", OPEN)
    cards.until("location.search.includes('theme=dark')")
    cards.until(f"said().includes('{OPEN}') && deep('canvas').length")
    assert cards.js("document.documentElement.scrollWidth") <= 390
    assert cards.js("getComputedStyle(document.body).backgroundColor") == "rgb(15, 18, 22)"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_axe_core_finds_no_fault(cards, served, width, dark):
    package = distribution("axe-playwright-python")
    axe = Path(package.locate_file("axe_playwright_python/axe.min.js")).read_text(encoding="utf-8")
    cards.look(width, dark)
    for view, ready in VIEWS.items():
        cards.open(f"{served.address}/{view}&theme={'dark' if dark else 'default'}", ready)
        cards.until("deep('.tabulator-row').length > 0")
        cards.js(f"(() => {{ {axe} }})()")
        found = cards.js(
            f"axe.run(document, {json.dumps(AXE)}).then(all => all.violations.map(one =>"
            " [one.id, ...one.nodes.map(node => node.html.slice(0, 200))]))"
        )
        assert found == [], view


def test_two_visitors_do_not_see_each_other(cards, other_window, served):
    other_window.look(390, dark=True)
    other_window.open(f"{served.address}/06_cards?card=29:Normal", OPEN)
    type_into(other_window, "Search", "mew 77")
    other_window.until("said().includes('Cards found: 2')")
    type_into(cards, "Search", "sv4pt5-28")
    cards.until("said().includes('Cards found: 1')")
    cards.js("deep('.bk-btn').find(one => one.textContent === '1 year').click()")
    cards.until("location.search.includes('days=365')")
    assert "Cards found: 2" in other_window.js("said()")
    assert "days=365" not in other_window.js("location.search")
    assert "card=29%3ANormal" in other_window.js("location.search")
    assert other_window.errors == []


def test_the_portfolio_s_totals_are_those_of_the_command_line(cards, served, monkeypatch):
    cards.open(f"{served.address}/07_portfolio", "What each card brought")
    cards.until("deep('.tabulator-row').length > 3")
    watchlist = served.log.parent / "watchlist.yaml"
    monkeypatch.setenv("POKEWATCH_WATCHLIST", str(watchlist))
    told = answer(served, monkeypatch, "watch", "list")
    said = cards.js("said()")
    assert f"value on {told['date']} {usd(told['value'])}" in said
    assert f"paid for it {usd(told['cost'])}" in said
    assert f"unrealised gain {usd(told['gain'], sign=True)}" in said
    worth = {row[0]: row[6] for row in rows(cards, 0)}
    assert worth == {one["card_id"]: usd(one["value"]) for one in told["entries"]}
    cards.open(f"{served.address}/07_portfolio?view=insurance", "Insurance list")
    cards.until("said().includes('Total')")
    assert EVIL in cards.js("said()")
    assert cards.js("deep('img').length") == 0
    watchlist.write_text("- {card: nonsense", encoding="utf-8")
    cards.until("said().includes('watchlist.yaml')")
    cards.open(f"{served.address}/06_cards", OPEN)


def test_new_prices_show_by_themselves(cards, served):
    before = cards.until("said().match(/data version (\\d+)/)[1]")
    prices = Store.from_settings(served.settings).prices(card_ids=["1:Normal"])["market_price"]
    day = pd.Timestamp("2025-01-01") + pd.Timedelta(days=DAYS)
    row = curve("1:Normal", [prices.iloc[-1]], start=f"{day:%Y-%m-%d}")
    more = delivery(row.assign(collected_at=row["date"].dt.tz_localize("UTC")))
    ingest(Store.from_settings(served.settings), more, served.settings)
    cards.until(f"said().includes('data version {int(before) + 1},')")
    cards.until("said().includes('New prices')")
