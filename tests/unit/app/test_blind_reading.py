"""What a reader receives does not tell real images from synthetic ones, wherever they look."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier  # type: ignore[import-untyped]  # it ships no types
from sklearn.model_selection import cross_val_predict  # type: ignore[import-untyped]

from app.access import is_open
from app.blind_readings import BlindReading, _order
from ended import write_reader_study
from worker.contract.readings import Reader
from worker.contract.resources import Kind
from worker.sources.pixels import encode_png

COUNT = 40
SECRETS = ("secret", "truth", "order", "source", "seed", "reference", "training", "checkpoint")
"""Of a study's files and its request, what a reader could start from."""


@pytest.fixture
def study(store, training):
    """A study of ada's, with its truth."""
    return write_reader_study(store, training, count=COUNT, classes=("Mass", "Nodule"), owner="ada")


@pytest.fixture
def reader(as_key, study):
    """What ada's enrolment answers with, and a client of the reader's."""
    enrolled = as_key("ada").post(f"/v1/reader-studies/{study[0]}/readers", json={"name": "Ben"})
    assert enrolled.status_code == 201, enrolled.text
    return enrolled.json(), as_key("ben", "blind")


def truth_of(store, study, reader):
    """Whether the image at each place is synthetic."""
    file = store.folder(study[0]) / "readers" / reader["id"] / "reader.json"
    order = Reader.model_validate_json(file.read_bytes()).order
    return np.array([study[1].images[index].origin == "synthetic" for index in order])


def read_through(client, reader):
    """Every answer to a reader who looks at each image and answers it: the images', then those to the answers."""
    images, answers = [], []
    while reader["next"]:
        images.append(client.get(reader["next"]["image"]))
        answer = {"origin": "real", "class": "Mass", "confidence": 1, "seconds": 1}
        answers.append(client.put(reader["next"]["answer"], json=answer))
        reader = answers[-1].json()
    return images, answers


def traits(place, response):
    """All of an answer but what an image shows: its place, lengths, and headers, as numbers."""
    headers = [(name, value) for name, value in sorted(response.headers.items())]
    numbers = [int("".join(re.findall(r"[0-9a-f]", value))[:12] or "0", 16) for _, value in headers]
    return [place, len(response.content), len(headers), *(len(value) for _, value in headers), *numbers]


def found_out(features, synthetic):
    """How many of the images a classifier tells, of what it has not seen."""
    forest = RandomForestClassifier(50, random_state=0)
    return (cross_val_predict(forest, np.array(features, float), synthetic, cv=5) == synthetic).sum()


def test_no_length_no_header_and_no_place_tells_what_is_real(store, study, reader):
    enrolled, ben = reader
    images, answers = read_through(ben, enrolled)
    synthetic = truth_of(store, study, enrolled)
    for responses in (images, answers):
        assert {tuple(sorted(each.headers)) for each in responses} == {tuple(sorted(responses[0].headers))}
        # By chance half of 80 are told, and six standard deviations more would be 67.
        assert found_out([traits(*each) for each in enumerate(responses)], synthetic) < 67
    assert len({len(each.content) for each in images}) == 1
    assert not any("last-modified" in each.headers for each in images)
    # The same way tells all of them where images are compressed, as everywhere else.
    pixels = [np.asarray(Image.open(io.BytesIO(each.content))) for each in images]
    assert found_out([[len(encode_png(each))] for each in pixels], synthetic) == 2 * COUNT


def test_a_file_is_its_pixels_and_nothing_else(reader):
    enrolled, ben = reader
    for response in read_through(ben, enrolled)[0]:
        with Image.open(io.BytesIO(response.content)) as image:
            assert (image.mode, image.info, response.headers["content-type"]) == ("L", {}, "image/png")
            assert response.content == encode_png(np.asarray(image), compress_level=0)
        chunks = re.findall(rb"IHDR|PLTE|IDAT|IEND|tEXt|zTXt|iTXt|tIME|gAMA|pHYs|eXIf", response.content)
        assert chunks == [b"IHDR", b"IDAT", b"IEND"]


def test_nothing_else_is_open_to_a_reader_and_what_is_says_nothing(as_key, store, study, reader, dataset, training):
    enrolled, ben = reader
    study_id, truth = study
    other = as_key("ada2", "admin").post(f"/v1/reader-studies/{study_id}/readers", json={"name": "Eve"}).json()
    ours = f"/v1/reader-studies/{study_id}/readers/{enrolled['id']}"
    names = {
        "resource_id": study_id,
        "reader_id": enrolled["id"],
        "place": 0,
        "source_id": "clinic",
        "family": "tiny16",
        "code": "not-found",
        "step": 30,
        "index": 0,
        "table": "arms",
    }
    received, reached = [], set()
    for path, methods in ben.get("/openapi.json").json()["paths"].items():
        for method in methods:
            for names["resource_id"] in (study_id, training, dataset):
                address = path.format(**names)
                response = ben.request(method, address, json={} if method in ("post", "put") else None)
                if response.status_code == 403:
                    assert "may only see the images of reader studies" in response.json()["detail"]
                    continue
                assert is_open(address) or "/readers/" in address, address
                if address.startswith(ours):
                    received.append(response)
                    reached.add(address.removeprefix(ours))
                elif not is_open(address):
                    assert response.status_code in (404, 422)
    assert reached == {"", "/images/0.png", "/answers/0"}
    images, answers = read_through(ben, enrolled)
    received += [*images, *answers, ben.get(ours), ben.get(f"{ours}/images/0.png"), ben.get(f"{ours}/images/80.png")]
    everything = b"\n".join(
        response.content + json.dumps(dict(response.headers)).encode() for response in received
    ).lower()
    for word in SECRETS:
        assert f'"{word}"'.encode() not in everything, word
    for held in (truth.secret, training, dataset, other["id"], "3141592653"):
        assert held.encode() not in everything
    order = Reader.model_validate_json(
        (store.folder(study_id) / "readers" / enrolled["id"] / "reader.json").read_bytes()
    ).order
    assert json.dumps(order)[1:40].encode() not in everything


def test_the_order_does_not_follow_from_what_a_reader_may_guess(store, training):
    first, truth = write_reader_study(store, training, count=COUNT)
    reading = BlindReading(store, first)
    reader = reading.enrol("Ada")
    (store.folder(first) / "truth.json").write_text(truth.model_copy(update={"secret": "0" * 64}).model_dump_json())
    guessed = _order(reading.truth(), reader.id)  # from the ids and this very code: all but the secret
    assert sorted(guessed) == sorted(reader.order)
    assert sum(a == b for a, b in zip(guessed, reader.order, strict=True)) < 10


@pytest.mark.parametrize("scope", ["read", "submit"])
def test_who_may_read_everything_else_reads_no_images_of_a_study_and_no_truth(as_key, study, reader, scope):
    enrolled, _ = reader
    study_id, truth = study
    eve = as_key("eve", scope)
    address = f"/v1/reader-studies/{study_id}"
    for below in ("readers", "results", "results.csv"):
        refused = eve.get(f"{address}/{below}")
        assert (refused.status_code, "made by the key 'ada'" in refused.json()["detail"]) == (403, True)
    for path in (f"{address}/readers/{enrolled['id']}", enrolled["next"]["image"]):
        refused = eve.get(path)
        assert (refused.status_code, "--scope blind" in refused.json()["detail"]) == (403, True)
    assert eve.put(enrolled["next"]["answer"], json={}).status_code == 403
    assert eve.post(f"{address}/readers", json={"name": "Eve"}).status_code == 403
    everything = "\n".join(eve.get(path).text for path in (address, f"{address}/events", "/v1/reader-studies"))
    assert study_id in everything
    assert truth.secret not in everything
    assert enrolled["id"] not in everything


def test_results_are_for_who_made_the_study_and_for_admins(as_key, study, reader):
    enrolled, ben = reader
    address = f"/v1/reader-studies/{study[0]}"
    read_through(ben, enrolled)
    root = as_key("root", "admin")
    assert root.get(f"{address}/results").json()["finished"] == 1
    assert root.get(f"{address}/readers").json()["data"][0]["id"] == enrolled["id"]
    assert ben.get(f"{address}/results").status_code == 403
    # The maker and admins know the truth, and so their keys read nothing.
    assert root.get(f"{address}/readers/{enrolled['id']}").status_code == 403


@pytest.mark.parametrize("end", ["%0A", "%00"])
@pytest.mark.parametrize("scope", ["read", "admin"])
def test_no_control_character_leads_around_the_scope(as_key, study, reader, scope, end):
    enrolled, ben = reader
    eve = as_key("eve", scope)
    answer = {"origin": "real", "class": "Mass", "confidence": 3, "seconds": 2.5}
    for refused in (
        eve.get(f"/v1/reader-studies/{study[0]}/readers/{enrolled['id']}{end}"),
        eve.get(enrolled["next"]["image"] + end),
        eve.put(enrolled["next"]["answer"] + end, json=answer),
    ):
        assert (refused.status_code, refused.json()["detail"]) == (404, "There is no such address.")
    assert ben.get(f"/v1/reader-studies/{study[0]}/readers/{enrolled['id']}").json()["answered"] == 0


def test_a_reader_s_key_without_the_reader_s_id_is_worth_nothing(as_key, study, reader):
    _, ben = reader
    assert ben.get(f"/v1/reader-studies/{study[0]}/readers/rd_{'0' * 32}").status_code == 404
    assert ben.get(f"/v1/reader-studies/{Kind.READER_STUDY.new_id()}/readers/rd_x").status_code == 404
