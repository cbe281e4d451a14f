import json

import pytest
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from worker.contract.errors import MalformedRequest
from worker.contract.queues import (
    ANSWER_SECONDS,
    ROUTES,
    AllowListedJob,
    QueueName,
    ask_about,
    enqueue,
    queue,
    rq_job_id,
)
from worker.contract.requests import TrainingRequest
from worker.contract.resources import Kind


@pytest.mark.parametrize("kind", Kind)
def test_work_waits_as_json_in_the_queue_of_its_kind(redis, kind):
    resource = kind.new_id()
    enqueue(redis, kind, resource, 1)
    name, function = ROUTES[kind]
    job = queue(name, redis).jobs[0]
    assert (job.id, job.func_name, job.args) == (rq_job_id(resource, 1), function, [resource, 1])
    assert json.loads(JSONSerializer.dumps([job.func_name]))
    assert job.timeout == -1


def test_a_question_passes_the_work_that_waits_and_is_gone_when_nobody_waits_for_it(redis):
    enqueue(redis, Kind.GENERATION, Kind.GENERATION.new_id(), 1)
    request = TrainingRequest(dataset=Kind.DATASET.new_id())
    asked = ask_about(redis, request)
    first, _ = queue(QueueName.GENERATE, redis).jobs
    assert (first.id, first.args) == (asked.id, [request.model_dump(mode="json")])
    assert callable(first.func)
    assert 0 < redis.ttl(first.key) <= ANSWER_SECONDS


@pytest.mark.parametrize("function", ["os.system", "worker.jobs.fail_dead_job", "builtins.exec"])
def test_only_what_is_on_the_list_is_run(redis, function):
    entry = queue(QueueName.TRAIN, redis).enqueue_call(function, args=("true",))
    worker = SimpleWorker(
        [queue(QueueName.TRAIN, redis)], connection=redis, job_class=AllowListedJob, serializer=JSONSerializer
    )
    worker.work(burst=True, logging_level="ERROR")
    entry.refresh()
    assert entry.is_failed
    with pytest.raises(MalformedRequest, match="does not run"):
        _ = entry.func


def test_no_callback_found_in_redis_is_run(redis):
    entry = queue(QueueName.TRAIN, redis).enqueue_call("worker.jobs.train_model", args=("x", 1))
    entry._failure_callback_name = "os.abort"
    entry.save()
    found = AllowListedJob.fetch(entry.id, connection=redis, serializer=JSONSerializer)
    assert found.failure_callback is found.success_callback is found.stopped_callback is None
