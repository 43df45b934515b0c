"""The documentation is complete, works offline, and its examples run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pokewatch.service.guard import OPEN
from pokewatch.settings import PROJECT

GUIDE = (PROJECT / "docs" / "service.md").read_text("utf-8")


@pytest.fixture(scope="module")
def address(service, running) -> Iterator[str]:
    """Where the shared service answers real requests."""
    with running(service.client.app) as port:
        yield f"http://127.0.0.1:{port}"


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, re.S)


def run(service, address, *command: str) -> str:
    variables = {"POKEWATCH_URL": address, "POKEWATCH_KEY": service.keys["read"]}
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example_runs(service, address):
    (code,) = examples("python")
    lines = run(service, address, sys.executable, "-c", code).splitlines()
    assert re.match(r"3:Normal \(\d+\.\d+, '(BUY|HOLD|SELL)'\)", lines[0])
    assert lines[1] == "nobody unknown card"


def test_the_curl_examples_run(service, address):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (code,) = [one for one in examples("sh") if "curl" in one]
    out = run(service, address, "sh", "-ec", code)
    assert '"next":' in out
    assert "\ncard_id,date,horizon" in out.replace("}card_id", "}\ncard_id")
    assert '"fair_price":' in out


def test_the_guide_names_every_route(service):
    paths = service.get("/openapi.json", scope="").json()["paths"]
    named = GUIDE.replace("{id}", "{card}")
    assert [path for path in paths if f"{path}" not in named] == []


def test_the_openapi_document_is_the_committed_one():
    path = PROJECT / "scripts" / "write_openapi.py"
    spec = importlib.util.spec_from_file_location("write_openapi", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PATH.read_bytes() == script.text(), "run: python scripts/write_openapi.py"


def test_every_route_but_the_open_ones_needs_a_key(service):
    document = service.get("/openapi.json", scope="").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert ("security" in operation) == (path not in OPEN)
            if path not in OPEN:
                url = path.replace("{card}", "3:Normal")
                assert service._ask(method.upper(), url, "").status_code == 401
                assert {"401", "429"} <= set(operation["responses"])


def test_the_page_loads_and_runs_nothing(service):
    page = service.get("/docs", scope="")
    assert page.status_code == 200
    assert "<script" not in page.text
    assert re.findall(r"(?:src|href)=\"?(\S+?)[\">]", page.text) == ["openapi.json"]
    assert "https://" not in page.text
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    for path in service.get("/openapi.json", scope="").json()["paths"]:
        assert f"<code>{path}</code>" in page.text
