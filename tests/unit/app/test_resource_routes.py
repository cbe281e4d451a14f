import json
import re
import threading

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq import Retry

from worker import jobs
from worker.context import StopRequested
from worker.contract.queues import QueueName, queue
from worker.contract.resources import Kind, Status

SMALL = {"source": "clinic", "image_size": 16}


def ask(http, **fields):
    response = http.post("/v1/datasets", json=SMALL | fields)
    assert response.status_code == 202, response.text
    return response


def test_a_job_is_accepted_with_its_address_and_every_default(http):
    response = ask(http)
    body = response.json()
    assert response.headers["location"] == body["links"]["self"] == f"/v1/datasets/{body['id']}"
    assert (body["kind"], body["status"], body["attempt"]) == ("dataset", "queued", 0)
    assert body["request"]["split"] == {"train": 0.8, "validation": 0.1, "test": 0.1}
    assert body["created_at"].endswith("Z")
    assert [body[name] for name in ("started_at", "finished_at", "progress", "result", "error")] == [None] * 5


def test_a_queued_job_knows_its_place(http):
    ids = [ask(http).json()["id"] for _ in range(3)]
    assert [http.get(f"/v1/datasets/{each}").json()["queue_position"] for each in ids] == [0, 1, 2]


def test_a_job_runs_to_its_end_and_says_so(http, work):
    address = ask(http).headers["location"]
    work(QueueName.PREPARE)
    body = http.get(address).json()
    assert (body["status"], body["attempt"], body["error"]) == ("succeeded", 1, None)
    assert body["result"]["images"] == 40
    assert body["progress"]["percent"] == 100.0
    assert body["created_at"] <= body["started_at"] <= body["finished_at"]


def test_a_job_that_cannot_be_done_fails_with_a_problem(http, work):
    address = ask(http, where={"age": {"min": 119}}).headers["location"]
    work(QueueName.PREPARE)
    body = http.get(address).json()
    assert body["status"] == "failed"
    assert body["error"]["type"] == "/problems/no-usable-images"
    assert body["error"]["status"] == 422
    assert "age" in body["error"]["detail"]


def test_an_error_nobody_foresaw_fails_the_job_and_not_the_worker(http, work, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("worker.stages.prepare.prepare", broken)
    address = ask(http).headers["location"]
    work(QueueName.PREPARE)
    assert http.get(address).json()["error"]["type"] == "/problems/internal-error"


def test_a_canceled_job_never_starts_and_leaves_the_others_alone(http, work):
    first, second = ask(http).headers["location"], ask(http).headers["location"]
    canceled = http.post(f"{first}/cancel")
    assert (canceled.status_code, canceled.json()["status"]) == (202, "canceled")
    work(QueueName.PREPARE)
    assert http.get(first).json()["attempt"] == 0
    assert http.get(second).json()["status"] == "succeeded"


def test_a_running_job_is_asked_to_stop_and_may_be_asked_again(http, live):
    body = ask(http).json()
    live.move(body["id"], 1, Status.RUNNING)
    for _ in range(2):
        answer = http.post(body["links"]["cancel"])
        assert (answer.status_code, answer.json()["status"]) == (202, "canceling")


def test_a_job_whose_cancel_was_missed_by_a_dead_worker_ends_canceled(http, live, work):
    body = ask(http).json()
    live.move(body["id"], 1, Status.RUNNING)
    http.post(body["links"]["cancel"])
    work(QueueName.PREPARE)  # RQ starts it again
    assert http.get(body["links"]["self"]).json()["status"] == "canceled"


def test_a_job_that_kills_its_process_again_and_again_fails(http, live, work):
    body = ask(http).json()
    for _ in range(3):
        live.move(body["id"], 1, Status.RUNNING)
    work(QueueName.PREPARE)
    ended = http.get(body["links"]["self"]).json()
    assert (ended["status"], ended["error"]["type"]) == ("failed", "/problems/worker-died")
    assert "died 3 times" in ended["error"]["detail"]


def test_what_has_ended_cannot_be_canceled(http, dataset):
    response = http.post(f"/v1/datasets/{dataset}/cancel")
    assert response.status_code == 409
    assert "succeeded" in response.json()["detail"]


def test_what_has_ended_can_be_deleted_and_is_gone(http, dataset):
    assert http.delete(f"/v1/datasets/{dataset}").status_code == 204
    assert http.get(f"/v1/datasets/{dataset}").status_code == 404


def test_what_is_active_cannot_be_deleted(http):
    response = http.delete(ask(http).headers["location"])
    assert response.status_code == 409
    assert "cancel it first" in response.json()["detail"]


def test_what_others_need_is_kept_and_they_are_named(http, dataset, training, generation):
    assert training in http.delete(f"/v1/datasets/{dataset}").json()["detail"]
    assert generation in http.delete(f"/v1/trainings/{training}").json()["detail"]
    for address in (f"/v1/generations/{generation}", f"/v1/trainings/{training}", f"/v1/datasets/{dataset}"):
        assert http.delete(address).status_code == 204


@pytest.mark.parametrize("path", ["", "/cancel", "/events"])
def test_an_id_of_another_kind_is_not_found(http, dataset, path):
    method = "POST" if path == "/cancel" else "GET"
    assert http.request(method, f"/v1/trainings/{dataset}{path}").status_code == 404


def test_pages_follow_one_another_from_the_newest_on(http):
    ids = [ask(http).json()["id"] for _ in range(5)]
    seen, address = [], "/v1/datasets?limit=2"
    while address:
        response = http.get(address)
        page = response.json()
        seen += [each["id"] for each in page["data"]]
        assert page["has_more"] == (page["next"] is not None)
        assert page["next"] in (None, seen[-1])
        address = response.links.get("next", {}).get("url")
    assert seen == ids[::-1]


def test_a_list_can_be_narrowed_to_a_status(http, dataset):
    queued = ask(http).json()["id"]
    http.post(f"{ask(http).headers['location']}/cancel")
    assert [each["id"] for each in http.get("/v1/datasets?status=queued").json()["data"]] == [queued]
    assert [each["id"] for each in http.get("/v1/datasets?status=succeeded").json()["data"]] == [dataset]
    page = http.get("/v1/datasets?status=queued&limit=1").json()
    assert (page["has_more"], page["next"]) == (False, None)


def test_a_dry_run_shows_the_outcome_and_queues_nothing(http):
    response = http.post("/v1/datasets?dry_run=true", json=SMALL)
    assert response.status_code == 200
    body = response.json()
    assert body.keys() == {"dry_run", "request", "result"}
    assert body["dry_run"] is True
    assert body["result"]["images"] == 40
    assert body["result"]["sha256"] is None
    assert [step["step"] for step in body["result"]["attrition"]][-1] == "limit"
    assert http.get("/v1/datasets").json()["data"] == []


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        (Kind.DATASET, {"$ref": "#/components/schemas/DatasetResult"}),
        (Kind.TRAINING, {"$ref": "#/components/schemas/TrainingForecast"}),
        (Kind.GENERATION, {"type": "null"}),
    ],
)
def test_the_documentation_says_what_a_dry_run_answers(http, kind, result):
    schemas = http.get("/openapi.json").json()["components"]["schemas"]
    fields = schemas[f"{kind.title()}DryRun"]["properties"]
    # What is answered has a schema of its own where a part of a request may be said in short.
    assert fields["request"]["$ref"].removesuffix("-Output") == f"#/components/schemas/{kind.title()}Request"
    assert fields["result"].items() >= result.items()


def test_the_dry_run_is_what_the_job_then_does(http, work):
    expected = http.post("/v1/datasets?dry_run=true", json=SMALL).json()["result"]
    address = ask(http).headers["location"]
    work(QueueName.PREPARE)
    result = http.get(address).json()["result"]
    assert result["attrition"][:-1] == expected["attrition"]
    assert result["counts"] == expected["counts"]


def test_events_can_be_listed_and_continued(http, work):
    address = ask(http).headers["location"]
    work(QueueName.PREPARE)
    events = http.get(f"{address}/events").json()
    assert [event["data"]["status"] for event in events if event["type"] == "status"] == [
        "queued",
        "running",
        "succeeded",
    ]
    assert events[-1]["type"] == "end"
    assert http.get(f"{address}/events", params={"after": events[-2]["id"]}).json() == events[-1:]


def sse(text):
    """Server-sent events as (id, type, data), read by the rules of the HTML standard."""
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            events.append({"id": fields["id"], "type": fields["event"], "data": json.loads(fields["data"])})
    return events


def test_an_event_stream_replays_then_follows_until_the_end(http, live, work):
    body = ask(http).json()
    lines = []
    first = threading.Event()

    def watch():
        with http.stream("GET", body["links"]["events"], headers={"Accept": "text/event-stream"}) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            for line in response.iter_lines():
                lines.append(line)
                first.set()

    watching = threading.Thread(target=watch)
    watching.start()
    assert first.wait(10)
    live.emit(body["id"], "log", {"message": "seen live"})
    work(QueueName.PREPARE)
    watching.join(10)
    assert not watching.is_alive()
    events = sse("\n".join(lines))
    assert [event["type"] for event in events if event["type"] != "progress"] == [
        *("status", "log", "status", "log", "status", "end"),
    ]
    assert events[1]["data"] == {"message": "seen live"}
    again = http.get(body["links"]["events"], headers={"Accept": "text/event-stream", "Last-Event-ID": events[2]["id"]})
    assert sse(again.text) == events[3:]


def test_a_last_event_id_that_is_none_is_refused(http, dataset):
    response = http.get(f"/v1/datasets/{dataset}/events", headers={"Last-Event-ID": "yesterday"})
    assert response.status_code == 422
    assert "Last-Event-ID" in response.json()["errors"][0]["pointer"]


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("event_id", ["\u0665", f"{2**64}-0", f"{2**64 - 1}-{2**64 - 1}", "-5", "5-"])
def test_an_id_that_redis_would_refuse_is_refused_in_a_sentence(http, accept, event_id):
    events = ask(http).json()["links"]["events"]
    response = http.get(events, params={"after": event_id}, headers={"Accept": accept})
    assert response.status_code == 422
    assert "is not the id of an event" in response.json()["detail"]
    if event_id.isascii():
        assert http.get(events, headers={"Accept": accept, "Last-Event-ID": event_id}).status_code == 422


def test_events_of_another_media_type_are_not_acceptable(http, dataset):
    assert http.get(f"/v1/datasets/{dataset}/events", headers={"Accept": "image/png"}).status_code == 406


@pytest.mark.parametrize("kind", Kind)
def test_every_link_of_a_resource_leads_somewhere(
    http, kind, dataset, training, generation, evaluation, study, reader_study
):
    made = (dataset, training, generation, evaluation, study, reader_study)
    (resource,) = (each for each in made if Kind.of(each) is kind)
    links = http.get(f"/v1/{kind.collection}/{resource}").json()["links"]
    routes = [re.sub(r"\{\w+\}", r"[\\w-]+", route) for route in http.get("/openapi.json").json()["paths"]]
    for link in links.values():
        assert any(re.fullmatch(route, link) for route in routes)


def test_a_job_is_handed_back_by_a_worker_that_is_told_to_stop_and_done_by_the_next(http, work):
    body = ask(http).json()
    jobs.SHUTDOWN.set()
    try:
        handed_back = jobs.prepare_dataset(body["id"], 1)
    finally:
        jobs.SHUTDOWN.clear()
    assert isinstance(handed_back, Retry)
    assert (waiting := http.get(body["links"]["self"]).json())["status"] == "queued"
    assert waiting["attempt"] == 0
    work(QueueName.PREPARE)
    assert http.get(body["links"]["self"]).json()["attempt"] == 1


def test_a_job_that_is_canceled_while_it_runs_ends_canceled(http, work, monkeypatch):
    def told_to_stop(request, source, context):
        http.post(f"/v1/datasets/{context.resource_id}/cancel")
        assert context.should_stop()
        raise StopRequested

    monkeypatch.setattr("worker.stages.prepare.prepare", told_to_stop)
    address = ask(http).headers["location"]
    work(QueueName.PREPARE)
    ended = http.get(address).json()
    assert (ended["status"], ended["attempt"], ended["error"]) == ("canceled", 1, None)


def test_work_whose_resource_was_deleted_is_left(http, work, store, redis):
    store.delete(ask(http).json()["id"])
    work(QueueName.PREPARE)
    assert queue(QueueName.PREPARE, redis).count == 0


def test_a_job_goes_on_where_redis_cannot_show_its_progress(http, work, monkeypatch):
    def unreachable(*_):
        raise RedisTimeoutError

    monkeypatch.setattr("worker.contract.live.LiveJobs.report", unreachable)
    address = ask(http).headers["location"]
    work(QueueName.PREPARE)
    assert http.get(address).json()["status"] == "succeeded"
