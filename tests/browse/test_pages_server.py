from __future__ import annotations

import asyncio
import re
import threading
import time
from http.cookiejar import CookieJar
from pathlib import Path

import httpx
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from pokewatch.browse import layout, server
from pokewatch.charts import style
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.formatting import usd
from pokewatch.report.templating import read_template
from pokewatch.settings import load_settings

PASSWORD = "a-long.password"
CARDS = {"06_cards": Path("06_cards.ipynb")}


def settings(tmp_path, **options):
    return load_settings(home=tmp_path, _env_file=None, **options)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "example.org", "::"])
def test_others_are_let_in_with_a_password_only(tmp_path, host):
    with pytest.raises(UsageError, match="open to others and there is no password"):
        server.run(settings(tmp_path), host, 5007)


def test_a_short_password_is_refused_and_not_shown(tmp_path):
    with pytest.raises(UsageError, match="has 5 characters: take 8 or more") as told:
        server.run(settings(tmp_path, browse_password="quick"), "0.0.0.0", 5007)
    assert "quick" not in str(told.value)


def test_without_prices_there_is_nothing_to_serve(tmp_path, monkeypatch):
    from pokewatch.analysis import market
    from pokewatch.browse import current

    for module in (current, market):  # whatever home the tests themselves run in
        monkeypatch.setattr(module, "get_settings", lambda: settings(tmp_path))
    monkeypatch.setattr(current._shared, "market", None)
    monkeypatch.setattr(server, "make", lambda *_: pytest.fail("it would serve"))
    with pytest.raises(UsageError, match="no prices are stored"):
        server.run(settings(tmp_path), "127.0.0.1", 5007)


def test_a_browser_may_talk_to_the_bound_host_only():
    loop = ["127.0.0.1:5007", "localhost:5007"]
    assert server.origins("127.0.0.1", 5007, []) == loop
    assert server.origins("10.0.0.8", 5007, ["pages.lan:443"]) == sorted(
        [*loop, "10.0.0.8:5007", "pages.lan:443"]
    )
    assert "[::1]:5007" in server.origins("::1", 5007, [])
    assert not any(
        one.startswith(("0.0.0.0", "[::]")) for one in server.origins("0.0.0.0", 5007, [])
    )


@pytest.mark.parametrize("host", ["*", "https://pages.lan", "a b"])
def test_an_origin_that_is_no_host_is_named(tmp_path, host):
    with pytest.raises(UsageError, match=r"POKEWATCH_BROWSE_ORIGINS.*write each host as name"):
        settings(tmp_path, browse_origins=[host])


@pytest.fixture
def locked(tmp_path):
    """A small page behind a password, served by this process."""
    file = tmp_path / "page.ipynb"
    code = "import panel as pn\npn.pane.HTML('<p>inside</p>').servable()"
    nbformat.write(new_notebook(cells=[new_code_cell(code)]), file)
    found, ready = {}, threading.Event()

    def serve():
        asyncio.set_event_loop(asyncio.new_event_loop())
        found["server"] = server.make({"page": file}, "127.0.0.1", 0, PASSWORD)
        found["server"].start()
        found["loop"] = found["server"].io_loop
        found["loop"].add_callback(ready.set)
        found["loop"].start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(60)
    yield f"http://127.0.0.1:{found['server'].port}"
    found["loop"].add_callback(found["server"].stop)
    found["loop"].add_callback(found["loop"].stop)
    thread.join(20)


def test_the_password_opens_the_page_and_its_socket(locked, caplog, monkeypatch):
    monkeypatch.setattr(server, "WRONG_SECONDS", 0.2)
    with httpx.Client(base_url=locked, trust_env=False, cookies=CookieJar()) as visitor:
        asked = visitor.get("/page")
        assert asked.status_code == 302
        assert "login?next=" in asked.headers["location"]
        form = visitor.get("/login")
        assert 'type="password"' in form.text
        assert "://" not in form.text
        socket = f"{locked.replace('http', 'ws')}/page/ws"
        with pytest.raises(InvalidStatus, match=r"40[13]"):
            connect(socket, origin=locked, subprotocols=["bokeh", "none"], proxy=None)
        before = time.monotonic()
        wrong = visitor.post("/login", data={"username": "visitor", "password": "wrong"})
        assert time.monotonic() - before >= 0.2
        assert (wrong.status_code, wrong.headers["location"]) == (302, "/login?error=1")
        assert "not the password" in visitor.get("/login?error=1").text
        assert visitor.get("/page").status_code == 302
        right = visitor.post("/login", data={"username": "visitor", "password": PASSWORD})
        assert right.status_code == 302
        assert "HttpOnly" in right.headers["set-cookie"]
        assert visitor.get("/page").status_code == 200
    assert "a wrong password from 127.0.0.1" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_port_that_is_taken_is_named(tmp_path, monkeypatch):
    ready = type("Ready", (), {"prepare": lambda self: self})()
    monkeypatch.setattr(server.current, "current", lambda: ready)

    def taken(*_):
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(server, "make", taken)
    with pytest.raises(
        PokewatchError, match=r"--port 5007 cannot be listened on \(Address already"
    ):
        server.run(settings(tmp_path), "127.0.0.1", 5007)


def colours(css: str, dark: bool) -> dict[str, str]:
    blocks = css.split(
        ":root.dark" if ":root.dark" in css else "@media (prefers-color-scheme: dark)"
    )
    found = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", blocks[0]))
    if dark:
        found |= dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", blocks[1].split("\n}\n")[0]))
    return found


@pytest.mark.parametrize("dark", [False, True])
def test_pages_and_charts_have_the_report_s_colours(dark):
    """The report's are tested for contrast."""
    mine, report = (
        colours(layout.read("page.css"), dark),
        colours(read_template("report.css"), dark),
    )
    assert {name: mine[name] for name in report} == report
    if dark:
        names = {style.CSS[color]: value for color, value in style.DARK.items()}
        assert {name: mine[name] for name in names} == names


def test_a_table_s_export_runs_no_formula():
    import pandas as pd

    table = layout.Table(
        pd.DataFrame({"name": ["=1+1", "Mew"], "price": [1.0, 2.5]}), "Cards", "a.csv", usd
    )
    text = table.export().read().decode("utf-8-sig")
    assert text == "name,price\n'=1+1,1.0\nMew,2.5\n"
