import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from app.embedded_redis import EmbeddedRedis, find_server
from app.stack import AddressInUse, Stack
from app.supervision import Supervisor
from worker.contract.errors import RedisMissing, StoreUnavailable
from worker.contract.settings import Settings


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def wait_for(condition, pause=None):
    """Wait for what is bound to come; pytest's time limit is the end of patience."""
    import time

    while not condition():
        (pause or time.sleep)(0.01)


def test_embedded_redis_is_private_and_keeps_what_it_was_told(tmp_path):
    server = EmbeddedRedis(tmp_path)
    url = server.start()
    folder = Path(url.removeprefix("unix://")).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with Redis.from_url(url) as redis:
        redis.set("job", "queued")
    server.stop()
    assert not folder.exists()
    url = server.start()
    with Redis.from_url(url) as redis:
        assert redis.get("job") == b"queued"
    server.stop()
    assert not server.running()


def test_without_any_redis_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("app.embedded_redis.find_spec", lambda _: None)
    with pytest.raises(RedisMissing, match="apt-get install redis-server"):
        find_server()


def test_a_redis_that_does_not_start_is_quoted(tmp_path):
    (tmp_path / "appendonly.aof").write_bytes(b"not a log")
    (tmp_path / "appendonlydir").write_text("in the way of newer servers")
    with pytest.raises(RedisMissing, match=r"redis\.log"):
        EmbeddedRedis(tmp_path).start()


def test_embedded_redis_ends_with_whoever_started_it(tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path; from app.embedded_redis import EmbeddedRedis;"
        "server = EmbeddedRedis(Path(sys.argv[1])); server.start(); print(server._process.pid, flush=True);"
        "signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True) as owner:
        pid = int(owner.stdout.readline())
        owner.kill()
    wait_for(lambda: gone(pid))


def test_a_process_that_dies_is_started_again_and_all_are_stopped(tmp_path, request):
    supervisor = Supervisor({"GREETING": "hello"}, tmp_path / "log")
    request.addfinalizer(lambda: supervisor.stop(5))
    # One text: with PYTHONUNBUFFERED each argument of print is written, and read, by itself.
    program = "import os, signal; print(f'{os.environ[\"GREETING\"]} {os.getpid()}', flush=True); signal.pause()"
    supervisor.add("greeter", [sys.executable, "-c", program])

    def greetings():
        supervisor.tend()
        return (tmp_path / "log").read_text().splitlines()

    wait_for(lambda: len(greetings()) == 1)
    os.kill(int(greetings()[0].split()[1]), signal.SIGKILL)
    wait_for(lambda: len(greetings()) == 2)
    assert supervisor.alive("greeter")
    pids = {int(line.split()[1]) for line in greetings()}
    supervisor.stop(5)
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_process_that_will_not_stop_is_killed(tmp_path):
    supervisor = Supervisor({}, tmp_path / "log")
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    supervisor.add("stubborn", [sys.executable, "-c", program])
    wait_for(lambda: (tmp_path / "log").read_text() == "up\n")
    supervisor.stop(0.1)
    assert not supervisor.alive("stubborn")


def test_a_taken_address_is_refused_before_anything_starts(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        stack = Stack(Settings(store=tmp_path / "store"), "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(AddressInUse, match="--port"), stack:
            pytest.fail("it started")
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_used_is_refused_before_anything_starts(tmp_path):
    (tmp_path / "store").write_text("a file")
    with (
        pytest.raises(StoreUnavailable, match="RAGAN_STORE"),
        Stack(Settings(store=tmp_path / "store"), "127.0.0.1", 0),
    ):
        pytest.fail("it started")
