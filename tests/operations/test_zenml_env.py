"""What of a night is done again: keys of the steps' cache."""

from __future__ import annotations

from typing import Any

import pytest
import time_machine
from builders import curve, delivery

from pokewatch.cards.import_names import add_names
from pokewatch.operations import zenml_env
from pokewatch.quality import quarantine
from pokewatch.quality.ingest import ingest
from pokewatch.settings import Settings, load_settings
from pokewatch.store.tables import Store
from pokewatch.watchlist.graded import KEPT


@pytest.fixture
def settings(tmp_path):
    settings = load_settings(home=tmp_path, store="", watchlist=tmp_path / "watchlist.yaml")
    ingest(Store.from_settings(settings), delivery(curve("1:Normal", [1.0, 0.0])), settings)
    with time_machine.travel("2025-01-02T12:00:00Z"):
        yield settings


def name_a_card(settings: Settings) -> None:
    names = settings.home / "names.csv"
    names.write_text("card_id,name\n1:Normal,Mew\n")
    add_names(settings, names)


def drop_all(settings: Settings) -> None:
    store = Store.from_settings(settings)
    quarantine.drop(store, store.quarantine())


@pytest.mark.parametrize(
    "change",
    [
        lambda one: (one.home / KEPT).write_text("{}"),
        lambda one: one.watchlist.write_text("[]"),
        name_a_card,
        drop_all,
    ],
)
def test_what_only_the_report_shows_is_shown_anew_and_trains_nothing(settings, change):
    trained, shown = zenml_env.recipe(settings), zenml_env.page_recipe(settings)
    change(settings)
    assert zenml_env.recipe(settings) == trained
    assert zenml_env.page_recipe(settings) != shown


def test_the_next_day_has_a_report_of_its_own(settings):
    shown = zenml_env.page_recipe(settings)
    with time_machine.travel("2025-01-02T20:00:00Z"):
        assert zenml_env.page_recipe(settings) == shown
    with time_machine.travel("2025-01-03T00:00:00Z"):
        assert zenml_env.page_recipe(settings) != shown


@pytest.mark.parametrize(
    ("other", "trains", "shows"),
    [
        ({"currency": "EUR"}, False, True),
        ({"marketplaces": {}}, False, True),
        ({"service_rate": "1/minute", "browse_origins": ["x"]}, False, False),
        ({"ecb_url": "http://x"}, False, False),
        ({"fee": 0.2}, True, False),
        ({"seed": 8}, True, False),
    ],
)
def test_settings_train_or_show_anew_where_they_matter(
    settings: Settings, other: dict[str, Any], trains: bool, shows: bool
) -> None:
    changed = load_settings(**dict(settings) | other)
    assert (zenml_env.recipe(changed) != zenml_env.recipe(settings)) == trains
    assert (zenml_env.page_recipe(changed) != zenml_env.page_recipe(settings)) == shows
