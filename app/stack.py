"""The whole service on one machine: Redis, the front end, and a worker for each queue."""

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from app.embedded_redis import EmbeddedRedis
from app.supervision import Supervisor
from worker.contract.errors import RaganError
from worker.contract.queues import QueueName
from worker.contract.settings import Settings
from worker.contract.store import Store

READY_SECONDS = 120.0
POLL_SECONDS = 0.05
WORKER_NICENESS = 10
"""Workers take all cores there are; the front end, which takes little, is to answer all the same."""
STOP_SECONDS = 30.0
"""How long jobs in hand have to save themselves."""


class AddressInUse(RaganError):
    """The address is taken."""


class StartFailed(RaganError):
    """The service did not come up."""


class Stack:
    """A context in which the service runs, and answers.

    `output` is where its processes write, stderr if None. `pause` waits some seconds, or raises to give up waiting.
    With `insecure`, it asks nobody for an API key.
    """

    def __init__(
        self,
        settings: Settings,
        host: str,
        port: int,
        output: Path | None = None,
        *,
        insecure: bool = False,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._host = host
        self._port = port or _free_port(host)
        self._output = output
        self._pause = pause
        self._insecure = insecure
        self._redis: EmbeddedRedis | None = None
        self._supervisor: Supervisor | None = None

    @property
    def url(self) -> str:
        """Where to reach the service from this machine."""
        host = "127.0.0.1" if self._host in ("0.0.0.0", "::") else self._host  # noqa: S104 - compared, not bound
        return f"http://{host}:{self._port}"

    def __enter__(self) -> Self:
        _check_free(self._host, self._port)
        store = Store(self._settings.store)
        store.check()
        try:
            self._start(store)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def tend(self) -> None:
        """Keep everything running; to be called now and then. StartFailed if Redis is gone for good."""
        if self._redis is not None and not self._redis.running():
            raise StartFailed(
                "The Redis server that RaGAN started has ended; its log is in the store, in redis/redis.log."
            )
        if self._supervisor is not None:
            self._supervisor.tend()

    def wait_until_ready(self, *, trainable: bool = False) -> None:
        """Return once the front end answers, and with `trainable` once a worker has published its families."""
        path = "/v1/models" if trainable else "/readyz"
        deadline = time.monotonic() + READY_SECONDS
        with httpx.Client(base_url=self.url, timeout=5.0, trust_env=False) as client:
            while time.monotonic() < deadline:
                self.tend()
                try:
                    if client.get(path).status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    pass  # not listening yet
                self._pause(POLL_SECONDS)
        raise StartFailed(f"RaGAN did not come up at {self.url} within {READY_SECONDS:.0f} s; its log says why.")

    def stop(self) -> None:
        """Stop the processes, Redis last: until then jobs hand themselves back to it."""
        if self._supervisor is not None:
            self._supervisor.stop(STOP_SECONDS)
        if self._redis is not None:
            self._redis.stop()

    def _start(self, store: Store) -> None:
        redis_url = self._settings.redis_url
        if redis_url is None:
            self._redis = EmbeddedRedis(store.root / "redis")
            redis_url = self._redis.start()
        environment = {
            "REDIS_URL": redis_url,
            "RAGAN_STORE": str(store.root),
            "RAGAN_SOURCES": str(self._settings.sources.absolute()),
        }
        self._supervisor = Supervisor(environment, self._output)
        ragan = [sys.executable, "-m", "app"]
        api = [*ragan, "api", "--host", self._host, "--port", str(self._port)]
        self._supervisor.add("api", [*api, "--insecure"] if self._insecure else api)
        # Loading TensorFlow takes all cores there are, so that beside it the front end would answer seconds later.
        self.wait_until_ready()
        for queue in QueueName:
            worker = ["nice", "-n", str(WORKER_NICENESS), *ragan, "worker", "--queue", queue]
            self._supervisor.add(f"{queue} worker", worker)


def _check_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise AddressInUse(
                f"{host}:{port} cannot be listened on ({error.strerror}): name another with --host and --port."
            ) from error


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
