import json

import pytest

from worker.contract.live import EVENTS_FILE
from worker.contract.resources import Kind

EVENTS = [
    {"id": "1795301081180-0", "type": "status", "data": {"status": "running", "attempt": 1}},
    {"id": "1795301102960-0", "type": "metrics", "data": {"step": 5}},
    {"id": "1795301102961-0", "type": "end", "data": {"status": "succeeded"}},
]


@pytest.fixture
def queued(own_http, dataset):
    """A dataset that waits, newer than one that is ready."""
    return own_http.post("/v1/datasets", json={"source": "clinic"}).json()["id"]


@pytest.fixture
def stopped(own_http, own_redis, store, training, queued):
    """A client of a front end whose Redis has stopped since a dataset was queued and a training has ended."""
    store.publish_bytes("".join(f"{json.dumps(event)}\n" for event in EVENTS).encode(), training, EVENTS_FILE)
    own_redis.stop()
    return own_http


def unavailable(response):
    assert (response.status_code, response.json()["type"]) == (503, "/problems/queue-unavailable")
    assert int(response.headers["retry-after"]) > 0
    return response.json()["detail"]


def test_what_has_ended_is_served(stopped, dataset, training, generation, evaluation, reader_study):
    for resource_id in (dataset, training, generation, evaluation, reader_study):
        assert stopped.get(f"/v1/{Kind.of(resource_id).collection}/{resource_id}").json()["status"] == "succeeded"
    assert len(stopped.get(f"/v1/trainings/{training}/metrics").text.splitlines()) == 30
    assert stopped.get(f"/v1/generations/{generation}/images", headers={"Range": "bytes=0-3"}).content == b"PK\3\4"
    assert stopped.get(f"/v1/evaluations/{evaluation}/card.html").status_code == 200


def test_a_reading_goes_on(stopped, reader_study):
    reader = stopped.post(f"/v1/reader-studies/{reader_study}/readers", json={"name": "Ada"}).json()
    assert stopped.get(reader["next"]["image"]).status_code == 200
    answer = {"origin": "real", "confidence": 3, "seconds": 2.5}
    assert stopped.put(reader["next"]["answer"], json=answer).json()["answered"] == 1
    assert stopped.get(f"/v1/reader-studies/{reader_study}/results").json()["unfinished"] == 1


def test_the_events_of_what_has_ended_are_served(stopped, training):
    address = f"/v1/trainings/{training}/events"
    assert stopped.get(address).json() == EVENTS
    assert stopped.get(address, params={"after": EVENTS[0]["id"]}).json() == EVENTS[1:]
    stream = {"Accept": "text/event-stream"}
    told = stopped.get(address, headers=stream).text
    assert [line.removeprefix("id: ") for line in told.splitlines() if line.startswith("id: ")] == [
        event["id"] for event in EVENTS
    ]
    after_the_end = stopped.get(address, headers=stream | {"Last-Event-ID": EVENTS[-1]["id"]})
    assert (after_the_end.status_code, after_the_end.text) == (200, "")


def test_what_has_ended_is_listed_and_of_the_rest_nothing_is_invented(stopped, queued, dataset, training):
    assert [each["id"] for each in stopped.get("/v1/trainings").json()["data"]] == [training]
    assert [each["id"] for each in stopped.get("/v1/datasets?status=succeeded").json()["data"]] == [dataset]
    assert stopped.get("/v1/datasets?status=failed").json()["data"] == []
    assert [each["id"] for each in stopped.get(f"/v1/datasets?after={queued}").json()["data"]] == [dataset]
    assert "status=succeeded" in unavailable(stopped.get("/v1/datasets"))


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_how_an_active_job_stands_is_not_known(stopped, queued, accept):
    unavailable(stopped.get(f"/v1/datasets/{queued}/events", headers={"Accept": accept}))


def test_an_active_job_is_not_called_queued(stopped, queued):
    unavailable(stopped.get(f"/v1/datasets/{queued}"))
