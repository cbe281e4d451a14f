"""A process waits for each job, does it, and never outlives its worker: with real workers, and processes that die."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from redis import Redis
from rq.exceptions import StopRequested

from machine import children_of, eventually, is_alive, open_files_of
from worker import main
from worker.contract.live import LiveJobs, utc_now
from worker.contract.queues import QueueName, enqueue, queue
from worker.contract.requests import DatasetRequest
from worker.contract.resources import Kind, Manifest, RequestRecord, Status
from worker.contract.store import Store
from worker.job_process import Assignment, JobProcess

pytestmark = pytest.mark.timeout(120)


class Service:
    """A store, a queue, and the environment in which workers find them."""

    def __init__(self, redis: Redis, store: Store, live: LiveJobs) -> None:
        self.redis = redis
        self.store = store
        self.live = live

    def submit(self, **request: Any) -> str:
        """Ask for a dataset of phantoms; returns its id."""
        asked = DatasetRequest(source="phantom", **({"image_size": 16, "limit": 2} | request))
        record = RequestRecord(
            id=Kind.DATASET.new_id(), kind=Kind.DATASET, created_at=utc_now(), request=asked.model_dump(mode="json")
        )
        self.store.write_request(record)
        self.live.create(record.id, record.run)
        enqueue(self.redis, Kind.DATASET, record.id, record.run)
        return record.id

    def started(self) -> int:
        """Jobs that a worker has taken."""
        return len(queue(QueueName.PREPARE, self.redis).started_job_registry.get_job_ids(cleanup=False))

    def status(self, resource_id: str) -> tuple[Status, int]:
        """And the number of attempts."""
        state = self.live.read(resource_id)
        assert state is not None
        return state.status, state.attempt

    def end(self, resource_id: str) -> Manifest:
        eventually(lambda: self.store.read_manifest(resource_id) is not None)
        manifest = self.store.read_manifest(resource_id)
        assert manifest is not None
        return manifest

    def succeeded_at_once(self, resource_id: str) -> bool:
        manifest = self.end(resource_id)
        return (manifest.status, manifest.attempt) == (Status.SUCCEEDED, 1)


@pytest.fixture
def service(
    redis: Redis, redis_url: str, store: Store, live: LiveJobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Service:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("RAGAN_STORE", str(store.root))
    monkeypatch.setenv("RAGAN_SOURCES", str(tmp_path / "sources"))
    monkeypatch.setenv("RAGAN_PREPARE_PROCESSES", "1")
    return Service(redis, store, live)


# A worker in this process: which of its processes does what?


@pytest.fixture
def worker(service: Service) -> Iterator[main.FreshProcessWorker]:
    """A worker that is not at work yet."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield main._worker(QueueName.PREPARE, service.redis, service.store)
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Record:
    """What became of a worker's processes, by their order: the modules of each, its pid, and its job if it had one."""

    def __init__(self) -> None:
        self.modules: list[list[str]] = []
        self.pids: list[int] = []
        self.jobs: dict[int, str] = {}


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    record = Record()

    class Recorded(JobProcess):
        def __init__(self, modules: list[str]) -> None:
            super().__init__(modules)
            record.modules.append(modules)
            record.pids.append(self.pid)

        def assign(self, assignment: Assignment) -> None:
            record.jobs[self.pid] = assignment.job.partition("-")[0]
            super().assign(assignment)

    monkeypatch.setattr(main, "JobProcess", Recorded)
    return record


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`loaded(source)` puts a module in the place of the stage that processes in waiting load."""

    def put(source: str) -> None:
        (tmp_path / "modules").mkdir()
        (tmp_path / "modules" / "stage_in_waiting.py").write_text(dedent(source))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
        monkeypatch.setitem(main.STAGES, QueueName.PREPARE, "stage_in_waiting")

    return put


def work_until_the_queue_is_empty(worker: main.FreshProcessWorker) -> None:
    worker.work(burst=True, logging_level="WARNING")


def test_each_job_is_done_by_the_process_that_waited_for_it(service, worker, record):
    open_before = len(open_files_of(os.getpid()))
    first, second = service.submit(), service.submit()
    work_until_the_queue_is_empty(worker)
    assert service.succeeded_at_once(first)
    assert service.succeeded_at_once(second)
    one, two, in_waiting = record.pids
    assert len({one, two, in_waiting}) == 3
    assert record.jobs == {one: first, two: second}
    assert record.modules == [["worker.stages.prepare"]] * 3
    assert not set(record.pids) & set(children_of(os.getpid()))
    assert len(open_files_of(os.getpid())) == open_before


def test_a_waiting_worker_queues_again_what_redis_has_forgotten(service, worker):
    forgotten = service.submit()
    service.redis.flushall()
    worker.run_maintenance_tasks()
    assert len(worker.queues[0]) == 0
    worker.run_maintenance_tasks()
    assert worker.queues[0].get_job_ids() == [f"{forgotten}-1-0"]
    worker.teardown()


def test_a_worker_whose_store_is_gone_says_so_and_waits_on(service, worker, caplog):
    service.submit()
    service.redis.flushall()
    away = service.store.root.rename(service.store.root.with_name("away"))
    service.store.root.write_text("not a folder")
    worker.run_maintenance_tasks()
    assert "what Redis may have forgotten cannot be looked for now" in caplog.text
    service.store.root.unlink()
    away.rename(service.store.root)
    worker.teardown()


def test_a_request_to_stop_is_heard_though_its_exception_is_swallowed(service, worker):
    waiting = service.submit()
    with pytest.raises(StopRequested):
        worker.request_stop(signal.SIGTERM, None)
    worker.work(logging_level="WARNING")  # without an end, if it were forgotten
    assert worker.queues[0].get_job_ids() == [f"{waiting}-1-0"]


def test_a_job_is_done_where_its_stage_was_loaded(service, worker, record, loaded):
    loaded("""
        import os
        from worker import jobs
        from worker.contract.queues import connect, redis_address
        from worker.contract.settings import Settings

        redis = connect(redis_address(Settings()), patient=True)
        loaded_in = os.getpid()
        jobs.prepare_dataset = lambda resource_id, run: redis.set("done", f"{loaded_in} {os.getpid()}")
    """)
    service.submit()
    work_until_the_queue_is_empty(worker)
    assert service.redis.get("done") == b"%d %d" % (record.pids[0], record.pids[0])


def test_a_stage_that_cannot_be_loaded_is_the_jobs_own_trouble(service, worker, record, loaded, capfd):
    loaded("raise RuntimeError('of no use here')")
    job = service.submit()
    work_until_the_queue_is_empty(worker)
    assert service.succeeded_at_once(job)
    assert list(record.jobs) == record.pids[:1]
    assert "stage_in_waiting cannot be loaded" in capfd.readouterr().err


def test_as_json_each_line_of_a_jobs_process_names_the_job(service, worker, monkeypatch, capfd):
    monkeypatch.setenv("RAGAN_LOG_FORMAT", "json")
    job = service.submit()
    work_until_the_queue_is_empty(worker)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert {line["job_id"] for line in lines} == {job}
    assert lines[-1]["message"] == f"{job}: succeeded"


def test_where_loading_kills_the_next_process_loads_within_the_attempt(service, worker, record, loaded):
    loaded("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    job = service.submit()
    work_until_the_queue_is_empty(worker)
    assert service.succeeded_at_once(job)
    assert list(record.jobs.values())[-1] == job
    assert record.modules == [["stage_in_waiting"], [], ["stage_in_waiting"]]


def test_a_worker_told_to_stop_before_its_job_has_a_process_hands_it_back(service, worker):
    job_id = service.submit()
    worker.register_birth()
    job, its_queue = worker.dequeue_job_and_maintain_ttl(1)
    worker._stop_requested = True
    worker.execute_job(job, its_queue)
    assert service.status(job_id) == (Status.QUEUED, 0)
    assert queue(QueueName.PREPARE, service.redis).job_ids == [job.id]


def test_without_a_signal_from_the_kernel_the_end_of_its_input_ends_a_process_at_work(service, worker, loaded):
    loaded("""
        import time
        from worker import jobs
        from worker.contract.queues import connect, redis_address
        from worker.contract.settings import Settings

        def work_for_ever(resource_id, run):
            connect(redis_address(Settings()), patient=True).set("at work", resource_id)
            while True:
                time.sleep(60)

        jobs.prepare_dataset = work_for_ever
    """)
    service.submit()
    worker.register_birth()
    job, its_queue = worker.dequeue_job_and_maintain_ttl(1)
    worker.prepare_execution(job)
    worker.fork_work_horse(job, its_queue)
    eventually(lambda: service.redis.get("at work") is not None)
    worker._process.close()
    _, status, _ = worker.wait_for_horse()
    assert status == 0


def test_a_process_whose_worker_was_given_up_leaves_the_job_to_others(service, capfd):
    process = JobProcess([])
    process.assign(Assignment(worker="rq:worker:lost", queue="prepare", job="any", execution="any"))
    eventually(lambda: process.ended() == 1)
    assert (
        capfd.readouterr().err == "Redis does not know rq:worker:lost any more: its jobs are given to other workers.\n"
    )


# A worker in a process of its own: what becomes of the processes when one of them dies?


@pytest.fixture
def started(service: Service) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-m", "worker", "--queue", "prepare"]) as process:
        try:
            yield process
        finally:
            process.kill()


def has_begun(pid: int) -> bool:
    """Whether it runs its own program. Until then its worker waits for it, and would for ever if it were frozen."""
    try:
        return b"worker.standby" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


def process_in_waiting(worker: subprocess.Popen[bytes], after: int = 0) -> int:
    """The pid of the only process of a worker, once it is another one than `after`."""

    def only_one() -> list[int]:
        pids = children_of(worker.pid)
        return pids if len(pids) == 1 and after not in pids and has_begun(pids[0]) else []

    (pid,) = eventually(only_one)
    return int(pid)


def test_jobs_one_after_the_other_leave_nothing_behind(service, started):
    one = process_in_waiting(started)
    assert service.succeeded_at_once(service.submit())
    two = process_in_waiting(started, after=one)
    assert service.succeeded_at_once(service.submit())
    process_in_waiting(started, after=two)
    assert not is_alive(one)
    assert not is_alive(two)


def test_a_process_killed_while_it_waits_is_replaced(service, started):
    killed = process_in_waiting(started)
    os.kill(killed, signal.SIGKILL)
    process_in_waiting(started, after=killed)
    assert not is_alive(killed)
    assert service.succeeded_at_once(service.submit())


def test_a_process_killed_before_it_begins_costs_its_job_no_attempt(service, started):
    killed = process_in_waiting(started)
    os.kill(killed, signal.SIGSTOP)
    job = service.submit()
    eventually(lambda: service.started() == 1)
    os.kill(killed, signal.SIGKILL)
    assert service.redis.llen(queue(QueueName.PREPARE, service.redis).intermediate_queue_key) == 0
    assert service.succeeded_at_once(job)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_waits_on_when_its_worker_has_ended(service, started, number):
    in_waiting = process_in_waiting(started)
    started.send_signal(number)
    assert started.wait() == (-number if number == signal.SIGKILL else 0)
    eventually(lambda: not is_alive(in_waiting))


def test_no_process_works_on_when_its_worker_was_killed(service, started):
    at_work = process_in_waiting(started)
    job = service.submit(image_size=256, limit=None)
    eventually(lambda: service.status(job) == (Status.RUNNING, 1))
    started.kill()
    eventually(lambda: not is_alive(at_work))
    assert service.status(job) == (Status.RUNNING, 1)


def test_a_worker_that_is_told_to_stop_hands_the_job_in_hand_back(service, started):
    at_work = process_in_waiting(started)
    job = service.submit(image_size=256, limit=None)
    eventually(lambda: service.status(job) == (Status.RUNNING, 1))
    started.terminate()
    assert started.wait() == 0
    assert not is_alive(at_work)
    assert service.status(job) == (Status.QUEUED, 0)
