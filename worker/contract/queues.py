"""Queues, the functions that may be queued, and the connection both sides use."""

import time
import uuid
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry as RetryPolicy
from rq import Queue, Retry
from rq.exceptions import DequeueTimeout
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.serializers import JSONSerializer

from worker.contract import owners
from worker.contract.errors import MalformedRequest, QueueUnavailable
from worker.contract.requests import TrainingRequest
from worker.contract.resources import Kind
from worker.contract.settings import Settings
from worker.contract.study_requests import StudyRequest


class QueueName(StrEnum):
    """One per kind of worker."""

    PREPARE = "prepare"
    TRAIN = "train"
    GENERATE = "generate"
    EVALUATE = "evaluate"


ROUTES: Mapping[Kind, tuple[QueueName, str]] = {
    Kind.DATASET: (QueueName.PREPARE, "worker.jobs.prepare_dataset"),
    Kind.TRAINING: (QueueName.TRAIN, "worker.jobs.train_model"),
    Kind.GENERATION: (QueueName.GENERATE, "worker.jobs.generate_images"),
    Kind.EVALUATION: (QueueName.EVALUATE, "worker.jobs.evaluate_training"),
    Kind.READER_STUDY: (QueueName.EVALUATE, "worker.jobs.prepare_reader_study"),
    Kind.STUDY: (QueueName.TRAIN, "worker.jobs.study_augmentation"),
}
"""Where each kind's work waits, and what does it."""
DESCRIBE_TRAINING = "worker.jobs.describe_training"
"""Answers the dry run of a training. It waits with the generations, for their worker has TensorFlow loaded."""
DESCRIBE_STUDY = "worker.jobs.describe_study"
"""Answers the dry run of a study, there as well: that worker has no long jobs."""
ALLOWED = frozenset({DESCRIBE_TRAINING, DESCRIBE_STUDY, *(function for _, function in ROUTES.values())})
"""The only functions a queue entry may name."""
ANSWER_SECONDS = 20
"""For so long somebody waits for an answer; after it, neither question nor answer is of use."""

WITHOUT_END = 1_000_000
"""RQ shall always start a job again whose process died; when it has died too often is decided in `worker.jobs`."""
HELD_SECONDS = 0.5
"""Between two looks whether a job may start that its owner's others keep waiting."""
FAILURE_TTL_SECONDS = 24 * 3600
"""How long RQ keeps its own note of a job that died, for whoever looks for the cause."""

PATIENT_RETRY = RetryPolicy(ExponentialBackoff(base=0.05, cap=1.0), retries=300)
"""redis-py's own policy gives up within 20 s, and a worker with it."""


class AllowListedJob(Job):
    """An RQ job that runs only what is `ALLOWED`: whoever can write to Redis could else name any function."""

    @property
    def func(self) -> Callable[..., Any]:
        if self.func_name not in ALLOWED:
            raise MalformedRequest(f"The queue holds a job for {self.func_name!r}, which RaGAN does not run.")
        function: Callable[..., Any] = super().func
        return function

    @property
    def success_callback(self) -> None:
        """RaGAN queues no callbacks, so none found in Redis is run."""

    failure_callback = stopped_callback = success_callback


class FairQueue(Queue):
    """RQ's queue, of which a worker takes the first job whose owner may have one more at work."""

    @classmethod
    def lmove(cls, connection: Redis, queue_key: str, timeout: int | None) -> tuple[str, bytes] | None:
        """Wait for such a job for `timeout` seconds, DequeueTimeout after them; None: do not wait."""
        until = time.monotonic() + (timeout or 0)
        taken_key = IntermediateQueue.get_intermediate_queue_key(queue_key)
        while not (entry := owners.take(connection, queue_key, taken_key, _at_work(connection))):
            if timeout is None:
                return None
            if (left := until - time.monotonic()) <= 0:
                raise DequeueTimeout(timeout, queue_key)
            if entry is None:  # the first that comes is put back where it was, for it may be one that has to wait
                # Servers before 7.0 take less than a millisecond for no limit.
                connection.blmove(queue_key, queue_key, max(left, 0.01), "LEFT", "LEFT")  # type: ignore[arg-type]
            else:
                time.sleep(min(left, HELD_SECONDS))
        return queue_key, entry


def _at_work(redis: Redis) -> list[str]:
    """Where RQ keeps what its workers have taken and what they work on, of all queues."""
    queues = [queue(name, redis) for name in QueueName]
    return [each.intermediate_queue_key for each in queues] + [each.started_job_registry.key for each in queues]


def redis_address(settings: Settings) -> str:
    """Where Redis is, with its password; QueueUnavailable, with what to do, if that was not said."""
    if settings.redis_url is None:
        raise QueueUnavailable(
            "Set REDIS_URL to the address of a Redis server, or run `ragan up`, which brings one of its own."
        )
    if settings.redis_password_file is None:
        return settings.redis_url
    password = _read_password(settings.redis_password_file)
    parts = urlsplit(settings.redis_url)
    login, _, host = parts.netloc.rpartition("@")
    name = login.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{name}:{quote(password, safe='')}@{host}"))


def _read_password(file: Path) -> str:
    try:
        password = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not in UTF-8"
        raise QueueUnavailable(
            f"The password of Redis cannot be read from {file} ({reason}): set RAGAN_REDIS_PASSWORD_FILE to a file "
            "that this user may read."
        ) from error
    if not password:
        raise QueueUnavailable(f"{file} is empty: write the password of Redis into it.")
    return password


def connect(url: str, *, patient: bool) -> Redis:
    """A connection that a worker keeps through an outage (`patient`), or one that a web request gives up on."""
    if patient:
        return Redis.from_url(url, retry=PATIENT_RETRY, health_check_interval=10)
    return Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5)


def queue(name: QueueName, redis: Redis) -> Queue:
    """JSON on both sides: RQ's default would unpickle whatever it finds in Redis."""
    return FairQueue(name, connection=redis, serializer=JSONSerializer, job_class=AllowListedJob)


def enqueue(redis: Redis, kind: Kind, resource_id: str, run: int, turn: int = 0, *, owner: str | None = None) -> None:
    """Queue the work behind a resource, in turn with that of other owners.

    A long generation takes turns with others, too: each turn is queued anew. `owner` has to be named with the first.
    """
    if owner is not None:
        owners.count(redis, owner, resource_id)
    name, function = ROUTES[kind]
    entry = rq_job_id(resource_id, run, turn)
    waiting = queue(name, redis)
    waiting.enqueue_call(
        function,
        args=(resource_id, run, turn) if turn else (resource_id, run),
        job_id=entry,
        timeout=-1,
        result_ttl=0,
        failure_ttl=FAILURE_TTL_SECONDS,
        retry=Retry(max=WITHOUT_END),
    )
    owners.take_turns(redis, waiting.key, entry)


def ask_about(redis: Redis, request: TrainingRequest | StudyRequest) -> Job:
    """Ask what a training or study would take, ahead of all that waits; the answer becomes the result of RQ's job."""
    return queue(QueueName.GENERATE, redis).enqueue_call(
        DESCRIBE_STUDY if isinstance(request, StudyRequest) else DESCRIBE_TRAINING,
        args=(request.model_dump(mode="json"),),
        job_id=f"forecast-{uuid.uuid4().hex}",
        at_front=True,
        timeout=ANSWER_SECONDS,
        ttl=ANSWER_SECONDS,
        result_ttl=ANSWER_SECONDS,
        failure_ttl=FAILURE_TTL_SECONDS,
    )


def rq_job_id(resource_id: str, run: int, turn: int = 0) -> str:
    """RQ's own id for one turn of one run of a resource's work."""
    return f"{resource_id}-{run}-{turn}"
