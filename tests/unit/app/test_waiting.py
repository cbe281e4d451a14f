import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from app import events
from worker.contract.queues import ROUTES, QueueName, queue
from worker.contract.resources import Kind

SMALL = {"source": "clinic", "image_size": 16}
THREADS = 40
"""What Starlette has for all routes that are no coroutines."""


@pytest.fixture
def ask(http):
    """Asks for a dataset, with these values of Prefer."""

    def post(*prefer, path="/v1/datasets", body=SMALL):
        return http.post(path, json=body, headers=[("Prefer", each) for each in prefer])

    return post


@pytest.fixture
def waiting(ask):
    """Asks for a dataset and waits for its end, in a thread; made of the same parts as `ask`."""
    with ThreadPoolExecutor() as clients:
        yield lambda *arguments, **more: clients.submit(ask, *(arguments or ("wait=60",)), **more)


@pytest.fixture
def queued(redis):
    """Returns once there is a job in the queue."""

    def until(name=QueueName.PREPARE):
        key = queue(name, redis).key
        assert redis.blmove(key, key, timeout=4)  # put back where it was

    return until


def test_the_answer_is_the_finished_resource(waiting, queued, work, http):
    answer = waiting("respond-async", 'handling=lenient, wait="60"; x=1')
    queued()
    work(QueueName.PREPARE)
    response = answer.result()
    body = response.json()
    assert (response.status_code, body["status"], body["result"]["images"]) == (200, "succeeded", 40)
    assert response.headers["preference-applied"] == "wait=60"
    assert response.headers["location"] == body["links"]["self"]
    assert http.get(body["links"]["self"]).json() == body


def test_a_failure_is_an_end_too(waiting, queued, work):
    answer = waiting(body=SMALL | {"where": {"age": {"min": 119}}})
    queued()
    work(QueueName.PREPARE)
    response = answer.result()
    assert (response.status_code, response.json()["status"]) == (200, "failed")
    assert response.json()["error"]["type"] == "/problems/no-usable-images"


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_can_be_waited_for(waiting, queued, http, kind, family, dataset, training):
    bodies = {
        Kind.DATASET: SMALL,
        Kind.TRAINING: {"dataset": dataset, "model": {"family": "tiny16"}},
        Kind.GENERATION: {"training": training},
        Kind.EVALUATION: {"training": training},
        Kind.READER_STUDY: {"training": training, "reference": "validation"},
        Kind.STUDY: {"dataset": dataset, "generator": {"model": {"family": "tiny16"}}},
    }
    path = f"/v1/{kind.collection}"
    answer = waiting(path=path, body=bodies[kind])
    queued(ROUTES[kind][0])
    newest = http.get(f"{path}?limit=1").json()["data"][0]
    http.post(newest["links"]["cancel"])
    assert (answer.result().status_code, answer.result().json()["status"]) == (200, "canceled")


def test_what_has_not_ended_in_time_is_accepted_as_it_is_then(ask):
    response = ask("wait=1")
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert response.headers["preference-applied"] == "wait=1"


@pytest.mark.parametrize("prefer", [[], ["respond-async"], ["wait=0"], ["wait=soon", "wait=60"]])
def test_without_a_wait_that_makes_sense_the_answer_comes_at_once(ask, prefer):
    response = ask(*prefer)
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert "preference-applied" not in response.headers


def test_a_dry_run_does_not_wait(ask):
    response = ask("wait=60", path="/v1/datasets?dry_run=true")
    assert (response.status_code, response.json()["dry_run"]) == (200, True)
    assert "preference-applied" not in response.headers


def test_those_who_wait_keep_no_one_else_waiting(url, redis):
    async def more_than_there_are_threads():
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            post = (http.post("/v1/datasets", json=SMALL, headers={"Prefer": "wait=60"}) for _ in range(THREADS + 1))
            waiting = [asyncio.ensure_future(each) for each in post]
            while queue(QueueName.PREPARE, redis).count < len(waiting):
                await asyncio.sleep(0.01)
            for each in (await http.get("/v1/datasets")).json()["data"]:
                await http.post(each["links"]["cancel"])
            return await asyncio.gather(*waiting)

    answers = asyncio.run(more_than_there_are_threads())
    assert {(each.status_code, each.json()["status"]) for each in answers} == {(200, "canceled")}


def test_of_a_training_that_was_resumed_the_end_of_the_newest_run_is_waited_for(http, family, dataset, monkeypatch):
    body, key = {"dataset": dataset, "model": {"family": "tiny16"}}, {"Idempotency-Key": "once"}
    links = http.post("/v1/trainings", json=body, headers=key).json()["links"]
    http.post(links["cancel"])
    http.post(links["resume"])
    reading, read = threading.Event(), events._read

    async def observed(*arguments):
        reading.set()
        return await read(*arguments)

    monkeypatch.setattr("app.events._read", observed)
    with ThreadPoolExecutor() as clients:
        answer = clients.submit(http.post, "/v1/trainings", json=body, headers=key | {"Prefer": "wait=60"})
        assert reading.wait(20)
        http.post(links["cancel"])
        assert (answer.result().status_code, answer.result().json()["status"]) == (200, "canceled")


def test_a_client_that_has_gone_is_not_waited_for(ask, http, monkeypatch):
    over = threading.Event()
    wait_for_end = events.wait_for_end

    async def observed(*arguments, **more):
        await wait_for_end(*arguments, **more)
        over.set()

    monkeypatch.setattr("app.events.wait_for_end", observed)
    http.timeout = httpx.Timeout(30, read=0.2)
    with pytest.raises(httpx.ReadTimeout):
        ask("wait=60")
    assert over.wait(20)


@pytest.mark.parametrize("interruption", [RedisTimeoutError, asyncio.CancelledError], ids=["no Redis", "a stop"])
def test_a_job_that_cannot_be_watched_is_accepted_all_the_same(ask, work, http, monkeypatch, interruption):
    async def interrupted(*_):
        raise interruption

    monkeypatch.setattr("app.events._read", interrupted)
    response = ask("wait=60")
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert "preference-applied" not in response.headers
    work(QueueName.PREPARE)
    assert http.get(response.headers["location"]).json()["status"] == "succeeded"


def test_a_job_that_is_deleted_while_it_is_waited_for_was_accepted(ask, store, monkeypatch):
    async def deleted(_redis, resource_id, *_):
        store.delete(resource_id)
        return []

    monkeypatch.setattr("app.events._read", deleted)
    assert ask("wait=60").status_code == 202


@pytest.mark.parametrize("kind", Kind)
def test_the_documentation_knows_of_it(http, kind):
    post = http.get("/openapi.json").json()["paths"][f"/v1/{kind.collection}"]["post"]
    assert ("prefer", "header") in [(each["name"], each["in"]) for each in post["parameters"]]
    for status in ("200", "202"):
        assert post["responses"][status]["headers"].keys() == {"Location", "Preference-Applied"}
    schemas = post["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert [each["$ref"].rpartition("/")[2] for each in schemas] == [
        "Resource",
        f"{kind.noun.title().replace(' ', '')}DryRun",
    ]
