"""Whoever can write to the queue or the store cannot make RaGAN run code of theirs."""

import ast
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from app.embedded_redis import EmbeddedRedis
from worker.contract.queues import ALLOWED, AllowListedJob, QueueName, queue
from worker.dataset import IMAGES, Dataset

ROOT = Path(__file__).parents[2]
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
UNSAFE_BUILTINS = {"eval", "exec", "compile", "__import__"}
UNSAFE_LOADERS = {"load_model", "model_from_json", "model_from_config"}


class Bomb:
    """Makes a file as soon as somebody unpickles it."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._trace,)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    with Redis.from_url(server.start()) as connection:
        yield connection
    server.stop()


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that there is once a tampered entry has got its way."""
    return tmp_path_factory.mktemp("trace") / "was-run"


def work(redis: Redis) -> None:
    """Do all that waits, as a worker does."""
    worker = SimpleWorker(
        [queue(QueueName.TRAIN, redis)], connection=redis, job_class=AllowListedJob, serializer=JSONSerializer
    )
    worker.work(burst=True, logging_level="CRITICAL")


def tampered_entry(redis: Redis, fields: dict[str, bytes | str]) -> AllowListedJob:
    """An entry as RaGAN makes them, of a resource that there is not, with some of its fields changed in Redis."""
    entry = queue(QueueName.TRAIN, redis).enqueue_call("worker.jobs.train_model", args=("tr_none", 1))
    redis.hset(entry.key, mapping=fields)
    return AllowListedJob(entry.id, connection=redis, serializer=JSONSerializer)


def data(function: object, instance: object = None, *arguments: object, **options: object) -> bytes:
    """What an entry says is to be done, as RQ keeps it."""
    return zlib.compress(JSONSerializer.dumps([function, instance, arguments, options]))


def test_no_other_function_is_run_however_it_is_named(redis: Redis, trace: Path) -> None:
    for function in ("os.mkdir", "pathlib.Path.mkdir", "worker.jobs.os.mkdir", "worker.jobs.train_model.__globals__"):
        entry = tampered_entry(redis, {"data": data(function, None, str(trace))})
        work(redis)
        assert entry.get_status() == "failed"
    assert not trace.exists()
    assert "os.mkdir" not in ALLOWED


def test_nothing_is_unpickled(redis: Redis, trace: Path) -> None:
    bomb = pickle.dumps(Bomb(trace))
    for field in ("data", "meta", "result", "exc_info"):
        for content in (bomb, zlib.compress(bomb)):
            tampered_entry(redis, {field: content})
            work(redis)
    assert not trace.exists()


@settings(max_examples=settings().max_examples // 2)
@given(
    field=st.sampled_from(["data", "meta", "timeout", "retries_left", "success_callback_name", "dependency_ids"]),
    content=st.binary(max_size=40)
    | st.binary(max_size=40).map(zlib.compress)
    | st.builds(data, st.none() | st.text(max_size=20), st.none() | st.text(max_size=5), st.integers() | st.text())
    | st.builds(data, st.sampled_from(sorted(ALLOWED)), st.none(), st.integers() | st.text(max_size=9)),
)
def test_a_worker_outlives_whatever_stands_in_the_queue(redis: Redis, tally, field: str, content: bytes) -> None:
    redis.flushall()
    tampered_entry(redis, {field: content})
    work(redis)
    assert queue(QueueName.TRAIN, redis).count == 0
    tally["tampered queue entries"]["survived"] += 1


def test_an_array_that_is_a_pickle_is_not_loaded(tmp_path: Path, trace: Path) -> None:
    np.save(tmp_path / IMAGES, np.array([Bomb(trace)], object), allow_pickle=True)
    (tmp_path / "items.csv").write_text("file,index\n")
    with pytest.raises(ValueError, match="Python objects"):
        Dataset.open(tmp_path)
    assert not trace.exists()


def unsafe(tree: ast.AST) -> Iterator[str]:
    """What in a module's code could make code of data."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from {name.name for name in names if name.name.partition(".")[0] in UNSAFE_MODULES}
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in UNSAFE_MODULES:
                yield module
            case ast.Call(func=ast.Name(id=name)) if name in UNSAFE_BUILTINS | UNSAFE_LOADERS:
                yield name
            case ast.Call(func=ast.Attribute(attr=name)) if name in UNSAFE_LOADERS:
                yield name
            case ast.keyword(arg="allow_pickle", value=value) if ast.unparse(value) != "False":
                yield ast.unparse(node)


def test_no_module_makes_code_of_data() -> None:
    modules = [*ROOT.glob("app/**/*.py"), *ROOT.glob("worker/**/*.py")]
    assert modules
    found = {path.name: list(unsafe(ast.parse(path.read_bytes()))) for path in modules}
    assert not {name: what for name, what in found.items() if what}


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from dill import load", "eval('1')", "np.load(a, allow_pickle=True)", "k.load_model(a)"],
)
def test_a_module_that_did_would_be_found(code: str) -> None:
    assert len(list(unsafe(ast.parse(code)))) == 1
