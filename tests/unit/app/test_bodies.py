import json

import pytest

from app.errors import LISTED_FIELDS
from app.routes.bodies import MAX_VALUES

HALF = "\\ud800"
"""As JSON spells half of a character."""


@pytest.fixture
def refused(http):
    """Posts a text as JSON, checks that it is refused as invalid, and returns pointers and detail."""

    def post(path, text):
        response = http.post(path, content=text, headers={"Content-Type": "application/json"})
        assert response.status_code == 422, response.text
        body = response.json()
        assert body["type"] == "/problems/invalid-request"
        return [each["pointer"] for each in body["errors"]], body["detail"]

    return post


def training(dataset, hyperparameters):
    return f'{{"dataset": "{dataset}", "model": {{"family": "tiny16", "hyperparameters": {hyperparameters}}}}}'


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 400])
@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_a_number_that_is_none_is_refused_where_it_is(refused, family, dataset, number, query):
    pointers, detail = refused(f"/v1/trainings{query}", training(dataset, f'{{"width": {number}}}'))
    assert pointers == ["#/model/hyperparameters/width"]
    assert "send a finite one" in detail


@pytest.mark.parametrize(
    ("path", "text", "pointer"),
    [
        ("/v1/datasets", f'{{"source": "{HALF}"}}', "#/source"),
        ("/v1/datasets", f'{{"{HALF}": 1}}', f"#/{HALF}"),
        ("/v1/datasets", f'{{"source": "clinic", "where": {{"labels": ["Nodule", "{HALF}"]}}}}', "#/where/labels/1"),
        ("/v1/trainings", training("ds_x", f'{{"{HALF}": 1}}'), f"#/model/hyperparameters/{HALF}"),
        ("/v1/trainings", training("ds_x", f'{{"width": [{{"a": "{HALF}"}}]}}'), "#/model/hyperparameters/width/0/a"),
        ("/v1/generations", f'{{"training": "tr_x", "labels": ["{HALF}"]}}', "#/labels/0"),
        ("/v1/generations", f'"{HALF}"', "#/"),
    ],
)
def test_half_a_character_is_refused_wherever_it_is(refused, path, text, pointer):
    pointers, detail = refused(path, text)
    assert pointers == [pointer]
    assert "no character" in detail


def test_half_a_character_is_refused_as_the_new_total_of_a_training_too(refused, training):
    assert refused(f"/v1/trainings/{training}/resume", f'{{"steps": "{HALF}"}}')[0] == ["#/steps"]


def test_both_halves_of_a_character_are_one(http):
    body = http.post(
        "/v1/datasets", content=b'{"source": "\\ud83d\\ude00"}', headers={"Content-Type": "application/json"}
    )
    assert body.json()["type"] == "/problems/unknown-source"


@pytest.mark.parametrize(
    "body",
    [
        {"source": "clinic", "exclude": [1] * 200_000},
        {"source": "clinic", "where": {"labels": [str(number) for number in range(50_000)]}},
        {str(number): 0 for number in range(50_000)},
        {"source": "clinic", "where": {"age": {"min": [[[[0] * 200] * 6]]}}},
    ],
    ids=["wrong items", "labels", "fields", "items of items"],
)
def test_a_body_of_more_values_than_a_request_can_need_is_refused_as_a_whole(refused, body):
    pointers, detail = refused("/v1/datasets", json.dumps(body))
    assert pointers == ["#/"]
    assert f"more than {MAX_VALUES:,} values" in detail


def test_of_many_wrong_fields_some_are_listed_and_all_are_counted(refused):
    pointers, detail = refused("/v1/datasets", json.dumps({"source": "clinic", "exclude": [1] * (MAX_VALUES - 3)}))
    assert pointers == [f"#/exclude/{place}" for place in range(LISTED_FIELDS)]
    assert f"({MAX_VALUES - 4} more; errors lists the first {LISTED_FIELDS})" in detail


@pytest.mark.parametrize("text", ["{bad", "[" * 100_000, ""])
@pytest.mark.parametrize("media_type", ["application/json", "text/plain"])
def test_what_is_not_json_is_refused_for_that(http, text, media_type):
    response = http.post("/v1/datasets", content=text, headers={"Content-Type": media_type})
    assert response.status_code in ((400,) if text else (422,))
    assert response.json()["title"]
