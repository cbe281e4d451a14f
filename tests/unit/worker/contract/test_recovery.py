"""What Redis has forgotten is queued again, and nothing else."""

import pytest
from redis import Redis

from worker.contract.live import LiveJobs, utc_now
from worker.contract.queues import QueueName, connect, enqueue, queue
from worker.contract.recovery import SERVER_KEY, Recovery
from worker.contract.resources import Kind, Manifest, RequestRecord, Status
from worker.contract.store import Store


@pytest.fixture
def recovery(redis: Redis, store: Store, live: LiveJobs) -> Recovery:
    return Recovery(redis, store, live)


def requested(store: Store, kind: Kind = Kind.TRAINING, run: int = 1) -> RequestRecord:
    record = RequestRecord(id=kind.new_id(), kind=kind, created_at=utc_now(), run=run, request={})
    store.write_request(record)
    return record


def end(store: Store, record: RequestRecord, run: int | None = None) -> None:
    store.write_manifest(
        Manifest(
            id=record.id,
            kind=record.kind,
            run=record.run if run is None else run,
            status=Status.SUCCEEDED,
            started_at=None,
            finished_at=utc_now(),
            attempt=1,
            progress=None,
            result=None,
            error=None,
            versions={},
        )
    )


def waiting(redis: Redis, name: QueueName) -> list[str]:
    return queue(name, redis).get_job_ids()


def test_jobs_that_an_emptied_redis_forgot_wait_again_in_the_order_they_came(redis, store, live, recovery):
    first, second = requested(store), requested(store)
    drawn, done = requested(store, Kind.GENERATION), requested(store)
    end(store, done)

    assert recovery.tend() == []
    assert sorted(recovery.tend()) == sorted([first.id, second.id, drawn.id])
    assert waiting(redis, QueueName.TRAIN) == [f"{first.id}-1-0", f"{second.id}-1-0"]
    assert waiting(redis, QueueName.GENERATE) == [f"{drawn.id}-1-0"]
    assert live.read(first.id).status is Status.QUEUED
    assert live.read(done.id) is None


def test_a_resumed_training_that_was_forgotten_goes_on_with_its_newest_run(redis, store, live, recovery):
    record = requested(store, run=2)
    end(store, record, run=1)
    recovery.tend()
    assert recovery.tend() == [record.id]
    assert waiting(redis, QueueName.TRAIN) == [f"{record.id}-2-0"]


def test_what_redis_still_knows_is_left_alone(redis, store, live, recovery):
    queued, drawing = requested(store), requested(store, Kind.GENERATION)
    for record in (queued, drawing):
        live.create(record.id, record.run)
    enqueue(redis, queued.kind, queued.id, queued.run)
    enqueue(redis, drawing.kind, drawing.id, drawing.run, turn=3)
    assert recovery.tend() == recovery.tend() == []
    assert waiting(redis, QueueName.TRAIN) == [f"{queued.id}-1-0"]


def test_a_job_whose_entry_alone_is_lost_keeps_its_attempts(redis, store, live, recovery):
    record = requested(store)
    live.create(record.id, record.run)
    live.move(record.id, record.run, Status.RUNNING)
    recovery.tend()
    assert recovery.tend() == [record.id]
    assert live.read(record.id).attempt == 1


def test_a_job_that_was_only_on_its_way_at_the_first_look_is_not_queued_twice(redis, store, live, recovery):
    record = requested(store)
    recovery.tend()
    live.create(record.id, record.run)
    enqueue(redis, record.kind, record.id, record.run)
    assert recovery.tend() == []
    assert waiting(redis, QueueName.TRAIN) == [f"{record.id}-1-0"]


def test_the_store_is_looked_through_once_for_each_start_of_redis(redis, store, live, recovery):
    recovery.tend()
    recovery.tend()
    late = requested(store)
    assert recovery.tend() == recovery.tend() == []
    redis.set(SERVER_KEY, "the one before")
    recovery.tend()
    assert recovery.tend() == [late.id]


def test_a_look_from_before_the_data_was_lost_counts_for_nothing(redis, store, live, recovery):
    earlier = requested(store)
    recovery.tend()
    enqueue(redis, earlier.kind, earlier.id, earlier.run)
    redis.flushall()
    later = requested(store)
    first, second = recovery.tend(), recovery.tend()
    assert sorted(first + second) == sorted([earlier.id, later.id])
    assert later.id in second


def test_of_two_workers_one_queues_again(redis, redis_url, store, live, recovery):
    record = requested(store)
    with connect(redis_url, patient=False) as other_connection:
        other = Recovery(other_connection, store, live)
        for worker in (recovery, other):
            assert worker.tend() == []
        assert [recovery.tend(), other.tend()] == [[record.id], []]
    assert waiting(redis, QueueName.TRAIN) == [f"{record.id}-1-0"]
