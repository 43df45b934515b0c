"""Terminals of any encoding, and data homes of any name: no command fails or writes elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pandas as pd
import pytest

from pokewatch.cli.main import show_any_text
from pokewatch.cli.rendering import show
from pokewatch.errors import UsageError
from pokewatch.settings import PROJECT, load_settings

pytestmark = pytest.mark.slow

PRICES = (
    "card_id,date,market_price,name,set_name\n"
    "910:Holofoil,2026-06-24,110.00,Gyarados δ ☆,EX Holon Phantoms\n"
    "911:Holofoil,2026-06-24,12.00,ピカチュウ 🂡,ポケモンカード151\n"
)


def run(folder: Path, *arguments: str, **environment: str) -> bytes:
    """Return what a command writes on stdout; it has to exit with 0."""
    places = {
        "POKEWATCH_HOME": str(folder / "home"),
        "POKEWATCH_WATCHLIST": str(folder / "watchlist.yaml"),
        "POKEWATCH_TRACKING": "false",
        "NO_COLOR": "1",
        "PYTHONPATH": f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    code = "from pokewatch.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        env=os.environ | places | environment,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encodings")
    (folder / "prices.csv").write_text(PRICES, encoding="utf-8")
    run(folder, "collect", "--source", "file", "--path", "prices.csv")
    return folder


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii:strict"}, C_LOCALE])
def test_commands_work_where_names_cannot_be_shown(folder, environment):
    assert b"Gyarados \\u03b4" in run(folder, "cards", **environment)
    run(folder, "watch", "add", "911", **environment)
    rows = json.loads(run(folder, "watch", "list", "--json", **environment).decode("ascii"))
    assert rows["entries"][0]["name"] == "ピカチュウ 🂡"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "shift_jis", "utf-8"])
@pytest.mark.parametrize("as_json", [True, False])
def test_any_text_is_shown_in_any_encoding(monkeypatch, encoding, as_json):
    stream = TextIOWrapper(BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    show_any_text()
    names = ["Gyarados δ ☆", "ピカチュウ 🂡", "Flabébé", "\x81"]
    show(pd.DataFrame({"name": names}), as_json)
    stream.flush()
    written = stream.buffer.getvalue().decode(encoding)
    if as_json:
        assert [row["name"] for row in json.loads(written)] == names
    else:
        assert "Gyarados" in written


@pytest.mark.parametrize("name", ["a b#c", "Pokémon ★&x=1"])
def test_nothing_is_written_outside_a_home_of_any_name(tmp_path, name):
    (tmp_path / "prices.csv").write_text(PRICES, encoding="utf-8")
    home = {"POKEWATCH_HOME": str(tmp_path / name)}
    run(tmp_path, "collect", "--source", "file", "--path", "prices.csv", **home)
    assert b"910:Holofoil" in run(tmp_path, "cards", **home)
    assert {path.name for path in tmp_path.iterdir()} == {name, "prices.csv"}


def test_a_home_that_addresses_would_cut_short_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"POKEWATCH_HOME=.* a '\?' in its name"):
        load_settings(home=tmp_path / "a?b")
