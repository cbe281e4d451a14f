"""From images to synthetic ones of a class, by the API and the functions that workers call."""

import io

import numpy as np
import pytest
from PIL import Image

from worker.contract.queues import QueueName
from worker.models.publish import publish
from worker.models.registry import families


@pytest.fixture
def dataset_request():
    return {"source": "clinic", "image_size": 28}


def test_a_class_is_learnt_drawn_and_named(http, store, work, dataset_request):
    publish(store, [families()["minuscule28-conditional"]])
    dataset = http.post("/v1/datasets", json=dataset_request).json()["id"]
    work(QueueName.PREPARE)
    asked = {
        "dataset": dataset,
        "model": {"family": "minuscule28-conditional", "hyperparameters": {"width": 0.05}},
        "classes": {"only": ["Nodule", "Effusion|Infiltration"]},
        "steps": 2,
        "batch_size": 4,
        "precision": "float32",
    }
    training = http.post("/v1/trainings", json=asked).json()
    work(QueueName.TRAIN)
    trained = http.get(training["links"]["self"]).json()
    assert trained["status"] == "succeeded", trained["error"]

    asked = {"training": training["id"], "count": 5, "labels": ["Effusion|Infiltration"]}
    generation = http.post("/v1/generations", json=asked).json()
    everything = http.post("/v1/generations", json={"training": training["id"], "count": 3}).json()
    assert everything["request"]["labels"] == ["Nodule", "Effusion|Infiltration"]
    work(QueueName.GENERATE)
    images = generation["links"]["images"]
    picture = Image.open(io.BytesIO(http.get(f"{images}/4.png").content))
    assert (picture.size, picture.text["Label"]) == ((28, 28), "Effusion|Infiltration")

    def arrays(made):
        sent = http.get(made["links"]["images"], headers={"Accept": "application/x-npz"})
        return np.load(io.BytesIO(sent.content))

    assert set(arrays(generation)["labels"]) == {"Effusion|Infiltration"}
    assert arrays(everything)["labels"].tolist() == ["Nodule", "Effusion|Infiltration", "Nodule"]
    np.testing.assert_array_equal(arrays(everything)["images"][1], arrays(generation)["images"][1])


def test_a_class_that_only_the_worker_can_look_for_fails_the_job_in_a_sentence(http, store, work, dataset_request):
    publish(store, [families()["minuscule28"]])
    dataset = http.post("/v1/datasets", json=dataset_request).json()["id"]
    work(QueueName.PREPARE)
    training = http.post(
        "/v1/trainings", json={"dataset": dataset, "classes": {"only": ["Infiltration|Nodule"]}}
    ).json()
    work(QueueName.TRAIN)
    error = http.get(training["links"]["self"]).json()["error"]
    assert (error["status"], error["errors"][0]["pointer"]) == (422, "#/classes/only/0")
    assert "There is Effusion|Infiltration, Infiltration, No Finding, Nodule." in error["detail"]
