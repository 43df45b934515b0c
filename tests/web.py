"""A small price service for tests: what it serves can be changed, every request is noted."""

from __future__ import annotations

import json
import re
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response


class Web:
    """Serves ``pages`` by path, and by query where one of QUERIES is in it.

    A page is a JSON value, a status, bytes, a Response, a function that makes one, or a tuple of
    pages, served one after the other, the last for ever.
    """

    QUERIES = ("q", "tcgPlayerId")

    def __init__(self, server: HTTPServer):
        self.url = server.url_for("").rstrip("/")
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []
        self.requests: list[Request] = []
        server.expect_request(re.compile("/.*")).respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        query = next((request.args[name] for name in self.QUERIES if name in request.args), "")
        address = request.path + (f"?{query}" if query else "")
        self.asked.append(address)
        self.requests.append(request)
        page = self.pages.get(address, 404)
        if isinstance(page, tuple):
            self.pages[address] = page[1:] if len(page) > 2 else page[1]
            page = page[0]
        if callable(page) and not isinstance(page, Response):
            page = page(request)
        if isinstance(page, Response):
            return page
        if isinstance(page, bytes):
            return Response(page)
        if isinstance(page, int):
            return Response("refused", status=page)
        return Response(json.dumps(page), content_type="application/json")
