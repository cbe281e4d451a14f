import pytest
from redis import Redis

from app.errors import error_classes, status_of
from worker.contract import errors


def problem(response, status, pointer=None):
    """Check that a response is a problem, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body.keys() == {"type", "title", "status", "detail", "errors"}
    assert body["status"] == status
    assert body["type"].startswith("/problems/")
    if pointer:
        assert pointer in [error["pointer"] for error in body["errors"]], body
    return body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("PUT", "/v1/datasets", 405), ("GET", "/v1/datasets/ds_nonsense", 404)],
)
def test_the_framework_s_own_errors_are_problems_too(http, method, path, status):
    problem(http.request(method, path), status)


def test_json_that_cannot_be_read_is_malformed(http):
    body = problem(http.post("/v1/datasets", content=b"{bad", headers={"Content-Type": "application/json"}), 400)
    assert body["type"] == "/problems/malformed-request"


def test_a_body_that_is_not_called_json_is_malformed_and_the_way_out_is_named(http):
    assert "Content-Type" in problem(http.post("/v1/datasets", content=b"{}"), 400)["detail"]


@pytest.mark.parametrize(
    ("body", "pointer", "sentence"),
    [
        ({}, "#/source", "is required"),
        ({"source": "clinic", "sauce": 1}, "#/sauce", "no such field"),
        ({"source": "clinic", "where": {"age": {"min": 70, "max": 20}}}, "#/where/age", "min (70) is above max (20)"),
        ({"source": "clinic", "where": {"lables": []}}, "#/where/lables", "no such field"),
        (
            {"source": "clinic", "where": {"labels": ["Infiltraton"]}},
            "#/where/labels/0",
            "Did you mean 'Infiltration'?",
        ),
        ({"source": "clinic", "image_size": 4}, "#/image_size", "greater than or equal to 8"),
        ({"source": "clinic", "split": {"train": 0.5}}, "#/split", "add up to 0.5"),
        ({"source": "clinic", "fit": "stretch"}, "#/fit", "'pad' or 'crop'"),
        ({"source": "clinc"}, "#/source", "Did you mean 'clinic'?"),
        ({"source": "holiday-photos"}, None, "no layout that RaGAN knows"),
    ],
)
def test_what_is_impossible_is_pointed_at_in_a_sentence(http, body, pointer, sentence):
    assert sentence in problem(http.post("/v1/datasets", json=body), 422, pointer)["detail"]


@pytest.mark.parametrize(
    ("fields", "pointer", "sentence"),
    [
        ({"model": {"family": "tiny61"}}, "#/model/family", "Did you mean 'tiny16'?"),
        ({"model": {"family": "tiny16", "preset": "best"}}, "#/model/preset", "default, reference"),
        ({"model": {"family": "tiny16", "hyperparameters": {"width": -1}}}, "#/model/hyperparameters/width", "-1"),
        ({"model": {"family": "tiny16", "hyperparameters": {"depth": 1}}}, "#/model/hyperparameters/depth", "width"),
        ({"devices": "many"}, "#/devices", "'all'"),
        ({"batch_size": 6, "devices": 4}, "#/", "take a multiple of 4"),
        ({"steps": 0}, "#/steps", "greater than or equal to 1"),
    ],
)
def test_a_training_that_cannot_be_is_refused_at_the_door(http, family, dataset, fields, pointer, sentence):
    request = {"dataset": dataset, "model": {"family": "tiny16"}, **fields}
    assert sentence in problem(http.post("/v1/trainings", json=request), 422, pointer)["detail"]


def test_a_family_that_makes_another_size_says_what_fits(http, large_dataset, family):
    request = {"dataset": large_dataset, "model": {"family": "tiny16"}}
    detail = problem(http.post("/v1/trainings", json=request), 422, "#/model/family")["detail"]
    assert "64 pixels" in detail
    assert "image_size 16" in detail


def test_without_published_families_the_door_asks_to_wait(http, dataset):
    response = http.post("/v1/trainings", json={"dataset": dataset})
    assert problem(response, 503)["type"] == "/problems/families-unpublished"
    assert int(response.headers["retry-after"]) > 0


def test_a_query_that_cannot_be_is_named(http):
    problem(http.get("/v1/datasets?limit=0"), 422, "?limit")
    problem(http.get("/v1/datasets?status=done"), 422, "?status")


def test_a_body_of_megabytes_is_not_read(http):
    problem(http.post("/v1/datasets", json={"source": "x" * 2_000_000}), 413)


def test_every_error_has_a_title_and_a_page(http):
    for code, error in error_classes().items():
        body = http.get(f"/problems/{code}").json()
        assert body == {"type": f"/problems/{code}", "title": error.title(), "status": status_of(error)}
        assert error.title().endswith(".")
    problem(http.get("/problems/none-such"), 404)


def test_a_subclass_answers_as_its_parent():
    assert status_of(errors.UnknownFamily) == status_of(errors.InvalidRequest) == 422
    assert status_of(errors.WorkerDied) == 500


def test_what_nobody_foresaw_shows_no_trace_of_the_code(http, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("app.routes.system.version", broken)
    body = problem(http.get("/v1/version"), 500)
    assert "secret" not in str(body)
    assert "ZeroDivision" not in str(body)


def test_without_redis_the_queue_is_unavailable_and_what_has_ended_is_served(http, redis: Redis, dataset, monkeypatch):
    redis.client_kill_filter(skipme=True)
    monkeypatch.setattr("redis.connection.UnixDomainSocketConnection._connect", _no_server)
    response = http.post("/v1/datasets", json={"source": "clinic"})
    assert problem(response, 503)["type"] == "/problems/queue-unavailable"
    assert response.headers["retry-after"]
    assert http.get(f"/v1/datasets/{dataset}").json()["status"] == "succeeded"
    assert "Redis does not answer" in http.get("/readyz").json()["redis"]


def _no_server(*_):
    raise ConnectionRefusedError(111, "Connection refused")
