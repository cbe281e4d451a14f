"""A front end that really listens, with a real Redis and a source that it can read, and no workers."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from redis import Redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from app.access import Policy
from app.embedded_redis import EmbeddedRedis
from app.keys import Keyring, Quotas, Scope
from app.main import create_app
from drawn import draw_nih_folder, nih_rows
from ended import NOW, checkpoint_file, dataset_result, evaluation_result, study_result, write_ended, write_reader_study
from worker.contract.queues import AllowListedJob, QueueName, queue
from worker.contract.requests import EvaluationRequest, GenerationRequest, TrainingRequest
from worker.contract.resources import Kind
from worker.contract.results import FamilyDescription, MemoryForecast, TrainingForecast
from worker.contract.settings import Settings
from worker.contract.store import Store
from worker.contract.study_requests import StudyRequest
from worker.sources.pixels import encode_png, tile

IMAGES = 40


@pytest.fixture(scope="session")
def shared_settings(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Settings:
    """For one front end that serves all tests: a source in NIH's layout, and a folder of something else."""
    root = tmp_path_factory.mktemp("service")
    draw_nih_folder(root / "sources" / "clinic", nih_rows(IMAGES))
    (root / "sources" / "holiday-photos").mkdir()
    return Settings(sources=root / "sources", store=root / "store", REDIS_URL=redis_url)


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The address of a front end that listens in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def shared_url(shared_settings: Settings) -> Iterator[str]:
    """The address of a front end that asks for no keys."""
    with listening(create_app(shared_settings)) as url:
        yield url


@pytest.fixture(scope="session")
def shared_locked_url(shared_settings: Settings) -> Iterator[str]:
    """The address of a front end with the same store that asks for keys, and has small quotas."""
    small = {"quota_jobs": 3, "quota_steps": 500, "quota_images": 50, "quota_bytes": 100_000, "queue_limit": 12}
    with listening(create_app(shared_settings.model_copy(update=small), Policy.REQUIRED)) as url:
        yield url


@pytest.fixture
def settings(shared_settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An empty store and an empty Redis, named in the environment too, where a worker would look for them."""
    shutil.rmtree(shared_settings.store, ignore_errors=True)
    monkeypatch.setenv("RAGAN_STORE", str(shared_settings.store))
    monkeypatch.setenv("RAGAN_SOURCES", str(shared_settings.sources))
    monkeypatch.setenv("REDIS_URL", str(shared_settings.redis_url))
    return shared_settings


@pytest.fixture
def store(settings: Settings) -> Store:
    return Store(settings.store)


@pytest.fixture
def url(shared_url: str, settings: Settings) -> str:
    """The address of the front end, with nothing in it yet."""
    return shared_url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
def other_http(settings: Settings) -> Iterator[httpx.Client]:
    """A client of another front end with the same store and the same Redis."""
    with listening(create_app(settings)) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis server that a test may stop; started by whoever needs its address."""
    server = EmbeddedRedis(tmp_path / "own-redis")
    yield server
    server.stop()


@pytest.fixture
def own_http(settings: Settings, own_redis: EmbeddedRedis) -> Iterator[httpx.Client]:
    """A client of a front end with a Redis of its own, and the store of all."""
    app = create_app(settings.model_copy(update={"redis_url": own_redis.start()}))
    with listening(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def keyring(settings: Settings) -> Keyring:
    """The keys of the front end that asks for them; none yet."""
    return Keyring.of(settings)


@pytest.fixture
def as_key(shared_locked_url: str, keyring: Keyring) -> Iterator[Callable[..., httpx.Client]]:
    """Makes a client with a new key: `as_key(name, scope, quotas)`; without a name, one that sends no key."""
    with ExitStack() as clients:

        def connect(name: str | None = None, scope: str = "submit", **quotas: int) -> httpx.Client:
            secret = keyring.create(name, Scope(scope), Quotas(**quotas)) if name else ""
            headers = {"Authorization": f"Bearer {secret}"} if name else {}
            return clients.enter_context(httpx.Client(base_url=shared_locked_url, headers=headers, timeout=30))

        yield connect


@pytest.fixture
def work(settings: Settings, redis: Redis) -> Callable[[QueueName], None]:
    """Does all that waits in a queue, in this process, by RQ and the functions that workers call."""

    def burst(name: QueueName) -> None:
        worker = SimpleWorker(
            [queue(name, redis)], connection=redis, job_class=AllowListedJob, serializer=JSONSerializer
        )
        worker.work(burst=True, logging_level="WARNING")

    return burst


@pytest.fixture
def family(store: Store) -> FamilyDescription:
    """A family as a worker would publish it."""
    description = FamilyDescription(
        family="tiny16",
        title="Tiny",
        reference="none",
        image_sizes=(16,),
        takes_labels=False,
        parameters={"generator": 10, "discriminator": 20},
        presets={"default": {"width": 1.0, "dropout": 0.0}, "reference": {"width": 1.0, "dropout": 0.4}},
        hyperparameters={
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "width": {"type": "number", "exclusiveMinimum": 0},
                "dropout": {"type": "number", "minimum": 0, "maximum": 0.9},
            },
        },
        published_at=NOW,
    )
    store.publish_family(description)
    return description


@pytest.fixture
def forecast() -> TrainingForecast:
    """What a worker would say of a training."""
    return TrainingForecast(
        steps=30,
        images_seen=7680,
        parameters={"generator": 10, "discriminator": 20},
        flops_per_step=500_000_000,
        flops_per_step_plain=1_000_000_000,
        memory_bytes=MemoryForecast(
            total=2 * 2**20, weights=2**20, optimizers=0, gradients=0, activations=2**20, average=0, data=0
        ),
        devices=1,
        precision="float32",
        fast_paths=("small_kernels", "toom_cook"),
    )


@pytest.fixture
def ended(store: Store) -> Callable[..., str]:
    """Makes resources that have ended: `ended(kind, request, result, owner=…, …)`; returns the id."""
    return partial(write_ended, store)


@pytest.fixture
def dataset(store: Store) -> str:
    """A dataset of 16x16 images that is ready."""
    result = dataset_result(train=100, validation=60)
    return write_ended(store, Kind.DATASET, {"source": "clinic", "image_size": 16}, result)


@pytest.fixture
def large_dataset(store: Store) -> str:
    """A dataset of 64x64 images that is ready."""
    return write_ended(store, Kind.DATASET, {"source": "clinic", "image_size": 64}, dataset_result(3))


@pytest.fixture
def training(store: Store, dataset: str) -> str:
    """A training that has ended after 30 steps, with metrics, snapshots every 10 steps and checkpoints at 20 and 30."""
    import numpy as np

    request = TrainingRequest(dataset=dataset, model={"family": "tiny16"}, steps=30).model_dump(mode="json")
    training = write_ended(store, Kind.TRAINING, request, {"steps": 30})
    rows = (
        f'{{"step": {step}, "d_loss": 0.5, "d_acc": 0.75, "g_loss": 1.0, "g_acc": 0.25}}\n' for step in range(1, 31)
    )
    store.publish_bytes("".join(rows).encode(), training, "metrics.jsonl")
    for step in (0, 10, 20, 30):
        grid = tile(np.full((16, 16, 16), 8 * step, np.uint8), 4)
        store.publish_bytes(encode_png(grid), training, f"snapshots/{step:08d}.png")
    for step in (20, 30):
        name, content = checkpoint_file(step, dataset)
        store.publish_bytes(content, training, name)
    return training


@pytest.fixture
def generation(store: Store, training: str) -> str:
    """300 images in two shards, image i all of grey i mod 256, as the generation stage leaves them."""
    import io
    import zipfile

    import numpy as np

    from worker.contract.shards import SHARD_IMAGES, archive_name, array_name, image_name

    count = SHARD_IMAGES + 44
    images = np.broadcast_to(np.arange(count, dtype=np.uint16)[:, None, None] % 256, (count, 16, 16)).astype(np.uint8)
    request = GenerationRequest(training=training, checkpoint=30, count=count, seed=7).model_dump(mode="json")
    generation = write_ended(store, Kind.GENERATION, request, {"count": count, "image_size": 16, "provenance": {}})
    for shard in range(2):
        first = shard * SHARD_IMAGES
        part = images[first : first + SHARD_IMAGES]
        array, archive = io.BytesIO(), io.BytesIO()
        np.save(array, part)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as files:
            for index, pixels in enumerate(part, start=first):
                files.writestr(image_name(index), encode_png(pixels, {"Synthetic": "true", "Index": str(index)}))
        store.publish_bytes(array.getvalue(), generation, array_name(shard))
        store.publish_bytes(archive.getvalue(), generation, archive_name(shard))
    store.publish_bytes(encode_png(tile(images[:64], 8)), generation, "grid.png")
    return generation


@pytest.fixture
def evaluation(store: Store, training: str) -> str:
    """60 synthetic images compared with as many real ones, with both pictures."""
    import numpy as np

    request = EvaluationRequest(training=training, checkpoint=30, count=60).model_dump(mode="json")
    evaluation = write_ended(store, Kind.EVALUATION, request, evaluation_result(), versions={"ragan": "0.1.0"})
    for name, columns in (("grid.png", 8), ("nearest.png", 10)):
        picture = encode_png(tile(np.full((columns, 16, 16), 90, np.uint8), columns))
        store.publish_bytes(picture, evaluation, name)
    return evaluation


@pytest.fixture
def reader_study(store: Store, training: str) -> str:
    """A reader study of ten images of either kind, ready to be read."""
    return write_reader_study(store, training)[0]


STUDY_TABLES = ("arms", "comparisons", "curve", "predictions")


@pytest.fixture
def study(store: Store, dataset: str) -> str:
    """A study that has ended, with its curve and tables, each of which holds its own name."""
    request = StudyRequest(dataset=dataset).model_dump(mode="json")
    study = write_ended(store, Kind.STUDY, request, study_result(), versions={"ragan": "0.1.0"})
    for name in ("curve.png", "curve.svg", *(f"tables/{table}.csv" for table in STUDY_TABLES)):
        store.publish_bytes(name.encode(), study, name)
    return study
