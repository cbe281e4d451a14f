"""Requests made up from the OpenAPI document, sensible and not: nothing crashes, and each answer is as it says.

The front end is the real one, with a real Redis and no workers. Every request is made twice: as it was made up, and
about things that are there.
"""

import asyncio
import io
import zipfile
from collections.abc import Iterator
from contextlib import suppress

import httpx
import numpy as np
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from app.blind_readings import BlindReading
from app.embedded_redis import EmbeddedRedis
from app.errors import ProblemDetails
from app.main import create_app
from drawn import draw_nih_folder, nih_rows
from ended import NOW, checkpoint_file, dataset_result, evaluation_result, study_result, write_ended, write_reader_study
from worker.contract.requests import DatasetRequest, EvaluationRequest, GenerationRequest, TrainingRequest
from worker.contract.resources import Kind
from worker.contract.results import FamilyDescription
from worker.contract.settings import Settings
from worker.contract.shards import archive_name, array_name, image_name
from worker.contract.store import Store
from worker.contract.study_requests import StudyRequest
from worker.sources.pixels import encode_png

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

IMAGES = np.zeros((4, 16, 16), np.uint8)
PICTURE = encode_png(IMAGES[0])
EXAMPLES = settings().max_examples // 10


def refusals_are_problems(_: schemathesis.CheckContext, response: schemathesis.Response, __: schemathesis.Case) -> None:
    """Whatever an address answers, a refusal is of the one shape of all refusals, and gives nothing away."""
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/problem+json"]
        problem = ProblemDetails.model_validate(response.json(), extra="forbid")
        assert problem.status == response.status_code
        assert problem.type.startswith("/problems/")
        assert "Traceback" not in problem.detail
    if response.status_code in (429, 503):
        assert response.headers["retry-after"]


CHECKS = [
    refusals_are_problems,
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
CONFIG = schemathesis.Config.from_dict(
    {
        # Redis and the workers may be out of reach; here no worker is there to say what a training would take.
        "checks": {"not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]}},
        "generation": {"mode": "all", "max-examples": EXAMPLES, "deterministic": True},
        "cache": {"enabled": False},
    }
)


def with_files(store: Store, resource_id: str, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        store.publish_bytes(content, resource_id, name)
    return resource_id


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def archived(pictures: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for index in range(pictures):
            archive.writestr(image_name(index), PICTURE)
    return buffer.getvalue()


def write_dataset(store: Store) -> str:
    files = {"images.npy": saved(IMAGES), "items.csv": b"file\n", "contact-sheet.png": PICTURE}
    request = DatasetRequest(source="clinic", image_size=16)
    result = dataset_result(train=100, validation=60)
    return with_files(store, write_ended(store, Kind.DATASET, request.model_dump(mode="json"), result), files)


def write_training(store: Store, dataset: str) -> str:
    name, content = checkpoint_file(10, dataset)
    files = {
        "metrics.jsonl": b'{"step": 1, "d_loss": 0.5}\n',
        "snapshots/00000010.png": PICTURE,
        name: content,
    }
    request = TrainingRequest(dataset=dataset, model={"family": "tiny16"}, steps=10)
    return with_files(store, write_ended(store, Kind.TRAINING, request.model_dump(mode="json"), {"steps": 10}), files)


def write_generation(store: Store, training: str) -> str:
    files = {archive_name(0): archived(len(IMAGES)), array_name(0): saved(IMAGES), "grid.png": PICTURE}
    request = GenerationRequest(training=training, checkpoint=10, count=len(IMAGES))
    return with_files(
        store,
        write_ended(store, Kind.GENERATION, request.model_dump(mode="json"), {"count": len(IMAGES), "image_size": 16}),
        files,
    )


def write_evaluation(store: Store, training: str) -> str:
    files = {"grid.png": PICTURE, "nearest.png": PICTURE}
    request = EvaluationRequest(training=training, checkpoint=10, count=60)
    return with_files(
        store, write_ended(store, Kind.EVALUATION, request.model_dump(mode="json"), evaluation_result()), files
    )


def write_study(store: Store, dataset: str) -> str:
    tables = ("arms", "comparisons", "curve", "predictions")
    files = {"curve.png": PICTURE, "curve.svg": b"<svg/>"} | {f"tables/{name}.csv": b"arm\n" for name in tables}
    request = StudyRequest(dataset=dataset).model_dump(mode="json")
    return with_files(store, write_ended(store, Kind.STUDY, request, study_result()), files)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    root = tmp_path_factory.mktemp("service")
    draw_nih_folder(root / "sources" / "clinic", nih_rows(8))
    (root / "sources" / "holiday-photos").mkdir()
    server = EmbeddedRedis(root / "redis")
    yield create_app(Settings(sources=root / "sources", store=root / "store", REDIS_URL=server.start()))
    server.stop()


@pytest.fixture(scope="module")
def there(app: FastAPI) -> dict[str, str]:
    """What stands for what in a request about things that are there."""
    store: Store = app.state.services.store
    tiny = {"family": "tiny16", "title": "Tiny", "reference": "none", "image_sizes": (16,), "takes_labels": False}
    store.publish_family(
        FamilyDescription(
            **tiny,
            parameters={"generator": 10, "discriminator": 20},
            presets={"default": {"width": 1.0}},
            hyperparameters={"type": "object", "properties": {"width": {"type": "number"}}},
            published_at=NOW,
        )
    )
    dataset = write_dataset(store)
    training = write_training(store, dataset)
    generation = write_generation(store, training)
    study, _ = write_reader_study(store, training)
    return {
        "datasets": dataset,
        "trainings": training,
        "generations": generation,
        "evaluations": write_evaluation(store, training),
        "reader-studies": study,
        "reader_id": BlindReading(store, study).enrol("Ada").id,
        "studies": write_study(store, dataset),
        "dataset": dataset,
        "training": training,
        "source": "clinic",
        "source_id": "clinic",
        "family": "tiny16",
        "code": "not-found",
        "step": "10",
        "index": "1",
        "place": "0",
        "table": "arms",
    }


@pytest.fixture(scope="module")
def api(app: FastAPI) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=CONFIG)


def about(there: dict[str, str], case: schemathesis.Case) -> None:
    """Have a request be about things that are there, all else as it was made up."""
    noun = case.path.split("/")[2] if case.path.startswith("/v1/") else ""
    for name in case.path_parameters:
        case.path_parameters[name] = there[noun] if name == "resource_id" else there[name]
    if isinstance(case.body, dict):
        case.body = {name: there.get(name, value) for name, value in case.body.items()}


def check_answers(operation: schemathesis.APIOperation, mode: GenerationMode, there: dict[str, str]) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.filter_too_much],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        case.headers.pop("prefer", None)  # nobody works here: whoever would wait, would wait in vain
        case.call_and_validate(checks=CHECKS)
        if case.method != "DELETE":
            about(there, case)
            case.call_and_validate(checks=CHECKS)

    with suppress(Unsatisfiable):  # nothing can be wrong in a request that has no parameters
        check()


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_is_as_the_document_says(
    api: schemathesis.BaseSchema, there: dict[str, str], mode: GenerationMode, subtests: pytest.Subtests
) -> None:
    for found in api.get_all_operations():
        operation = found.ok()
        with subtests.test(operation.label):
            check_answers(operation, mode, there)


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (f"/v1/trainings/{{trainings}}/snapshots/{'9' * 300}.png", 422),
        (f"/v1/generations/{{generations}}/images/{'9' * 300}.png", 404),
        (f"/v1/datasets/{'x' * 4_000}", 404),
        ("/v1/datasets/ds_..%2f..%2f..%2fetc%2fpasswd", 404),
        ("/v1/sources/%2e%2e", 404),
        ("/v1/sources/..%2f..%2fetc/thumbnails", 404),
        ("/v1/sources/%00", 404),
        ("/v1/models/..%2fdatasets", 404),
    ],
)
def test_no_name_in_an_address_reaches_the_disk_unchecked(
    app: FastAPI, there: dict[str, str], address: str, status: int
) -> None:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as http:
            return await http.get(address.format(**there))

    response = asyncio.run(get())
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")


def test_nothing_can_be_uploaded(app: FastAPI) -> None:
    operations = [operation for path in app.openapi()["paths"].values() for operation in path.values()]
    bodies = [operation["requestBody"]["content"] for operation in operations if "requestBody" in operation]
    assert bodies
    assert {kind for body in bodies for kind in body} == {"application/json"}
