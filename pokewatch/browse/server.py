"""The process that serves the notebooks as pages: addresses, password, and what may talk to it."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import socket
import threading
from pathlib import Path
from typing import Any

import panel as pn
from panel import auth
from panel.io.server import get_server
from tornado.websocket import WebSocketClosedError

from pokewatch.browse import current
from pokewatch.browse.layout import FOLDER, PAGES
from pokewatch.errors import PokewatchError, UsageError
from pokewatch.operations.latest import keep_looking
from pokewatch.settings import PROJECT, Settings, is_loopback

log = logging.getLogger(__name__)

NOTEBOOKS = PROJECT / "notebooks"
WRONG_SECONDS = 1.0  # that a wrong password costs, one after the other
MIN_PASSWORD = 8  # characters
UNUSED_MS = 60_000  # that a page without a browser is kept


class Login(auth.BasicLoginHandler):
    """The password's page; wrong ones wait for each other, so that none is found by trying."""

    password = ""
    waiting = asyncio.Lock()

    async def post(self) -> None:
        """Let in who knows the password."""
        given = self.get_argument("password", "", strip=False)
        if hmac.compare_digest(given.encode(), self.password.encode()):
            self.set_current_user("visitor")
            self.redirect(auth._validate_next_url(self.get_cookie("next_url", "/")))
            return
        async with self.waiting:
            await asyncio.sleep(WRONG_SECONDS)
        log.warning("a wrong password from %s", self.request.remote_ip)
        self.redirect("/login?error=1")


class Password(auth.BasicAuthProvider):
    """Asks for one password."""

    @property
    def login_handler(self) -> type[Login]:
        """The page that asks."""
        Login._login_endpoint, Login._login_template = self._login_endpoint, self._login_template
        return Login


def origins(host: str, port: int, others: list[str]) -> list[str]:
    """Return the hosts under which a browser may talk to the pages."""
    names = [host, "localhost", "127.0.0.1"]
    if host in ("0.0.0.0", "::"):  # noqa: S104 (compared with, not bound)
        names = [*names[1:], socket.gethostname()]
    shown = [f"[{name}]" if ":" in name else name for name in names]
    return sorted({f"{name}:{port}" for name in shown} | {*others})


def run(settings: Settings, host: str, port: int) -> None:
    """Serve until interrupted.

    Raises UsageError for an address that others reach while there is no password, and where
    nothing is stored; PokewatchError for a port that is taken and notebooks that are missing.
    """
    password = settings.browse_password.get_secret_value()
    if not password and not is_loopback(host):
        raise UsageError(
            f"--host {host} is open to others and there is no password: set "
            "POKEWATCH_BROWSE_PASSWORD, or serve on 127.0.0.1"
        )
    if password and len(password) < MIN_PASSWORD:
        raise UsageError(
            f"POKEWATCH_BROWSE_PASSWORD has {len(password)} characters: take {MIN_PASSWORD} or more"
        )
    pages = {name: NOTEBOOKS / f"{name}.ipynb" for name in PAGES}
    pages = {name: path for name, path in pages.items() if path.exists()}
    if not pages:
        raise PokewatchError(f"no page in '{NOTEBOOKS}': run from a checkout of the project")
    current.current().prepare()
    try:
        server = make(pages, host, port, password, settings.browse_origins)
    except OSError as error:
        raise PokewatchError(
            f"--host {host} --port {port} cannot be listened on ({error.strerror}): choose another"
        ) from error
    end = threading.Event()
    keep_looking(current.look, end)
    server.io_loop.asyncio_loop.set_exception_handler(_unless_left)
    log.info("pages on http://%s:%d", f"[{host}]" if ":" in host else host, server.port)
    try:
        server.start()
        server.io_loop.start()
    finally:
        end.set()


def _unless_left(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what failed, but not that a visitor left in the middle of an answer."""
    if not isinstance(context.get("exception"), WebSocketClosedError):
        loop.default_exception_handler(context)


def make(
    pages: dict[str, Path],
    host: str,
    port: int,
    password: str = "",
    others: list[str] | None = None,
) -> Any:
    """Return a server of notebooks that has not begun yet; pages: their files by name."""
    pn.extension("tabulator", notifications=False)
    pn.config.disconnect_notification = "The server does not answer: load the page again."
    options: dict[str, Any] = {}
    if password:
        Login.password = password
        options = {
            "auth_provider": Password(login_template=str(FOLDER / "login.html")),
            "cookie_secret": secrets.token_hex(32),
        }
    return get_server(
        {f"/{name}": str(path) for name, path in pages.items()},
        port=port,
        address=host,
        websocket_origin=origins(host, port, others or []),
        index=None,
        redirect_root=True,
        warm=True,  # the first visitor waits no longer than the second
        unused_session_lifetime_milliseconds=UNUSED_MS,
        **options,
    )
