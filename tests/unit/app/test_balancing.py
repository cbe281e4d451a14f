"""What the small classes of a dataset lack is drawn by a training of each, as one labelled set."""

import csv
import io
import zipfile

import numpy as np
import pytest

from ended import checkpoint_file, write_ended, write_items
from worker.contract.checkpoints import NO_CLASSES, LearntClasses
from worker.contract.requests import MAX_COUNT, ClassChoice, TrainingRequest
from worker.contract.resources import Kind, Status

SIZES = {"Effusion|Nodule": 2, "Mass": 5, "No Finding": 3}


@pytest.fixture
def unbalanced(store, dataset):
    """A dataset with 2, 5 and 3 images of its classes."""
    write_items(store, dataset, SIZES)
    return dataset


@pytest.fixture
def learn(store, dataset):
    """Makes trainings that have ended: `learn(*classes)` of these alone, `learn(learnt=names)` one with labels."""

    def make(*only, by="labels", learnt=(), of=None, steps=(20, 30)):
        request = TrainingRequest(
            dataset=of or dataset,
            model={"family": "tiny16"},
            steps=30,
            classes=ClassChoice(by=by, only=only) if only else None,
        )
        training = write_ended(store, Kind.TRAINING, request.model_dump(mode="json"), {"steps": 30})
        classes = LearntClasses(by=by, names=learnt) if learnt else NO_CLASSES
        for step in steps:
            name, content = checkpoint_file(step, dataset, classes)
            store.publish_bytes(content, training, name)
        return training

    return make


@pytest.fixture
def trainings(unbalanced, learn):
    return {"Effusion|Nodule": learn("Effusion|Nodule"), "No Finding": learn(learnt=("Mass", "No Finding"))}


def ask(http, balance, trainings, dry_run=False, **fields):
    body = {"balance": balance, "trainings": trainings, "seed": 7} | fields
    return http.post("/v1/generations", params={"dry_run": dry_run}, json=body)


def refusal(response):
    assert response.status_code == 422, response.text
    (error,) = response.json()["errors"]
    return error["pointer"], error["detail"]


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_request_shows_the_training_step_and_count_of_each_class(http, unbalanced, trainings, dry_run):
    request = ask(http, unbalanced, trainings, dry_run).json()["request"]
    assert request == {
        "training": None,
        "checkpoint": "latest",
        "count": 5,
        "seed": 7,
        "labels": None,
        "precision": "float32",
        "balance": unbalanced,
        "by": "labels",
        "trainings": {
            "Effusion|Nodule": {"training": trainings["Effusion|Nodule"], "checkpoint": 30, "count": 3},
            "No Finding": {"training": trainings["No Finding"], "checkpoint": 30, "count": 2},
        },
    }
    assert ask(http, unbalanced, trainings, dry_run=True).json()["request"] == request


def test_what_is_shown_can_be_asked_for_again(http, unbalanced, trainings):
    shown = ask(http, unbalanced, trainings, checkpoint=20).json()["request"]
    assert shown["trainings"]["No Finding"]["checkpoint"] == 20
    assert http.post("/v1/generations", json=shown).json()["request"] == shown


def test_a_class_may_have_a_step_and_a_count_of_its_own(http, unbalanced, trainings):
    chosen = trainings | {"No Finding": {"training": trainings["No Finding"], "checkpoint": 20, "count": 9}}
    request = ask(http, unbalanced, chosen).json()["request"]
    assert request["trainings"]["No Finding"] == chosen["No Finding"]
    assert request["trainings"]["Effusion|Nodule"]["checkpoint"] == 30
    assert request["count"] == 12


def test_a_class_that_lacks_none_needs_none_and_draws_none(http, unbalanced, trainings, learn):
    request = ask(http, unbalanced, trainings | {"Mass": learn("Mass", steps=())}).json()["request"]
    assert request["trainings"].keys() == trainings.keys()


def test_classes_may_be_told_apart_by_another_field(http, unbalanced, learn):
    training = learn("AP", by="view")
    request = ask(http, unbalanced, {"AP": training}, by="view").json()["request"]
    assert request["trainings"] == {"AP": {"training": training, "checkpoint": 30, "count": 4}}


def test_a_class_that_lacks_images_and_has_no_training_is_named(http, unbalanced, trainings):
    pointer, detail = refusal(ask(http, unbalanced, {"No Finding": trainings["No Finding"]}))
    assert pointer == "#/trainings"
    assert detail == ("Classes that lack images have no training: 'Effusion|Nodule' (3) to reach 5. Name one for each.")


def test_a_class_that_there_is_not_is_told_with_the_nearest(http, unbalanced, trainings):
    pointer, detail = refusal(ask(http, unbalanced, trainings | {"Masses/~": trainings["No Finding"]}))
    assert pointer == "#/trainings/Masses~1~0"
    assert "Did you mean 'Mass'?" in detail


@pytest.mark.parametrize(
    ("only", "options", "told"),
    [
        ((), {}, "has learnt all images, without classes: name a training of 'No Finding' by labels alone"),
        (("Mass",), {}, "has learnt the classes Mass by labels"),
        (("Mass", "No Finding"), {}, "has learnt the classes Mass, No Finding by labels"),
        (("No Finding",), {"by": "view"}, "has learnt the classes No Finding by view"),
        ((), {"learnt": ("Mass", "Effusion|Nodule")}, "has learnt the classes Mass, Effusion|Nodule by labels"),
    ],
)
def test_a_training_of_another_class_is_told(http, unbalanced, trainings, learn, only, options, told):
    wrong = learn(*only, **options)
    pointer, detail = refusal(ask(http, unbalanced, trainings | {"No Finding": wrong}))
    assert pointer == "#/trainings/No Finding"
    assert f"{wrong} {told}" in detail


def test_a_training_on_another_dataset_is_told(http, unbalanced, trainings, learn):
    other = Kind.DATASET.new_id()
    wrong = learn("No Finding", of=other)
    _, detail = refusal(ask(http, unbalanced, trainings | {"No Finding": wrong}))
    assert detail == f"{wrong} is a training on {other}: name one on {unbalanced}."


def test_only_what_is_for_training_counts(http, store, dataset, learn):
    write_items(store, dataset, SIZES, split="test")
    pointer, detail = refusal(ask(http, dataset, {"Mass": learn("Mass")}))
    assert (pointer, "There is none at all" in detail) == ("#/trainings/Mass", True)


def test_a_dataset_that_is_balanced_is_told(http, store, dataset, learn):
    write_items(store, dataset, {"Mass": 4, "Nodule": 4})
    pointer, detail = refusal(ask(http, dataset, {"Mass": learn("Mass")}))
    assert (pointer, detail) == ("#/balance", f"No class of {dataset} lacks images: each has 4 to train on.")


def test_more_than_a_generation_may_draw_is_refused(http, unbalanced, trainings):
    chosen = {name: {"training": training, "count": MAX_COUNT} for name, training in trainings.items()}
    assert "is the most that one generation draws" in refusal(ask(http, unbalanced, chosen))[1]


def test_the_dataset_has_to_be_ready_and_the_trainings_to_be_there(http, store, unbalanced, trainings, learn):
    unready = write_ended(store, Kind.DATASET, {"source": "clinic"}, status=Status.FAILED)
    assert ask(http, unready, trainings).status_code == 409
    assert ask(http, Kind.DATASET.new_id(), trainings).status_code == 404
    assert ask(http, trainings["No Finding"], trainings).status_code == 404
    assert ask(http, unbalanced, trainings | {"No Finding": Kind.TRAINING.new_id()}).status_code == 404
    assert ask(http, unbalanced, trainings | {"No Finding": unbalanced}).status_code == 404
    assert ask(http, unbalanced, trainings | {"No Finding": learn("No Finding", steps=())}).status_code == 409


def test_all_that_is_drawn_counts_against_the_quota(as_key, unbalanced, trainings):
    ada = as_key("ada", images=4)
    response = ask(ada, unbalanced, trainings)
    assert response.status_code == 429
    assert "this asks for 5" in response.json()["detail"]


@pytest.fixture
def drawn(http, store, generation, unbalanced, trainings):
    """The generation of 300 images, as one that has balanced a dataset."""
    asked = {
        "Effusion|Nodule": {"training": trainings["Effusion|Nodule"], "checkpoint": 30, "count": 260},
        "No Finding": {"training": trainings["No Finding"], "checkpoint": 30, "count": 40},
    }
    record = store.read_request(generation)
    request = record.request | {"training": None, "balance": unbalanced, "trainings": asked}
    store.write_request(record.model_copy(update={"request": request}))
    return generation


def test_images_come_with_the_label_of_each(http, drawn):
    address = f"/v1/generations/{drawn}/images"
    expected = 260 * ["Effusion|Nodule"] + 40 * ["No Finding"]
    response = http.get(address)
    assert int(response.headers["content-length"]) == len(response.content)
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        rows = list(csv.reader(io.StringIO(archive.read("labels.csv").decode())))
    assert rows[1:] == [[f"{index:06d}.png", label] for index, label in enumerate(expected)]
    content = http.get(address, headers={"Accept": "application/x-npz"}).content
    assert np.load(io.BytesIO(content))["labels"].tolist() == expected
    part = http.get(address, headers={"Accept": "application/x-npz", "Range": "bytes=100-70000"})
    assert (part.status_code, part.content) == (206, content[100:70_001])


def test_what_a_generation_was_drawn_by_stays_while_it_is_there(http, drawn, unbalanced, trainings):
    for needed in (*trainings.values(), unbalanced):
        response = http.delete(f"/v1/{Kind.of(needed).collection}/{needed}")
        assert response.status_code == 409
        assert response.json()["detail"].count(drawn) == 1
    assert http.delete(f"/v1/datasets/{unbalanced}?cascade=true").status_code == 204
    for gone in (drawn, *trainings.values(), unbalanced):
        assert http.get(f"/v1/{Kind.of(gone).collection}/{gone}").status_code == 404
