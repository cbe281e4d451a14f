"""A machine whose parts a test can kill: Redis, a front end and workers, each a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from redis import Redis
from redis.exceptions import RedisError

from app.embedded_redis import find_server

Condition = Callable[[], Any]
PATIENCE_SECONDS = 180.0
"""More than anything here takes on a busy machine; what it is held to is in the tests."""
LOOK_SECONDS = 0.02
TRAINING_STEPS = 300


def eventually(condition: Condition, seconds: float = PATIENCE_SECONDS) -> Any:
    """What a condition gives once it is true; AssertionError if it never is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(LOOK_SECONDS)
    raise AssertionError(f"it did not come about within {seconds:.0f} s")


class Machine:
    """Everything of one service, below one folder. Processes that are still there at the end are killed."""

    def __init__(self, root: Path, store: Path | None = None) -> None:
        self.root = root
        self.store = store or root / "store"
        self.log = root / "log"
        self.socket = root / "r.sock"
        self.port = free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def close(self) -> None:
        """Kill what is left."""
        self.http.close()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
        for process in self.processes:
            process.wait()

    def start_redis(self) -> subprocess.Popen[bytes]:
        """With its log of all writes, from which it comes back."""
        folder = self.root / "redis"
        folder.mkdir(exist_ok=True)
        options = ["--port", "0", "--unixsocket", self.socket, "--dir", folder, "--appendonly", "yes", "--save", ""]
        process = self._start([find_server(), *options])
        with Redis(unix_socket_path=str(self.socket), retry=None) as redis:

            def answers() -> bool:
                try:
                    return bool(redis.ping())
                except RedisError:
                    return False

            eventually(answers)
        return process

    def start_api(self) -> subprocess.Popen[bytes]:
        process = self._ragan("api", "--host", "127.0.0.1", "--port", str(self.port))
        eventually(self.answers)
        return process

    def start_worker(self, queue: str) -> subprocess.Popen[bytes]:
        return self._ragan("worker", "--queue", queue)

    def answers(self) -> bool:
        """Whether the front end does."""
        try:
            return self.http.get("/healthz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        response = self.http.post(path, json=body)
        assert response.status_code == httpx.codes.ACCEPTED, response.text
        made: dict[str, Any] = response.json()
        return made

    def prepare(self) -> dict[str, Any]:
        """A small dataset; its worker may go when it is there."""
        worker = self.start_worker("prepare")
        dataset = self.wait_for(self.post("/v1/datasets", {"source": "phantom", "limit": 24, "image_size": 28}))
        worker.terminate()
        worker.wait()
        return dataset

    def train(self, dataset: dict[str, Any], steps: int = TRAINING_STEPS, **more: Any) -> dict[str, Any]:
        """A training that takes a hundred steps a second or so, once a worker offers its family."""

        def published() -> bool:
            return self.http.get("/v1/models/minuscule28").status_code == httpx.codes.OK

        eventually(published)
        request = {
            "dataset": dataset["id"],
            "model": {"family": "minuscule28", "hyperparameters": {"width": 0.05}},
            "steps": steps,
            "batch_size": 4,
            "snapshot_every": 50,
            "checkpoint_every": 10,
            "keep_checkpoints": 2,
        }
        return self.post("/v1/trainings", request | more)

    def events_of(self, resource: dict[str, Any]) -> list[dict[str, Any]]:
        """All so far."""
        events: list[dict[str, Any]] = self.http.get(
            resource["links"]["events"], headers={"Accept": "application/json"}
        ).json()
        return events

    def get(self, resource: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(resource["links"]["self"]).raise_for_status().json()
        return found

    def wait_for(self, resource: dict[str, Any], status: str = "succeeded") -> dict[str, Any]:
        """The resource once it has a status; it must not fail on the way."""

        def reached() -> dict[str, Any] | None:
            now = self.get(resource)
            assert now["status"] == status or now["status"] != "failed", now["error"]
            return now if now["status"] == status else None

        found: dict[str, Any] = eventually(reached)
        return found

    def wait_for_step(self, training: dict[str, Any], step: int) -> dict[str, Any]:
        """The training once it has come so far."""

        def reached() -> dict[str, Any] | None:
            now = self.get(training)
            assert now["status"] in ("queued", "running"), now
            return now if now["progress"] and now["progress"]["done"] >= step else None

        found: dict[str, Any] = eventually(reached)
        return found

    def job_process_of(self, training: dict[str, Any]) -> int:
        """The process that works on a training: it has its metrics open."""
        for process in self.processes:
            if process.poll() is None:
                for child in children_of(process.pid):
                    if any(training["id"] in name for name in open_files_of(child)):
                        return child
        raise AssertionError(f"no process has a file of {training['id']} open")

    def _ragan(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._start([sys.executable, "-m", "app", *arguments])

    def _start(self, command: list[Any]) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "REDIS_URL": f"unix://{self.socket}",
            "RAGAN_STORE": str(self.store),
            "RAGAN_SOURCES": str(self.root / "sources"),
        }
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes.append(process)
        return process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def children_of(pid: int) -> list[int]:
    """Processes that a process has started, in the order of its threads; also those that ended and wait for a look."""
    found = []
    try:
        for thread in sorted(Path(f"/proc/{pid}/task").iterdir()):
            found += [int(child) for child in (thread / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass  # the process, or a thread of it, has ended
    return found


def open_files_of(pid: int) -> list[str]:
    """Where the file descriptors of a process lead."""
    names = []
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                names.append(str(entry.readlink()))
            except FileNotFoundError:
                continue  # closed since it was listed
    except FileNotFoundError:
        pass  # the process has ended
    return names


def is_alive(pid: int) -> bool:
    """Whether a process runs; not if it only waits for its parent to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def freeze(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def thaw(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
