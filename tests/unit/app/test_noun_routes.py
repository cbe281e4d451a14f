import csv
import io
import json
import zipfile

import httpx
import numpy as np
import pytest
from PIL import Image

from ended import checkpoint_file
from worker.contract.checkpoints import LearntClasses
from worker.contract.queues import QueueName
from worker.contract.requests import (
    DatasetRequest,
    EvaluationRequest,
    GenerationRequest,
    ReaderStudyRequest,
    TrainingRequest,
)
from worker.contract.resources import Kind, Status
from worker.contract.study_requests import StudyRequest


def picture(response: httpx.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return Image.open(io.BytesIO(response.content))


class TestSources:
    def test_are_listed_with_what_can_be_filtered_on_and_with_their_problems(self, http):
        found = {source["id"]: source for source in http.get("/v1/sources").json()["data"]}
        clinic = found["clinic"]
        assert (clinic["layout"], clinic["rows"], clinic["images_present"], clinic["images_missing"]) == (
            *("nih-cxr14", 40, 40, 0),
        )
        assert clinic["fields"]["label"]["Infiltration"] == 20
        assert sum(clinic["fields"]["sex"].values()) == 40
        assert "NIH asks to" in clinic["licence"]
        assert "CVPR 2017" in clinic["citation"]
        assert "no layout" in found["holiday-photos"]["problem"]
        assert http.get("/v1/sources/clinic").json() == clinic

    def test_unknown_ones_are_not_found(self, http):
        assert http.get("/v1/sources/clinc").status_code == 404
        assert http.get("/v1/sources/clinc/thumbnails").status_code == 404

    def test_show_thumbnails_of_what_matches(self, http):
        response = http.get("/v1/sources/clinic/thumbnails", params={"where": '{"view": ["AP"]}', "count": 4})
        assert picture(response).mode == "L"
        response = http.get("/v1/sources/clinic/thumbnails", params={"where": '{"vew": ["AP"]}'})
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "?where")


class TestDatasets:
    @pytest.fixture
    def made(self, http, work):
        address = http.post("/v1/datasets", json={"source": "clinic", "image_size": 16}).headers["location"]
        work(QueueName.PREPARE)
        return address

    def test_can_be_looked_at_and_downloaded(self, http, made):
        assert picture(http.get(f"{made}/contact-sheet.png")).mode == "L"
        response = http.get(f"{made}/images.npz")
        assert int(response.headers["content-length"]) == len(response.content)
        images = np.load(io.BytesIO(response.content))["images"]
        assert (images.shape, images.dtype) == ((40, 16, 16), np.uint8)
        rows = list(csv.DictReader(io.StringIO(http.get(f"{made}/items.csv").text)))
        assert [int(row["index"]) for row in rows] == list(range(40))

    def test_show_what_classical_augmentation_makes_of_an_image(self, http, made):
        link = http.get(made).json()["links"]["classical_augmentation"]
        chest, paper = picture(http.get(link)), picture(http.get(link, params={"preset": "paper", "image": 39}))
        assert (chest.width // 66, chest.height // 66) == (12, 29)  # less a line that is between two only
        assert (paper.width // 66, paper.height // 66) == (15, 29)
        image = np.load(io.BytesIO(http.get(f"{made}/images.npz").content))["images"][39]
        np.testing.assert_array_equal(np.asarray(paper)[:64:4, :64:4], image)

    def test_show_it_only_of_images_and_presets_that_there_are(self, http, made):
        for wrong, pointer in (({"image": 40}, "?image"), ({"image": -1}, "?image"), ({"preset": "lesion"}, "?preset")):
            response = http.get(f"{made}/classical-augmentation.png", params=wrong)
            assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)
        assert "ask for 0 to 39" in http.get(f"{made}/classical-augmentation.png?image=40").json()["detail"]

    def test_have_no_artefacts_before_their_end(self, http):
        address = http.post("/v1/datasets", json={"source": "clinic", "image_size": 16}).headers["location"]
        for name in ("contact-sheet.png", "classical-augmentation.png", "items.csv", "images.npz"):
            response = http.get(f"{address}/{name}")
            assert (response.status_code, response.json()["type"]) == (409, "/problems/wrong-state")


class TestModels:
    def test_are_listed_with_their_schema(self, http, family):
        listed = http.get("/v1/models").json()["data"]
        assert [each["family"] for each in listed] == ["tiny16"]
        assert http.get("/v1/models/tiny16").json() == listed[0] == json.loads(family.model_dump_json())
        assert http.get("/v1/models/tiny61").status_code == 404

    def test_are_unavailable_before_a_worker_has_published_them(self, http):
        assert http.get("/v1/models").status_code == 503


class TestTrainings:
    def test_are_queued_with_every_hyperparameter(self, http, family, dataset):
        model = {"family": "tiny16", "preset": "reference", "hyperparameters": {"width": 0.5}}
        body = http.post("/v1/trainings", json={"dataset": dataset, "model": model}).json()
        assert body["request"]["model"]["hyperparameters"] == {"width": 0.5, "dropout": 0.4}
        assert body["queue_position"] == 0

    def test_need_a_dataset_that_is_ready(self, http, family):
        waiting = http.post("/v1/datasets", json={"source": "clinic", "image_size": 16}).json()["id"]
        response = http.post("/v1/trainings", json={"dataset": waiting, "model": {"family": "tiny16"}})
        assert (response.status_code, "Wait for its end" in response.json()["detail"]) == (409, True)
        response = http.post("/v1/trainings", json={"dataset": Kind.DATASET.new_id(), "model": {"family": "tiny16"}})
        assert response.status_code == 404

    def test_cannot_have_more_devices_than_a_live_worker(self, http, redis, family, dataset):
        from rq import Worker

        worker = Worker(["train"], connection=redis, name="train-host-1", serializer="json")
        worker.register_birth()
        redis.hset(worker.key, "devices", '["/device:CPU:0", "/device:CPU:1"]')
        request = {"dataset": dataset, "model": {"family": "tiny16"}, "batch_size": 12}
        response = http.post("/v1/trainings", json=request | {"devices": 3})
        assert (response.status_code, "the largest has 2" in response.json()["detail"]) == (422, True)
        response = http.post("/v1/trainings", json=request | {"batch_size": 7})
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "#/batch_size")
        assert http.post("/v1/trainings", json=request | {"devices": 2}).status_code == 202
        found = http.get("/v1/workers").json()["data"]
        assert [(each["name"], each["queues"], len(each["devices"])) for each in found] == [
            ("train-host-1", ["train"], 2)
        ]

    def test_are_kept_to_the_classes_of_the_dataset(self, http, store, family, work):
        address = http.post("/v1/datasets", json={"source": "clinic", "image_size": 16}).headers["location"]
        work(QueueName.PREPARE)
        request = {"dataset": address.rpartition("/")[2], "model": {"family": "tiny16"}}
        assert http.post("/v1/trainings", json=request).json()["request"]["classes"] is None
        kept = {"by": "view", "only": ["PA"]}
        assert http.post("/v1/trainings", json=request | {"classes": kept}).json()["request"]["classes"] == kept
        response = http.post("/v1/trainings", json=request | {"classes": {"by": "view", "only": ["PB"]}})
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "#/classes/only/0")
        store.publish_family(family.model_copy(update={"takes_labels": True}))
        learnt = {"by": "labels", "only": None}
        assert http.post("/v1/trainings", json=request).json()["request"]["classes"] == learnt

    def test_show_their_metrics_as_lines_or_as_a_table(self, http, training):
        response = http.get(f"/v1/trainings/{training}/metrics", params={"after_step": 28})
        assert response.headers["content-type"] == "application/x-ndjson"
        assert [json.loads(line)["step"] for line in response.text.splitlines()] == [29, 30]
        response = http.get(f"/v1/trainings/{training}/metrics", headers={"Accept": "text/csv"})
        rows = list(csv.DictReader(io.StringIO(response.text)))
        assert list(rows[0]) == ["step", "d_loss", "d_acc", "g_loss", "g_acc"]
        assert len(rows) == 30
        assert http.get(f"/v1/trainings/{training}/metrics", headers={"Accept": "image/png"}).status_code == 406

    def test_do_not_show_a_row_that_is_being_written(self, http, store, training):
        with (store.folder(training) / "metrics.jsonl").open("a") as file:
            file.write('{"step": 31, "d_lo')
        assert len(http.get(f"/v1/trainings/{training}/metrics").text.splitlines()) == 30

    def test_show_snapshots_and_a_time_lapse(self, http, training):
        listed = http.get(f"/v1/trainings/{training}/snapshots").json()
        assert [each["step"] for each in listed] == [0, 10, 20, 30]
        grid = picture(http.get(listed[-1]["link"]))
        assert grid.getpixel((0, 0)) == 240
        response = http.get(f"/v1/trainings/{training}/snapshots.gif")
        assert response.headers["content-type"] == "image/gif"
        time_lapse = Image.open(io.BytesIO(response.content))
        assert (time_lapse.n_frames, time_lapse.size) == (4, grid.size)
        assert http.get(f"/v1/trainings/{training}/snapshots/7.png").status_code == 404

    def test_list_their_checkpoints(self, http, training):
        listed = http.get(f"/v1/trainings/{training}/checkpoints").json()
        assert [(each["step"], each["best"]) for each in listed] == [(20, False), (30, False)]

    def test_go_on_when_they_are_resumed(self, http, redis, live, training):
        response = http.post(f"/v1/trainings/{training}/resume", json={"steps": 50})
        assert response.status_code == 202
        body = response.json()
        assert (body["status"], body["request"]["steps"], body["result"]) == ("queued", 50, None)
        assert live.read(training).run == 2
        assert http.post(f"/v1/trainings/{training}/resume", json={"steps": 60}).status_code == 409

    @pytest.mark.parametrize("body", [None, {}, {"steps": 30}])
    def test_cannot_be_resumed_to_where_they_are(self, http, training, body):
        response = http.post(f"/v1/trainings/{training}/resume", json=body)
        assert (response.status_code, "above 30" in response.json()["detail"]) == (422, True)

    def test_that_are_resumed_and_canceled_in_the_queue_have_ended_again(self, http, training):
        http.post(f"/v1/trainings/{training}/resume", json={"steps": 50})
        assert http.post(f"/v1/trainings/{training}/cancel").json()["status"] == Status.CANCELED
        events = http.get(f"/v1/trainings/{training}/events").json()
        assert [event["type"] for event in events] == ["status", "status", "end"]


class TestGenerations:
    def test_are_queued_with_the_step_that_latest_is(self, http, training):
        body = http.post("/v1/generations", json={"training": training}).json()
        assert (body["request"]["checkpoint"], body["request"]["count"]) == (30, 64)

    @pytest.mark.parametrize(
        ("fields", "pointer"), [({"checkpoint": 25}, "#/checkpoint"), ({"labels": ["Nodule"]}, "#/labels")]
    )
    def test_of_what_is_not_there_are_refused(self, http, family, training, fields, pointer):
        response = http.post("/v1/generations", json={"training": training, **fields})
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)

    def test_need_a_checkpoint(self, http, store, training):
        for step in (20, 30):
            store.withdraw(training, f"checkpoints/{step:08d}")
        assert http.post("/v1/generations", json={"training": training}).status_code == 409

    def test_come_as_a_zip_of_pictures(self, http, generation):
        response = http.get(f"/v1/generations/{generation}/images")
        assert response.headers["content-type"] == "application/zip"
        assert int(response.headers["content-length"]) == len(response.content)
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            assert archive.testzip() is None
            names = archive.namelist()
            assert names == [*(f"{index:06d}.png" for index in range(300)), "labels.csv", "manifest.json"]
            image = Image.open(archive.open("000299.png"))
            assert (image.size, image.mode, image.getpixel((0, 0))) == ((16, 16), "L", 299 % 256)
            assert image.text["Index"] == "299"
            assert json.loads(archive.read("manifest.json"))["request"]["seed"] == 7
            assert archive.read("labels.csv").decode().splitlines()[:2] == ["file,labels", "000000.png,"]

    def test_come_as_an_array(self, http, generation):
        response = http.get(f"/v1/generations/{generation}/images", headers={"Accept": "application/x-npz"})
        assert int(response.headers["content-length"]) == len(response.content)
        archive = np.load(io.BytesIO(response.content))
        assert (archive["images"].shape, archive["images"].dtype) == ((300, 16, 16), np.uint8)
        assert list(archive["images"][[0, 255, 256, 299], 0, 0]) == [0, 255, 0, 43]
        assert json.loads(str(archive["manifest"]))["id"] == generation

    def test_come_as_a_grid_or_one_by_one(self, http, generation):
        address = f"/v1/generations/{generation}/images"
        assert picture(http.get(address, headers={"Accept": "image/png"})).size == (8 * 16 + 7 * 2,) * 2
        assert picture(http.get(f"{address}/256.png")).text["Index"] == "256"
        assert http.get(f"{address}/300.png").status_code == 404
        assert http.get(f"{address}/-1.png").status_code == 404
        assert http.get(address, headers={"Accept": "text/csv"}).status_code == 406

    @pytest.fixture
    def labelled(self, store, training):
        """The same training, as one that has learnt classes; one looks like a formula, and one is not Latin."""
        learnt = LearntClasses(by="labels", names=("Mass", "=Nodule|Mass", "Ödem"))
        for step in (20, 30):
            name, content = checkpoint_file(step, "ds_x", learnt)
            store.publish_bytes(content, training, name)
        return training

    @pytest.mark.parametrize("dry_run", [False, True])
    def test_show_the_labels_that_they_draw(self, http, labelled, dry_run):
        def asked(labels):
            body = {"training": labelled, "labels": labels}
            return http.post("/v1/generations", params={"dry_run": dry_run}, json=body)

        assert asked(None).json()["request"]["labels"] == ["Mass", "=Nodule|Mass", "Ödem"]
        assert asked(["Ödem", "Mass"]).json()["request"]["labels"] == ["Ödem", "Mass"]
        refused = asked(["Mass", "mas"])
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/labels/1")
        assert "Did you mean 'Mass'" in refused.json()["detail"]

    @pytest.fixture
    def labelled_generation(self, store, generation):
        """The generation, as one that was asked for labels."""
        record = store.read_request(generation)
        labels = ["Mass", "=Nodule|Mass", "Ödem"]
        store.write_request(record.model_copy(update={"request": record.request | {"labels": labels}}))
        return generation

    def test_tell_the_label_of_each_image(self, http, labelled_generation):
        address = f"/v1/generations/{labelled_generation}/images"
        response = http.get(address)
        assert int(response.headers["content-length"]) == len(response.content)
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            assert archive.testzip() is None
            rows = list(csv.reader(io.StringIO(archive.read("labels.csv").decode())))
        assert rows[0] == ["file", "labels"]
        assert rows[1:4] == [["000000.png", "Mass"], ["000001.png", "'=Nodule|Mass"], ["000002.png", "Ödem"]]
        assert rows[4:] == [[f"{index:06d}.png", rows[1 + index % 3][1]] for index in range(3, 300)]

        response = http.get(address, headers={"Accept": "application/x-npz"})
        assert int(response.headers["content-length"]) == len(response.content)
        archive = np.load(io.BytesIO(response.content))
        assert archive["labels"].tolist() == ["Mass", "=Nodule|Mass", "Ödem"] * 100
        assert archive["images"].shape == (300, 16, 16)

    def test_are_not_there_before_their_end(self, http, training):
        address = http.post("/v1/generations", json={"training": training}).headers["location"]
        assert http.get(f"{address}/images").status_code == 409
        assert http.get(f"{address}/images/0.png").status_code == 409


class TestSystem:
    def test_is_up_and_ready(self, http):
        assert http.get("/healthz").json() == {"status": "ok"}
        assert http.get("/readyz").json() == {"status": "ok", "redis": "ok", "store": "ok"}
        assert http.get("/v1/version").json()["api"] == "v1"

    def test_documents_itself_without_the_internet(self, http):
        page = http.get("/docs").text
        assert "://" not in page.replace("http://127.0.0.1", "")

    @pytest.mark.parametrize(
        ("path", "request_model"),
        [
            ("/v1/datasets", DatasetRequest),
            ("/v1/trainings", TrainingRequest),
            ("/v1/generations", GenerationRequest),
            ("/v1/evaluations", EvaluationRequest),
            ("/v1/reader-studies", ReaderStudyRequest),
            ("/v1/studies", StudyRequest),
        ],
    )
    def test_shows_examples_that_are_valid(self, http, path, request_model):
        document = http.get("/openapi.json").json()
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        examples = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]["examples"]
        assert [request_model.model_validate(example) for example in examples]
