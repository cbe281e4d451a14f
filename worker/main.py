"""Starts one worker for one queue. The process that waits for jobs never imports TensorFlow to train.

A training or preparation runs in a fresh process per job, so that its memory, the GPU's too, is freed when it ends.
That process is started before there is a job and loads TensorFlow while it waits for one (`worker.standby`).
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
import time
import uuid
from contextlib import suppress
from typing import Any

from redis import Redis
from rq import Queue
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker, SimpleWorker, Worker

from worker import jobs
from worker.contract.errors import StoreUnavailable
from worker.contract.live import LiveJobs
from worker.contract.logs import JOB_ID, log_to_stderr
from worker.contract.queues import AllowListedJob, FairQueue, QueueName, connect, queue, redis_address
from worker.contract.recovery import Recovery
from worker.contract.settings import Settings
from worker.contract.store import Store
from worker.job_process import Assignment, JobProcess

LEASE_SECONDS = 15
"""A job whose worker was not heard of for so long is given to another one (three missed heartbeats)."""
HEARTBEAT_SECONDS = 5
WARM_LEASE_SECONDS = 120
"""A warm worker sends no heartbeat during a turn; the first turn loads TensorFlow."""
STAGES = {
    QueueName.PREPARE: "worker.stages.prepare",
    QueueName.TRAIN: "worker.stages.train",
    QueueName.EVALUATE: "worker.stages.evaluate",
}
"""What takes longest to load of what a queue's jobs need. Loading it uses no memory of a GPU."""

log = logging.getLogger("ragan.worker")


class _RaganWorker(BaseWorker):
    """What all workers show of themselves, and look after while they wait for a job."""

    recovery: Recovery
    devices: tuple[str, ...] = ()

    def serialize(self) -> dict[str, Any]:
        return {**super().serialize(), "devices": json.dumps(self.devices)}

    def prepare_execution(self, job: Job) -> Execution:
        # Those of workers that died are void. RQ would look for them at the job's end, and fail: they have expired.
        self.connection.delete(job.execution_registry.key)
        execution = super().prepare_execution(job)
        # RQ leaves that to the job's process. Should it die before, the entry would be found a minute later, and the
        # job be queued once more.
        self.connection.lrem(self.queues[0].intermediate_queue_key, 1, job.id)
        return execution

    def handle_job_failure(
        self,
        job: Job,
        queue: Queue,
        started_job_registry: StartedJobRegistry | None = None,
        exc_string: str = "",
        execution: Execution | None = None,
    ) -> None:
        # RQ looks only at how the process ended. If this worker was frozen past its lease, another one has the job by
        # now, and queueing it again would take it from that one.
        if execution and self.connection.zscore(job.started_job_registry.key, execution.composite_key) is None:
            log.warning("%s: %s was given to another worker; nothing is done about it here", self.name, job.id)
            return
        super().handle_job_failure(job, queue, started_job_registry, exc_string, execution)

    def _shutdown(self) -> None:
        # RQ leaves its loop by an exception out of the signal handler. Where that comes while redis-py records what it
        # does, it is swallowed: so it is remembered, and asked for before each wait for a job.
        self._stop_requested = True
        super()._shutdown()  # type: ignore[no-untyped-call]

    @property
    def should_run_maintenance_tasks(self) -> bool:
        return self._stop_requested or bool(super().should_run_maintenance_tasks)

    def run_maintenance_tasks(self) -> None:
        if self._stop_requested:
            raise StopRequested
        # A Redis that lost its data does not know its workers, who tell it no more than that they are still there.
        if not self.connection.sismember(self.redis_workers_keys, self.key):
            self.connection.delete(self.key)
            self.register_birth()  # type: ignore[no-untyped-call]
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        try:
            for resource_id in self.recovery.tend():
                log.warning("%s: Redis had forgotten it; it is queued again", resource_id)
        except (StoreUnavailable, OSError) as error:  # it is looked for again in some seconds
            log.warning("what Redis may have forgotten cannot be looked for now: %s", error)


class FreshProcessWorker(_RaganWorker, Worker):
    """A process per job, in waiting before there is one.

    It dies with this one, and hands its job back when this one is told to stop.
    """

    _process: JobProcess | None = None
    """Of the job in hand; while there is none, of the next one."""
    _loads_ahead = True
    """Not after a process died: should loading kill, it is left to the next job, whose attempts are counted."""

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002 - RQ's signature
        return LEASE_SECONDS

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        self._have_process()
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)

    def run_maintenance_tasks(self) -> None:
        # RQ calls this every few seconds while it waits for a job.
        super().run_maintenance_tasks()
        self._have_process()

    def fork_work_horse(self, job: Job, queue: Any) -> None:
        process = self._have_process()
        self._horse_pid = process.pid
        if self._stop_requested:  # when there was no process yet that could be told
            self.handle_warm_shutdown_request()
        (execution,) = self.executions
        # One that has died since is found dead by RQ, which then queues the job again.
        with suppress(BrokenPipeError):
            process.assign(Assignment(worker=self.key, queue=queue.name, job=job.id, execution=execution))

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        pid, status, usage = super().wait_for_horse()
        if self._process is not None:
            self._process.close()
            self._process = None
        self._loads_ahead = status == os.EX_OK
        return pid, status, usage

    def setup_work_horse_signals(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: jobs.SHUTDOWN.set())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def handle_warm_shutdown_request(self) -> None:
        if self.horse_pid:
            log.info("%s: told to stop; the job in hand is handed back", self.name)
            # Not RQ's kill_horse: that reaches the processes the job itself started, which end with it in good order.
            os.kill(self.horse_pid, signal.SIGTERM)

    def teardown(self) -> None:
        if self._process is not None:
            self._process.dismiss()
        super().teardown()  # type: ignore[no-untyped-call]

    def _have_process(self) -> JobProcess:
        """The process of the next job, started anew if there is none or it died while it waited."""
        if self._process is not None and (code := self._process.ended()) is not None:
            log.warning("%s: the process of the next job died (exit code %d) and is started anew", self.name, code)
            self._process, self._loads_ahead = None, False
        if self._process is None:
            stage = STAGES[QueueName(self.queues[0].name)]
            self._process = JobProcess([stage] if self._loads_ahead else [])
        return self._process


class WarmWorker(_RaganWorker, SimpleWorker):
    """Runs its jobs in this process, one short turn after the other."""

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002 - RQ's signature
        return WARM_LEASE_SECONDS


def run(name: QueueName, settings: Settings) -> None:
    """Work on one queue until told to stop."""
    configure_logging(settings)
    connection = connect(redis_address(settings), patient=True)
    store = Store(settings.store)
    _wait_for_store(store)
    worker = _worker(name, connection, store)
    if name is QueueName.TRAIN:
        worker.devices = publish_families()
    elif name is QueueName.GENERATE:
        worker.devices = warm_up()
    worker.work(logging_level=_rq_level(settings))


def _wait_for_store(store: Store) -> None:
    """A disk that is mounted late is waited for: to end, and be started again, would say no more."""
    told = ""
    while True:
        try:
            return store.check()
        except StoreUnavailable as error:
            if error.detail != told:
                log.warning("%s Until then, this worker waits.", error.detail)
            told = error.detail
            time.sleep(jobs.STORE_LOOK_SECONDS)


def _worker(name: QueueName, connection: Redis, store: Store) -> _RaganWorker:
    kind = WarmWorker if name is QueueName.GENERATE else FreshProcessWorker
    worker = kind(
        [queue(name, connection)],
        # A random part: RQ refuses a name that a killed worker still holds.
        name=f"{name}-{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
        connection=connection,
        serializer=JSONSerializer,
        queue_class=FairQueue,
        job_class=AllowListedJob,
        job_monitoring_interval=HEARTBEAT_SECONDS,
        worker_ttl=4 * HEARTBEAT_SECONDS,
        maintenance_interval=HEARTBEAT_SECONDS,
    )
    worker.recovery = Recovery(connection, store, LiveJobs(connection, store))
    return worker


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
    """One line per message on standard error, with the job in hand."""
    log_to_stderr(settings, JOB_ID)
    for of_rq in ("rq", "rq.worker"):  # whose level RQ sets by itself
        logging.getLogger(of_rq).setLevel(_rq_level(settings))
    for developers_only in ("absl", "tensorflow"):
        logging.getLogger(developers_only).setLevel(logging.WARNING)


def _rq_level(settings: Settings) -> str:
    """RQ tells at `info` of its housekeeping every few seconds; what jobs do is logged by `worker.jobs`."""
    return "DEBUG" if settings.log_level == "debug" else "WARNING"
