"""A training beside the champion: fitted, scored and judged, and nothing is promoted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pokewatch.analysis.market import Day, as_day, as_days, marked
from pokewatch.evaluation import registry
from pokewatch.evaluation.training import Experiment, fitted, judge, own_rows
from pokewatch.models.panel import open_panel
from pokewatch.operations import tracking
from pokewatch.schema import SIMULATED
from pokewatch.settings import Settings, get_settings

FOLDER = "trials"  # in the data home: models and MLflow's files of experiments
PROMOTES_NOTHING = "an experiment promotes nothing: 'pokewatch train' does"


def experiment(
    horizons: int | Sequence[int] = 7, as_of: Day = None, jobs: int = 1, log: bool = True
) -> Experiment:
    """Fit, score and judge a model without promoting it; the champion stays what it is.

    horizons: days ahead; each takes as long as the others. The model and, with ``log`` and the
    setting ``tracking``, its MLflow run go to the folder ``trials`` of the data home, or to the
    server that ``MLFLOW_TRACKING_URI`` names. Raises UsageError for a day without prices.

    >>> import pokewatch as pw
    >>> pw.experiment(horizons=[7], log=False).trained.model.horizons
    [7]
    """
    settings = get_settings()
    days = sorted(set(as_days(horizons) or []))
    panel, version = open_panel(settings, as_day(as_of, "as_of"))
    trained, tested = fitted(settings, panel, version, days, "trial", jobs)
    forecasts = own_rows(tested.forecasts)
    verdict = judge(settings, forecasts, panel)
    refused = replace(verdict, passed=False, reasons=[*verdict.reasons, PROMOTES_NOTHING])
    trained = replace(trained, verdict=refused)
    aside = beside(settings)
    registry.save(aside, trained, forecasts)
    logged = ""
    if log and settings.tracking:
        done = tracking.log_training(aside, trained, forecasts, panel)
        if done is not None:
            local = done.uri.endswith("mlflow.db")
            logged = f"{FOLDER}/mlflow.db" if local else done.uri
    simulated = SIMULATED in trained.sources
    return Experiment(trained, marked(tested.forecasts, simulated), verdict, logged)


def beside(settings: Settings) -> Settings:
    """Return settings that read the same store and keep models and runs in ``trials``."""
    home = settings.make_home() / FOLDER
    home.mkdir(exist_ok=True)
    return settings.model_copy(update={"home": home, "store": settings.store_root})
