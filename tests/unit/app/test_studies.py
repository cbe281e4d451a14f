"""Studies over HTTP: what is queued, what is refused, and what can be downloaded."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from worker.contract.errors import DiskFull, InvalidRequest
from worker.contract.queues import AllowListedJob, QueueName, queue
from worker.contract.resources import Kind, Status
from worker.contract.results import StudyFold, StudyForecast

TINY = {"model": {"family": "tiny16"}}
ARTEFACTS = {
    "curve.png": "image/png",
    "curve.svg": "image/svg+xml",
    **{f"tables/{name}.csv": "text/csv; charset=utf-8" for name in ("arms", "comparisons", "curve", "predictions")},
}


def post(http, **fields):
    return http.post("/v1/studies", json={"generator": TINY} | fields)


def test_they_are_queued_with_every_default(http, family, dataset):
    body = post(http, dataset=dataset).json()
    assert (body["kind"], body["status"]) == ("study", "queued")
    assert body["id"].startswith("st_")
    assert body["request"] == {
        "dataset": dataset,
        "classes": {"by": "labels", "only": None},
        "folds": 5,
        "arms": [
            *("real", "real_oversampled", "real_classical"),
            *("real_synthetic", "real_classical_synthetic", "synthetic"),
        ],
        "amounts": [0, 500, 1000, 2000, 3000, 5000],
        "generator": {
            "model": {"family": "tiny16", "preset": "default", "hyperparameters": {"width": 1.0, "dropout": 0.0}},
            "steps": 2000,
            "batch_size": 64,
            "precision": "auto",
            "classical_augmentation": "chest",
        },
        "classifier": {"epochs": 150, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.001, "patience": None},
        "classical": "chest",
        "seed": 0,
    }
    assert {f"/v1/studies/{body['id']}/{name}" for name in ARTEFACTS} < set(body["links"].values())


def test_they_wait_with_the_trainings(http, redis, family, dataset):
    post(http, dataset=dataset)
    assert queue(QueueName.TRAIN, redis).count == 1


def test_the_arms_are_told_in_one_order_with_the_plain_one(http, dataset, family):
    body = post(http, dataset=dataset, arms=["synthetic", "real_oversampled"]).json()
    assert body["request"]["arms"] == ["real", "real_oversampled", "synthetic"]


def test_without_synthetic_images_no_family_is_needed(http, dataset):
    response = http.post("/v1/studies", json={"dataset": dataset, "arms": ["real_classical"], "amounts": [0]})
    assert response.status_code == 202


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
@pytest.mark.parametrize(
    ("fields", "pointer", "sentence"),
    [
        ({"arms": ["real", "unreal"]}, "#/arms/1", "'real_oversampled'"),
        ({"arms": ["synthetic", "synthetic"]}, "#/arms", "named twice"),
        ({"arms": []}, "#/arms", "at least 1"),
        ({"amounts": [0, 500, 500]}, "#/amounts", "500 follows 500: name the numbers in rising order"),
        ({"amounts": [500, 0]}, "#/amounts", "0 follows 500"),
        ({"amounts": [-1]}, "#/amounts/0", "greater than or equal to 0"),
        ({"amounts": [100_001]}, "#/amounts/0", "less than or equal to 100000"),
        ({"amounts": [0]}, "#/", "nothing but 0, and real_synthetic, real_classical_synthetic, synthetic learn"),
        ({"folds": 2}, "#/folds", "greater than or equal to 3"),
        ({"folds": None}, "#/folds", "no image is in test"),
        ({"classes": {"only": ["Mass"]}}, "#/classes", "tells 2 to 100 classes apart, and there are 1"),
        ({"classes": {"by": "sex"}}, "#/classes", "there are 1"),
        ({"classes": {"only": ["Mass", "Masss"]}}, "#/classes/only/1", "Did you mean 'Mass'?"),
        ({"generator": {"model": {"family": "tiny61"}}}, "#/generator/model/family", "Did you mean 'tiny16'?"),
        (
            {"generator": {"model": {"family": "tiny16", "hyperparameters": {"width": 0}}}},
            "#/generator/model/hyperparameters/width",
            "minimum",
        ),
        ({"generator": {"model": {"family": "a-labelled-one"}}}, "#/generator/model/family", "without labels"),
        ({"classifier": {"epochs": 0}}, "#/classifier/epochs", "greater than or equal to 1"),
        ({"classical": "lesion"}, "#/classical", "'chest' or 'paper'"),
        ({"fold": 5}, "#/fold", "folds"),
    ],
)
def test_what_cannot_be_studied_is_refused(http, store, family, dataset, query, fields, pointer, sentence):
    store.publish_family(family.model_copy(update={"family": "a-labelled-one", "takes_labels": True}))
    response = http.post(f"/v1/studies{query}", json={"dataset": dataset, "generator": TINY} | fields)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)
    assert sentence in response.json()["errors"][0]["detail"] or pointer == "#/fold"
    assert http.get("/v1/studies").json()["data"] == []


def test_there_must_be_a_patient_for_each_fold(http, store, family, dataset):
    manifest = store.read_manifest(dataset)
    store.write_manifest(manifest.model_copy(update={"result": manifest.result | {"patients": 4}}))
    response = post(http, dataset=dataset)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "#/folds")
    assert "has 4 patients, too few for 5 folds" in response.json()["detail"]


def test_images_of_another_size_than_the_family_makes_are_refused(http, family, large_dataset):
    response = post(http, dataset=large_dataset, folds=3)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "#/generator/model/family")


def test_they_need_a_dataset_that_is_ready(http, family, training):
    assert post(http, dataset=Kind.DATASET.new_id()).status_code == 404
    assert post(http, dataset=training).status_code == 404
    queued = http.post("/v1/datasets", json={"source": "clinic"}).json()["id"]
    assert post(http, dataset=queued).status_code == 409


def test_they_need_room_on_the_disk(http, family, dataset, monkeypatch):
    def full(_, needed):
        raise DiskFull(f"{needed} bytes are needed.")

    monkeypatch.setattr("app.routes.studies.check_room", full)
    response = post(http, dataset=dataset)
    synthetic = 5 * 2 * 5000 * 16 * 16
    assert response.status_code == 507
    assert synthetic < int(response.json()["detail"].split()[0]) < 1.5 * synthetic
    assert http.get("/v1/studies").json()["data"] == []


@pytest.mark.parametrize(("name", "media_type"), ARTEFACTS.items())
def test_what_they_leave_can_be_downloaded_after_their_end(http, family, dataset, study, name, media_type):
    waiting = post(http, dataset=dataset).headers["location"]
    assert http.get(f"{waiting}/{name}").status_code == 409
    assert http.get(f"/v1/studies/{Kind.STUDY.new_id()}/{name}").status_code == 404
    assert http.get(f"/v1/studies/{dataset}/{name}").status_code == 404
    response = http.get(f"/v1/studies/{study}/{name}")
    assert (response.status_code, response.headers["content-type"], response.text) == (200, media_type, name)
    again = http.get(f"/v1/studies/{study}/{name}", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_there_is_no_other_table(http, study):
    assert http.get(f"/v1/studies/{study}/tables/..%2frequest.csv").status_code in (404, 422)
    assert http.get(f"/v1/studies/{study}/tables/patients.csv").status_code == 422


def test_what_a_cancelled_one_leaves_can_be_downloaded_if_there_is_something(http, ended, store, dataset):
    canceled = ended(Kind.STUDY, {"dataset": dataset}, {"arms": []}, status=Status.CANCELED)
    store.publish_bytes(b"arm\n", canceled, "tables/arms.csv")
    assert http.get(f"/v1/studies/{canceled}/tables/arms.csv").text == "arm\n"
    response = http.get(f"/v1/studies/{canceled}/curve.png")
    assert (response.status_code, "before it had anything to show" in response.json()["detail"]) == (404, True)


PLAN = StudyForecast(
    classes=("Mass", "Nodule"),
    folds=(StudyFold(train={"Mass": 3, "Nodule": 4}, validation={"Mass": 1, "Nodule": 1}, test={"Mass": 1}),),
    generators=2,
    generator_steps=4000,
    synthetic_images=10_000,
    classifiers=18,
    bytes=20_000_000,
)


@pytest.fixture
def try_out(http, redis, work, family, dataset, monkeypatch):
    """Asks for a dry run, lets a worker that draws images answer by this function, and returns the response."""
    worker = SimpleWorker(
        [queue(QueueName.GENERATE, redis)], connection=redis, job_class=AllowListedJob, serializer=JSONSerializer
    )
    worker.register_birth()

    def ask(forecast):
        monkeypatch.setattr("worker.study.plan.forecast", lambda request, *_: forecast(request))
        monkeypatch.setattr("worker.dataset.Dataset.open", lambda _: None)
        with ThreadPoolExecutor() as clients:
            request = {"dataset": dataset, "generator": TINY}
            response = clients.submit(http.post, "/v1/studies?dry_run=true", json=request)
            key = queue(QueueName.GENERATE, redis).key
            assert redis.blmove(key, key, timeout=4)  # put back where it was
            work(QueueName.GENERATE)
            return response.result()

    yield ask
    worker.register_death()


def test_a_dry_run_says_what_it_would_take_and_queues_nothing(try_out, http):
    response = try_out(lambda request: PLAN.model_copy(update={"synthetic_images": request.amounts[-1]}))
    body = response.json()
    assert (response.status_code, body["dry_run"]) == (200, True)
    assert body["request"]["generator"]["model"]["hyperparameters"] == {"width": 1.0, "dropout": 0.0}
    assert body["result"] == PLAN.model_dump(mode="json") | {"synthetic_images": 5000}
    assert http.get("/v1/studies").json()["data"] == []


def test_a_dry_run_refuses_what_the_worker_refuses(try_out):
    def refuse(_):
        raise InvalidRequest.at("#/folds", "Ask for fewer folds.")

    response = try_out(refuse)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "#/folds")
