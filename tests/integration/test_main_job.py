"""Select, train, watch, cancel, resume, generate, evaluate: over HTTP, with real processes between."""

import csv
import io
import json
import time
import zipfile
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

POLL_SECONDS = 0.1


def poll(http: httpx.Client, address: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Look at a resource until it is as it should become; the test's time limit ends it otherwise."""
    while not until(resource := http.get(address).json()):
        assert resource["status"] != "failed", resource["error"]
        time.sleep(POLL_SECONDS)
    return resource


def ended(resource: dict[str, Any]) -> bool:
    return resource["status"] in ("succeeded", "failed", "canceled")


def post(http: httpx.Client, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    response = http.post(path, json=body)
    assert response.status_code == 202, response.text
    created: dict[str, Any] = response.json()
    return created


@pytest.mark.parametrize(("source", "matches", "width"), [("drawn", 12, 0.25), ("real", 188, 0.5)])
def test_from_a_selection_to_synthetic_images(http, source, matches, width):
    if source not in [each["id"] for each in http.get("/v1/sources").json()["data"]]:
        pytest.skip("needs the real data in ../shared/data")

    where = {"labels": ["No Finding"], "view": ["AP"], "sex": ["M"]}
    dataset = post(http, "/v1/datasets", {"source": source, "where": where, "image_size": 64})
    dataset = poll(http, dataset["links"]["self"], ended)
    assert dataset["result"]["images"] == matches

    request = {
        "dataset": dataset["id"],
        "model": {"family": "dcgan64", "hyperparameters": {"width": width}},
        "steps": 10_000,
        "batch_size": 4,
        "devices": 2,
        "snapshot_every": 2,
        "checkpoint_every": 4,
        "keep_checkpoints": 2,
    }
    before = http.get("/v1/trainings?limit=1").json()["data"]
    foreseen = http.post("/v1/trainings?dry_run=true", json=request)
    assert foreseen.status_code == 200, foreseen.text
    forecast = foreseen.json()["result"]
    assert (forecast["devices"], forecast["images_seen"]) == (2, 40_000)
    assert forecast["flops_per_step"] < forecast["flops_per_step_plain"]
    assert http.get("/v1/trainings?limit=1").json()["data"] == before

    training = post(http, "/v1/trainings", request)
    links = training["links"]
    running = poll(http, links["self"], lambda now: bool(now["progress"]) and now["progress"]["done"] >= 5)
    assert (running["status"], running["progress"]["unit"], running["progress"]["total"]) == (
        "running",
        "steps",
        10_000,
    )

    assert http.post(links["cancel"]).status_code == 202
    canceled = poll(http, links["self"], ended)
    assert canceled["status"] == "canceled"
    reached = canceled["result"]["steps"]
    assert reached >= 5
    assert len(canceled["result"]["devices"]) == 2
    assert http.get(links["checkpoints"]).json()[-1]["step"] == reached

    total = reached + 4
    assert post(http, links["resume"], {"steps": total})["status"] == "queued"
    finished = poll(http, links["self"], ended)
    assert (finished["status"], finished["result"]["steps"]) == ("succeeded", total)
    for name in ("precision", "fast_paths"):
        assert finished["result"][name] == forecast[name]
    rows = [json.loads(line) for line in http.get(links["metrics"]).text.splitlines()]
    assert [row["step"] for row in rows] == list(range(1, total + 1))
    assert all(np.isfinite(list(row.values())).all() for row in rows)

    snapshots = http.get(links["snapshots"]).json()
    assert [each["step"] for each in snapshots][:3] == [0, 2, 4]
    grid = Image.open(io.BytesIO(http.get(snapshots[-1]["link"]).content))
    assert (grid.mode, grid.size) == ("L", (4 * 64 + 3 * 2,) * 2)
    assert Image.open(io.BytesIO(http.get(links["time_lapse"]).content)).n_frames == len(snapshots)
    kinds = [event["type"] for event in http.get(links["events"]).json()]
    assert kinds.count("end") == 2
    assert {"status", "progress", "metrics", "snapshot", "checkpoint"} <= set(kinds)

    first, again, other = (draw(http, training["id"], count, seed) for count, seed in ((20, 7), (3, 7), (3, 8)))
    assert np.array_equal(first[:3], again)
    assert not np.array_equal(again, other)
    assert first.shape == (20, 64, 64)


def draw(
    http: httpx.Client, training: str, count: int, seed: int, size: int = 64
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Generate, and check the archive: grey pictures with their provenance."""
    request = {"training": training, "count": count, "seed": seed}
    answer = http.post("/v1/generations", json=request, headers={"Prefer": "wait=50"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=50"), answer.text
    generation = answer.json()
    assert generation["status"] == "succeeded"
    response = http.get(generation["links"]["images"])
    images = []
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        for index in range(count):
            picture = Image.open(archive.open(f"{index:06d}.png"))
            assert (picture.mode, picture.size) == ("L", (size, size))
            provenance = picture.text
            assert provenance["Synthetic"] == "true"
            assert (provenance["Training"], provenance["Seed"], provenance["Index"]) == (
                training,
                str(seed),
                str(index),
            )
            assert len(provenance["Dataset-SHA-256"]) == 64
            images.append(np.asarray(picture))
    return np.stack(images)


def test_how_near_synthetic_images_are_to_real_ones(http, trained):
    request = {"training": trained, "count": 40}
    foreseen = http.post("/v1/evaluations?dry_run=true", json=request)
    assert foreseen.json()["result"] == {"image_size": 28, "synthetic": 40, "real": 40}
    evaluation = poll(http, post(http, "/v1/evaluations", request)["links"]["self"], ended)
    assert (evaluation["status"], evaluation["request"]["checkpoint"]) == ("succeeded", 2)
    result = evaluation["result"]
    assert (result["synthetic"], result["real"], result["memorisation"]["copies"]) == (40, 40, 0)
    assert result["metrics"]["frechet_distance"]["value"]["distance"] > 0
    for link in ("grid", "nearest"):
        with Image.open(io.BytesIO(http.get(evaluation["links"][link]).content)) as picture:
            assert picture.mode == "L"
    card = http.get(evaluation["links"]["card"]).text
    assert card.count("data:image/png;base64,") == 3
    assert "no patient is in them" in card
    assert "tensorflow: " in card


def test_people_read_what_a_training_draws_beside_real_images(http, trained):
    request = {"training": trained, "count": 12, "reference": "validation", "seed": 3}
    foreseen = http.post("/v1/reader-studies?dry_run=true", json=request)
    assert foreseen.json()["result"] == {"image_size": 28, "synthetic": 12, "real": 12, "classes": []}
    study = poll(http, post(http, "/v1/reader-studies", request)["links"]["self"], ended)
    assert study["status"] == "succeeded"
    reader = http.post(study["links"]["readers"], json={"name": "Ada"}).json()
    seen = []
    while reader["next"]:
        with Image.open(io.BytesIO(http.get(reader["next"]["image"]).content)) as picture:
            seen.append(np.asarray(picture))
        answer = {"origin": "real", "confidence": 1, "seconds": 0.5}
        reader = http.put(reader["next"]["answer"], json=answer).json()
    assert http.get(study["links"]["results"]).json()["together"]["tasks"]["origin"]["accuracy"]["value"] == 0.5

    dataset = http.get(f"/v1/trainings/{trained}").json()["request"]["dataset"]
    with np.load(io.BytesIO(http.get(f"/v1/datasets/{dataset}/images.npz").content)) as archive:
        taken = archive["images"]
    drawn = draw(http, trained, 12, 3, size=28)
    rows = list(csv.DictReader(http.get(study["links"]["results_table"]).text.splitlines()))
    assert [row["origin"] for row in rows].count("real") == 12
    for pixels, row in zip(seen, rows, strict=True):
        assert np.array_equal(pixels, (taken if row["origin"] == "real" else drawn)[int(row["source"])])


def test_a_small_request_passes_a_large_one(http, trained):
    large = post(http, "/v1/generations", {"training": trained, "count": 20_000})
    poll(http, large["links"]["self"], lambda now: now["status"] == "running" and now["progress"] is not None)
    small = post(http, "/v1/generations", {"training": trained, "count": 2})
    assert poll(http, small["links"]["self"], ended)["status"] == "succeeded"
    assert http.get(large["links"]["self"]).json()["status"] == "running"
    http.post(large["links"]["cancel"])
    assert poll(http, large["links"]["self"], ended)["status"] == "canceled"


def test_the_workers_say_who_they_are(http):
    found = {each["queues"][0]: each for each in http.get("/v1/workers").json()["data"]}
    assert found.keys() == {"prepare", "train", "generate", "evaluate"}
    assert len(found["train"]["devices"]) == 2


def test_more_devices_than_any_worker_has_are_refused(http, trained):
    dataset = http.get(f"/v1/trainings/{trained}").json()["request"]["dataset"]
    response = http.post("/v1/trainings", json={"dataset": dataset, "devices": 3, "batch_size": 3})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "#/devices")


def test_a_dry_run_refuses_what_a_training_would(http, trained):
    dataset = http.get(f"/v1/trainings/{trained}").json()["request"]["dataset"]
    response = http.post("/v1/trainings?dry_run=true", json={"dataset": dataset, "model": {"family": "dcgan64"}})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "#/model/family")


@pytest.fixture(scope="session")
def trained(service):
    """The id of a small training that is ready."""
    with httpx.Client(base_url=service.url, timeout=60) as http:
        split = {"train": 0.6, "validation": 0.4}
        dataset = post(http, "/v1/datasets", {"source": "phantom", "image_size": 28, "limit": 120, "split": split})
        poll(http, dataset["links"]["self"], ended)
        model = {"family": "minuscule28", "hyperparameters": {"width": 0.1}}
        training = post(http, "/v1/trainings", {"dataset": dataset["id"], "model": model, "steps": 2, "batch_size": 4})
        assert poll(http, training["links"]["self"], ended)["status"] == "succeeded"
    return training["id"]
