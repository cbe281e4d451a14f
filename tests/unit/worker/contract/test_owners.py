from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rq.exceptions import DequeueTimeout
from rq.serializers import JSONSerializer

from worker.contract import owners
from worker.contract.queues import AllowListedJob, FairQueue, QueueName, ask_about, enqueue, queue, rq_job_id
from worker.contract.requests import TrainingRequest
from worker.contract.resources import Kind


@pytest.fixture
def wait(redis):
    """Queues a training of an owner, under a name of ours; `order` tells who waits, by these names."""
    names = {}

    def queued(owner, name, kind=Kind.TRAINING, turn=0):
        resource_id = names.setdefault(name, kind.new_id())
        enqueue(redis, kind, resource_id, 1, turn, owner=None if turn else owner)
        return resource_id

    def order(kind=QueueName.TRAIN):
        known = {resource_id: name for name, resource_id in names.items()}
        return [known.get(each.partition("-")[0], "?") for each in queue(kind, redis).get_job_ids()]

    return SimpleNamespace(queued=queued, order=order)


def test_one_owner_s_jobs_wait_in_the_order_they_came(wait):
    for name in ("a1", "a2", "a3"):
        wait.queued("ada", name)
    assert wait.order() == ["a1", "a2", "a3"]


def test_many_jobs_of_one_do_not_starve_another_s_one(wait, redis):
    for index in range(200):
        wait.queued("ada", f"a{index}")
    one = wait.queued("ben", "b0")
    assert wait.order()[:4] == ["a0", "b0", "a1", "a2"]
    assert queue(QueueName.TRAIN, redis).get_job_position(rq_job_id(one, 1)) == 1
    assert len(wait.order()) == 201


def test_owners_take_turns_and_a_newcomer_joins_the_end_of_the_round(wait):
    for name in ("a0", "a1", "a2", "b0", "b1", "c0", "b2", "c1", "a3"):
        wait.queued(name[0], name)
    assert wait.order() == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_long_generation_waits_for_its_next_turn_among_its_owner_s(wait):
    for index in range(5):
        wait.queued("ada", f"a{index}", Kind.GENERATION)
    wait.queued("ben", "b0", Kind.GENERATION)
    wait.queued("ben", "b0", Kind.GENERATION, turn=1)
    assert wait.order(QueueName.GENERATE) == ["a0", "b0", "a1", "b0", "a2", "a3", "a4"]


def test_what_has_no_owner_keeps_its_place(wait, redis):
    wait.queued(None, "x0")
    wait.queued(None, "x1")
    for name in ("a0", "a1", "b0"):
        wait.queued(name[0], name)
    wait.queued(None, "x2")
    assert wait.order() == ["x0", "x1", "a0", "b0", "a1", "x2"]


def test_a_question_stays_before_all_that_waits(wait, redis):
    for name in ("a0", "a1"):
        wait.queued(name[0], name, Kind.GENERATION)
    ask_about(redis, TrainingRequest(dataset=Kind.DATASET.new_id()))
    wait.queued("ben", "b0", Kind.GENERATION)
    assert wait.order(QueueName.GENERATE) == ["?", "a0", "b0", "a1"]


def test_a_job_that_a_worker_has_taken_is_not_put_back(wait, redis, monkeypatch):
    for name in ("a0", "a1"):
        wait.queued("ada", name)
    taken = Kind.TRAINING.new_id()
    owners.count(redis, "ben", taken)
    trainings = queue(QueueName.TRAIN, redis)
    monkeypatch.setattr("worker.contract.owners._first_of_a_later_round", lambda *_: trainings.job_ids[1])
    owners.take_turns(redis, trainings.key, rq_job_id(taken, 1))
    assert wait.order() == ["a0", "a1"]


def test_a_job_is_not_lost_when_the_one_it_is_put_before_is_taken(wait, redis, monkeypatch):
    gone = rq_job_id(Kind.TRAINING.new_id(), 1)
    answers = [gone, gone, None]
    monkeypatch.setattr("worker.contract.owners._first_of_a_later_round", lambda *_: answers.pop(0))
    owners.count(redis, "cleo", Kind.TRAINING.new_id())
    wait.queued("ben", "b0")
    assert wait.order() == ["b0"]
    assert answers == []


@pytest.fixture
def worker(redis):
    """Takes trainings as a worker does; each is at work until it is `end`ed."""
    trainings = queue(QueueName.TRAIN, redis)

    def take():
        taken = FairQueue.dequeue_any([trainings], None, redis, AllowListedJob, JSONSerializer)
        return taken and taken[0].id.partition("-")[0]

    def end(resource_id):
        redis.lrem(trainings.intermediate_queue_key, 1, rq_job_id(resource_id, 1))

    return SimpleNamespace(take=take, end=end)


def test_what_an_owner_has_above_the_limit_waits_and_others_pass_it(wait, worker, redis):
    owners.limit_running(redis, "ada", 2)
    ada = [wait.queued("ada", f"a{index}") for index in range(4)]
    ben, nobody = wait.queued("ben", "b0"), wait.queued(None, "x0")
    assert [worker.take() for _ in range(5)] == [ada[0], ben, ada[1], nobody, None]
    assert wait.order() == ["a2", "a3"]
    worker.end(ada[0])
    assert [worker.take() for _ in range(2)] == [ada[2], None]
    owners.limit_running(redis, "ada", None)
    assert worker.take() == ada[3]


def test_what_rq_says_is_at_work_counts_in_whatever_queue(wait, worker, redis):
    owners.limit_running(redis, "ada", 1)
    drawn = wait.queued("ada", "a0", Kind.GENERATION)
    registry = queue(QueueName.GENERATE, redis).started_job_registry
    redis.zadd(registry.key, {f"{rq_job_id(drawn, 1)}:execution": 1e12})
    trained = wait.queued("ada", "a1")
    assert worker.take() is None
    redis.delete(registry.key)
    assert worker.take() == trained


def test_the_next_turn_of_what_is_at_work_is_not_one_more(wait, redis):
    owners.limit_running(redis, "ada", 1)
    drawn = wait.queued("ada", "a0", Kind.GENERATION)
    generations = queue(QueueName.GENERATE, redis)
    redis.zadd(generations.started_job_registry.key, {f"{rq_job_id(drawn, 1)}:execution": 1e12})
    wait.queued("ada", "a0", Kind.GENERATION, turn=1)
    assert FairQueue.lmove(redis, generations.key, None) == (generations.key, rq_job_id(drawn, 1).encode())
    assert FairQueue.lmove(redis, generations.key, None) == (generations.key, rq_job_id(drawn, 1, 1).encode())


def test_of_workers_that_take_at_once_none_takes_too_much(wait, worker, redis):
    owners.limit_running(redis, "ada", 3)
    for index in range(20):
        wait.queued("ada", f"a{index}")
    with ThreadPoolExecutor(8) as workers:
        taken = list(workers.map(lambda _: worker.take(), range(16)))
    assert len(set(taken) - {None}) == 3


def test_a_worker_that_waits_takes_the_first_that_may_start(wait, redis):
    owners.limit_running(redis, "ada", 1)
    trainings = queue(QueueName.TRAIN, redis)
    wait.queued("ada", "a0")
    FairQueue.lmove(redis, trainings.key, None)
    with ThreadPoolExecutor() as workers:
        waiting = workers.submit(FairQueue.lmove, redis, trainings.key, 20)
        wait.queued("ada", "a1")
        ben = wait.queued("ben", "b0")
        assert waiting.result() == (trainings.key, rq_job_id(ben, 1).encode())
    assert wait.order() == ["a1"]
    for _ in ("what waits has to wait on", "nothing waits"):
        with pytest.raises(DequeueTimeout):
            FairQueue.lmove(redis, trainings.key, 0.1)
        redis.delete(trainings.key)


@given(st.lists(st.sampled_from("abcd"), max_size=40))
def test_rounds_are_whole_whoever_comes_when(coming):
    waiting, of = [], {}
    for number, owner in enumerate(coming):
        entry = f"{number}-1-0"
        of[str(number)] = owner
        waiting.append(entry)
        later = owners._first_of_a_later_round(entry, waiting, of)
        if later is not None:
            waiting.insert(waiting.index(later), waiting.pop())
    seen, rounds = Counter(), []
    for entry in waiting:
        owner = of[entry.partition("-")[0]]
        rounds.append((seen[owner], int(entry.partition("-")[0])))
        seen[owner] += 1
    assert rounds == sorted(rounds)
