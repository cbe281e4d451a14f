"""What runs in the process of one job: load what the job will need, wait to be told which job, do it.

A worker starts it, by way of `worker.job_process`, before there is a job. The command line names the modules to load;
standard input brings the job, as a line, and stays open as long as the worker lives.
"""

import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from queue import SimpleQueue

from rq.executions import Execution
from rq.serializers import JSONSerializer

from worker.contract.processes import die_with_parent
from worker.contract.queues import AllowListedJob, QueueName, connect, queue, redis_address
from worker.contract.settings import Settings
from worker.job_process import STANDARD_INPUT, Assignment
from worker.main import FreshProcessWorker, configure_logging

log = logging.getLogger("ragan.worker")


def main() -> None:
    """Wait for a job, do it, and exit; or exit as soon as the worker is gone, whatever this process is at."""
    # A killed worker's job goes on elsewhere, so its process must not go on here. The kernel ends it even in the
    # middle of a computation; the end of standard input does where the kernel cannot, or was asked too late.
    die_with_parent(signal.SIGKILL)
    assigned: SimpleQueue[Assignment] = SimpleQueue()
    threading.Thread(target=_listen, args=(assigned,), daemon=True).start()
    configure_logging(Settings())
    _load(sys.argv[1:])
    _work(assigned.get())


def _listen(assigned: SimpleQueue[Assignment]) -> None:
    # Not sys.stdin: Python closes that as it ends, and must not wait for this thread to let go of it.
    with os.fdopen(STANDARD_INPUT, "rb", closefd=False) as lines:
        for line in lines:
            assigned.put(Assignment.from_line(line))
    os._exit(0)


def _load(modules: Sequence[str]) -> None:
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception:
            log.exception("%s cannot be loaded; the next job will fail for it", name)


def _work(assignment: Assignment) -> None:
    """Do a job as RQ does in the processes that it starts itself, but with a connection that outlasts an outage."""
    connection = connect(redis_address(Settings()), patient=True)
    worker = FreshProcessWorker.find_by_key(
        assignment.worker, connection, job_class=AllowListedJob, serializer=JSONSerializer
    )
    if worker is None:
        sys.exit(f"Redis does not know {assignment.worker} any more: its jobs are given to other workers.")
    job = AllowListedJob.fetch(assignment.job, connection=connection, serializer=JSONSerializer)
    worker.execution = Execution.fetch(assignment.execution, job.id, connection)
    worker.main_work_horse(job, queue(QueueName(assignment.queue), connection))
