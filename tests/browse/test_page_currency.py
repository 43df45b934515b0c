"""Pages in another currency than that of the stored amounts, without a browser."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator

import pandas as pd
import pytest
from bokeh.models import HoverTool
from evil_market import LAST
from panel.pane import HTML

from pokewatch.browse import current, layout
from pokewatch.browse.cards import CardsApp, cards
from pokewatch.browse.layout import Table
from pokewatch.browse.portfolio import CollectionApp, portfolio
from pokewatch.formatting import Money, usd
from pokewatch.settings import Settings, get_settings

RATES = {"USD": 1.25, "JPY": 200.0}  # for one EUR
LOTS = "- {card: 77:Holofoil, quantity: 2, cost: 2.5}\n"
CARD = "77:Holofoil"


@pytest.fixture
def shown_in(filled: Settings, tmp_path, monkeypatch) -> Iterator[Callable[[str], Settings]]:
    """Make the process's settings those of the small market with amounts in a currency."""
    home = tmp_path / "home"
    shutil.copytree(filled.home, home)
    kept = {"day": LAST, "asked": f"{LAST}T03:00:00+00:00", "rates": RATES}
    (home / "rates.json").write_text(json.dumps(kept), encoding="utf-8")
    (tmp_path / "watchlist.yaml").write_text(LOTS, encoding="utf-8")
    monkeypatch.setenv("POKEWATCH_HOME", str(home))
    monkeypatch.setenv("POKEWATCH_WATCHLIST", str(tmp_path / "watchlist.yaml"))

    def choose(currency: str) -> Settings:
        monkeypatch.setenv("POKEWATCH_CURRENCY", currency)
        monkeypatch.setattr(current._shared, "market", None)
        get_settings.cache_clear()
        return get_settings()

    yield choose
    get_settings.cache_clear()


def drawn(app: layout.App, view: str) -> str:
    """Draw a page's view; its texts."""
    app._introduce()
    app.view.value = view
    app.turn()
    return "".join(str(one.object) for one in [app.intro, *app.body.select(HTML)])


@pytest.mark.parametrize(("currency", "sign"), [("EUR", "€"), ("JPY", "¥")])
def test_pages_are_in_the_currency_and_say_the_rate_once(shown_in, currency, sign):
    shown_in(currency)
    one, mine = cards(card=CARD), portfolio()
    apps = CardsApp(one), CollectionApp(mine.now)
    pages = [one._repr_html_(), mine._repr_html_()]
    for app, views in ((apps[0], ("card", "market")), (apps[1], ("value", "insurance", "sets"))):
        pages += [drawn(app, view) for view in views]
    for page in pages:
        assert "$" not in page
        assert page.count("European Central Bank") == 1
    assert all(sign in page for page in pages)
    price = usd(one.card.info["last_price"] * one.now.money.rate)[1:]
    price = price if currency == "EUR" else price[:-3]
    assert f"<dd>{sign}{price}</dd>" in pages[2]
    assert f"market prices of {LAST} in {currency}." in pages[1]
    value = one.now.money(2 * one.card.info["last_price"])
    assert pages[1].count(value) >= 3  # the sums, the card's and the insurance list's
    assert one.now.money(5.0) in pages[1]  # what was paid


def test_a_chart_is_drawn_in_the_currency(shown_in):
    shown_in("EUR")
    page = cards(card=CARD)
    app = CardsApp(page)
    drawn(app, "card")
    chart = app.chart[0][0].object
    line = next(one for one in chart.renderers if "said" in one.data_source.data)
    last = page.card.prices.iloc[-1]
    assert line.data_source.data["value"][-1] == pytest.approx(last * 0.8)
    assert line.data_source.data["said"][-1] == Money("EUR", rate=0.8)(last)
    assert layout.script(page.now.money) in chart.yaxis[0].formatter.code
    assert not any("$" in tool.tooltips for tool in chart.select(HoverTool))


def test_a_price_filter_takes_what_is_shown(shown_in):
    shown_in("EUR")
    page = cards(card=CARD)
    app = CardsApp(page)
    drawn(app, "market")
    assert app.filters["from"].name == "Price from, EUR"
    price = round(page.now.rows.loc[CARD, "market_price"] * 0.8, 2)
    app.filters["signal"].value = "any"
    for name in ("from", "to"):
        app.filters[name].value = price
    assert CARD in app._asked()["card_id"].tolist()
    app.filters["to"].value = None
    app.filters["from"].value = price + 0.01
    assert CARD not in app._asked()["card_id"].tolist()


def test_a_table_sorts_by_number_and_its_file_keeps_what_is_stored():
    rows = pd.DataFrame(
        {"name": list("abc"), "price": [900.0, 10.0, float("nan")], "total_gain": 0.5}
    )
    table = Table(rows, "Cards", "cards.csv", Money("JPY", rate=160.004))
    assert table.grid.value["price"].tolist()[:2] == [144004, 1600]
    table.grid.sorters = [{"field": "price", "dir": "asc"}]
    file = pd.read_csv(io.BytesIO(table.export().read()))
    assert file["name"].tolist() == ["b", "a", "c"]
    assert file["price"].tolist()[:2] == [10.0, 900.0]
    assert file["display_price"].tolist()[:2] == [1600, 144004]
    assert set(file["display_currency"]) == {"JPY"}
    plain = pd.read_csv(io.BytesIO(Table(rows, "Cards", "cards.csv", usd).export().read()))
    assert list(plain) == ["name", "price", "total_gain"]
    assert layout.amounts(rows) == ["price", "total_gain"]


def test_without_a_rate_the_pages_stay_in_dollars_and_say_so(shown_in):
    shown_in("USD")
    before = cards(card=CARD)._repr_html_()
    assert "European Central Bank" not in before
    shown_in("BRL")
    page = cards(card=CARD)
    note = layout.noted(page.now.money)
    assert "banner" in note
    assert "no rate of BRL is known yet" in note
    assert page._repr_html_().replace(note, "") == before
    app = CardsApp(page)
    assert drawn(app, "market").count("no rate of BRL") == 1
    assert app.filters["to"].name == "Price to, USD"


def test_a_new_rate_comes_with_the_market(shown_in):
    settings = shown_in("BRL")
    assert current.current().money.currency == "USD"
    kept = json.loads((settings.home / "rates.json").read_text(encoding="utf-8"))
    kept["rates"]["BRL"] = 6.25
    (settings.home / "rates.json").write_text(json.dumps(kept), encoding="utf-8")
    current.look()
    assert current.current().money(1.0) == "R$5.00"
