"""Model files of another version, damaged or tampered with: refused, and the night goes on."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from builders import delivery, market
from fault_jobs import config, prepare_train
from werkzeug import Response

from pokewatch.errors import PokewatchError
from pokewatch.evaluation import predictions, registry
from pokewatch.models import fair_value
from pokewatch.models.panel import open_panel
from pokewatch.operations import night
from pokewatch.quality.ingest import ingest
from pokewatch.store.tables import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    kept = [dict(options) for options in (fair_value.BOOSTING, fair_value.SMALL)]
    prepare_train(home)
    fair_value.BOOSTING.update(kept[0])
    fair_value.SMALL.update(kept[1])
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "home"))


def folder(home: Path) -> Path:
    return registry.folder(config(home), "champion")


def refused(home: Path) -> str:
    """Load the champion, which must fail, and forecast, which must not."""
    settings = config(home)
    with pytest.raises(PokewatchError, match="train it again with 'pokewatch train'") as error:
        registry.load(settings, "champion")
    assert set(predictions.predict(settings, horizons=[7])["model"]) == {"naive"}
    return str(error.value)


EDITS = {
    "format": lambda about: about.update(format=99),
    "no trees": lambda about: about.update(trees=[]),
    "no fits": lambda about: about.update(fits=[]),
    "short trend": lambda about: about["fits"][0].update(coef=[1.0]),
    "no number": lambda about: about["fits"][0]["coef"].__setitem__(0, float("nan")),
    "text": lambda about: about["fits"][0].update(coef="x"),
    "other kind": lambda about: about.update(horizons="7"),
    "bands": lambda about: about["bands"]["1"].update(low=[]),
    "missing": lambda about: about.pop("names"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_model_is_refused_and_forecasts_are_naive(home, caplog, edit):
    path = folder(home) / "model.json"
    about = json.loads(path.read_text())
    EDITS[edit](about)
    path.write_text(json.dumps(about))
    refused(home)
    assert "there is no usable champion" in caplog.text


@pytest.mark.parametrize("content", ["[]", "1", "null", "", "{}", '{"format": 2}'])
def test_a_model_that_is_something_else_is_refused(home, content):
    (folder(home) / "model.json").write_text(content)
    refused(home)


def test_a_model_of_other_features_is_refused_before_it_forecasts(home):
    path = folder(home) / "model.json"
    about = json.loads(path.read_text())
    about["names"][0] += "_of_another_version"
    path.write_text(json.dumps(about))
    loaded = registry.load(config(home), "champion")
    panel, _ = open_panel(config(home))
    with pytest.raises(PokewatchError, match=r"other features .* train it again"):
        loaded.model.predict(panel)


class Payload:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("kind", ["pickle", "array"])
def test_nothing_in_a_model_file_is_executed(home, tmp_path, kind):
    path, mark = folder(home) / "trees.npz", tmp_path / "executed"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Payload(mark)))
    else:
        with np.load(path) as file:
            arrays = dict(file)
        payload = np.array([Payload(mark)], dtype=object)
        np.savez(path, **arrays | {"median_7/usual": payload})
    refused(home)
    assert not mark.exists()


def test_a_flipped_bit_in_the_trees_changes_no_forecast(home):
    path = folder(home) / "trees.npz"
    panel, _ = open_panel(config(home))
    expected = registry.load(config(home), "champion").model.predict(panel)
    whole = path.read_bytes()
    rng = np.random.default_rng(4)
    found = 0
    for place in rng.integers(0, len(whole), 30):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            assert registry.load(config(home), "champion").model.predict(panel).equals(expected)
        except PokewatchError as error:
            assert "train it again" in str(error)  # noqa: PT017
            found += 1
    assert found > 10


def test_a_training_puts_another_champion_in_the_place_of_a_damaged_one(home):
    (folder(home) / "model.json").write_text("damaged")
    settings = config(home)
    later = market(16, 27)
    ingest(
        Store.from_settings(settings),
        delivery(later[later["date"] == later["date"].max()]),
        settings,
    )
    trained = night.train(settings)
    registry.promote(settings, trained.name, ["for the test"])
    assert registry.champion(settings).name == trained.name


def test_a_night_with_a_damaged_champion_says_so_everywhere(
    home, tmp_path, httpserver, monkeypatch
):
    told = []
    httpserver.expect_request("/note").respond_with_handler(
        lambda request: told.append(request.get_json()["message"]) or Response("{}")
    )
    monkeypatch.setenv("POKEWATCH_NOTIFY", f"json://localhost:{httpserver.port}/note")
    (folder(home) / "model.json").write_text("damaged")
    market(16, 27).tail(16).to_parquet(tmp_path / "night.parquet")
    done = night.run(config(home), "file", path=tmp_path / "night.parquet", training=False)
    assert "there is no usable champion" in done["champion_problem"]
    assert set(done["signals"]) == {"HOLD"}
    assert len(told) == 1
    assert "there is no usable champion" in told[0]
    page = Path(done["report"]).read_text(encoding="utf-8")
    assert "MODEL UNUSABLE." in page
    assert "there is no usable champion" in page
