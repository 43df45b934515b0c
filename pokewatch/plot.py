"""Charts for notebooks: a frame in (or what the store holds), matplotlib Axes out."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from pokewatch import api
from pokewatch.analysis.benchmark import exponents
from pokewatch.analysis.market import Card
from pokewatch.analysis.permutation_importance import permutation_importance
from pokewatch.charts import market as _market
from pokewatch.charts import scores as _scores
from pokewatch.charts.style import new_axes, nothing, screen, shorter
from pokewatch.sources import ecb

TOO_YOUNG = "nothing to draw yet: the history is too short"

__all__ = [
    "by_month",
    "calibration",
    "cost",
    "drawdown",
    "groups",
    "importance",
    "market",
    "methods",
    "momentum",
    "movers",
    "moves",
    "observed",
    "price",
    "seasons",
    "skill",
]


def _chart(
    draw: Callable[..., Axes], fetch: Callable[..., Any] | None = None
) -> Callable[..., Axes]:
    """Return a chart in the notebooks' style with the name, signature and docstring of ``draw``.

    fetch: gets the frame where none is given; its parameters come after the frame.
    """
    made = signature(draw)
    first, *others = made.parameters.values()
    asked = signature(fetch).parameters if fetch else {}
    if fetch:
        first = first.replace(default=None, annotation=f"{first.annotation} | None")
    public = made.replace(parameters=[first, *asked.values(), *others])

    @wraps(draw)
    def plot(*args: Any, **kwargs: Any) -> Axes:
        given = public.bind(*args, **kwargs).arguments
        frame = given.pop(first.name, None)
        question = {name: given.pop(name) for name in asked if name in given}
        if fetch and frame is None:
            frame = fetch(**question)
        with screen():
            if frame.notna().to_numpy().any():
                return draw(frame, **given)
            return nothing(new_axes(given.get("ax"), "", frame, 1.0), TOO_YOUNG)

    vars(plot)["__signature__"] = public
    return plot


market = _chart(_market.market, lambda: api.market().index())
movers = _chart(_market.movers, lambda days=7, top=8: api.market().movers(days, top))
moves = _chart(_market.moves, lambda days=7: api.market().returns(days))
momentum = _chart(_market.momentum, api.momentum)
seasons = _chart(_market.seasons, lambda by="month": api.seasons(by=by))
groups = _chart(_market.groups, lambda by="set_name", days=30: api.market().by(by, days))
observed = _chart(_market.observed, lambda: api.market().observed())
calibration = _chart(_scores.calibration, lambda: api.backtest())
by_month = _chart(_scores.by_month, lambda: api.backtest())
drawdown = _chart(_scores.drawdown, lambda: api.equity_curve())
importance = _chart(_scores.importance, lambda: permutation_importance())
methods = _chart(_scores.methods)


def price(
    card: Card | str, days: int = 180, fair_value: bool = True, ax: Axes | None = None
) -> Axes:
    """Draw a card's prices of the last ``days`` days, and its fair values with 80 % intervals.

    >>> import pokewatch as pw
    >>> pw.plot.price(pw.market().card()).get_lines() != []
    True
    """
    card = api.market().card(card) if isinstance(card, str) else card
    about = [card.title, card.info["set_name"], card.info["printing"]]
    title = shorter(", ".join(str(part) for part in about if part), 70)
    with screen():
        forecast = card.fair_value() if fair_value else None
        return _market.price(
            card.prices.tail(days), forecast, title, ax, ecb.display(card.market.settings)
        )


def skill(scores: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
    """Draw the error saved against "no change" by horizon, with 95 % intervals.

    scores: as ``pw.score`` returns them, or forecasts. The baseline stands beside the model.

    >>> import pokewatch as pw
    >>> pw.plot.skill(pw.score()).get_title(loc="left")
    'Skill: error saved against “no change”'
    """
    if scores is None or (len(scores) and "rmae" not in scores):
        scores = api.score(scores)
    with screen():
        return _scores.skill(scores, ax)


def cost(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw seconds against number of cards, both on log scales; table: as ``benchmark.cost``.

    With three sizes or more each part says with which power of the cards it grows.

    >>> import pandas as pd
    >>> import pokewatch as pw
    >>> table = pd.DataFrame({"cards": [10, 100], "build": [0.1, 0.2], "fit": [1.0, 2.0]})
    >>> pw.plot.cost(table).get_xscale()
    'log'
    """
    with screen():
        return _scores.cost(table, exponents(table) if len(table) > 2 else {}, ax)
