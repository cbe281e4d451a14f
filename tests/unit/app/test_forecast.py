from concurrent.futures import ThreadPoolExecutor

import pytest
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from worker.contract.errors import InvalidRequest
from worker.contract.queues import AllowListedJob, QueueName, queue
from worker.contract.resources import Kind

DRY_RUN = "/v1/trainings?dry_run=true"


@pytest.fixture
def live_worker(redis):
    """A worker that draws images and was heard of lately; it does nothing."""
    worker = SimpleWorker(
        [queue(QueueName.GENERATE, redis)], connection=redis, job_class=AllowListedJob, serializer=JSONSerializer
    )
    worker.register_birth()
    yield
    worker.register_death()


@pytest.fixture
def try_out(http, redis, work, live_worker, family, dataset, monkeypatch):
    """Asks for a dry run, lets a worker answer by this function in place of its own, and returns the response."""

    def ask(foresee):
        monkeypatch.setattr("worker.stages.foresee.foresee", lambda request, *_: foresee(request))
        monkeypatch.setattr("worker.dataset.Dataset.open", lambda _: None)
        request = {"dataset": dataset, "model": {"family": "tiny16"}}
        with ThreadPoolExecutor() as clients:
            response = clients.submit(http.post, DRY_RUN, json=request)
            key = queue(QueueName.GENERATE, redis).key
            assert redis.blmove(key, key, timeout=4)  # put back where it was
            work(QueueName.GENERATE)
            return response.result()

    return ask


def test_a_dry_run_says_what_the_training_would_take_and_queues_nothing(try_out, http, forecast):
    response = try_out(lambda request: forecast.model_copy(update={"steps": request.steps}))
    body = response.json()
    assert (response.status_code, body["dry_run"]) == (200, True)
    assert body["request"]["model"]["hyperparameters"] == {"width": 1.0, "dropout": 0.0}
    assert body["result"] == forecast.model_dump(mode="json") | {"steps": body["request"]["steps"]}
    assert http.get("/v1/trainings").json()["data"] == []


def test_what_the_worker_refuses_is_refused(try_out):
    def refuse(_):
        raise InvalidRequest.at("#/model/hyperparameters/width", "Take a smaller one.")

    response = try_out(refuse)
    assert (response.status_code, response.json()["type"]) == (422, "/problems/invalid-request")
    assert response.json()["errors"][0]["pointer"] == "#/model/hyperparameters/width"


def test_a_network_that_cannot_be_built_is_an_error_of_the_service(try_out, caplog):
    def break_down(_):
        raise ZeroDivisionError

    response = try_out(break_down)
    assert (response.status_code, response.json()["type"]) == (500, "/problems/internal-error")
    assert "worker's log" in response.json()["detail"]
    assert "ZeroDivisionError" in caplog.text


def test_without_a_worker_to_ask_the_answer_is_to_start_one(http, redis, family, dataset):
    response = http.post(DRY_RUN, json={"dataset": dataset, "model": {"family": "tiny16"}})
    assert (response.status_code, response.json()["type"]) == (503, "/problems/no-worker-answers")
    assert "ragan worker --queue generate" in response.json()["detail"]
    assert response.headers["retry-after"]
    assert queue(QueueName.GENERATE, redis).count == 0


def test_a_worker_that_is_busy_is_not_waited_for_without_end(http, live_worker, family, dataset, monkeypatch):
    from app.forecast import forecast

    async def impatient(request, answer, **more):
        return await forecast(request, answer, seconds=0.01, **more)

    monkeypatch.setattr("app.routes.trainings.forecast", impatient)
    response = http.post(DRY_RUN, json={"dataset": dataset, "model": {"family": "tiny16"}})
    assert (response.status_code, response.json()["type"]) == (503, "/problems/no-worker-answers")
    assert "busy" in response.json()["detail"]


def test_what_is_wrong_with_the_request_is_said_without_a_worker(http, family, dataset, large_dataset):
    for body, status in (
        ({"dataset": large_dataset, "model": {"family": "tiny16"}}, 422),
        ({"dataset": dataset, "model": {"family": "tiny16", "hyperparameters": {"width": 0}}}, 422),
        ({"dataset": Kind.DATASET.new_id()}, 404),
    ):
        assert http.post(DRY_RUN, json=body).status_code == status
