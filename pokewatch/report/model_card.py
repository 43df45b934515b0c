"""The model card: its figures are written from stored back-tests, never by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from pokewatch.errors import UsageError
from pokewatch.evaluation.backtest import PRICE_BANDS, Backtest, breakdown
from pokewatch.evaluation.registry import code_version
from pokewatch.files import json_values
from pokewatch.models.panel import Panel
from pokewatch.schema import MODEL
from pokewatch.settings import Settings

START, END = "<!-- figures: start -->", "<!-- figures: end -->"
KEYS = {"scores", "by", "first_date", "last_date", "cards", "scored_from", "scored_to"}
GROUPS = {"month": "month", "price_band": "price (USD)", "kind": "kind"}
GROUP_HORIZON = 7
FEWEST = 100  # forecasts of a group below which it is not judged


def record(
    tested: Backtest, panel: Panel, settings: Settings, sources: Sequence[str], data_version: int
) -> dict[str, Any]:
    """Return a back-test as JSON values: scores, breakdowns, and what they were computed from."""
    own = tested.forecasts[tested.forecasts["model"] == MODEL]
    dates = own["date"]
    return json_values(
        {
            "data_version": data_version,
            "sources": list(sources),
            "code_version": code_version(),
            "cards": len(panel.card_ids),
            "first_date": f"{panel.dates[0]:%Y-%m-%d}",
            "last_date": f"{panel.dates[-1]:%Y-%m-%d}",
            "scored_from": f"{dates.min():%Y-%m-%d}" if len(own) else None,
            "scored_to": f"{dates.max():%Y-%m-%d}" if len(own) else None,
            "seed": settings.seed,
            "good_move": settings.good_move,
            "fee": settings.fee,
            "scores": tested.scores(settings).to_dict("records"),
            "by": {
                by: breakdown(own, by, panel.cards).to_dict("records")
                for by in (GROUPS if len(own) else ())
            },
            "unscored_horizons": tested.unscored(),
        }
    )


def read(path: Path) -> dict[str, Any]:
    """Return a stored back-test; UsageError where the file is none."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}' cannot be read: {error}") from error
    missing = sorted(KEYS - set(stored)) if isinstance(stored, dict) else sorted(KEYS)
    if missing:
        raise UsageError(
            f"'{path}' is no stored back-test ({', '.join(missing)} missing): write one with "
            f"'pokewatch backtest --json > {path}'"
        )
    return stored


def write(card: Path, backtests: Sequence[Path]) -> None:
    """Replace the figures of a model card by those of stored back-tests, one section a file."""
    text = (
        card.read_text(encoding="utf-8") if card.exists() else f"# Model card\n\n{START}\n{END}\n"
    )
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise UsageError(f"'{card}' needs one line '{START}' and, after it, one line '{END}'")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    draft = card.with_name(f".{card.name}.tmp")
    draft.write_text(f"{before}{START}\n{figures(backtests)}{END}{after}", encoding="utf-8")
    draft.replace(card)


def figures(backtests: Sequence[Path]) -> str:
    """Return the card's figures in Markdown."""
    return "\n".join(_section(path.stem.replace("_", " "), read(path)) for path in backtests)


def _section(title: str, stored: dict[str, Any]) -> str:
    simulated = " (simulated)" if "simulated" in stored.get("sources", []) else ""
    about = (
        f"{stored['cards']:,} cards, prices of {_day(stored['first_date'])} to "
        f"{_day(stored['last_date'])}"
    )
    rows = [row for row in stored["scores"] if row["model"] == MODEL]
    if not rows:
        return f"### {title}{simulated}\n\n{about}. The history is too short to score anything.\n"
    baseline = {row["horizon"]: row for row in stored["scores"] if row["model"] == "baseline"}
    accuracy = [
        {
            "days ahead": row["horizon"],
            "forecasts": f"{row['n']:,}",
            "MdAPE": _percent(row["mdape"], 1),
            "rMAE": _number(row["rmae"], 3),
            "95 % interval": _between(row["rmae_low"], row["rmae_high"]),
            "rolling mean's rMAE": _number(baseline[row["horizon"]]["rmae"], 3),
            "rank IC": _number(row["rank_ic"], 2),
            "coverage of 80 %": _percent(row["coverage"], 1),
            "": _verdict(row),
        }
        for row in rows
    ]
    calls = [
        {
            "days ahead": row["horizon"],
            "call": side,
            "calls": f"{int(row[f'{side.lower()}_calls']):,}",
            "right": _percent(row[f"{side.lower()}_precision"]),
            "of all cards": _percent(row[f"{side.lower()}_base_rate"], 1),
            "lift": _number(row[f"{side.lower()}_lift"], 1),
            "found of all such moves": _percent(row[f"{side.lower()}_recall"]),
            "bought and sold, after fees": _percent(row["return_after_fees"], 1)
            if side == "BUY"
            else "",
            "calls that changed since the scored day before": _percent(row["flip_rate"], 1),
        }
        for row in rows
        for side in ("BUY", "SELL")
    ]
    return "\n".join(
        [
            f"### {title}{simulated}\n",
            f"{about}; scored are the forecasts made from {_day(stored['scored_from'])} to "
            f"{_day(stored['scored_to'])}, each by a model that had not seen the days after.\n",
            _table(accuracy),
            f"A BUY or SELL is right if the price is {_percent(stored['good_move'])} higher or "
            f"lower at the end of the horizon; selling costs {_percent(stored['fee'])}.\n",
            _table(calls),
            *_groups(stored["by"]),
        ]
    )


def _groups(by: dict[str, list[dict[str, Any]]]) -> list[str]:
    out = []
    for key, name in GROUPS.items():
        rows = [row for row in by.get(key, []) if row["horizon"] == GROUP_HORIZON]
        judged = [row for row in rows if row["n"] >= FEWEST]
        if key == "price_band":
            judged.sort(key=lambda row: list(PRICE_BANDS).index(row["group"]))
        if len(judged) < 2:
            continue
        table = [
            {
                name: row["group"],
                "forecasts": f"{row['n']:,}",
                "rMAE": _number(row["rmae"], 3),
                "coverage of 80 %": _percent(row["coverage"], 1),
            }
            for row in judged
        ]
        worse = [row["group"] for row in judged if row["rmae"] is None or row["rmae"] >= 1]
        said = f"no better than no change in: {', '.join(worse)}" if worse else "better everywhere"
        out += [f"By {name}, {GROUP_HORIZON} days ahead ({said}):\n", _table(table)]
    return out


def _verdict(row: dict[str, Any]) -> str:
    low, high = row["rmae_low"], row["rmae_high"]
    if low is None or high is None:
        return "too few days to tell"
    if high < 1:
        return "better than no change"
    return "worse than no change" if low > 1 else "not proved better"


def _table(rows: list[dict[str, Any]]) -> str:
    frame = pd.DataFrame(rows)
    head = "| " + " | ".join(frame.columns) + " |"
    lines = ["| " + " | ".join(str(value) for value in row) + " |" for row in frame.to_numpy()]
    return "\n".join([head, "|---" * len(frame.columns) + "|", *lines]) + "\n"


def _day(text: str) -> str:
    return f"{date.fromisoformat(text):%Y-%m-%d}"


def _known(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}" if _known(value) else "–"


def _percent(value: Any, digits: int = 0) -> str:
    return f"{value * 100:.{digits}f} %" if _known(value) else "–"


def _between(low: Any, high: Any) -> str:
    return f"{low:.3f} to {high:.3f}" if _known(low) and _known(high) else "–"
