"""The report's templates, filled in with every string escaped."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jinja2

from pokewatch import formatting
from pokewatch.formatting import DASH, is_known, usd

FOLDER = Path(__file__).parent / "templates"


def read_template(name: str) -> str:
    """Return the text of a file in ``templates``."""
    return (FOLDER / name).read_text(encoding="utf-8")


def render(name: str, **values: Any) -> str:
    """Return a template filled in; strings are escaped, ``Markup`` is not."""
    return _environment().get_template(name).render(**values)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "money": money,
        "percent": partial(share, digits=1, sign=True),
        "share": share,
        "number": formatting.number,
        "days": formatting.days,
        "day": day,
        "order": order,
    }
    environment.tests["known"] = is_known
    return environment


@jinja2.pass_context
def money(context: jinja2.runtime.Context, value: Any, **options: Any) -> str:
    """Return an amount as the template's ``money`` writes it, in dollars where it has none."""
    text: str = (context.get("money") or usd)(value, **options)
    return text


def share(value: Any, digits: int = 0, sign: bool = False) -> str:
    """Return a percentage that no line break divides."""
    return formatting.percent(value, digits, sign=sign).replace(" ", "\u00a0")


def order(value: Any) -> str:
    """Return a figure as tables sort by it; unknown ones come last in a falling order."""
    return "-1e99" if formatting.number(value) == DASH else f"{value:.6g}"


def day(value: Any) -> str:
    """Return a date as 30 June 2026."""
    return f"{value.day} {value:%B %Y}" if is_known(value) else DASH
