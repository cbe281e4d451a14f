"""Reader studies over HTTP: what is queued, what is refused, how they are read, and what comes of it."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from ended import checkpoint_file, write_items, write_reader_study
from worker.contract.checkpoints import LearntClasses
from worker.contract.errors import DiskFull
from worker.contract.readings import MAX_READERS
from worker.contract.resources import Kind

TWO = LearntClasses(by="labels", names=("Mass", "Nodule"))


def post(http, **fields):
    return http.post("/v1/reader-studies", json={"reference": "validation", **fields})


def enrol(http, study, name="Ada"):
    response = http.post(f"/v1/reader-studies/{study}/readers", json={"name": name})
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"/v1/reader-studies/{study}/readers/{response.json()['id']}"
    return response.json()


def read(http, reader, answer_for):
    """Answer every image that is left: `answer_for(place, pixels)` gives what differs from a usual answer."""
    while reader["next"]:
        place = reader["next"]["place"]
        with Image.open(io.BytesIO(http.get(reader["next"]["image"]).content)) as image:
            answer = {"confidence": 3, "seconds": 2.0} | answer_for(place, np.asarray(image))
        response = http.put(reader["next"]["answer"], json=answer)
        assert response.status_code == 200, response.text
        reader = response.json()
    return reader


def by_looks(_place, pixels):
    """Right: in these tests, real images are noise."""
    return {"origin": "real" if pixels.std() else "synthetic"}


def test_they_are_queued_with_the_step_that_latest_is(http, training):
    body = post(http, training=training).json()
    assert (body["kind"], body["status"], body["id"][:3]) == ("reader_study", "queued", "rs_")
    assert body["request"] == {
        "training": training,
        "checkpoint": 30,
        "count": 50,
        "reference": "validation",
        "tasks": ["origin"],
        "seed": 0,
    }


def test_a_dry_run_says_what_would_be_shown(http, training):
    response = http.post(
        "/v1/reader-studies?dry_run=true", json={"training": training, "reference": "validation", "count": 20}
    )
    assert response.json()["result"] == {"image_size": 16, "synthetic": 20, "real": 20, "classes": []}
    assert http.get("/v1/reader-studies").json()["data"] == []


@pytest.mark.parametrize(
    ("fields", "pointer", "sentence"),
    [
        ({"count": 61}, "#/count", "has 60 images, and 61 are to be shown"),
        ({"reference": "test"}, "#/count", "has 0 images"),
        ({"reference": "train"}, "#/reference", "validation"),
        ({"count": 9}, "#/count", "10"),
        ({"tasks": []}, "#/tasks", "1 item"),
        ({"tasks": ["origin", "origin"]}, "#/tasks", "twice"),
        ({"tasks": ["class"]}, "#/tasks", "does not tell classes apart"),
        ({"checkpoint": 7}, "#/checkpoint", "kept are 20, 30"),
    ],
)
def test_what_cannot_be_shown_is_refused(http, training, fields, pointer, sentence):
    problem = post(http, training=training, **fields).json()
    assert (problem["status"], problem["errors"][0]["pointer"]) == (422, pointer)
    assert sentence in problem["errors"][0]["detail"]


def test_a_class_is_asked_for_where_the_training_tells_classes_apart(http, store, dataset, training):
    name, content = checkpoint_file(30, dataset, classes=TWO)
    store.publish_bytes(content, training, name)
    write_items(store, dataset, {"Mass": 40, "Nodule": 20}, "validation")
    response = http.post(
        "/v1/reader-studies?dry_run=true",
        json={"training": training, "reference": "validation", "tasks": ["class", "origin"]},
    )
    assert response.json()["result"]["classes"] == ["Mass", "Nodule"]


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
@pytest.mark.parametrize("told_apart", [False, True])
def test_only_images_of_the_training_s_classes_can_be_shown(http, store, dataset, training, query, told_apart):
    write_items(store, dataset, {"Mass": 15, "Mass|Nodule": 25, "Nodule": 5, "No Finding": 15}, "validation")
    if told_apart:
        name, content = checkpoint_file(30, dataset, classes=TWO)
        store.publish_bytes(content, training, name)
    else:
        record = store.read_request(training)
        only = {"classes": {"by": "labels", "only": TWO.names}}
        store.write_request(record.model_copy(update={"request": record.request | only}))
    body = {"training": training, "reference": "validation"}
    problem = http.post(f"/v1/reader-studies{query}", json=body | {"count": 21}).json()
    assert (problem["status"], problem["errors"][0]["pointer"]) == (422, "#/count")
    assert "has 20 images, and 21 are to be shown" in problem["detail"]
    assert http.post(f"/v1/reader-studies{query}", json=body | {"count": 20}).status_code == (200 if query else 202)


def test_without_room_they_are_refused(http, training, monkeypatch):
    def full(_root, needed):
        raise DiskFull(f"{needed} bytes are needed.")

    monkeypatch.setattr("app.routes.reader_studies.check_room", full)
    response = post(http, training=training)
    assert (response.status_code, response.json()["detail"]) == (507, f"{2 * 50 * 16 * 16} bytes are needed.")


def test_nobody_reads_before_the_images_are_there(http, training):
    waiting = post(http, training=training).headers["location"]
    assert http.post(f"{waiting}/readers", json={"name": "Ada"}).status_code == 409
    for below in ("readers", "results", "results.csv", "readers/rd_x"):
        assert http.get(f"{waiting}/{below}").status_code == 409


def test_a_reader_is_told_what_comes_next_and_how_far_they_are(http, reader_study):
    reader = enrol(http, reader_study)
    here = f"/v1/reader-studies/{reader_study}/readers/{reader['id']}"
    first = {"place": 0, "image": f"{here}/images/0.png", "answer": f"{here}/answers/0"}
    assert reader == {
        "id": reader["id"],
        "study": reader_study,
        "name": "Ada",
        "tasks": ["origin"],
        "classes": [],
        "image_size": 16,
        "images": 20,
        "answered": 0,
        "next": first,
    }
    assert http.get(here).json() == reader
    with Image.open(io.BytesIO(http.get(first["image"]).content)) as image:
        assert (image.mode, image.size, image.info) == ("L", (16, 16), {})
    done = read(http, reader, by_looks)
    assert (done["answered"], done["next"]) == (20, None)
    assert http.get(f"/v1/reader-studies/{reader_study}/readers").json() == {"data": [done]}


def test_each_reader_has_an_order_of_their_own_and_sees_each_image_once(http, store, reader_study):
    images = np.load(store.folder(reader_study) / "images.npy")
    orders = []
    for name in ("Ada", "Ben"):
        seen = []
        read(http, enrol(http, reader_study, name), lambda _, pixels: seen.append(pixels) or {"origin": "real"})  # noqa: B023
        orders.append([int(np.flatnonzero((images == each).all(axis=(1, 2)))[0]) for each in seen])
        assert sorted(orders[-1]) == list(range(20))
    assert orders[0] != orders[1]


def test_images_are_shown_one_at_a_time_and_answers_stand(http, reader_study):
    reader = enrol(http, reader_study)
    here = f"/v1/reader-studies/{reader_study}/readers/{reader['id']}"
    answer = {"origin": "real", "confidence": 3, "seconds": 2.5}
    for refused in (http.get(f"{here}/images/1.png"), http.put(f"{here}/answers/1", json=answer)):
        assert refused.status_code == 409
    for place in (-1, 20, 10**30):
        assert http.get(f"{here}/images/{place}.png").status_code == 404
        assert http.put(f"{here}/answers/{place}", json=answer).status_code == 404
    after = [http.put(f"{here}/answers/0", json=answer) for _ in range(2)]  # the second answer to be lost, say
    assert [(each.status_code, each.json()["answered"]) for each in after] == [(200, 1)] * 2
    other = http.put(f"{here}/answers/0", json=answer | {"origin": "synthetic"})
    assert (other.status_code, "answers stand" in other.json()["detail"]) == (409, True)
    assert "when its turn comes: the next is 1" in http.get(f"{here}/images/0.png").json()["detail"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"origin": None}, "#/origin"),
        ({"class": None}, "#/class"),
        ({"class": "Mess"}, "#/class"),
        ({"origin": "fake"}, "#/origin"),
        ({"confidence": 0}, "#/confidence"),
        ({"confidence": None}, "#/confidence"),
        ({"seconds": -1}, "#/seconds"),
        ({"class_name": "Mass"}, "#/class_name"),
    ],
)
def test_an_answer_answers_what_is_asked(http, store, training, fields, pointer):
    study, _ = write_reader_study(store, training, classes=("Mass", "Nodule"))
    reader = enrol(http, study)
    answer = {"origin": "real", "class": "Mass", "confidence": 3, "seconds": 2.5} | fields
    problem = http.put(reader["next"]["answer"], json=answer).json()
    assert (problem["status"], problem["errors"][0]["pointer"]) == (422, pointer)


def test_an_answer_to_what_is_not_asked_is_refused(http, reader_study):
    answer = {"origin": "real", "class": "Mass", "confidence": 3, "seconds": 2.5}
    problem = http.put(enrol(http, reader_study)["next"]["answer"], json=answer).json()
    assert problem["errors"] == [
        {"pointer": "#/class", "detail": "Of each image, `origin` is asked: answer that, no less and no more."}
    ]


def test_answers_are_there_when_the_front_end_is_another_one(http, other_http, reader_study):
    reader = enrol(http, reader_study)
    here = f"/v1/reader-studies/{reader_study}/readers/{reader['id']}"
    answer = {"origin": "real", "confidence": 3, "seconds": 2.5}
    http.put(reader["next"]["answer"], json=answer)
    reader = other_http.get(here).json()
    assert reader["answered"] == 1
    assert read(other_http, reader, by_looks)["next"] is None


def test_who_was_not_enrolled_is_not_found(http, reader_study, evaluation):
    for reader in ("rd_" + "0" * 32, "rd_..%2f..", "x" * 300, "rd_"):
        assert http.get(f"/v1/reader-studies/{reader_study}/readers/{reader}").status_code == 404
    assert http.get(f"/v1/reader-studies/{evaluation}/readers/rd_x").status_code == 404
    reader = enrol(http, reader_study)["id"]
    assert http.get(f"/v1/reader-studies/{Kind.READER_STUDY.new_id()}/readers/{reader}").status_code == 404


def test_there_is_an_end_to_readers(http, reader_study, monkeypatch):
    monkeypatch.setattr("app.blind_readings.MAX_READERS", 1)
    enrol(http, reader_study)
    refused = http.post(f"/v1/reader-studies/{reader_study}/readers", json={"name": "Ben"})
    assert (refused.status_code, MAX_READERS) == (409, 100)


def test_only_who_has_finished_is_in_the_results(http, reader_study):
    address = f"/v1/reader-studies/{reader_study}"
    reader = enrol(http, reader_study, "=Ada")
    http.put(reader["next"]["answer"], json={"origin": "real", "confidence": 5, "seconds": 9})
    before = http.get(f"{address}/results").json()
    assert (before["finished"], before["unfinished"], before["readers"], before["together"]) == (0, 1, [], None)
    assert "Nobody has answered" in before["caveats"][0]
    assert len(http.get(f"{address}/results.csv").text.splitlines()) == 1
    read(http, http.get(f"{address}/readers/{reader['id']}").json(), by_looks)
    after = http.get(f"{address}/results").json()
    assert (after["finished"], after["unfinished"]) == (1, 0)
    assert after["readers"][0]["name"] == "=Ada"
    rows = list(csv.DictReader(http.get(f"{address}/results.csv").text.splitlines()))
    assert [int(row["place"]) for row in rows] == list(range(20))
    assert {row["name"] for row in rows} == {"'=Ada"}
    assert all(row["origin"] == row["answered_origin"] for row in rows[1:])
    assert (rows[0]["answered_origin"], rows[0]["confidence"], rows[0]["seconds"]) == ("real", "5", "9.0")


def test_a_study_goes_with_its_readers_and_a_training_with_its_studies(http, store, training, reader_study):
    enrol(http, reader_study)
    refused = http.delete(f"/v1/trainings/{training}")
    assert (refused.status_code, reader_study in refused.json()["detail"]) == (409, True)
    assert http.delete(f"/v1/reader-studies/{reader_study}").status_code == 204
    assert not store.folder(reader_study).exists()
    other, _ = write_reader_study(store, training)
    assert http.delete(f"/v1/trainings/{training}?cascade=true").status_code == 204
    assert not store.folder(other).exists()
