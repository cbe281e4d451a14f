"""Two clients and a worker at the same resources, in whatever order, and at once: every answer is the contract's.

What the contract says is written down once more here, in a few lines without queue, lock or disk.
"""

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations_with_replacement
from typing import Any

import httpx
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from redis import Redis

from ended import checkpoint_file
from worker.contract.errors import WrongState
from worker.contract.live import LiveJobs
from worker.contract.resources import Kind, Live, Progress, Status
from worker.contract.store import Store

ACCEPTED, DELETED, MISSING, REFUSED, IMPOSSIBLE = 202, 204, 404, 409, 422
STEPS, CHECKPOINT_STEP = 30, 10
TERMINAL = (Status.SUCCEEDED, Status.FAILED, Status.CANCELED)
STEPS_OF_AN_EXAMPLE = 30
RACES = 2


@dataclass(frozen=True)
class Job:
    """What the contract says of one resource; without a status once it is deleted."""

    status: Status | None
    run: int = 1
    attempt: int = 0
    made_from: str | None = None
    steps: int = STEPS
    has_checkpoint: bool = False


def canceled(job: Job) -> tuple[int, Job]:
    if job.status is None:
        return MISSING, job
    if job.status in TERMINAL:
        return REFUSED, job
    return ACCEPTED, replace(job, status=Status.CANCELED if job.status is Status.QUEUED else Status.CANCELING)


def deleted(job: Job) -> tuple[int, Job]:
    if job.status is None:
        return MISSING, job
    return (DELETED, replace(job, status=None)) if job.status in TERMINAL else (REFUSED, job)


def resumed(job: Job, steps: int | None = None) -> tuple[int, Job]:
    if job.status is None:
        return MISSING, job
    if job.status not in TERMINAL:
        return REFUSED, job
    total = steps or job.steps
    if job.has_checkpoint and total <= CHECKPOINT_STEP:
        return IMPOSSIBLE, job
    return ACCEPTED, replace(job, status=Status.QUEUED, run=job.run + 1, attempt=0, steps=total)


class StandInWorker:
    """Moves jobs as a worker does, and does not do the work."""

    def __init__(self, store: Store, live: LiveJobs) -> None:
        self._store = store
        self._live = live

    def start(self, job: str) -> None:
        self._move(job, Status.RUNNING)

    def hand_back(self, job: str) -> None:
        self._move(job, Status.QUEUED)

    def report(self, job: str, done: int) -> None:
        progress = Progress(phase="train", done=done, total=STEPS, unit="steps")
        self._live.report(job, self._state(job).epoch, progress)

    def save(self, training: str) -> None:
        """A checkpoint, as far as the front end looks at it."""
        name, content = checkpoint_file(CHECKPOINT_STEP, Kind.DATASET.new_id())
        self._store.publish_bytes(content, training, name)

    def finish(self, job: str, status: Status) -> None:
        error = WrongState("It went wrong.").problem() if status is Status.FAILED else None
        record, state = self._store.read_request(job), self._state(job)
        self._live.finish(record, state, status, progress=state.progress, result={}, error=error, versions={})

    def _move(self, job: str, to: Status) -> None:
        self._live.move(job, self._store.read_request(job).run, to)

    def _state(self, job: str) -> Live:
        state = self._live.read(job)
        assert state is not None
        return state


@pytest.fixture
def worker(store: Store, live: LiveJobs) -> StandInWorker:
    return StandInWorker(store, live)


@pytest.fixture
def clients(url: str) -> Iterator[list[httpx.Client]]:
    with httpx.Client(base_url=url, timeout=30) as one, httpx.Client(base_url=url, timeout=30) as other:
        yield [one, other]


def path_of(job: str) -> str:
    return f"/v1/{Kind.of(job).collection}/{job}"


class TwoClients(RuleBasedStateMachine):
    """Does something, and compares the answer, and what the other client then sees, with what the contract says."""

    clients: list[httpx.Client]
    worker: StandInWorker
    store: Store
    redis: Redis

    @initialize()
    def begin_with_a_dataset_and_a_training_on_it(self) -> None:
        self.redis.flushall()
        for kind in Kind:
            shutil.rmtree(self.store.root / kind.collection, ignore_errors=True)
        self.jobs: dict[str, Job] = {}
        self.submit_a_dataset(0)
        (dataset,) = self.jobs
        self.worker.start(dataset)
        self.worker.finish(dataset, Status.SUCCEEDED)
        self.jobs[dataset] = Job(Status.SUCCEEDED, attempt=1)
        self.train(1, dataset)

    def some(self, data: st.DataObject, *kinds: Kind) -> str:
        """One of the resources of these kinds, deleted ones too."""
        return data.draw(st.sampled_from([job for job in self.jobs if Kind.of(job) in kinds]))

    def having(self, *statuses: Status) -> list[str]:
        return [job for job, expected in self.jobs.items() if expected.status in statuses]

    def has(self, kind: Kind) -> bool:
        return any(Kind.of(job) is kind for job in self.jobs)

    def below(self, job: str) -> list[str]:
        """All that was made from a resource, and from that, and is still there."""
        made = [each for each, known in self.jobs.items() if known.made_from == job and known.status]
        return made + [each for one in made for each in self.below(one)]

    def ask(self, client: int, method: str, path: str, expected: int, body: Any = None) -> httpx.Response:
        answer = self.clients[client].request(method, path, json=body)
        assert answer.status_code == expected, (method, path, answer.text)
        return answer

    def agree(self, client: int, *jobs: str) -> None:
        """What this client sees of these resources is what is expected."""
        for job in jobs:
            expected = self.jobs[job]
            seen = self.ask(client, "GET", path_of(job), 200 if expected.status else MISSING).json()
            if expected.status:
                assert (seen["status"], seen["attempt"]) == (expected.status, expected.attempt)
                assert (seen["error"] is not None) == (expected.status is Status.FAILED)
                assert (seen["finished_at"] is not None) == (expected.status in TERMINAL)
                assert Kind.of(job) is not Kind.TRAINING or seen["request"]["steps"] == expected.steps

    def submit(self, client: int, kind: Kind, body: dict[str, Any], made_from: str | None, expected: int) -> None:
        answer = self.ask(client, "POST", f"/v1/{kind.collection}", expected, body)
        if expected == ACCEPTED:
            self.jobs[answer.json()["id"]] = Job(Status.QUEUED, made_from=made_from)
            self.agree(1 - client, answer.json()["id"])

    def train(self, client: int, dataset: str) -> None:
        expected = {None: MISSING, Status.SUCCEEDED: ACCEPTED}.get(self.jobs[dataset].status, REFUSED)
        body = {"dataset": dataset, "model": {"family": "tiny16"}, "steps": STEPS}
        self.submit(client, Kind.TRAINING, body, dataset, expected)

    a_client = st.integers(0, 1)

    @rule(client=a_client)
    def submit_a_dataset(self, client: int) -> None:
        self.submit(client, Kind.DATASET, {"source": "clinic", "image_size": 16}, None, ACCEPTED)

    @precondition(lambda self: self.has(Kind.DATASET))
    @rule(client=a_client, data=st.data())
    def submit_a_training(self, client: int, data: st.DataObject) -> None:
        self.train(client, self.some(data, Kind.DATASET))

    @precondition(lambda self: self.has(Kind.TRAINING))
    @rule(client=a_client, data=st.data())
    def submit_a_generation(self, client: int, data: st.DataObject) -> None:
        training = self.some(data, Kind.TRAINING)
        job = self.jobs[training]
        expected = MISSING if job.status is None else ACCEPTED if job.has_checkpoint else REFUSED
        self.submit(client, Kind.GENERATION, {"training": training}, training, expected)

    @precondition(lambda self: self.jobs)
    @rule(client=a_client, data=st.data())
    def cancel(self, client: int, data: st.DataObject) -> None:
        job = self.some(data, *Kind)
        expected, self.jobs[job] = canceled(self.jobs[job])
        self.ask(client, "POST", f"{path_of(job)}/cancel", expected)
        self.agree(1 - client, job)

    @precondition(lambda self: self.has(Kind.TRAINING))
    @rule(client=a_client, data=st.data(), steps=st.sampled_from([None, CHECKPOINT_STEP, STEPS + 10]))
    def resume(self, client: int, data: st.DataObject, steps: int | None) -> None:
        job = self.some(data, Kind.TRAINING)
        expected, self.jobs[job] = resumed(self.jobs[job], steps)
        self.ask(client, "POST", f"{path_of(job)}/resume", expected, {"steps": steps})
        self.agree(1 - client, job)

    @precondition(lambda self: self.jobs)
    @rule(client=a_client, data=st.data(), cascade=st.booleans())
    def delete(self, client: int, data: st.DataObject, cascade: bool) -> None:
        job = self.some(data, *Kind)
        below = self.below(job)
        answers = {each: deleted(self.jobs[each]) for each in [job, *(below if cascade else ())]}
        expected = answers[job][0]
        if expected == DELETED and (any(code == REFUSED for code, _ in answers.values()) or (below and not cascade)):
            expected = REFUSED
        if expected == DELETED:
            self.jobs |= {each: after for each, (_, after) in answers.items()}
        self.ask(client, "DELETE", f"{path_of(job)}?cascade={str(cascade).lower()}", expected)
        self.agree(1 - client, *answers)

    @precondition(lambda self: self.having(Status.QUEUED))
    @rule(client=a_client, data=st.data())
    def start(self, client: int, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.having(Status.QUEUED)))
        self.worker.start(job)
        self.jobs[job] = replace(self.jobs[job], status=Status.RUNNING, attempt=self.jobs[job].attempt + 1)
        self.agree(client, job)

    @precondition(lambda self: self.having(Status.RUNNING))
    @rule(client=a_client, data=st.data())
    def hand_back(self, client: int, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.having(Status.RUNNING)))
        self.worker.hand_back(job)
        self.jobs[job] = replace(self.jobs[job], status=Status.QUEUED, attempt=self.jobs[job].attempt - 1)
        self.agree(client, job)

    @precondition(lambda self: self.having(Status.RUNNING, Status.CANCELING))
    @rule(client=a_client, data=st.data(), done=st.integers(0, STEPS))
    def report_progress(self, client: int, data: st.DataObject, done: int) -> None:
        job = data.draw(st.sampled_from(self.having(Status.RUNNING, Status.CANCELING)))
        self.worker.report(job, done)
        assert self.ask(client, "GET", path_of(job), 200).json()["progress"]["done"] == done
        if Kind.of(job) is Kind.TRAINING and done >= CHECKPOINT_STEP:
            self.worker.save(job)
            self.jobs[job] = replace(self.jobs[job], has_checkpoint=True)
        self.agree(client, job)

    @precondition(lambda self: self.having(Status.RUNNING, Status.CANCELING))
    @rule(client=a_client, data=st.data(), status=st.sampled_from(TERMINAL))
    def finish(self, client: int, data: st.DataObject, status: Status) -> None:
        job = data.draw(st.sampled_from(self.having(Status.RUNNING, Status.CANCELING)))
        self.worker.finish(job, status)
        self.jobs[job] = replace(self.jobs[job], status=status)
        self.agree(client, job)

    def teardown(self) -> None:
        for kind in Kind:
            listed = self.ask(0, "GET", f"/v1/{kind.collection}?limit=200", 200).json()["data"]
            there = {job: known.status for job, known in self.jobs.items() if known.status and Kind.of(job) is kind}
            assert [(each["id"], each["status"]) for each in listed] == sorted(there.items(), reverse=True)


def test_whatever_two_clients_and_a_worker_do_every_answer_is_the_contracts(clients, worker, store, redis, family):
    def machine() -> TwoClients:
        made = TwoClients()
        made.clients, made.worker, made.store, made.redis = clients, worker, store, redis
        return made

    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=max(1, hypothesis_settings().max_examples // 10),
            stateful_step_count=STEPS_OF_AN_EXAMPLE,
        ),
    )


VERBS: dict[str, Callable[[Job], tuple[int, Job]]] = {"cancel": canceled, "resume": resumed, "delete": deleted}


def request(client: httpx.Client, verb: str, job: str) -> httpx.Response:
    if verb == "delete":
        return client.delete(path_of(job))
    return client.post(f"{path_of(job)}/{verb}")


def at_once(*doings: Callable[[], Any]) -> list[Any]:
    """Does several things, all at the same moment; returns what each gave."""
    together = threading.Barrier(len(doings))

    def one(doing: Callable[[], Any]) -> Any:
        together.wait()
        return doing()

    with ThreadPoolExecutor(len(doings)) as threads:
        return list(threads.map(one, doings))


@pytest.fixture
def training_that_is(clients, dataset, family, worker) -> Callable[[Status], str]:
    """Makes trainings that stand at a status."""

    def make(status: Status) -> str:
        body = {"dataset": dataset, "model": {"family": "tiny16"}, "steps": STEPS}
        training: str = clients[0].post("/v1/trainings", json=body).json()["id"]
        if status is not Status.QUEUED:
            worker.start(training)
        if status is Status.CANCELING:
            clients[0].post(f"{path_of(training)}/cancel")
        if status in TERMINAL:
            worker.finish(training, status)
        return training

    return make


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("verbs", [list(pair) for pair in combinations_with_replacement(VERBS, 2)], ids="+".join)
def test_of_two_clients_at_once_one_comes_first_and_the_other_is_answered_by_what_it_made(
    clients, training_that_is, store, worker, status, verbs
):
    def in_order(first: int) -> tuple[list[int], Status | None]:
        """The answers, and what becomes of it, if this client comes first."""
        second = 1 - first
        codes = [0, 0]
        codes[first], between = VERBS[verbs[first]](Job(status))
        codes[second], after = VERBS[verbs[second]](between)
        return codes, after.status

    for _ in range(RACES):
        training = training_that_is(status)
        asking = [partial(request, clients[client], verbs[client], training) for client in range(2)]
        codes = [answer.status_code for answer in at_once(*asking)]
        seen = clients[0].get(path_of(training)).json()
        left = None if seen["status"] == MISSING else Status(seen["status"])
        assert (codes, left) in [in_order(first) for first in range(2)]
        assert store.folder(training).exists() == (left is not None)
        if left is Status.QUEUED:
            worker.start(training)


@pytest.mark.parametrize("status", [Status.RUNNING, Status.CANCELING])
@pytest.mark.parametrize("verb", VERBS)
def test_a_client_that_comes_at_once_with_the_end_of_a_job_comes_before_or_after_it(
    clients, training_that_is, store, worker, status, verb
):
    asked_before, _ = VERBS[verb](Job(status))
    asked_after, then = VERBS[verb](Job(Status.SUCCEEDED))
    for _ in range(3 * RACES):
        training = training_that_is(status)
        answer, _ = at_once(
            partial(request, clients[0], verb, training), partial(worker.finish, training, Status.SUCCEEDED)
        )
        seen = clients[1].get(path_of(training)).json()
        left = None if seen["status"] == MISSING else Status(seen["status"])
        assert (answer.status_code, left) in [(asked_before, Status.SUCCEEDED), (asked_after, then.status)]
        assert store.folder(training).exists() == (left is not None)
        if left is Status.QUEUED:
            worker.start(training)
