"""Evaluations over HTTP: what is queued, what is refused, and what can be downloaded."""

import io

import pytest
from PIL import Image

from ended import evaluation_result, write_items
from worker.contract.errors import DiskFull
from worker.contract.resources import Kind


def post(http, **fields):
    return http.post("/v1/evaluations", json=fields)


def test_they_are_queued_with_the_step_that_latest_is(http, training):
    body = post(http, training=training).json()
    assert (body["kind"], body["status"]) == ("evaluation", "queued")
    assert body["request"] == {
        "training": training,
        "checkpoint": 30,
        "count": 2048,
        "reference": "validation",
        "features": "pixels",
        "seed": 0,
    }
    assert body["links"].keys() == {"self", "events", "cancel", "grid", "nearest", "card", "card_markdown"}


def test_a_dry_run_says_how_many_images_of_either_kind_and_queues_nothing(http, training):
    response = http.post("/v1/evaluations?dry_run=true", json={"training": training, "checkpoint": 20})
    assert response.status_code == 200
    body = response.json()
    assert (body["dry_run"], body["request"]["checkpoint"]) == (True, 20)
    assert body["result"] == {"image_size": 16, "synthetic": 2048, "real": 60}
    assert http.get("/v1/evaluations").json()["data"] == []


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"checkpoint": 25}, "#/checkpoint"),
        ({"reference": "test"}, "#/reference"),
        ({"count": 39}, "#/count"),
        ({"count": 50_001}, "#/count"),
        ({"reference": "all"}, "#/reference"),
        ({"counts": 100}, "#/counts"),
    ],
)
def test_what_cannot_be_compared_is_refused(http, training, query, fields, pointer):
    response = http.post(f"/v1/evaluations{query}", json={"training": training, **fields})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)


def test_only_images_of_the_training_s_classes_are_compared(http, store, dataset, training):
    record = store.read_request(training)
    only = {"classes": {"by": "view", "only": ["PA"]}}
    store.write_request(record.model_copy(update={"request": record.request | only}))
    write_items(store, dataset, {"Mass": 39, "No Finding": 21}, "validation")
    for query in ("", "?dry_run=true"):
        problem = http.post(f"/v1/evaluations{query}", json={"training": training}).json()
        assert (problem["status"], problem["errors"][0]["pointer"]) == (422, "#/reference")
        assert "has 39 images to compare with" in problem["detail"]
    write_items(store, dataset, {"Mass": 40, "No Finding": 20}, "validation")
    told = http.post("/v1/evaluations?dry_run=true", json={"training": training}).json()
    assert told["result"] == {"image_size": 16, "synthetic": 2048, "real": 40}


def test_images_that_are_too_small_are_refused(http, store, training):
    dataset = store.read_request(store.read_request(training).request["dataset"])
    store.write_request(dataset.model_copy(update={"request": dataset.request | {"image_size": 8}}))
    response = post(http, training=training)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "#/training")


def test_they_need_a_training_with_a_checkpoint(http, store, training, dataset):
    assert post(http, training=Kind.TRAINING.new_id()).status_code == 404
    assert post(http, training=dataset).status_code == 404
    for step in (20, 30):
        store.withdraw(training, f"checkpoints/{step:08d}")
    assert post(http, training=training).status_code == 409


def test_they_need_room_on_the_disk(http, training, monkeypatch):
    def full(_, needed):
        raise DiskFull(f"{needed} bytes are needed.")

    monkeypatch.setattr("app.routes.evaluations.check_room", full)
    response = post(http, training=training)
    assert (response.status_code, response.json()["detail"]) == (507, f"{2 * 64 * 16 * 16} bytes are needed.")
    assert http.get("/v1/evaluations").json()["data"] == []


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("grid.png", "image/png"),
        ("nearest.png", "image/png"),
        ("card.md", "text/markdown; charset=utf-8"),
        ("card.html", "text/html; charset=utf-8"),
    ],
)
def test_what_they_leave_can_be_downloaded_after_their_end(http, training, evaluation, name, media_type):
    waiting = post(http, training=training).headers["location"]
    assert http.get(f"{waiting}/{name}").status_code == 409
    assert http.get(f"/v1/evaluations/{Kind.EVALUATION.new_id()}/{name}").status_code == 404
    assert http.get(f"/v1/evaluations/{training}/{name}").status_code == 404
    address = f"/v1/evaluations/{evaluation}/{name}"
    response = http.get(address)
    assert (response.status_code, response.headers["content-type"]) == (200, media_type)
    again = http.get(address, headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_their_pictures_are_grey(http, evaluation):
    for name in ("grid.png", "nearest.png"):
        with Image.open(io.BytesIO(http.get(f"/v1/evaluations/{evaluation}/{name}").content)) as picture:
            assert picture.mode == "L"


def test_where_no_copies_were_looked_for_there_are_no_pairs(http, ended, training):
    result = evaluation_result() | {"memorisation": None}
    evaluation = ended(Kind.EVALUATION, {"training": training, "checkpoint": 30, "count": 60}, result)
    response = http.get(f"/v1/evaluations/{evaluation}/nearest.png")
    assert (response.status_code, "caveats say why" in response.json()["detail"]) == (404, True)
