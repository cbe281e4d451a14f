import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError
from ruamel.yaml import YAML

from app.embedded_redis import find_server
from machine import eventually
from worker.contract.errors import QueueUnavailable
from worker.contract.queues import connect, redis_address
from worker.contract.settings import Settings

COMPOSED = YAML(typ="safe").load(Path(__file__).parents[3] / "docker-compose.yml")["services"]["redis"]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://redis:6379/0", "redis://:p%40ss%2Fw%3Ard@redis:6379/0"),
        ("redis://redis", "redis://:p%40ss%2Fw%3Ard@redis"),
        (
            "rediss://ada@redis:6379/0?ssl_cert_reqs=none",
            "rediss://ada:p%40ss%2Fw%3Ard@redis:6379/0?ssl_cert_reqs=none",
        ),
        ("redis://ada:old@redis:6379", "redis://ada:p%40ss%2Fw%3Ard@redis:6379"),
        ("redis://[::1]:6379/0", "redis://:p%40ss%2Fw%3Ard@[::1]:6379/0"),
        ("unix:///run/redis.sock?db=1", "unix://:p%40ss%2Fw%3Ard@/run/redis.sock?db=1"),
    ],
)
def test_the_password_in_a_file_becomes_part_of_the_address(url, address, tmp_path):
    (tmp_path / "password").write_text("p@ss/w:rd\n")
    assert redis_address(Settings(REDIS_URL=url, redis_password_file=tmp_path / "password")) == address
    with Redis.from_url(address) as redis:
        assert redis.get_connection_kwargs()["password"] == "p@ss/w:rd"  # noqa: S105 - of this test


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "No such file"), (b" \n", "is empty"), (b"\xff", "not in UTF-8")]
)
def test_a_file_without_a_password_is_refused(content, sentence, tmp_path):
    if content is not None:
        (tmp_path / "password").write_bytes(content)
    settings = Settings(REDIS_URL="redis://redis", redis_password_file=tmp_path / "password")
    with pytest.raises(QueueUnavailable, match=sentence):
        redis_address(settings)


def test_a_password_for_no_server_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="REDIS_URL, which is not set"):
        Settings(REDIS_URL=None, redis_password_file=tmp_path / "password")


# Redis as compose starts it, in a folder instead of a container.


def here(text, folder):
    text = text.replace("$$", "$").replace("/tmp/", f"{folder}/").replace("/run/ragan", str(folder))  # noqa: S108
    text = text.replace("--appendonly yes", f"--appendonly yes --port 0 --unixsocket {folder}/s --dir {folder}")
    return text.replace("redis-cli", f"redis-cli -s {folder}/s")


def answers(settings):
    try:
        with connect(redis_address(settings), patient=False) as redis:
            return redis.ping()
    except (QueueUnavailable, RedisError):  # no password yet, or not listening
        return False


@pytest.fixture
def composed(tmp_path):
    """Starts the server in tmp_path; a context that stops it."""
    (tmp_path / "redis-server").symlink_to(find_server())
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    *shell, script = COMPOSED["command"]
    settings = Settings(REDIS_URL=f"unix://{tmp_path}/s", redis_password_file=tmp_path / "redis-password")
    servers = []

    def start():
        server = subprocess.Popen([*shell, here(script, tmp_path)], env=environment, stdout=subprocess.DEVNULL)
        servers.append(server)
        eventually(lambda: answers(settings))
        return server

    yield start
    for server in servers:
        server.terminate()
        server.wait()


def test_compose_s_redis_makes_a_password_and_asks_everybody_for_it(composed, tmp_path):
    composed()
    with Redis.from_url(f"unix://{tmp_path}/s", retry=None) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    assert re.fullmatch(r"[0-9a-f]{64}", (tmp_path / "redis-password").read_text())
    assert (tmp_path / "redis-password").stat().st_mode & 0o777 == 0o644  # RaGAN runs as another user
    assert (tmp_path / "redis.conf").stat().st_mode & 0o777 == 0o600


def test_compose_s_redis_keeps_its_password_and_data_when_it_alone_is_started_again(composed, tmp_path):
    server = composed()
    password = (tmp_path / "redis-password").read_text()
    with Redis.from_url(f"unix://:{password}@{tmp_path}/s") as redis:
        redis.set("kept", "yes")
        server.terminate()
        assert server.wait() == 0
        composed()
        assert redis.get("kept") == b"yes"


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="needs redis-cli")
def test_compose_s_redis_is_healthy_while_it_answers(composed, tmp_path):
    _, health = COMPOSED["healthcheck"]["test"]
    server = composed()
    assert subprocess.run(["sh", "-c", here(health, tmp_path)], check=False).returncode == 0
    server.terminate()
    server.wait()
    assert subprocess.run(["sh", "-c", here(health, tmp_path)], capture_output=True, check=False).returncode != 0
