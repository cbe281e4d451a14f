"""Trainings that are evaluated on the way, over HTTP: what is refused, what is shown, and what is drawn from."""

import csv
import io
import json

import pytest

from app.client import Client
from ended import checkpoint_file
from worker.contract.requests import TrainingRequest
from worker.contract.resources import Kind
from worker.contract.results import BestCheckpoint

BEST = BestCheckpoint(step=20, metric="frechet_distance", value=3.25)
DRAWN_FROM = pytest.mark.parametrize("collection", ["generations", "evaluations"])


@pytest.fixture
def evaluated(store, training, dataset):
    """The training, as one that was evaluated every 10 steps and was best at step 20."""
    record = store.read_request(training)
    metrics = ["frechet_distance", "recall"]
    asked = TrainingRequest(**record.request | {"evaluate_every": 10, "evaluate_metrics": metrics})
    store.write_request(record.model_copy(update={"request": asked.model_dump(mode="json")}))
    for step in (20, 30):
        name, content = checkpoint_file(step, dataset, best=BEST)
        store.publish_bytes(content, training, name)
    file = store.folder(training) / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row in rows[9::10]:
        row |= {"frechet_distance": 3.25 + abs(20 - row["step"]), "recall": 0.5}
    store.publish_bytes("".join(f"{json.dumps(row)}\n" for row in rows).encode(), training, "metrics.jsonl")
    return training


def test_it_is_shown_among_the_checkpoints(http, evaluated):
    listed = http.get(f"/v1/trainings/{evaluated}/checkpoints").json()
    assert [(each["step"], each["best"]) for each in listed] == [(20, True), (30, False)]


@DRAWN_FROM
@pytest.mark.parametrize(("checkpoint", "step"), [("best", 20), ("latest", 30), (20, 20), (None, 30)])
def test_a_word_for_a_checkpoint_is_resolved_at_once(http, evaluated, collection, checkpoint, step):
    asked = {"training": evaluated} | ({"checkpoint": checkpoint} if checkpoint else {})
    for query in ("", "?dry_run=true"):
        assert http.post(f"/v1/{collection}{query}", json=asked).json()["request"]["checkpoint"] == step


@DRAWN_FROM
def test_without_evaluations_on_the_way_none_is_the_best(http, training, collection):
    response = http.post(f"/v1/{collection}", json={"training": training, "checkpoint": "best"})
    assert (response.status_code, response.json()["type"]) == (409, "/problems/wrong-state")
    assert "trained without `evaluate_every`" in response.json()["detail"]


@DRAWN_FROM
def test_before_the_first_checkpoint_there_is_no_best(http, store, evaluated, collection):
    for step in (20, 30):
        store.withdraw(evaluated, f"checkpoints/{step:08d}")
    response = http.post(f"/v1/{collection}", json={"training": evaluated, "checkpoint": "best"})
    assert (response.status_code, "no checkpoint to draw from yet" in response.json()["detail"]) == (409, True)


@DRAWN_FROM
def test_a_best_that_somebody_has_removed_is_answered_with_those_that_are_kept(http, store, evaluated, collection):
    store.withdraw(evaluated, "checkpoints/00000020")
    response = http.post(f"/v1/{collection}", json={"training": evaluated, "checkpoint": "best"})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "#/checkpoint")
    assert "no checkpoint at step 20: kept are 30" in response.json()["detail"]


@DRAWN_FROM
def test_what_is_no_checkpoint_or_no_training_is_refused(http, evaluated, collection):
    response = http.post(f"/v1/{collection}", json={"training": evaluated, "checkpoint": "newest"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"].startswith("#/checkpoint")
    response = http.post(f"/v1/{collection}", json={"training": Kind.TRAINING.new_id(), "checkpoint": "best"})
    assert response.status_code == 404


def table(http, training, **query):
    response = http.get(f"/v1/trainings/{training}/metrics", params=query, headers={"Accept": "text/csv"})
    return list(csv.DictReader(io.StringIO(response.text), strict=True))


@pytest.mark.parametrize("after_step", [0, 9], ids=["from a row without them", "from a row with them"])
def test_metrics_of_some_steps_are_columns_of_the_table_with_empty_cells(http, evaluated, after_step):
    rows = table(http, evaluated, after_step=after_step)
    assert list(rows[0]) == ["step", "d_loss", "d_acc", "g_loss", "g_acc", "frechet_distance", "recall"]
    told = {int(row["step"]): row["frechet_distance"] for row in rows if row["frechet_distance"]}
    assert told == {10: "13.25", 20: "3.25", 30: "13.25"}
    assert {len(row) for row in rows} == {7}
    assert {row["recall"] for row in rows} == {"", "0.5"}


def test_lines_have_them_where_they_were_taken(http, url, evaluated):
    with Client(url) as client:
        rows = client.metrics(evaluated, after_step=18)
    assert [sorted(row.keys() & {"frechet_distance", "recall"}) for row in rows[:2]] == [
        [],
        ["frechet_distance", "recall"],
    ]


def test_a_training_of_before_there_were_evaluations_is_shown_as_it_was(http, store, training):
    record = store.read_request(training)
    old = {name: value for name, value in record.request.items() if not name.startswith("evaluate")}
    store.write_request(record.model_copy(update={"request": old}))
    assert list(table(http, training)[0]) == ["step", "d_loss", "d_acc", "g_loss", "g_acc"]


def test_a_training_is_queued_with_its_evaluations(http, family, dataset):
    asked = {"dataset": dataset, "model": {"family": "tiny16"}, "evaluate_every": 50}
    request = http.post("/v1/trainings", json=asked).json()["request"]
    assert (request["evaluate_every"], request["evaluate_metrics"]) == (50, ["frechet_distance"])


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"evaluate_every": 0}, "#/evaluate_every"),
        ({"evaluate_every": 5, "evaluate_metrics": ["recall"]}, "#/evaluate_metrics"),
        ({"evaluate_every": 5, "evaluate_metrics": ["frechet"]}, "#/evaluate_metrics/0"),
    ],
)
def test_evaluations_that_make_no_sense_are_refused(http, family, dataset, query, fields, pointer):
    asked = {"dataset": dataset, "model": {"family": "tiny16"}} | fields
    response = http.post(f"/v1/trainings{query}", json=asked)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_a_dataset_with_too_few_images_is_refused_at_once(http, store, family, dataset, query):
    manifest = store.read_manifest(dataset)
    few = manifest.result["counts"] | {"split": {"train": 39, "validation": 10, "test": 100}}
    store.write_manifest(manifest.model_copy(update={"result": manifest.result | {"counts": few}}))
    asked = {"dataset": dataset, "model": {"family": "tiny16"}, "evaluate_every": 5}
    response = http.post(f"/v1/trainings{query}", json=asked)
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "#/evaluate_every")
    assert http.post("/v1/trainings", json=asked | {"evaluate_every": None}).status_code == 202
