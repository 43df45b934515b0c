"""The container image, the compose file and the workflows: valid, and closed by default."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
COMPOSE_TEXT = (PROJECT / "docker-compose.yml").read_text("utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES = COMPOSE["services"]
DOCKERFILE = (PROJECT / "Dockerfile").read_text("utf-8")
SECRET = re.compile(r"password|token|secret|key", re.I)


def valid(*command: str) -> None:
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def instructions(name: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.split(None, 1)[1] for line in joined.splitlines() if line.startswith(f"{name} ")]


def text(command: list[str] | str) -> str:
    return command if isinstance(command, str) else " ".join(command)


# -- docker-compose.yml --------------------------------------------------------------


def test_compose_is_valid() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    valid(*check, "docker-compose.yml")


def test_compose_profiles() -> None:
    profiles = {name: service.get("profiles", []) for name, service in SERVICES.items()}
    production = {name: ["production"] for name in ("api", "redis")}
    own = {name: [name] for name in ("mlflow", "browse")}
    assert profiles == {"pipeline": [], "lab": [], **own, **production}


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_on_this_machine_only(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert bool(ports) == (name != "pipeline")
    for port in ports:
        ours = r"\$\{POKEWATCH_\w+_PORT:-\d+\}"
        assert re.fullmatch(rf"127\.0\.0\.1:{ours}:(\d+|{ours})", port)
    assert "network_mode" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_services_cannot_gain_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cap_drop"] == ["ALL"]
    assert not service.get("privileged")
    assert service.get("user") != "root"


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert tag not in ("", "latest")
    assert image == ("redis" if name == "redis" else "pokewatch")


def test_compose_needs_no_variable_and_holds_no_secret() -> None:
    # A variable that must be set would stop every service, whichever profile is chosen.
    for name, rest in re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", re.sub(r"#.*", "", COMPOSE_TEXT)):
        assert rest.startswith(":-"), name
        if SECRET.search(name):
            assert rest == ":-", name
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if SECRET.search(key):
                assert value == f"${{{key}:-}}"


def test_env_example_names_what_compose_asks_for() -> None:
    example = (PROJECT / ".env.example").read_text("utf-8")
    asked = set(re.findall(r"(?<!\$)\$\{(\w+):-([^}]*)\}", COMPOSE_TEXT))
    assert ("JUPYTER_TOKEN", "") in asked
    for name, default in asked:
        assert f"\n#{name}={default}\n" in example


@pytest.mark.parametrize("name", ["pipeline", "lab", "mlflow", "api", "browse"])
def test_own_services_keep_their_data_in_the_volume(name: str) -> None:
    assert "data:/data" in SERVICES[name]["volumes"]
    assert SERVICES[name]["environment"]["POKEWATCH_HOME"] == "/data"
    assert "data" in COMPOSE["volumes"]
    for volume in SERVICES[name]["volumes"]:
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or (PROJECT / source).exists()


def test_the_pipeline_runs_once() -> None:
    assert SERVICES["pipeline"]["command"] == ["python", "pipelines/ml_pipeline.py"]
    assert "restart" not in SERVICES["pipeline"]


def test_the_lab_has_a_token() -> None:
    lab = SERVICES["lab"]
    assert lab["environment"]["JUPYTER_TOKEN"] == "${JUPYTER_TOKEN:-}"
    # Given on the command line, an empty token would open the lab to everyone.
    assert "token" not in text(lab["command"]).lower()
    assert "password" not in text(lab["command"]).lower()
    assert lab["healthcheck"]


def test_the_api_is_ready_when_its_market_is() -> None:
    assert "/readyz" in text(SERVICES["api"]["healthcheck"]["test"])
    assert "--host=0.0.0.0" in SERVICES["api"]["command"]  # refused without a key


def test_the_pages_ask_for_a_password() -> None:
    browse = SERVICES["browse"]
    assert "--host=0.0.0.0" in browse["command"]  # refused without a password
    assert "password" not in text(browse["command"]).lower()
    assert "/login" in text(browse["healthcheck"]["test"])
    inner = browse["ports"][0].removeprefix("127.0.0.1:${POKEWATCH_BROWSE_PORT:-5007}:")
    assert f"--port={inner}" in browse["command"]
    assert f":{inner}/login" in text(browse["healthcheck"]["test"])
    assert inner in browse["ports"][0].removesuffix(inner)  # as browsers name it


def test_mlflow_shows_what_the_pipeline_logs() -> None:
    command = text(SERVICES["mlflow"]["command"])
    assert "sqlite:////data/mlflow.db" in command
    assert "file:///data/mlruns" in command


def redis(tmp_path: Path, password: str) -> subprocess.CompletedProcess[str]:
    """Run redis's start command with a redis-server that only shows what it is given."""
    program = tmp_path / "redis-server"
    program.write_text('#!/bin/sh\necho "arguments: $*"\ncat\n')
    program.chmod(0o755)
    command = [part.replace("$$", "$") for part in SERVICES["redis"]["command"]]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "POKEWATCH_REDIS_PASSWORD": password}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_redis_takes_the_password_where_no_process_list_shows_it(tmp_path: Path) -> None:
    done = redis(tmp_path, "correct-horse.1")
    assert done.returncode == 0
    arguments, *settings = done.stdout.splitlines()
    assert arguments == "arguments: -"
    assert settings[0] == "requirepass correct-horse.1"
    assert "appendonly yes" in settings


@pytest.mark.parametrize("password", ["", "two words", "a\nrename-command", '"', "$(id)"])
def test_redis_refuses_a_password_it_would_not_keep(tmp_path: Path, password: str) -> None:
    done = redis(tmp_path, password)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "POKEWATCH_REDIS_PASSWORD" in done.stderr


def test_redis_understands_its_settings(tmp_path: Path) -> None:
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed")
    settings = "\n".join(redis(tmp_path, "good").stdout.splitlines()[1:])
    settings = settings.replace("dir /data", f'dir "{tmp_path}"')
    # It stops at the first bad setting: reaching the last one, the others were good.
    settings += f'\nport 0\nunixsocket "{tmp_path}/redis.sock"\nlogfile "{tmp_path}/no/log"\n'
    done = subprocess.run([server, "-"], input=settings, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "Can't open the log file" in done.stdout + done.stderr


def test_redis_keeps_its_data_and_is_watched() -> None:
    assert "redis:/data" in SERVICES["redis"]["volumes"]
    assert "redis" in COMPOSE["volumes"]
    assert "redis-cli ping" in text(SERVICES["redis"]["healthcheck"]["test"])


# -- Dockerfile ------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say() -> None:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint is not installed")
    valid(str(program), "--no-color", "Dockerfile")


def test_image_is_pinned_and_locked() -> None:
    (base,) = instructions("FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)
    installs = [line for line in instructions("RUN") if "pip install" in line]
    assert all("--no-deps" in line for line in installs)
    assert "-r requirements.lock" in installs[0]
    assert "://" not in re.sub(r"#.*", "", DOCKERFILE)


def test_image_does_not_run_as_root() -> None:
    (user,) = instructions("USER")
    assert user == "${UID}"
    assert instructions("ARG") == ["UID=1000"]
    # Nothing is installed from an index as root.
    assert DOCKERFILE.index("USER ") < DOCKERFILE.index("pip install")


def test_image_is_watched_and_holds_no_secret() -> None:
    assert len(instructions("HEALTHCHECK")) == 1
    assert instructions("VOLUME") == ["/data"]
    assert not [line for line in instructions("ENV") + instructions("ARG") if SECRET.search(line)]


def test_image_leaves_keys_and_data_outside() -> None:
    ignored = (PROJECT / ".dockerignore").read_text("utf-8").splitlines()
    # .* covers .env, .git and .venv
    assert {".*", "data"} <= set(ignored)
    assert [line for line in ignored if line.startswith("!")] == ["!.env.example"]


# -- Workflows -------------------------------------------------------------------------


def jobs(path: Path) -> dict:
    return yaml.safe_load(path.read_text("utf-8"))["jobs"]


def test_there_are_workflows() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "nightly.yml"]


def test_workflows_are_valid() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    valid(*check, "vendor.github-workflows", *map(str, WORKFLOWS))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_pinned_and_may_only_read(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert 0 < job["timeout-minutes"] <= 60
        assert "latest" not in job["runs-on"]
        actions = [step["uses"] for step in job["steps"] if "uses" in step]
        assert actions
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", action) for action in actions)
        (checkout,) = [step for step in job["steps"] if "actions/checkout" in step.get("uses", "")]
        assert checkout["with"]["persist-credentials"] is False
        # An expression within a script would be run as code.
        assert not [step for step in job["steps"] if "${{" in step.get("run", "")]


def test_ci_tests_every_supported_python() -> None:
    (job,) = jobs(PROJECT / ".github" / "workflows" / "ci.yml").values()
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    assert job["env"]["PYTHON"] == "python${{ matrix.python }}"
    assert job["steps"][-1]["run"] == "bash .ci/run"
    assert "make test" in (PROJECT / ".ci" / "run").read_text("utf-8")


def test_nightly_runs_the_tests_and_keeps_the_report() -> None:
    path = PROJECT / ".github" / "workflows" / "nightly.yml"
    assert re.search(r'cron: "\d+ \d+ \* \* \*"', path.read_text("utf-8"))
    (job,) = jobs(path).values()
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert runs[-2:] == ["bash .ci/run", "make run"]
    upload = job["steps"][-1]
    assert upload["with"]["path"] == "data/reports"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_scripts_of_workflows_parse(path: Path) -> None:
    for job in jobs(path).values():
        for step in job["steps"]:
            subprocess.run(["/bin/sh", "-n", "-c", step.get("run", "true")], check=True)
