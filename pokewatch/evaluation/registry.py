"""Trained models on disk, and which of them is the champion.

Each training gets a folder of its own, NAME, NAME+2, ..., put in place complete by one rename;
``champion.json`` names the champion's and is replaced in one step.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import cache, lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pokewatch import models, rounding
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.files import atomic_write, json_bytes, write_error
from pokewatch.schema import MODEL
from pokewatch.settings import PROJECT, Settings

if TYPE_CHECKING:  # loading a model takes seconds of imports: who only asks for its name waits none
    from pokewatch.models.fair_value import FairValueModel
    from pokewatch.models.signals import Rules

log = logging.getLogger(__name__)

PLAIN = ("name", "as_of", "data_version", "sources", "code_version", "scores")
ABOUT, BACKTEST, CHAMPION = "about.json", "backtest.parquet", "champion.json"
SET_ASIDE = "set_aside"  # in the pointer: whose place is empty
DRAFT = ".draft-"
KEEP_BACKTESTS = 10  # models whose back-test stays on disk; the champion's stays as well
A_DAY = 24 * 3600.0  # seconds; no training takes as long


@dataclass
class GateVerdict:
    """What the gate decided about a challenger, and why.

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
    verdict: GateVerdict
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


@cache  # of the code that runs, whatever is installed meanwhile
def recipe(*files: str) -> str:
    """Return a hash of the code and the packages that forecasts come from.

    files: modules of this room that have a part in it.
    """
    from importlib.metadata import version

    found = hashlib.sha256()
    folder = Path(str(models.__file__)).parent
    others = [Path(rounding.__file__), *(Path(__file__).with_name(name) for name in files)]
    for path in [*sorted(folder.glob("*.py")), *others]:
        found.update(path.read_bytes())
    for package in ("numpy", "scipy", "scikit-learn", "pandas"):
        found.update(f"{package} {version(package)}".encode())
    return found.hexdigest()


def save(settings: Settings, trained: TrainedModel, past: pd.DataFrame) -> Path:
    """Write a trained model and its walk-forward forecasts to a new folder, and return that.

    It is complete or not there; earlier models of the same name stay as they are until the next
    day, the champion for good. Raises PokewatchError for what the file system refuses.
    """
    folder = settings.models_dir / trained.name
    try:
        settings.make_home()
        settings.models_dir.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=DRAFT, dir=settings.models_dir, ignore_cleanup_errors=True
        ) as temporary:
            draft = Path(temporary) / "model"
            draft.mkdir()
            trained.model.save(draft)
            _write_about(draft, trained)
            past.to_parquet(draft / BACKTEST, index=False, compression="zstd")
            folder = _put_in_place(draft, folder)
        _tidy(settings, folder)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


def _put_in_place(draft: Path, folder: Path) -> Path:
    taken = [_number(path) for path in folder.parent.iterdir() if _name(path) == folder.name]
    for number in count(max(taken, default=0) + 1):
        target = folder if number == 1 else folder.with_name(f"{folder.name}+{number}")
        try:
            return draft.rename(target)
        except OSError:
            if not target.exists():  # else another training took this number meanwhile
                raise
    raise AssertionError("numbers do not end")


def _name(folder: Path) -> str:
    return folder.name.partition("+")[0]


def _number(folder: Path) -> int:
    number = folder.name.partition("+")[2]
    return int(number) if number.isdecimal() else 1


def _tidy(settings: Settings, saved: Path) -> None:
    """Remove old back-tests, abandoned drafts, and models replaced a day ago or earlier."""
    newest = _newest(settings)
    try:
        # By folder too: where the clock was set back, the newest is not the last one written.
        kept = {saved, _champion_folder(settings)}
    except PokewatchError:  # a damaged pointer: any of them may be the champion
        return
    for path in list(newest.values())[:-KEEP_BACKTESTS]:
        if path not in kept:
            (path / BACKTEST).unlink(missing_ok=True)
    for path in settings.models_dir.glob("*/"):
        successor = newest.get(_name(path), path)
        outdated = path not in kept and (successor != path or path.name.startswith(DRAFT))
        # A day old: until then someone may be reading or writing it.
        if outdated and time.time() - successor.stat().st_mtime > A_DAY:
            shutil.rmtree(path, ignore_errors=True)


def _write_about(folder: Path, trained: TrainedModel) -> None:
    about = {
        **{name: getattr(trained, name) for name in PLAIN},
        "verdict": asdict(trained.verdict),
        "rules": [rule.as_dict() for rule in trained.rules.values()],
    }
    with atomic_write(folder / ABOUT) as draft:
        draft.write_bytes(json_bytes(about, indent=True))


def keep_verdict(settings: Settings, trained: TrainedModel, verdict: GateVerdict) -> TrainedModel:
    """Return a saved model with the gate's verdict, which is written down with it."""
    judged = replace(trained, verdict=verdict)
    _write_about(folder(settings, trained.name), judged)
    return judged


def past_forecasts(settings: Settings, name: str) -> pd.DataFrame:
    """Return a model's walk-forward forecasts, columns as in ``Backtest.forecasts``."""
    try:
        return pd.read_parquet(folder(settings, name) / BACKTEST)
    except (OSError, ValueError) as error:
        raise PokewatchError(
            f"the back-test of model '{name}' cannot be read ({error}): train it again"
        ) from error


def load(settings: Settings, name: str, bare: bool = False) -> TrainedModel:
    """Read a trained model by name, ``champion`` included; bare: only what is known about it.

    Raises UsageError for an unknown one, PokewatchError for one whose files are damaged.
    """
    from pokewatch.models.signals import Rule

    place = folder(settings, name)
    model: Any = None if bare else _fitted(place, _marks(place))
    try:
        about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
        rules = [Rule.from_dict(values) for values in about["rules"]]
        date.fromisoformat(about["as_of"]), int(about["data_version"])  # compared with others later
        return TrainedModel(
            model=model,
            rules={(rule.side, rule.horizon): rule for rule in rules},
            verdict=GateVerdict(**about["verdict"]),
            **{name: about[name] for name in PLAIN},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PokewatchError(
            f"model '{place}' is damaged ({error!r}): train it again with 'pokewatch train'"
        ) from error


@lru_cache(maxsize=2)  # reading trees takes a second, and a night asks ten times
def _fitted(place: Path, _: tuple[tuple[int, int], ...]) -> FairValueModel:
    from pokewatch.models.fair_value import FairValueModel

    return FairValueModel.load(place)


def _marks(place: Path) -> tuple[tuple[int, int], ...]:
    """Return what changes when a model's files are replaced."""
    found = (path.stat() for path in sorted(place.glob("*")) if path.suffix in (".json", ".npz"))
    return tuple((one.st_mtime_ns, one.st_size) for one in found)


def folder(settings: Settings, name: str) -> Path:
    """Return the folder of a model, the newest of its name; ``champion``: the one promoted.

    Raises UsageError for an unknown model.
    """
    newest = _newest(settings)
    found = _champion_folder(settings) if name == "champion" else newest.get(name)
    if found is None or not (found / ABOUT).exists():
        listed = ", ".join(newest) or "none yet: run 'pokewatch train'"
        raise UsageError(f"unknown model '{name}': there are {listed}")
    return found


def names(settings: Settings) -> list[str]:
    """Return the names of all trained models, the one written first first."""
    return list(_newest(settings))


def _newest(settings: Settings) -> dict[str, Path]:
    """Return the newest folder of each name, in the order in which they were written."""
    folders = [path.parent for path in settings.models_dir.glob(f"[!.]*/{ABOUT}")]
    newest = {_name(path): path for path in sorted(folders, key=_number)}
    written = {name: (path / ABOUT).stat().st_mtime_ns for name, path in newest.items()}
    return {name: newest[name] for name in sorted(newest, key=lambda name: (written[name], name))}


def _champion(settings: Settings) -> tuple[str, Path] | None:
    """Return name and folder of the champion, None before the first."""
    path = settings.models_dir / CHAMPION
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if SET_ASIDE in found:
            return None
        name = str(found["name"])
        # Pointers of earlier versions have no folder: there it was the name.
        return name, settings.models_dir / Path(str(found.get("folder", name))).name
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PokewatchError(
            f"'{path}' cannot be read ({error!r}): delete it and run 'pokewatch train'"
        ) from error


def _champion_folder(settings: Settings) -> Path | None:
    found = _champion(settings)
    return found and found[1]


def champion_name(settings: Settings) -> str | None:
    """Return the name of the champion, None before the first.

    Raises PokewatchError where the file that names it is damaged.
    """
    found = _champion(settings)
    return found and found[0]


def champion(settings: Settings) -> TrainedModel | None:
    """Return the champion; None before the first, and with a warning where it is unusable.

    A night goes on without it: naive until a training puts another one in its place.
    """
    found, problem = try_champion(settings)
    if problem:
        log.warning("%s", problem)
    return found


def try_champion(settings: Settings) -> tuple[TrainedModel | None, str]:
    """Return the champion, and why there is none though one was promoted ("" else).

    Unusable is one that is damaged, or was trained on other features than this version computes.
    """
    try:
        if champion_name(settings) is None:
            return None, ""
        found = load(settings, "champion")
        found.model.check_features()
    except PokewatchError as error:
        return None, f"there is no usable champion: {error}"
    return found, ""


def why_none(settings: Settings) -> str:
    """Return why no model speaks though one was promoted: unusable, or set aside; "" else."""
    _, problem = try_champion(settings)
    path = settings.models_dir / CHAMPION
    if problem or not path.exists():
        return problem
    pointer = json.loads(path.read_text(encoding="utf-8"))
    return f"'{pointer[SET_ASIDE]}': {pointer['reasons'][0]}" if SET_ASIDE in pointer else ""


def set_aside(settings: Settings, name: str, reason: str) -> None:
    """Let no model be champion until another training passes; the model itself is kept.

    name: the champion that was judged; one promoted meanwhile stays in its place.
    """
    if champion_name(settings) != name:
        return
    pointer = {SET_ASIDE: name, "reasons": [reason]}
    with atomic_write(settings.models_dir / CHAMPION) as draft:
        draft.write_bytes(json_bytes(pointer, indent=True))


def last_trained(
    settings: Settings, day: pd.Timestamp | None = None, proved: bool = False
) -> TrainedModel | None:
    """Return the model trained on the newest prices up to a day, None before the first.

    proved: of those that beat "no change" only. Models that cannot forecast are left out.
    """
    known = []
    for name in names(settings):
        try:
            about = json.loads((folder(settings, name) / ABOUT).read_text(encoding="utf-8"))
            seen = pd.Timestamp(about["as_of"])
            if (day is None or seen <= day) and (not proved or about["verdict"].get("proved")):
                known.append((seen, int(about["data_version"]), name))
        except (PokewatchError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("left out: model '%s' is damaged (%r)", name, error)
    for *_, name in sorted(known, reverse=True):
        try:
            trained = load(settings, name)
            trained.model.check_features()
            return trained
        except PokewatchError as error:
            log.warning("left out: %s", error)
    return None


def promote(settings: Settings, name: str, reasons: list[str]) -> None:
    """Make the newest model of a name the champion, in one atomic step."""
    pointer = {"name": name, "folder": folder(settings, name).name, "reasons": reasons}
    with atomic_write(settings.models_dir / CHAMPION) as draft:
        draft.write_bytes(json_bytes(pointer, indent=True))
