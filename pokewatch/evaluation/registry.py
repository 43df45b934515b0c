"""Trained models on disk, the champion among them, and the gate that guards its place."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pokewatch.errors import PokewatchError, UsageError
from pokewatch.evaluation.backtest import MODEL, attach_truth
from pokewatch.files import atomic_write, write_error
from pokewatch.models.fair_value import FairValueModel
from pokewatch.models.panel import Panel
from pokewatch.models.signals import Rule, Rules
from pokewatch.settings import PROJECT, Settings

log = logging.getLogger(__name__)

GATE_HORIZON = 7
TOLERANCE = 1.01  # a challenger this close to the champion counts as not worse
COMPARED_DATES = 5


@dataclass
class Verdict:
    """What the gate said about a challenger, and why.

    passed: it becomes champion; proved: it beats "no change", whoever is champion.
    """

    passed: bool
    reasons: list[str] = field(default_factory=list)
    proved: bool = False


@dataclass
class TrainedModel:
    """A fitted model with everything that is needed to use and to trust it.

    scores: the walk-forward score table; as_of: last day the model has seen.
    """

    name: str
    model: FairValueModel
    rules: Rules
    as_of: str
    data_version: int
    sources: list[str]
    scores: list[dict[str, Any]]
    verdict: Verdict
    code_version: str = ""

    def score(self, horizon: int, model: str = MODEL) -> dict[str, Any]:
        """Return one row of the score table, empty where that was not scored."""
        rows = [r for r in self.scores if r["horizon"] == horizon and r["model"] == model]
        return rows[0] if rows else {}


def code_version() -> str:
    """Return the git commit of the project, empty outside a checkout."""
    command = ["git", "-C", str(PROJECT), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(  # noqa: S603 (a fixed command)
            command, capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


PAST = "backtest.parquet"
KEEP_PAST = 10  # models whose back-test stays on disk; the champion's stays as well
DRAFT = ".draft-"
BEFORE = ".before-"  # the model whose place a new one of the same name is taking
A_DAY = 24 * 3600.0  # seconds; no training takes as long


def save(settings: Settings, trained: TrainedModel, past: pd.DataFrame) -> Path:
    """Write a trained model and its walk-forward forecasts, complete or not at all."""
    target = settings.models_dir / trained.name
    try:
        settings.make_home()
        settings.models_dir.mkdir(exist_ok=True)
        _clear(settings)
        with tempfile.TemporaryDirectory(
            prefix=DRAFT, dir=settings.models_dir, ignore_cleanup_errors=True
        ) as folder:
            draft = Path(folder) / target.name
            draft.mkdir()
            trained.model.save(draft)
            _write_about(draft, trained)
            past.to_parquet(draft / PAST, index=False, compression="zstd")
            _take_place(draft, target)
        # By name too: where the clock was set back, the newest is not the last one written.
        kept = {target.name, *names(settings)[-KEEP_PAST:], _pointed_at(settings)}
        for path in settings.models_dir.glob(f"*/{PAST}"):
            if path.parent.name not in kept:
                path.unlink()
    except OSError as error:
        raise write_error(target, error) from error
    return target


def _clear(settings: Settings) -> None:
    """Remove what trainings that were killed have left."""
    for left in settings.models_dir.glob(f"{DRAFT}*"):
        if time.time() - left.stat().st_mtime > A_DAY:
            shutil.rmtree(left, ignore_errors=True)


def _take_place(draft: Path, target: Path) -> None:
    """Put a folder in the place of another; killed in between, ``_take_back`` undoes it."""
    before = target.with_name(f"{BEFORE}{target.name}")
    if target.exists():
        shutil.rmtree(before, ignore_errors=True)
        target.rename(before)
    draft.rename(target)
    shutil.rmtree(before, ignore_errors=True)


def _take_back(settings: Settings) -> None:
    for before in settings.models_dir.glob(f"{BEFORE}*"):
        target = before.with_name(before.name.removeprefix(BEFORE))
        if not target.exists():
            with suppress(OSError):  # another process was quicker
                before.rename(target)


def _write_about(folder: Path, trained: TrainedModel) -> None:
    about = {
        "name": trained.name,
        "as_of": trained.as_of,
        "data_version": trained.data_version,
        "sources": trained.sources,
        "code_version": trained.code_version,
        "verdict": asdict(trained.verdict),
        "rules": [rule.as_dict() for rule in trained.rules.values()],
        "scores": plain(trained.scores),
    }
    with atomic_write(folder / "about.json") as part:
        part.write_text(json.dumps(about, indent=1), encoding="utf-8")


def keep_verdict(settings: Settings, trained: TrainedModel, verdict: Verdict) -> TrainedModel:
    """Return a saved model with the gate's verdict, which is written down with it."""
    judged = replace(trained, verdict=verdict)
    _write_about(settings.models_dir / trained.name, judged)
    return judged


def past_forecasts(settings: Settings, name: str) -> pd.DataFrame:
    """Return a model's walk-forward forecasts, columns as in ``Backtest.forecasts``."""
    path = settings.models_dir / name / PAST
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise PokewatchError(
            f"the back-test of model '{name}' cannot be read ({error}): train it again"
        ) from error


def load(settings: Settings, name: str) -> TrainedModel:
    """Read a trained model by name, ``champion`` included; UsageError for an unknown one."""
    real = champion_name(settings) if name == "champion" else name
    known = names(settings)
    if real not in known:
        listed = ", ".join(known) or "none yet: run 'pokewatch train'"
        raise UsageError(f"unknown model '{name}': there are {listed}")
    folder = settings.models_dir / real
    model = FairValueModel.load(folder)
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        rules = [Rule.from_dict(values) for values in about["rules"]]
        date.fromisoformat(about["as_of"])  # compared with days later on
        return TrainedModel(
            name=about["name"],
            model=model,
            rules={(rule.side, rule.horizon): rule for rule in rules},
            as_of=about["as_of"],
            data_version=int(about["data_version"]),
            sources=about["sources"],
            scores=about["scores"],
            verdict=Verdict(**about["verdict"]),
            code_version=about["code_version"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PokewatchError(
            f"model '{folder}' is damaged ({error!r}): train it again with 'pokewatch train'"
        ) from error


def names(settings: Settings) -> list[str]:
    """Return the names of all trained models, the one written first first."""
    _take_back(settings)
    folders = settings.models_dir.glob("*/about.json")
    written = sorted(folders, key=lambda path: (path.stat().st_mtime_ns, path.parent.name))
    return [path.parent.name for path in written if path.parent.name[0] != "."]


def _pointed_at(settings: Settings) -> str | None:
    with suppress(PokewatchError):
        return champion_name(settings)
    return None


def champion_name(settings: Settings) -> str | None:
    """Return the name of the champion, None before the first."""
    path = settings.models_dir / "champion.json"
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PokewatchError(
            f"'{path}' cannot be read ({error!r}): delete it and run 'pokewatch train'"
        ) from error


def champion(settings: Settings) -> TrainedModel | None:
    """Return the champion; None before the first, and with a warning where it is damaged.

    A night goes on without it: naive until a training puts another one in its place.
    """
    try:
        name = champion_name(settings)
        return None if name is None else load(settings, name)
    except PokewatchError as error:
        log.warning("there is no usable champion: %s", error)
        return None


def usable(settings: Settings) -> list[TrainedModel]:
    """Return all trained models but the damaged ones, the one written first first."""
    found = []
    for name in names(settings):
        try:
            found.append(load(settings, name))
        except PokewatchError as error:
            log.warning("left out: %s", error)
    return found


def known_on(settings: Settings, day: pd.Timestamp) -> TrainedModel | None:
    """Return the model to forecast a day with: the champion, if it has not seen later days.

    Else the newest proved model that has not; None where there is none.
    """
    present = champion(settings)
    if present is None or pd.Timestamp(present.as_of) <= day:
        return present
    fit = [one for one in usable(settings) if one.verdict.proved and pd.Timestamp(one.as_of) <= day]
    return max(fit, key=lambda one: one.as_of, default=None)


def promote(settings: Settings, name: str, reasons: list[str]) -> None:
    """Make a model the champion, in one atomic step."""
    path = settings.models_dir / "champion.json"
    with atomic_write(path) as part:
        part.write_text(json.dumps({"name": name, "reasons": reasons}, indent=1), encoding="utf-8")


def judge(
    scores: pd.DataFrame, forecasts: pd.DataFrame, panel: Panel, present: TrainedModel | None
) -> Verdict:
    """Say whether a challenger may become champion.

    Its 7-day rMAE interval must lie below 1, and on the days after the present champion's
    training its error must not exceed the champion's by more than 1 %.
    """
    row = (
        scores[(scores["horizon"] == GATE_HORIZON) & (scores["model"] == MODEL)]
        if len(scores)
        else scores
    )
    if row.empty:
        return Verdict(
            False, [f"no {GATE_HORIZON}-day forecast could be scored: history too short"]
        )
    figures = row[["rmae", "rmae_low", "rmae_high"]].astype(float)  # unknown ones: None, NaN
    rmae, low, high = figures.iloc[0].tolist()
    if not np.isfinite([rmae, low, high]).all():
        few = f"{GATE_HORIZON}-day rMAE {rmae:.3f} on too few days to tell whether it is luck"
        return Verdict(False, [few])
    said = f"{GATE_HORIZON}-day rMAE {rmae:.3f} (95 % interval {low:.3f} to {high:.3f})"
    if high >= 1:
        return Verdict(False, [f"{said}: not proved better than no change"])
    reasons = [f"{said} lies below 1"]
    if present is None:
        return Verdict(True, [*reasons, "there was no champion"], proved=True)
    if panel.dates[-1] < pd.Timestamp(present.as_of):
        older = f"older than the champion '{present.name}', which stays"
        return Verdict(False, [*reasons, older], proved=True)
    ratio = against(present, forecasts, panel)
    if ratio is None:
        same = f"no new days to compare with '{present.name}' on: same recipe, newer data"
        return Verdict(True, [*reasons, same], proved=True)
    compared = f"error is {ratio:.3f} of the champion's ('{present.name}') on the same later days"
    return Verdict(ratio <= TOLERANCE, [*reasons, compared], proved=True)


def against(present: TrainedModel, forecasts: pd.DataFrame, panel: Panel) -> float | None:
    """Return the challenger's error over the champion's on days after the champion's training.

    None with fewer than ``COMPARED_DATES`` such days.
    """
    own = forecasts[
        (forecasts["model"] == MODEL)
        & (forecasts["horizon"] == GATE_HORIZON)
        & (forecasts["date"] > pd.Timestamp(present.as_of))
    ]
    days = np.sort(own["date"].unique())
    if len(days) < COMPARED_DATES or GATE_HORIZON not in present.model.fits:
        return None
    rows = panel.dates.get_indexer(pd.DatetimeIndex(days))
    theirs = attach_truth(
        present.model.predict_days(panel, rows.tolist(), [GATE_HORIZON]), panel, [GATE_HORIZON]
    )
    both = own.merge(theirs[["card_id", "date", "y_hat"]], on=["card_id", "date"])
    mine = np.log(both["y"] / both["y_hat_x"]).abs().mean()
    other = np.log(both["y"] / both["y_hat_y"]).abs().mean()
    return float(mine / other) if other > 0 else None


def plain(value: Any) -> Any:
    """Return JSON-ready values: NaN and infinity become null, NumPy numbers plain ones."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
