"""The container files, checked without a daemon: by their linters, by facts, and by running what they would run."""

import http.server
import importlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from redis import Redis
from rq import Queue, SimpleWorker
from ruamel.yaml import YAML

from app.embedded_redis import EmbeddedRedis
from documents import CONTAINERS
from worker.contract.queues import QueueName
from worker.contract.settings import Settings

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
RESET = "!reset"
IMAGES = ("api", "ragan", "worker", "worker-gpu")
WORKERS = tuple(map(str, QueueName))
FOREIGN_VARIABLES = re.compile(r"PATH|PIP_[A-Z_]+|PYTHON[A-Z]+|UV_[A-Z_]+")
"""What is set for other programs than RaGAN."""


@dataclass(frozen=True)
class Stage:
    """One `FROM … AS name` of the Dockerfile; `base` is what it starts from."""

    name: str
    base: str
    steps: list[tuple[str, str]]


def read_dockerfile() -> dict[str, Stage]:
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text()).replace("\\\n", " ")
    stages: dict[str, Stage] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name] = Stage(name, base, [])
        elif stages:
            list(stages.values())[-1].steps.append((instruction, rest.strip()))
    return stages


STAGES = read_dockerfile()


def lineage(name: str) -> Iterator[tuple[str, str]]:
    """Every step that an image is made by, its bases' first."""
    stage = STAGES[name]
    if stage.base in STAGES:
        yield from lineage(stage.base)
    yield from stage.steps


def last(name: str, instruction: str) -> str:
    """The argument that counts: the last one."""
    return [rest for step, rest in lineage(name) if step == instruction][-1]


def read_compose(name: str) -> Any:
    yaml = YAML(typ="safe")
    yaml.constructor.add_constructor(RESET, lambda *_: RESET)
    return yaml.load(ROOT / name)


COMPOSE = read_compose("docker-compose.yml")
SERVICES: dict[str, Any] = COMPOSE["services"]
CPU_SERVICES: dict[str, Any] = read_compose("docker-compose.cpu.yml")["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# Linters.


def test_the_dockerfile_passes_its_linter() -> None:
    command = [str(BIN / "hadolint"), "--no-color", "Dockerfile"]
    linted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.cpu.yml"])
def test_a_compose_file_follows_the_specification(name: str, tmp_path: Path) -> None:
    # `!reset` is an instruction to the merge, which the schema's checker cannot read: what it resets to is checked.
    plain = tmp_path / name
    plain.write_text((ROOT / name).read_text().replace(f"{RESET} ", ""))
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(plain)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


# The Dockerfile.


def test_the_file_makes_the_four_images_and_the_default_is_all_in_one() -> None:
    used = {stage.base for stage in STAGES.values()}
    for stage in STAGES.values():
        used.update(re.findall(r"(?:--from|,from)=([\w-]+)", " ".join(rest for _, rest in stage.steps)))
    assert set(STAGES) - used == set(IMAGES)
    assert list(STAGES)[-1] == "ragan"


def test_the_base_image_is_pinned_to_a_patch_of_a_supported_python() -> None:
    image = re.search(r"(?m)^ARG PYTHON_IMAGE=python:(\d+)\.(\d+)\.\d+-slim-\w+$", (ROOT / "Dockerfile").read_text())
    assert image
    low, high = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert (image[1], int(image[2]) in range(int(low), int(high))) == ("3", True)
    assert {stage.base for stage in STAGES.values()} <= {"${PYTHON_IMAGE}", *STAGES}


def test_uv_is_the_one_of_the_makefile() -> None:
    makefile = re.search(r"(?m)^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text())
    assert makefile
    assert ("ARG", f"UV_VERSION={makefile[1]}") in STAGES["tools"].steps


@pytest.mark.parametrize(
    ("image", "extras"),
    [
        ("api", {"api"}),
        ("worker", {"worker"}),
        ("worker-gpu", {"gpu"}),
        ("ragan", {"api", "gpu", "local"}),
    ],
)
def test_an_image_has_the_locked_packages_of_its_extras(image: str, extras: set[str]) -> None:
    (sync,) = (rest for _, rest in STAGES[f"{image}-environment"].steps if "uv sync" in rest)
    assert set(re.findall(r"--extra (\S+)", sync)) == extras <= set(PROJECT["optional-dependencies"])
    assert {"--frozen", "--no-dev", "--no-install-project"} <= set(sync.split())
    copies = [rest for step, rest in lineage(image) if step == "COPY"]
    assert copies == [f"--from={image}-environment --chown=ragan:ragan /opt/ragan /opt/ragan"]


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_somebody_who_may_write_the_store_and_hears_a_stop(image: str) -> None:
    user, _, group = last(image, "USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    made = " ".join(rest for step, rest in lineage(image) if step == "RUN")
    assert f"--uid {user} " in made
    assert re.search(r"install --directory --owner ragan --group ragan [^&]*/data\b", made)
    assert last(image, "STOPSIGNAL") == "SIGTERM"
    assert json.loads(last(image, "ENTRYPOINT")) == ["tini", "--", "ragan"]  # exec form: no shell swallows signals


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_starts_with_a_command_that_ragan_knows(image: str) -> None:
    assert_ragan_takes(json.loads(last(image, "CMD")))


def assert_ragan_takes(arguments: list[str]) -> None:
    group: click.Group = importlib.import_module("app.cli").main
    verb, *options = arguments
    group.commands[verb].make_context(verb, options)  # raises on a wrong option or value


@pytest.mark.parametrize("image", ["api", "ragan"])
def test_an_image_with_a_front_end_listens_where_it_says(image: str) -> None:
    command = json.loads(last(image, "CMD"))
    assert command[1:] == ["--host", "0.0.0.0", "--port", last(image, "EXPOSE")]  # noqa: S104 - inside a container


def test_every_variable_is_one_that_somebody_reads() -> None:
    ours = {f"RAGAN_{name}".upper() for name in Settings.model_fields} | {"REDIS_URL"}
    assignments = " ".join(rest for stage in STAGES.values() for step, rest in stage.steps if step == "ENV")
    in_images = set(re.findall(r"([A-Z_]+)=", assignments))
    in_services = {name for service in SERVICES.values() for name in service.get("environment", {})}
    assert {"RAGAN_SOURCES", "RAGAN_STORE"} <= in_images
    unknown = {name for name in in_images | in_services if name not in ours and not FOREIGN_VARIABLES.fullmatch(name)}
    assert not unknown


def test_only_what_the_images_need_is_sent_to_the_build() -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert patterns[0] == "*"
    copied = {
        source
        for stage in STAGES.values()
        for step, rest in stage.steps
        if step == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert {pattern.strip("!/") for pattern in patterns if pattern.startswith("!")} == copied


# Compose.


def test_redis_is_durable_pinned_and_out_of_reach() -> None:
    redis = SERVICES["redis"]
    assert re.fullmatch(r"redis:7\.\d+\.\d+-alpine", redis["image"])
    assert redis["command"][-1].endswith("--appendonly yes\n")
    assert redis["volumes"] == ["redis:/data", "password:/run/ragan"]
    assert "environment" not in redis
    assert "ports" not in redis
    assert redis["networks"] == ["backend"]
    assert COMPOSE["networks"]["backend"] == {"internal": True}


def test_only_the_front_end_is_published_and_only_to_this_host() -> None:
    assert {name for name, service in SERVICES.items() if service.get("ports")} == {"api"}
    assert SERVICES["api"]["ports"] == ["${RAGAN_BIND:-127.0.0.1:8000}:8000"]
    assert SERVICES["api"]["networks"] == ["frontend", "backend"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - a mount of its own
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["user"] == ("redis" if name == "redis" else last("api", "USER"))
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)


def test_the_manual_lists_the_limits_of_every_service() -> None:
    (table,) = CONTAINERS.tables("service")
    expected = []
    for name, service in SERVICES.items():
        limits = [
            re.fullmatch(r"\$\{(RAGAN_\w+):-(\w+)\}", service[key]) for key in ("mem_limit", "cpus", "pids_limit")
        ]
        expected.append([f"`{name}`", *(f"`{limit[1]}` {limit[2]}" for limit in limits if limit)])
    assert list(table.rows) == expected


@pytest.mark.parametrize("name", ["api", *WORKERS])
def test_a_part_of_ragan_waits_for_redis_and_shares_the_store(name: str) -> None:
    service = SERVICES[name]
    assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert service["environment"]["REDIS_URL"] == "redis://redis:6379/0"
    assert service["environment"]["RAGAN_REDIS_PASSWORD_FILE"] == "/run/ragan/redis-password"  # noqa: S105 - a path
    sources = ["${RAGAN_SOURCES_DIR:-./sources}:/sources:ro"] if name in {"api", "prepare"} else []
    assert service["volumes"] == ["store:/data", "password:/run/ragan:ro", *sources]
    assert service["build"]["target"] in IMAGES


def test_the_front_end_is_told_of_keys_and_quotas() -> None:
    names = {f"RAGAN_{name}".upper() for name in Settings.model_fields if name.startswith(("keys_", "qu"))}
    assert names <= SERVICES["api"]["environment"].keys()
    assert {"RAGAN_LOG_FORMAT", "RAGAN_LOG_LEVEL"} <= COMPOSE["x-ragan"]["environment"].keys()


def test_every_queue_has_its_worker() -> None:
    assert set(SERVICES) == {"redis", "api", *WORKERS}
    for name in WORKERS:
        assert SERVICES[name]["command"] == ["worker", "--queue", name]
        assert_ragan_takes(SERVICES[name]["command"])
        assert SERVICES[name]["networks"] == ["backend"]
        assert SERVICES[name]["stop_grace_period"] == "60s"


def test_what_computes_with_networks_reserves_the_gpus_unless_the_override_says_otherwise() -> None:
    gpus = {"resources": {"reservations": {"devices": [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]}}}
    with_gpu = {name for name, service in SERVICES.items() if service.get("deploy") == gpus}
    assert with_gpu == {"train", "generate", "evaluate"}
    assert {name for name, service in CPU_SERVICES.items() if service.get("deploy") == RESET} == with_gpu
    assert set(CPU_SERVICES) == set(WORKERS)
    assert all(service["build"] == {"target": "worker"} for service in CPU_SERVICES.values())


def test_the_manual_knows_every_variable_and_target() -> None:
    manual = CONTAINERS.text
    variables = {
        name
        for file in ("docker-compose.yml", "docker-compose.cpu.yml")
        for name in re.findall(r"\$\{(\w+)", (ROOT / file).read_text())
    }
    assert {name for name in variables if f"`{name}`" not in manual} == set()
    assert set(re.findall(r"--target ([\w-]+)", manual)) == set(IMAGES) - {"ragan"}


# Health: the images' own commands, against the real thing.


def health_command(image: str) -> list[str]:
    options, _, command = last(image, "HEALTHCHECK").partition(" CMD ")
    assert {"--interval", "--timeout", "--start-period"} == set(re.findall(r"--[\w-]+", options))
    python, *arguments = json.loads(command)
    assert python == "python"
    return [sys.executable, *arguments]


@pytest.fixture
def answering() -> Iterator[tuple[int, dict[str, int]]]:
    """A server on a port of its own, and the status it gives for each path."""
    statuses: dict[str, int] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.get(self.path, 404))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the test's own output matters."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, statuses
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("image", "path"), [("api", "/healthz"), ("ragan", "/readyz")])
def test_a_front_end_is_healthy_while_it_says_so(image: str, path: str, answering: tuple[int, dict[str, int]]) -> None:
    port, statuses = answering
    command = [part.replace("8000", str(port)) for part in health_command(image)]
    # A proxy, as Docker hands it to every container that is so configured, must not be asked.
    environment = os.environ | {"http_proxy": "http://127.0.0.1:9"}
    statuses[path] = 200
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    statuses[path] = 503
    assert subprocess.run(command, env=environment, check=False).returncode != 0


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    server = EmbeddedRedis(tmp_path / "redis")
    yield server.start()
    server.stop()


@pytest.mark.parametrize("image", ["worker", "worker-gpu"])
def test_a_worker_is_healthy_while_its_lease_lasts(image: str, redis_url: str, tmp_path: Path) -> None:
    (password_file := tmp_path / "password").write_text("p@ss/w:rd\n")

    def healthy() -> bool:
        environment = os.environ | {"REDIS_URL": redis_url, "RAGAN_REDIS_PASSWORD_FILE": str(password_file)}
        return subprocess.run(health_command(image), env=environment, check=False).returncode == 0

    with Redis.from_url(redis_url, password="p@ss/w:rd") as redis:  # noqa: S106 - of this test's server
        with Redis.from_url(redis_url) as administrator:
            administrator.config_set("requirepass", "p@ss/w:rd")
        assert not healthy()
        worker = SimpleWorker([Queue("train", connection=redis)], connection=redis)
        worker.register_birth()  # type: ignore[no-untyped-call] # RQ's own
        assert worker.hostname == socket.gethostname()
        assert healthy()
        redis.delete(worker.key)  # as when it expires: nobody renews it
        assert not healthy()


# CI.


@pytest.mark.parametrize("pip", [0, 1], ids=["pip is there", "no pip"])
def test_ci_installs_system_packages_calls_make_test_and_does_no_more(pip: int, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    for program, status in {"apt-get": 0, "make": 0, "python3": pip}.items():
        stand_in = tmp_path / program  # neither system nor suite is to be changed or run from here
        stand_in.write_text(f'#!/bin/sh\necho "{program} $*" >> {calls}\nexit {status}\n')
        stand_in.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([ROOT / ".ci" / "run"], env=environment, check=True)
    packages = "ca-certificates curl git make redis-server" + pip * " python3 python3-pip"
    assert calls.read_text().splitlines() == [
        "python3 -m pip --version",
        "apt-get update --quiet",
        f"apt-get install --quiet --yes --no-install-recommends {packages}",
        "make test",
    ]
