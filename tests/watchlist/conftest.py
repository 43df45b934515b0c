"""A small store, a watchlist, and the command line on them."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
from builders import curve

from pokewatch.cards.catalog import Catalog
from pokewatch.cli.main import main
from pokewatch.quality.ingest import collect
from pokewatch.settings import Settings, get_settings, load_settings
from pokewatch.store.tables import Store

CARDS = [
    ("501:Normal", "Pikachu", "SV04: Paradox Rift", "012/182", "sv04-012", 2.0),
    ("501:Reverse Holofoil", "Pikachu", "SV04: Paradox Rift", "012/182", "sv04-012", 3.0),
    ("502:Holofoil", "Charizard ex - 223/197", "SV03: Obsidian Flames", "223/197", "sv03-223", 250),
    ("503:Normal", "Pikachu", "SWSH01: Sword & Shield", "065/202", "swsh1-65", 1.5),
    ("504:1st Edition Holofoil", "Charizard", "Base Set", "004/102", "base1-4", 9000.0),
    ("504:Unlimited Holofoil", "Charizard", "Base Set", "004/102", "base1-4", 400.0),
    ("505:Normal", "Nidoran ♀", "Jungle", "57/64", "base2-57", 2.5),
    ("506:Normal", "Nidoran ♂", "Jungle", "55/64", "base2-55", 2.5),
    ("507:Holofoil", "Pikachu (Cosmos Holo)", "SV04: Paradox Rift", "012/182", "", 6.0),
    ("508:Normal", "Poké Ball", "Jungle", "64/64", "base2-64", 1.0),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watch")
    rows = pd.concat(
        curve(
            card, [price] * 3, name=name, set_name=group, number=number, tcgdex_id=alias or None
        ).assign(product_id=card.split(":")[0], printing=card.split(":")[1])
        for card, name, group, number, alias, price in CARDS
    )
    rows.to_parquet(folder / "prices.parquet")
    settings = load_settings(home=folder, store="", tracking=False)
    assert collect(settings, "file", path=folder / "prices.parquet").accepted == 3 * len(CARDS)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "watchlist.yaml"


@pytest.fixture
def settings(home: Path, path: Path) -> Settings:
    return load_settings(home=home, store="", watchlist=path, tracking=False)


@pytest.fixture
def catalog(settings: Settings) -> Catalog:
    return Catalog(Store.from_settings(settings).cards())


@pytest.fixture
def cli(
    home: Path, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Function that runs ``pokewatch watch`` here; returns exit code, stdout and stderr."""
    monkeypatch.setenv("POKEWATCH_HOME", str(home))
    monkeypatch.setenv("POKEWATCH_WATCHLIST", str(path))
    monkeypatch.setenv("NO_COLOR", "1")
    get_settings.cache_clear()

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pokewatch", "watch", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), *capsys.readouterr()

    yield run
    get_settings.cache_clear()
