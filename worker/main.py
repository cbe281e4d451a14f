"""Starts one worker for one queue. The process that waits for jobs never imports TensorFlow to train.

A training or preparation runs in a fresh process per job, so that its memory, the GPU's too, is freed when it ends.
Generation runs in this process, which keeps TensorFlow and the last models warm.
"""

import importlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import uuid
from typing import Any

from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker, SimpleWorker, SpawnWorker

from worker import jobs
from worker.contract.processes import die_with_parent
from worker.contract.queues import AllowListedJob, QueueName, connect, queue, redis_address
from worker.contract.settings import Settings
from worker.contract.store import Store

LEASE_SECONDS = 15
"""A job whose worker was not heard of for so long is given to another one (three missed heartbeats)."""
HEARTBEAT_SECONDS = 5
WARM_LEASE_SECONDS = 120
"""A warm worker sends no heartbeat during a turn; the first turn loads TensorFlow."""

log = logging.getLogger("ragan.worker")


class _RaganWorker(BaseWorker):
    """What all workers show of themselves."""

    devices: tuple[str, ...] = ()

    def serialize(self) -> dict[str, Any]:
        return {**super().serialize(), "devices": json.dumps(self.devices)}


class FreshProcessWorker(_RaganWorker, SpawnWorker):
    """A new process per job, which dies with this one and hands its job back when this one is told to stop."""

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002 - RQ's signature
        return LEASE_SECONDS

    def main_work_horse(self, job: Job, queue: Any) -> None:
        # A killed worker's job goes on elsewhere, so its process must not go on here.
        die_with_parent(signal.SIGKILL)
        if os.getppid() != self.pid:  # killed before the kernel was asked to tell
            os._exit(1)
        configure_logging(Settings())
        super().main_work_horse(job, queue)

    def fork_work_horse(self, job: Job, queue: Any) -> None:
        # The new process inherits the mask: told to stop while Python still starts in it, it hears that a little later.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            super().fork_work_horse(job, queue)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def setup_work_horse_signals(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: jobs.SHUTDOWN.set())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def handle_warm_shutdown_request(self) -> None:
        if self.horse_pid:
            log.info("%s: told to stop; the job in hand is handed back", self.name)
            # Not RQ's kill_horse: that reaches the processes the job itself started, which end with it in good order.
            os.kill(self.horse_pid, signal.SIGTERM)


class WarmWorker(_RaganWorker, SimpleWorker):
    """Runs its jobs in this process, one short turn after the other."""

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002 - RQ's signature
        return WARM_LEASE_SECONDS


def run(name: QueueName, settings: Settings) -> None:
    """Work on one queue until told to stop."""
    configure_logging(settings)
    connection = connect(redis_address(settings), patient=True)
    Store(settings.store).check()
    worker = _worker(name, connection)
    if name is QueueName.TRAIN:
        worker.devices = publish_families()
    elif name is QueueName.GENERATE:
        worker.devices = warm_up()
    worker.work(logging_level=_rq_level(settings))


def _worker(name: QueueName, connection: Redis) -> _RaganWorker:
    kind = WarmWorker if name is QueueName.GENERATE else FreshProcessWorker
    return kind(
        [queue(name, connection)],
        # A random part: RQ refuses a name that a killed worker still holds.
        name=f"{name}-{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
        connection=connection,
        serializer=JSONSerializer,
        job_class=AllowListedJob,
        job_monitoring_interval=HEARTBEAT_SECONDS,
        worker_ttl=4 * HEARTBEAT_SECONDS,
        maintenance_interval=HEARTBEAT_SECONDS,
    )


def publish_families() -> tuple[str, ...]:
    """Publish what this worker can train; done in a child, so that this process stays free of TensorFlow.

    Returns:
        The names of the devices that the child saw.
    """
    child = subprocess.run(
        [sys.executable, "-m", "worker.models.publish"], stdout=subprocess.PIPE, check=True, text=True
    )
    return tuple(json.loads(child.stdout.splitlines()[-1])["devices"])


def warm_up() -> tuple[str, ...]:
    """Load what draws images now, so that the first request does not wait for it; returns the devices' names."""
    importlib.import_module("worker.stages.generate")
    from worker.devices import device_names

    return device_names()


def configure_logging(settings: Settings) -> None:
    """One line per message on standard error."""
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s %(message)s", force=True
    )
    logging.getLogger("rq").setLevel(_rq_level(settings))
    for developers_only in ("absl", "tensorflow"):
        logging.getLogger(developers_only).setLevel(logging.WARNING)


def _rq_level(settings: Settings) -> str:
    """RQ tells at `info` of its housekeeping every few seconds; what jobs do is logged by `worker.jobs`."""
    return "DEBUG" if settings.log_level == "debug" else "WARNING"
