"""A training: scored by walk-forward, fitted on all of the past, judged by the gate."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from pokewatch.errors import PokewatchError
from pokewatch.evaluation import backtest, gate, registry, track_record
from pokewatch.evaluation.backtest import Backtest
from pokewatch.evaluation.registry import GateVerdict, TrainedModel
from pokewatch.models import signals
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import Panel, open_panel, price_sources
from pokewatch.schema import HORIZONS, MODEL
from pokewatch.settings import Settings

log = logging.getLogger(__name__)


def fit(
    settings: Settings,
    as_of: date | None = None,
    data_version: int | None = None,
    jobs: int = 1,
    progress: bool = False,
) -> TrainedModel:
    """Score by walk-forward, fit on everything up to ``as_of``, save; nothing is judged yet."""
    panel, version = open_panel(settings, as_of, data_version)
    return fit_panel(settings, panel, version, jobs, progress)


def fit_panel(
    settings: Settings, panel: Panel, version: int, jobs: int = 1, progress: bool = False
) -> TrainedModel:
    """Do what ``fit`` does, on a panel that the caller has read at a data version."""
    trained, tested = fitted(settings, panel, version, HORIZONS, "fair-value", jobs, progress)
    registry.save(settings, trained, own_rows(tested.forecasts))
    return trained


def fitted(
    settings: Settings,
    panel: Panel,
    version: int,
    horizons: Sequence[int],
    prefix: str,
    jobs: int = 1,
    progress: bool = False,
) -> tuple[TrainedModel, Backtest]:
    """Return a model fitted on a panel up to its last priced day, and its walk-forward.

    horizons: days ahead; prefix: begins the model's name. Nothing is saved or judged.
    """
    panel = panel.until(panel.last_priced())
    tested = backtest.walk_forward(
        panel, settings, horizons, jobs=jobs, progress=progress, ledger=True
    )
    own = own_rows(tested.forecasts)
    last = f"{panel.dates[-1]:%Y-%m-%d}"
    rules = signals.as_given(signals.learn(own, settings), own, settings)
    model = FairValueModel(horizons, settings.seed, good_move=settings.good_move)
    model.fit(panel, jobs=jobs, intervals=False)
    model.learn_from_past(own, panel.dates[-1], panel)
    trained = TrainedModel(
        name=f"{prefix}-{last}-v{version}",
        model=model,
        rules=rules,
        as_of=last,
        data_version=version,
        sources=price_sources(settings, version),
        scores=tested.scores(settings).to_dict("records"),
        verdict=GateVerdict(False, ["not judged yet"]),
        code_version=registry.code_version(),
    )
    return trained, tested


def own_rows(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Return the model's own forecasts, without naive and the baseline."""
    return forecasts[forecasts["model"] == MODEL]


def validate(settings: Settings, name: str, panel: Panel | None = None) -> TrainedModel:
    """Let the gate judge a fitted model against "no change" and the present champion.

    panel: the one it was fitted on, where the caller has it. The verdict is kept with the model.
    """
    trained = registry.load(settings, name)
    verdict = judge(
        settings, registry.past_forecasts(settings, name), training_panel(settings, trained, panel)
    )
    return registry.keep_verdict(settings, trained, verdict)


def judge(settings: Settings, forecasts: pd.DataFrame, panel: Panel) -> GateVerdict:
    """Return what the gate says of walk-forward forecasts, by the panel of their training.

    Compared is what was said at the time: stored forecasts of earlier nights, and the champion's
    walk-forward for the days before them.
    """
    champion = registry.champion(settings)
    live = track_record.live(settings, panel, gate.GATE_HORIZON, gate.RECENT)
    said = live
    if champion is not None:
        past = live.iloc[:0]
        try:
            past = own_rows(registry.past_forecasts(settings, "champion"))
        except PokewatchError as error:
            log.warning("compared with what was published only: %s", error)
        first = panel.dates[-1] - pd.Timedelta(days=gate.RECENT + gate.GATE_HORIZON)
        past = past[(past["horizon"] == gate.GATE_HORIZON) & (past["date"] > first)]
        said = pd.concat([part for part in (live, past) if len(part)] or [live])
        said = said.drop_duplicates(["card_id", "date"])
    return gate.check(forecasts, panel, champion, said, live)


def set_aside_loser(settings: Settings, panel: Panel) -> str:
    """Set a champion aside whose published forecasts have lost to "no change"; return why, or "".

    panel: up to now. Fair values are naive from then on, until a training passes the gate.
    """
    champion = registry.champion(settings)
    if champion is None or panel.dates[-1] < pd.Timestamp(champion.as_of):
        return ""
    reason = gate.lost(track_record.live(settings, panel, gate.GATE_HORIZON, gate.RECENT))
    if reason:
        registry.set_aside(settings, champion.name, reason)
    return reason


def training_panel(settings: Settings, trained: TrainedModel, panel: Panel | None = None) -> Panel:
    """Return the panel that a model was fitted on: the given one, else read from the store."""
    if panel is None:
        until = date.fromisoformat(trained.as_of)
        panel, _ = open_panel(settings, until, trained.data_version)
    return panel


def score_frame(trained: TrainedModel) -> pd.DataFrame:
    """Return a model's walk-forward score table with numbers in every column but ``model``."""
    table = pd.DataFrame(trained.scores)
    numbers = [name for name in table.columns if name != "model"]
    if numbers:
        table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    return table


@dataclass(frozen=True, repr=False)
class Experiment:
    """A trained model that nothing but its maker knows, as ``pw.experiment`` returns it.

    trained: the model with its scores; forecasts: its walk-forward beside naive and the baseline,
    columns as ``backtest``; verdict: what the gate says of it; logged: where in MLflow, "" nowhere.

    >>> import pokewatch as pw
    >>> experiment = pw.experiment(horizons=7, log=False)
    >>> bool(experiment.verdict.reasons) and experiment.logged == ""
    True
    """

    trained: TrainedModel
    forecasts: pd.DataFrame
    verdict: GateVerdict
    logged: str

    @property
    def scores(self) -> pd.DataFrame:
        """Its score table, a row a horizon and model."""
        table = score_frame(self.trained)
        table.attrs["simulated"] = self.forecasts.attrs["simulated"]
        return table

    def __repr__(self) -> str:
        result = "would pass" if self.verdict.passed else "would not pass"
        return f"Experiment({self.trained.name!r}, {result} the gate)"
