"""What the live workers show of themselves."""

import json
from collections.abc import Iterator
from typing import cast

from pydantic import BaseModel
from redis import Redis
from rq import Worker
from rq.serializers import JSONSerializer

from worker.contract.errors import InvalidRequest
from worker.contract.queues import AllowListedJob, QueueName
from worker.contract.requests import TrainingRequest
from worker.contract.resources import Timestamp


class WorkerInfo(BaseModel):
    """A worker that was heard of lately."""

    name: str
    queues: list[str]
    devices: list[str]
    state: str
    current_job: str | None
    last_heartbeat: Timestamp | None


def live_workers(redis: Redis) -> Iterator[WorkerInfo]:
    """Every worker whose last heartbeat is recent enough."""
    for worker in Worker.all(connection=redis, job_class=AllowListedJob, serializer=JSONSerializer):
        devices = cast("bytes | None", redis.hget(worker.key, "devices"))
        job = worker.get_current_job_id()
        yield WorkerInfo(
            name=worker.name,
            queues=worker.queue_names(),
            devices=json.loads(devices) if devices else [],
            state=str(worker.get_state()),
            current_job=job.partition("-")[0] if job else None,
            last_heartbeat=worker.last_heartbeat,
        )


def check_devices(redis: Redis, request: TrainingRequest) -> None:
    """InvalidRequest if no live worker could train on so many devices; without a live worker, anything may come."""
    most = max((len(each.devices) for each in live_workers(redis) if QueueName.TRAIN in each.queues), default=None)
    if most is None:
        return
    if isinstance(request.devices, int) and request.devices > most:
        raise InvalidRequest.at(
            "#/devices",
            f"No live worker has {request.devices} devices; the largest has {most}: ask for {most} or 'all'.",
        )
    if request.devices == "all" and most and request.batch_size % most:
        raise InvalidRequest.at(
            "#/batch_size",
            f"batch_size {request.batch_size} cannot be shared out evenly over the worker's {most} devices: take a "
            f"multiple of {most}.",
        )
