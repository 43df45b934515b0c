"""The model card: its figures are written from stored back-tests, never by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pokewatch.errors import UsageError
from pokewatch.evaluation import metrics
from pokewatch.evaluation.backtest import PRICE_BANDS, Backtest, breakdown
from pokewatch.evaluation.registry import code_version
from pokewatch.files import atomic_write, json_values
from pokewatch.formatting import DASH, is_known, number, percent
from pokewatch.models.panel import Panel
from pokewatch.schema import MODEL, SIMULATED
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
            "tenths": {
                str(horizon): metrics.tenths(rows).tolist()
                for horizon, rows in own.groupby("horizon")
            },
            "chances": [
                {"horizon": horizon, "side": side, **row}
                for horizon, rows in own.groupby("horizon")
                for side in metrics.CHANCE
                for row in metrics.reliability(rows, side, settings.good_move).to_dict("records")
            ],
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
    """Replace the figures of a model card by those of stored back-tests, one section a file.

    Raises UsageError for a card without a place for figures and for a file that is no back-test.
    """
    text = (
        card.read_text(encoding="utf-8") if card.exists() else f"# Model card\n\n{START}\n{END}\n"
    )
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise UsageError(f"'{card}' needs one line '{START}' and, after it, one line '{END}'")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    written = f"{before}{START}\n{figures(backtests)}{END}{after}"
    with atomic_write(card) as draft:
        draft.write_text(written, encoding="utf-8")


def figures(backtests: Sequence[Path]) -> str:
    """Return the card's figures in Markdown."""
    return "\n".join(_section(path.stem.replace("_", " "), read(path)) for path in backtests)


def _section(title: str, stored: dict[str, Any]) -> str:
    simulated = " (simulated)" if SIMULATED in stored.get("sources", []) else ""
    about = (
        f"### {title}{simulated}\n\n{stored['cards']:,} cards, prices of {stored['first_date']} to "
        f"{stored['last_date']}"
    )
    rows = [row for row in stored["scores"] if row["model"] == MODEL]
    if not rows:
        return f"{about}. The history is too short to score anything.\n"
    baseline = {row["horizon"]: row for row in stored["scores"] if row["model"] == "baseline"}
    accuracy = [
        {
            "days ahead": row["horizon"],
            "forecasts": number(row["n"]),
            "MdAPE": percent(row["mdape"]),
            "rMAE": number(row["rmae"], 3),
            "95 % interval": _between(row["rmae_low"], row["rmae_high"]),
            "rolling mean's rMAE": number(baseline[row["horizon"]]["rmae"], 3),
            "rank IC": number(row["rank_ic"], 2),
            "coverage of 80 %": percent(row["coverage"]),
            "": _verdict(row["rmae_low"], row["rmae_high"]),
        }
        for row in rows
    ]
    calls = [
        {
            "days ahead": row["horizon"],
            "call": side.upper(),
            "calls": number(row[f"{side}_calls"]),
            "right": percent(row[f"{side}_precision"], 0),
            "of all cards": percent(row[f"{side}_base_rate"]),
            "lift": number(row[f"{side}_lift"], 1),
            "found of all such moves": percent(row[f"{side}_recall"], 0),
            "acting at once saved (95 %)": _timing(row, side),
            "bought and sold, after fees": percent(row["return_after_fees"]) * (side == "buy"),
            "calls that changed since the scored day before": percent(row["flip_rate"]),
        }
        for row in rows
        for side in ("buy", "sell")
    ]
    return "\n".join(
        [
            f"{about}; scored are the forecasts made from {stored['scored_from']} to "
            f"{stored['scored_to']}, each by a model that had not seen the days after.\n",
            _table(accuracy),
            f"A BUY or SELL is right if the price is {percent(stored['good_move'], 0)} higher or "
            f"lower at the end of the horizon; selling costs {percent(stored['fee'], 0)}. Acting "
            "at once saved what the price moved on in the call's direction by the end of the "
            "horizon, less what all cards did in the same days, before fees.\n",
            _table(calls),
            *_distribution(rows, stored),
            *_groups(stored["by"]),
        ]
    )


def _distribution(rows: list[dict[str, Any]], stored: dict[str, Any]) -> list[str]:
    """Return how good the whole distribution was, and how often came what had a chance."""
    naive = {row["horizon"]: row.get("crps") for row in stored["scores"] if row["model"] == "naive"}
    scored = [
        {
            "days ahead": row["horizon"],
            "CRPS": percent(row["crps"], 2),
            "of no change": percent(naive[row["horizon"]], 2),
            "% of prices in each tenth": " ".join(
                number(100 * share) for share in stored["tenths"][str(row["horizon"])]
            ),
            "Brier skill, rise": number(row["rise_brier_skill"], 2),
            "fall": number(row["fall_brier_skill"], 2),
        }
        for row in rows
        if is_known(row.get("crps"))
    ]
    if not scored:
        return []
    out = [
        "Nine quantiles of each forecast's distribution, its interval among them: CRPS is their "
        "error as a share of the price (twice the mean pinball loss), and each tenth of the "
        "distribution should hold a tenth of the later prices (a price that many quantiles equal "
        "is spread over their tenths).\n",
        _table(scored),
    ]
    move = percent(stored["good_move"], 0)
    chances = [
        {
            "move": f"{metrics.CHANCE[row['side']]} of {move} or more",
            "forecasts": number(row["n"]),
            "chance said": percent(row["said"]),
            "came": percent(row["came"]),
        }
        for row in stored["chances"]
        if row["horizon"] == GROUP_HORIZON and row["n"] >= FEWEST
    ]
    if chances:
        out += [f"Chances said and what came, {GROUP_HORIZON} days ahead:\n", _table(chances)]
    return out


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
                "forecasts": number(row["n"]),
                "rMAE": number(row["rmae"], 3),
                "coverage of 80 %": percent(row["coverage"]),
            }
            for row in judged
        ]
        worse = [row["group"] for row in judged if row["rmae"] is None or row["rmae"] >= 1]
        found = f"no better than no change in: {', '.join(worse)}" if worse else "better everywhere"
        out += [f"By {name}, {GROUP_HORIZON} days ahead ({found}):\n", _table(table)]
    return out


def _timing(row: dict[str, Any], side: str) -> str:
    gain, low, high = (row.get(f"{side}_{name}") for name in metrics.TIMING)
    between = f" ({percent(low, sign=True)} to {percent(high, sign=True)})" if is_known(low) else ""
    return percent(gain, sign=True) + between


def _between(low: float | None, high: float | None) -> str:
    known = is_known(low) and is_known(high)
    return f"{number(low, 3)} to {number(high, 3)}" if known else DASH


def _verdict(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "too few days to tell"
    if high < 1:
        return "better than no change"
    return "worse than no change" if low > 1 else "not proved better"


def _table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a Markdown table, with the minus sign that is on every keyboard."""
    lines = [[*rows[0]], *([f"{value}" for value in row.values()] for row in rows)]
    text = ["| " + " | ".join(line).replace("−", "-") + " |\n" for line in lines]
    return "".join([text[0], "|---" * len(rows[0]) + "|\n", *text[1:]])
