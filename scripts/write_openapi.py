"""Write docs/openapi.json, the service's OpenAPI document; a test holds it to the routes."""

from __future__ import annotations

from pokewatch.files import atomic_write, json_bytes
from pokewatch.service.app import create_app
from pokewatch.settings import PROJECT, load_settings

PATH = PROJECT / "docs" / "openapi.json"


def text() -> bytes:
    """Return the document of a service with default settings."""
    app = create_app(load_settings(home=PROJECT / "data", _env_file=None))
    return json_bytes(app.openapi(), indent=True) + b"\n"


if __name__ == "__main__":
    with atomic_write(PATH) as draft:
        draft.write_bytes(text())
