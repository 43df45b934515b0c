"""The files that install, configure and run the project agree with each other."""

import ast
import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pokewatch.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
# Put together here, so that this file does not name them itself.
INDEX_HOSTS = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pypi", "python", "org"),
        ("pythonhosted", "org"),
        ("anaconda", "org"),
        ("anaconda", "com"),
        ("npmjs", "org"),
        ("debian", "org"),
        ("crates", "io"),
    ]
]


def all_requirements() -> list[str]:
    groups = [PYPROJECT["project"]["dependencies"], *EXTRAS.values()]
    return [line for group in [*groups, PYPROJECT["dependency-groups"]["dev"]] for line in group]


def locked() -> dict[str, list[Requirement]]:
    """Return the lock's lines by package; a universal lock may hold several of one package."""
    pins: dict[str, list[Requirement]] = {}
    for line in (PROJECT / "requirements.lock").read_text("utf-8").splitlines():
        pin = Requirement(line)
        pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


def run(*command: str) -> str:
    """Run a command in the project, apart from a make that may be running these tests."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    if command[0] == "git" and done.returncode:
        pytest.skip(f"git cannot list the files: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


@pytest.mark.parametrize("line", all_requirements())
def test_lock_satisfies_each_requirement(line: str) -> None:
    wanted = Requirement(line)
    pins = locked().get(canonicalize_name(wanted.name))
    assert pins, f"{wanted.name} is not in requirements.lock; mend it with 'make lock'"
    for pin in pins:
        (exact,) = pin.specifier
        assert exact.operator == "=="
        assert exact.version in wanted.specifier, f"the lock has {pin}; mend it with 'make lock'"


def test_lock_names_no_index() -> None:
    lines = (PROJECT / "requirements.lock").read_text("utf-8").splitlines()
    assert lines
    assert [line for line in lines if "://" in line or line.startswith(("-", "#"))] == []


def test_conda_environment_is_the_locked_one() -> None:
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text("utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    conda = [Requirement(entry) for entry in environment["dependencies"] if isinstance(entry, str)]
    assert environment["name"] == PYPROJECT["project"]["name"]
    assert [package.name for package in conda] == ["python", "pip"]
    assert conda[0].specifier == SpecifierSet(PYPROJECT["project"]["requires-python"])
    assert pip == ["-r requirements.lock", f"-e .[{','.join(sorted(EXTRAS))}]"]


def test_help_is_the_default_and_lists_every_target() -> None:
    need("make")
    text = (PROJECT / "Makefile").read_text("utf-8")
    phony = {name for line in re.findall(r"^\.PHONY:(.*)$", text, re.M) for name in line.split()}
    listed = re.findall(r"^make (\S+) +\S.*$", run("make", "help"), re.M)
    assert sorted(listed) == sorted(phony)
    assert run("make") == run("make", "help")


def test_no_tracked_file_names_an_index_host() -> None:
    need("git")
    pattern = re.compile("|".join(rf"\b{re.escape(host)}\b" for host in INDEX_HOSTS).encode())
    assert pattern.search(f"https://{INDEX_HOSTS[0]}/simple".encode())
    files = [PROJECT / name for name in run("git", "ls-files", "-z").split("\0") if name]
    assert files
    assert [
        str(file) for file in files if file.is_file() and pattern.search(file.read_bytes())
    ] == []


def test_env_example_names_every_setting_with_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in [key for key in os.environ if key.upper().startswith("POKEWATCH_")]:
        monkeypatch.delenv(key)
    lines = (PROJECT / ".env.example").read_text("utf-8").splitlines()
    examples = [line.removeprefix("# ") for line in lines if line.startswith("# POKEWATCH_")]
    names = [line.partition("=")[0].removeprefix("POKEWATCH_").lower() for line in examples]
    assert sorted(names) == sorted(Settings.model_fields)
    uncommented = tmp_path / ".env"
    uncommented.write_text("\n".join(examples), "utf-8")
    assert Settings(_env_file=uncommented) == Settings(_env_file=None)


def test_env_example_changes_nothing_when_copied() -> None:
    lines = (PROJECT / ".env.example").read_text("utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []


def imported_packages() -> set[str]:
    """Return the names of all distributions that the code imports."""
    sources = [
        path.read_text("utf-8")
        for folder in ("pokewatch", "pipelines", "scripts")
        for path in (PROJECT / folder).rglob("*.py")
    ]
    modules = set()
    for node in (node for text in sources for node in ast.walk(ast.parse(text))):
        if isinstance(node, ast.Import):
            modules |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module.partition(".")[0])
    of_module = packages_distributions()
    return {canonicalize_name(name) for one in modules for name in of_module.get(one, ())}


def test_every_dependency_is_imported() -> None:
    commands = {"jupyterlab", "ipykernel", "dask"}  # run as programs, or as a kernel
    wanted = [*PYPROJECT["project"]["dependencies"], *EXTRAS["redis"], *EXTRAS["dask"]]
    names = {canonicalize_name(Requirement(line).name) for line in wanted}
    assert names - imported_packages() - commands == set()


def test_the_tests_that_pages_name_are_there():
    for page in [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]:
        for name in re.findall(r"`((?:\w+/)*test_\w+\.py)`", page.read_text(encoding="utf-8")):
            places = [PROJECT / name, PROJECT / "tests" / name]
            assert any(place.exists() for place in places), f"{page.name}: {name}"
