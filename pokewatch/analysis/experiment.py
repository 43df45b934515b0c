"""A training on the side: fitted, scored and judged, while the champion stays what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from pokewatch.analysis.market import Day, as_day, marked
from pokewatch.evaluation import backtest, gate, registry
from pokewatch.evaluation.registry import GateVerdict, TrainedModel
from pokewatch.models import signals
from pokewatch.models.fair_value import FairValueModel
from pokewatch.operations import night, tracking
from pokewatch.report import verdict as report_verdict
from pokewatch.schema import MODEL, SIMULATED
from pokewatch.settings import Settings, get_settings

FOLDER = "trials"  # in the data home: models and MLflow's files of trials
PROMOTES_NOTHING = "a trial promotes nothing: 'pokewatch train' does"


@dataclass(frozen=True, repr=False)
class Trial:
    """A trained model that nothing but its maker knows, as ``pw.trial`` returns it.

    trained: the model with its scores; forecasts: its walk-forward beside naive and the baseline,
    columns as ``backtest``; verdict: what the gate says of it; logged: where in MLflow, "" nowhere.

    >>> import pokewatch as pw
    >>> trial = pw.trial(horizons=7, log=False)
    >>> bool(trial.verdict.reasons) and trial.logged == ""
    True
    """

    trained: TrainedModel
    forecasts: pd.DataFrame
    verdict: GateVerdict
    logged: str

    @property
    def scores(self) -> pd.DataFrame:
        """Its score table, a row a horizon and model."""
        return marked(report_verdict.scores(self.trained), bool(self.forecasts.attrs["simulated"]))

    def __repr__(self) -> str:
        said = "would pass" if self.verdict.passed else "would not pass"
        return f"Trial({self.trained.name!r}, {said} the gate)"


def trial(
    horizons: int | Sequence[int] = 7, as_of: Day = None, jobs: int = 1, log: bool = True
) -> Trial:
    """Fit, score and judge a model without promoting it; the champion stays what it is.

    horizons: days ahead; each takes as long as the others. The model and, with ``log`` and the
    setting ``tracking``, its MLflow run go to the folder ``trials`` of the data home, or to the
    server that ``MLFLOW_TRACKING_URI`` names. Raises UsageError for a day without prices.

    >>> import pokewatch as pw
    >>> pw.trial(horizons=[7], log=False).trained.model.horizons
    [7]
    """
    settings = get_settings()
    days = [horizons] if isinstance(horizons, int) else sorted(set(horizons))
    panel, version = night.open_panel(settings, as_day(as_of, "as_of"))
    tested = backtest.walk_forward(panel, settings, days, jobs=jobs)
    own = tested.forecasts[tested.forecasts["model"] == MODEL]
    last = panel.dates[-1]
    model = FairValueModel(days, settings.seed).fit(panel, jobs=jobs, intervals=False)
    model.learn_from_past(own, last, panel)
    sources = night.sources(settings, version)
    scores = tested.scores(settings)
    verdict = gate.check(scores, own, panel, registry.champion(settings))
    trained = TrainedModel(
        name=f"trial-{last:%Y-%m-%d}-v{version}",
        model=model,
        rules=signals.as_given(signals.learn(own, settings), own, settings),
        as_of=f"{last:%Y-%m-%d}",
        data_version=version,
        sources=sources,
        scores=scores.to_dict("records"),
        verdict=replace(verdict, passed=False, reasons=[*verdict.reasons, PROMOTES_NOTHING]),
        code_version=registry.code_version(),
    )
    aside = beside(settings)
    registry.save(aside, trained, own)
    logged = ""
    if log and settings.tracking:
        done = tracking.log_training(aside, trained, own, panel)
        if done is not None:
            local = done.uri.endswith("mlflow.db")
            logged = f"{FOLDER}/mlflow.db" if local else done.uri
    return Trial(trained, marked(tested.forecasts, SIMULATED in sources), verdict, logged)


def beside(settings: Settings) -> Settings:
    """Return settings that read the same store and keep models and runs in ``trials``."""
    home = settings.make_home() / FOLDER
    home.mkdir(exist_ok=True)
    return settings.model_copy(update={"home": home, "store": settings.store_root})
