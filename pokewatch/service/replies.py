"""Answers in the form that a client accepts, with what caches need to know."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from fastapi import Request, Response

from pokewatch.files import json_bytes
from pokewatch.formatting import AMOUNTS, Money
from pokewatch.operations.exports import no_formulas

if TYPE_CHECKING:
    from pokewatch.service.market import Market

JSON, CSV, ARROW = "application/json", "text/csv", "application/vnd.apache.arrow.stream"
MEDIA = [JSON, CSV, ARROW]


class NotModified(Exception):  # noqa: N818 (an answer)
    """The client has the answer already."""

    def __init__(self, headers: dict[str, str]):
        super().__init__()
        self.headers = headers


class Reply:
    """One request's answer: its form, its strong ETag and how long it may be kept.

    Raises NotModified where the client's copy is the answer. also: changes with what is served
    beside the market; rows: they can be CSV and Arrow.
    """

    def __init__(self, request: Request, market: Market, also: str = "", rows: bool = True):
        self.money, self.version = market.money, market.version
        self.media = accepted(request.headers.get("accept", ""), MEDIA if rows else [JSON])
        self.headers = {"Vary": "Accept, X-API-Key"}
        if request.method != "GET":  # the same address answers each body otherwise
            return
        asked = f"{market.tag}{also} {request.url.path} {request.url.query} {self.media}"
        etag = f'"{market.version}-{hashlib.sha256(asked.encode()).hexdigest()[:32]}"'
        moment = datetime.now(tz=UTC)
        night = (moment + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        left = int((night - moment).total_seconds())
        self.headers |= {"ETag": etag, "Cache-Control": f"private, max-age={left}"}
        known = request.headers.get("if-none-match", "").split(",")
        if etag in [one.strip().removeprefix("W/") for one in known]:
            raise NotModified(self.headers)

    def value(self, value: Any) -> Response:
        """Return a value as JSON."""
        return Response(json_bytes(value), headers=self.headers, media_type=JSON)

    def rows(self, frame: pd.DataFrame, links: dict[str, str] | None = None, **about: Any) -> Any:
        """Return a frame's rows; about: what stands beside them in JSON."""
        headers = self.headers | (links or {})
        days = frame.select_dtypes(["datetime"])
        frame = self.money.beside(frame.assign(**{name: days[name].dt.date for name in days}))
        about |= {"data_version": self.version, **self.money.about()}
        if self.media == CSV:
            body = no_formulas(frame).to_csv(index=False).encode()
        elif self.media == ARROW:
            table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
            sink = io.BytesIO()
            with pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
            body = sink.getvalue()
        else:
            body = json_bytes({**about, "count": len(frame), "rows": frame.to_dict("records")})
        return Response(body, headers=headers, media_type=self.media)


def shown_beside(values: dict[str, Any], money: Money) -> dict[str, Any]:
    """Return named values with ``display_*`` beside the amounts, where money converts."""
    if not money.converts:
        return values
    amounts = {name: one for name, one in values.items() if name in AMOUNTS and one is not None}
    shown = {f"display_{name}": round(one * money.rate, 4) for name, one in amounts.items()}
    return values | shown | money.about()


def accepted(header: str, media: list[str]) -> str:
    """Return the form of an answer that an Accept header likes best, the first for any other."""
    best, found = 0.0, media[0]
    for part in header.split(","):
        name, *parameters = (one.strip().lower() for one in part.split(";"))
        weight = 1.0
        for one in parameters:
            if one.startswith("q="):
                try:
                    weight = float(one[2:])
                except ValueError:
                    weight = 0.0
        kind = media[0] if name in ("*/*", "application/*") else name
        if kind in media and weight > best:
            best, found = weight, kind
    return found
