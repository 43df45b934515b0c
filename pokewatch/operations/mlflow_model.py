"""A trained model in MLflow: logged, registered, and loaded again without unpickling anything.

MLflow's ``MLmodel`` file names this module as the loader of its pyfunc. The model's data is a small
data home (``models/<name>/``) that ``registry.load`` reads, so a logged model holds no code to run
and needs PokeWatch where it is loaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pokewatch.errors import PokewatchError, UsageError
from pokewatch.evaluation import registry
from pokewatch.evaluation.registry import TrainedModel
from pokewatch.models.panel import Panel
from pokewatch.settings import Settings, load_settings

if TYPE_CHECKING:  # importing MLflow takes seconds: only a training pays for it
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo
    from mlflow.models import ModelSignature

REGISTERED = "pokewatch-fair-value"
CHAMPION = "champion"
NEEDED = ["card_id", "date", "market_price"]
NUMBERS = ["low_price", "mid_price", "volume"]
ABOUT = ["name", "set_name", "rarity", "product_kind", "release_date"]  # of the card
FORECAST_COLUMNS = ["card_id", "date", "horizon", "market_price", "fair_value", "lower", "upper"]
EXAMPLE_CARDS, EXAMPLE_DAYS = 2, 30
# What loading imports besides PokeWatch itself; MLflow would need seconds to find out.
REQUIREMENTS = [
    *["mlflow", "numpy", "pandas", "scipy", "scikit-learn", "joblib", "tqdm"],
    *["bottleneck", "deltalake", "lazy-loader", "orjson", "pyarrow", "pydantic-settings"],
]


class ForecastModel:
    """The model that MLflow's pyfunc calls: observations in, forecasts out."""

    def __init__(self, trained: TrainedModel):
        """Wrap a trained model."""
        self.trained = trained

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Forecast every card from its prices; the last date given is the day of the forecast.

        model_input: one row a card and date, columns ``NEEDED`` (USD), ``NUMBERS`` and ``ABOUT``
        where known. params: ``horizons`` in days (default: all that were trained).
        Returns columns ``FORECAST_COLUMNS``; raises UsageError where a needed column is missing.
        """
        missing = [name for name in NEEDED if name not in model_input]
        if missing:
            raise UsageError(f"no column {', '.join(missing)}: observations need {NEEDED}")
        rows = model_input.assign(date=pd.to_datetime(model_input["date"]).dt.normalize())
        rows = rows.dropna(subset=NEEDED).drop_duplicates(["card_id", "date"], keep="last")
        known = [name for name in ABOUT if name in rows]
        cards = rows.groupby("card_id")[known].last().reset_index()
        given = (params or {}).get("horizons")
        horizons = None if given is None else [int(horizon) for horizon in given]
        forecast = self.trained.model.predict(Panel.from_prices(rows, cards), horizons=horizons)
        return forecast[FORECAST_COLUMNS]


def _load_pyfunc(path: str) -> ForecastModel:
    """Return the model below ``path``; the name of this function is MLflow's."""
    home = load_settings(home=Path(path).resolve())
    names = registry.names(home)
    if len(names) != 1:
        raise PokewatchError(f"'{path}' holds {len(names)} models, not one: log it again")
    return ForecastModel(registry.load(home, names[0]))


def example(panel: Panel) -> pd.DataFrame:
    """Return the last days of a few cards of a panel as observations."""
    alive = np.flatnonzero(~np.isnan(panel.price[-1]))[:EXAMPLE_CARDS]
    prices = pd.DataFrame(
        panel.price[-EXAMPLE_DAYS:, alive],
        index=panel.dates[-EXAMPLE_DAYS:].rename("date"),
        columns=panel.card_ids[alive],
    )
    rows = prices.melt(var_name="card_id", value_name="market_price", ignore_index=False)
    return rows.dropna().reset_index()[NEEDED]


def signature(horizons: Sequence[int]) -> ModelSignature:
    """Return names and types of what goes in and comes out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    types = dict.fromkeys(["card_id", *ABOUT], "string")
    types |= {"date": "datetime", "release_date": "datetime", "horizon": "long"}

    def schema(names: Sequence[str]) -> Schema:
        optional = {*NUMBERS, *ABOUT}
        return Schema(
            [ColSpec(types.get(name, "double"), name, name not in optional) for name in names]
        )

    choice = ParamSchema([ParamSpec("horizons", "long", list(horizons), shape=(-1,))])
    return ModelSignature(schema([*NEEDED, *NUMBERS, *ABOUT]), schema(FORECAST_COLUMNS), choice)


def log_model(
    client: MlflowClient,
    run: RunInfo,
    settings: Settings,
    trained: TrainedModel,
    panel: Panel,
    tags: dict[str, str],
    folder: Path,
) -> tuple[str | None, str]:
    """Log a model that ``registry.save`` has saved, as an output of a run.

    folder: a temporary one. Returns MLflow's id of the model and the address of its files; a
    server older than MLflow 3 has no such ids (None) and keeps the files with the run.
    """
    from mlflow import pyfunc
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    model_id, place = None, f"{run.artifact_uri}/model"
    try:
        logged = client.create_logged_model(run.experiment_id, trained.name, run.run_id, tags)
        model_id, place = logged.model_id, logged.artifact_location
    except MlflowException as error:
        if error.error_code != "ENDPOINT_NOT_FOUND":
            raise
    saved = registry.folder(settings, trained.name)
    unread = shutil.ignore_patterns(registry.BACKTEST)
    shutil.copytree(saved, folder / "home" / "models" / trained.name, ignore=unread)
    made = str(folder / "model")
    pyfunc.save_model(
        made,
        loader_module=__name__,
        data_path=str(folder / "home"),
        mlflow_model=Model("model", run.run_id, model_id=model_id),
        signature=signature(trained.model.horizons),
        input_example=example(panel),
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
        metadata={"needs": f"pokewatch {version('pokewatch')}", "commit": trained.code_version},
    )
    if model_id is None:
        client.log_artifacts(run.run_id, made, "model")
    else:
        client.log_model_artifacts(model_id, made)
        client.finalize_logged_model(model_id, "READY")
        client.log_outputs(run.run_id, [LoggedModelOutput(model_id, 0)])
    return model_id, place


def register(
    client: MlflowClient,
    run_id: str,
    model_id: str | None,
    place: str,
    trained: TrainedModel,
    tags: dict[str, str],
) -> str | None:
    """Register a logged model; the alias moves only to one that passed the gate.

    Returns the version, None where the server keeps no registry.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(REGISTERED, description="Fair values, 80 % intervals")
    except MlflowException as error:
        if error.error_code == "ENDPOINT_NOT_FOUND":
            return None
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    about = {"model": trained.name, "as_of": trained.as_of, "data_version": trained.data_version}
    made = client.create_model_version(
        REGISTERED,
        place,
        run_id,
        tags | {name: str(value) for name, value in about.items()},
        description=f"Gate {tags['verdict']}: {tags['verdict_reasons']}",
        await_creation_for=0,
        model_id=model_id,
    )
    if trained.verdict.passed and _may_lead(client, tags):
        client.set_registered_model_alias(REGISTERED, CHAMPION, made.version)
    return str(made.version)


def _may_lead(client: MlflowClient, tags: dict[str, str]) -> bool:
    """Whether a model may be champion: one of the simulated market never replaces a real one."""
    present = client.get_registered_model(REGISTERED).aliases.get(CHAMPION)
    if present is None or tags["simulated"] == "false":
        return True
    return client.get_model_version(REGISTERED, present).tags.get("simulated") != "false"
