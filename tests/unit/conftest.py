"""A real Redis for the unit tests that need one: the embedded server, one for all, emptied for each."""

import signal
from collections.abc import Iterator

import pytest
from redis import Redis

from app.embedded_redis import EmbeddedRedis
from worker.contract.live import LiveJobs
from worker.contract.store import Store


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Put back what Ctrl-C does: RQ's workers, some of which run in this process, keep it for themselves."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    yield server.start()
    server.stop()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url) as connection:
        connection.flushall()
        yield connection


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def live(redis: Redis, store: Store) -> LiveJobs:
    return LiveJobs(redis, store)
