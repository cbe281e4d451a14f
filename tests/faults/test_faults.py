"""What must happen when a part of the service fails, with real processes and a real Redis: docs/reliability.md."""

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pytest
import tensorflow as tf

from machine import TRAINING_STEPS, Machine, children_of, eventually, freeze, is_alive, thaw
from worker.contract.checkpoints import latest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

TAKEOVER_SECONDS = 15.0
STOP_SECONDS = 10.0
OUTAGE_SECONDS = 30.0


def state_of(machine: Machine, training: dict[str, Any]) -> str:
    """Of all that TensorFlow wrote into the newest checkpoint: weights, averages, optimisers, seed states."""
    folder = machine.store / "trainings" / training["id"]
    record = latest(folder)
    assert record is not None
    reader = tf.train.load_checkpoint(str(folder / "checkpoints" / f"{record.step:08d}" / "state"))
    total = hashlib.sha256()
    for name in sorted(reader.get_variable_to_shape_map()):
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH":
            total.update(np.asarray(reader.get_tensor(name)).tobytes())
    return total.hexdigest()


def rows_of(machine: Machine, training: dict[str, Any]) -> str:
    return (machine.store / "trainings" / training["id"] / "metrics.jsonl").read_text()


@pytest.fixture
def running(machine: Machine) -> Machine:
    """With a front end and one worker that trains."""
    machine.start_redis()
    machine.start_api()
    machine.start_worker("train")
    return machine


def started_again(machine: Machine, training: dict[str, Any], attempt: int) -> float:
    """Seconds until a further attempt takes its first step."""
    began, step = time.monotonic(), 0

    def goes_on() -> bool:
        now = machine.get(training)
        assert now["status"] in ("queued", "running", "succeeded"), now
        return now["attempt"] >= attempt and (now["status"] == "succeeded" or now["progress"]["done"] > step)

    eventually(goes_on)
    return time.monotonic() - began


def test_a_killed_training_ends_as_if_it_had_not_been(running, measured):
    dataset = running.prepare()
    undisturbed = running.train(dataset)
    disturbed = running.train(dataset)
    running.wait_for(undisturbed)

    running.wait_for_step(disturbed, 25)
    os.kill(running.job_process_of(disturbed), signal.SIGKILL)
    seconds = started_again(running, disturbed, 2)
    measured("kill -9 of a training: the next attempt runs", seconds)

    running.wait_for_step(disturbed, 60)
    scratch = running.store / ".scratch"
    eventually(lambda: list(scratch.glob(f"{disturbed['id']}.*/checkpoint/*")))
    os.kill(running.job_process_of(disturbed), signal.SIGKILL)

    ended = running.wait_for(disturbed)
    assert ended["attempt"] == 3
    assert state_of(running, disturbed) == state_of(running, undisturbed)
    assert rows_of(running, disturbed) == rows_of(running, undisturbed)
    assert seconds < TAKEOVER_SECONDS


def test_another_worker_takes_over_from_a_killed_one(running, measured):
    dataset = running.prepare()
    undisturbed = running.train(dataset)
    running.wait_for(undisturbed)
    (worker,) = (process for process in running.processes if "train" in process.args)
    disturbed = running.train(dataset)
    running.wait_for_step(disturbed, 25)
    orphan = running.job_process_of(disturbed)
    running.start_worker("train")

    worker.kill()
    eventually(lambda: not is_alive(orphan), STOP_SECONDS)
    seconds = started_again(running, disturbed, 2)
    measured("kill -9 of a worker: another one goes on", seconds)
    assert running.wait_for(disturbed)["attempt"] == 2
    assert state_of(running, disturbed) == state_of(running, undisturbed)


def test_a_worker_that_is_told_to_stop_hands_its_job_back(running, measured):
    dataset = running.prepare()
    training = running.train(dataset, steps=100_000)
    running.wait_for_step(training, 25)
    (worker,) = (process for process in running.processes if "train" in process.args)

    began = time.monotonic()
    worker.terminate()
    worker.wait(timeout=60)
    seconds = time.monotonic() - began
    measured("SIGTERM of a worker in the middle of a training: it has left", seconds)
    now = running.get(training)
    assert (now["status"], now["attempt"]) == ("queued", 0)
    assert latest(running.store / "trainings" / training["id"]).step >= 25
    assert seconds < STOP_SECONDS


def test_a_frozen_worker_that_wakes_up_too_late_leaves_without_a_trace(running, measured):
    dataset = running.prepare()
    undisturbed = running.train(dataset, steps=600)
    running.wait_for(undisturbed)
    (worker,) = (process for process in running.processes if "train" in process.args)
    disturbed = running.train(dataset, steps=600)
    running.wait_for_step(disturbed, 25)
    stale = running.job_process_of(disturbed)
    running.start_worker("train")

    freeze(worker.pid, stale)
    measured("a frozen worker: another one goes on", started_again(running, disturbed, 2))
    thaw(stale, worker.pid)
    eventually(lambda: not is_alive(stale))
    assert running.wait_for(disturbed)["attempt"] == 2
    assert worker.poll() is None
    assert state_of(running, disturbed) == state_of(running, undisturbed)
    assert rows_of(running, disturbed) == rows_of(running, undisturbed)


def test_nothing_that_was_acknowledged_is_lost_with_a_killed_redis(machine, measured):
    redis = machine.start_redis()
    machine.start_api()
    machine.start_worker("train")
    dataset = machine.prepare()
    first = machine.train(dataset)
    waiting = [machine.train(dataset, steps=20) for _ in range(5)]
    keyed = {"url": "/v1/datasets", "json": {"source": "phantom"}, "headers": {"Idempotency-Key": "a-clients-own-key"}}
    made = machine.http.post(**keyed)
    assert made.status_code == httpx.codes.ACCEPTED, made.text
    machine.wait_for_step(first, 25)

    redis.kill()
    redis.wait()
    gone = time.monotonic()
    refused = machine.http.post("/v1/trainings", json={"dataset": dataset["id"]})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert machine.http.get(dataset["links"]["self"]).json()["status"] == "succeeded"
    time.sleep(max(0.0, gone + OUTAGE_SECONDS - time.monotonic()))
    machine.start_redis()

    began = time.monotonic()
    assert machine.http.post(**keyed).json()["id"] == made.json()["id"]
    for training in (first, *waiting):
        assert machine.wait_for(training)["attempt"] == 1
    measured("kill -9 of Redis, started again after 30 s: all six trainings have ended", time.monotonic() - began)
    ids = [event["id"] for event in machine.events_of(first)]
    assert ids == sorted(set(ids), key=lambda each: tuple(map(int, each.split("-"))))
    assert [event["type"] for event in machine.events_of(first)].count("checkpoint") == TRAINING_STEPS // 10


def test_a_redis_that_lost_everything_learns_from_the_store_what_is_to_be_done(machine, measured):
    redis = machine.start_redis()
    machine.start_api()
    machine.start_worker("train")
    dataset = machine.prepare()
    undisturbed = machine.train(dataset, steps=600)
    machine.wait_for(undisturbed)
    at_work = machine.train(dataset, steps=600)
    waiting = machine.train(dataset, steps=20)
    machine.wait_for_step(at_work, 25)

    redis.kill()
    redis.wait()
    shutil.rmtree(machine.root / "redis")
    machine.start_redis()
    began = time.monotonic()
    assert machine.wait_for(waiting)
    measured("Redis data gone: what had waited has ended", time.monotonic() - began)
    machine.wait_for(at_work)
    assert state_of(machine, at_work) == state_of(machine, undisturbed)
    listed = machine.http.get("/v1/trainings").json()["data"]
    assert [each["id"] for each in listed] == [waiting["id"], at_work["id"], undisturbed["id"]]
    workers = machine.http.get("/v1/workers").json()["data"]
    assert [worker["queues"] for worker in workers] == [["train"]]


def watched(machine: Machine, resource: dict[str, Any], after: str) -> Iterator[str]:
    """The ids of a job's events, as they come, to the end of the stream or of the front end."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": after}
    with (
        suppress(httpx.TransportError),
        machine.http.stream("GET", resource["links"]["events"], headers=headers) as stream,
    ):
        yield from (line.removeprefix("id: ") for line in stream.iter_lines() if line.startswith("id: "))


def test_a_killed_front_end_disturbs_no_job_and_whoever_watches_it_misses_nothing(machine, measured):
    machine.start_redis()
    api = machine.start_api()
    machine.start_worker("train")
    training = machine.train(machine.prepare())
    machine.wait_for_step(training, 25)

    seen = []
    for identifier in watched(machine, training, "0-0"):
        seen.append(identifier)
        if len(seen) == 10:
            api.kill()
            api.wait()
    began = time.monotonic()
    machine.start_api()
    measured("kill -9 of the front end, started again: it answers", time.monotonic() - began)
    seen += watched(machine, training, seen[-1])
    assert seen == [event["id"] for event in machine.events_of(training)]
    assert machine.wait_for(training)["attempt"] == 1


POISON = """
import os
from typing import ClassVar
from worker.models.base import CommonHyperparameters
from worker.models.minuscule28 import Minuscule28

class Poison(Minuscule28):
    name = "poison"
    def step(self, networks, batch, hyperparameters):
        {statement}
"""


def install(machine: Machine, monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    """A family from a package of its own whose steps do nothing but that."""
    site = machine.root / "site"
    metadata = site / "poison-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "poison.py").write_text(POISON.format(statement=statement))
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: poison\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[ragan.models]\npoison = poison:Poison\n")
    monkeypatch.setenv("PYTHONPATH", str(site))


@pytest.mark.parametrize(
    ("statement", "problem", "told"),
    [
        ("os._exit(3)", "/problems/worker-died", "died 3 times"),
        (
            "import tensorflow; raise tensorflow.errors.ResourceExhaustedError(None, None, 'OOM when allocating')",
            "/problems/device-memory-exhausted",
            "A batch of 4 does not fit",
        ),
    ],
)
def test_a_job_that_cannot_be_done_fails_and_the_next_one_is_done(machine, monkeypatch, statement, problem, told):
    install(machine, monkeypatch, statement)
    machine.start_redis()
    machine.start_api()
    worker = machine.start_worker("train")
    dataset = machine.prepare()
    poisoned = machine.train(dataset, model={"family": "poison", "hyperparameters": {"width": 0.05}})
    following = machine.train(dataset, steps=2)
    machine.wait_for(following)
    failed = eventually(lambda: now if (now := machine.get(poisoned))["status"] == "failed" else None)
    assert (failed["status"], failed["error"]["type"]) == ("failed", problem)
    assert told in failed["error"]["detail"]
    assert worker.poll() is None


def test_of_two_clients_one_wins_and_the_other_is_told(running):
    dataset = running.prepare()
    training = running.train(dataset, steps=100_000)
    running.wait_for_step(training, 5)
    worker_pid = running.job_process_of(training)
    path = training["links"]["self"]
    answers = [running.http.post(f"{path}/cancel").status_code for _ in range(2)]
    assert answers == [202, 202]
    running.wait_for(training, "canceled")
    assert running.http.post(f"{path}/cancel").status_code == 409
    eventually(lambda: not is_alive(worker_pid) or worker_pid not in children_of(worker_pid))
    assert running.http.delete(path).status_code == 204
    assert running.http.delete(path).status_code == 404
