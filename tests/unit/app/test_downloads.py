import io
import zipfile

import numpy as np
import pytest

from worker.contract.resources import Kind

MEGABYTE = 1_000_000
ZIP, NPZ, GRID = ({"Accept": kind} for kind in ("application/zip", "application/x-npz", "image/png"))


@pytest.fixture
def prepared(store, ended):
    """A dataset of 1.2 MB of images that is ready, with all its files."""
    dataset = ended(Kind.DATASET, {"source": "clinic", "image_size": 64}, {"images": 300, "sha256": "0" * 64})
    images = io.BytesIO()
    np.save(images, np.arange(300 * 64 * 64, dtype=np.uint32).astype(np.uint8).reshape(300, 64, 64))
    store.publish_bytes(images.getvalue(), dataset, "images.npy")
    store.publish_bytes(b"\x89PNG contact sheet", dataset, "contact-sheet.png")
    store.publish_bytes(b"file,patient\n1.png,1\n", dataset, "items.csv")
    return f"/v1/datasets/{dataset}"


@pytest.fixture
def artefacts(prepared, training, generation, evaluation, study):
    """Every address that something can be downloaded from, with what to accept there."""
    return [
        (f"{prepared}/contact-sheet.png", {}),
        (f"{prepared}/items.csv", {}),
        (f"{prepared}/images.npz", {}),
        (f"/v1/trainings/{training}/snapshots/10.png", {}),
        (f"/v1/trainings/{training}/snapshots.gif", {}),
        *((f"/v1/generations/{generation}/images", accept) for accept in (ZIP, NPZ, GRID)),
        (f"/v1/generations/{generation}/images/299.png", {}),
        *((f"/v1/evaluations/{evaluation}/{name}", {}) for name in ("grid.png", "nearest.png", "card.md", "card.html")),
        *((f"/v1/studies/{study}/{name}", {}) for name in ("curve.png", "curve.svg", "tables/arms.csv")),
    ]


def test_every_artefact_can_be_asked_for_in_parts(http, artefacts):
    for path, accept in artefacts:
        whole = http.get(path, headers=accept)
        size, etag = len(whole.content), whole.headers["etag"]
        assert whole.headers["accept-ranges"] == "bytes"
        assert int(whole.headers["content-length"]) == size
        for asked, stretch in {
            "bytes=0-0": slice(0, 1),
            "bytes=3-9": slice(3, 10),
            "BYTES=5-": slice(5, None),
            "bytes=-7": slice(size - 7, None),
            f"bytes=-{size + 1}": slice(None),
            f"bytes=4-{10**17}": slice(4, None),
        }.items():
            part = http.get(path, headers=accept | {"Range": asked})
            assert (part.status_code, part.content) == (206, whole.content[stretch]), (path, asked)
            start, stop, _ = stretch.indices(size)
            assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
            assert int(part.headers["content-length"]) == stop - start
            assert part.headers["etag"] == etag
            assert part.headers["content-type"] == whole.headers["content-type"]


def test_a_range_where_there_is_nothing_says_how_much_there_is(http, artefacts):
    for path, accept in artefacts:
        size = http.head(path, headers=accept).headers["content-length"]
        for asked in (f"bytes={size}-", "bytes=-0", f"bytes={10**17}-{10**17 + 1}"):
            response = http.get(path, headers=accept | {"Range": asked})
            assert response.status_code == 416
            assert response.headers["content-range"] == f"bytes */{size}"
            assert response.json()["type"] == "/problems/range-not-satisfiable"
            assert size in response.json()["detail"]


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,4-5", "bytes=9-3", "bytes=-", "bytes=a-b", "bytes=1", "items=0-1", "bytes=--1", "0-1", "²-³"]
)
def test_what_is_not_one_range_of_bytes_is_answered_with_everything(http, prepared, asked):
    response = http.get(f"{prepared}/items.csv", headers={"Range": asked.encode()})
    assert (response.status_code, response.content) == (200, b"file,patient\n1.png,1\n")


def test_what_a_client_has_is_not_sent_again(http, artefacts):
    for path, accept in artefacts:
        etag = http.get(path, headers=accept).headers["etag"]
        for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
            response = http.get(path, headers=accept | {"If-None-Match": known, "Range": "bytes=0-1"})
            assert (response.status_code, response.content) == (304, b""), (path, known)
            assert response.headers["etag"] == etag
            assert "content-range" not in response.headers
        assert http.get(path, headers=accept | {"If-None-Match": '"other"'}).status_code == 200


def test_a_part_is_sent_only_of_the_version_that_the_client_has_begun(http, store, prepared):
    path = f"{prepared}/images.npz"
    first = http.get(path, headers={"Range": "bytes=0-99"})
    wanted = {"Range": "bytes=100-", "If-Range": first.headers["etag"]}
    assert http.get(path, headers=wanted).status_code == 206
    assert http.get(path, headers=wanted | {"If-Range": f"W/{first.headers['etag']}"}).status_code == 200
    assert http.get(path, headers=wanted | {"If-Range": "Wed, 21 Oct 2026 07:28:00 GMT"}).status_code == 200
    store.publish_bytes(b"\x93NUMPY of another version", prepared.rpartition("/")[2], "images.npy")
    changed = http.get(path, headers=wanted)
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]
    assert zipfile.ZipFile(io.BytesIO(changed.content)).read("images.npy") == b"\x93NUMPY of another version"


def test_pieces_of_a_megabyte_make_exactly_the_same_archive(http, prepared):
    path = f"{prepared}/images.npz"
    whole = http.get(path).content
    pieces, size = [], len(whole)
    for start in range(0, size, MEGABYTE):
        response = http.get(path, headers={"Range": f"bytes={start}-{start + MEGABYTE - 1}"})
        pieces.append(response.content)
        assert response.headers["content-range"].endswith(f"/{size}")
    assert len(pieces) == 2
    assert b"".join(pieces) == whole
    assert np.load(io.BytesIO(whole))["images"][299, 63, 63] == (300 * 64 * 64 - 1) % 256


@pytest.mark.parametrize("accept", [ZIP, NPZ])
def test_pieces_of_any_size_make_exactly_the_same_archive_of_shards(http, generation, accept):
    path = f"/v1/generations/{generation}/images"
    whole = http.get(path, headers=accept).content
    step = 7919
    pieces = [
        http.get(path, headers=accept | {"Range": f"bytes={start}-{start + step - 1}"}).content
        for start in range(0, len(whole), step)
    ]
    assert len(pieces) > 3
    assert b"".join(pieces) == whole


def test_head_tells_what_get_would_send_and_ignores_ranges(http, artefacts):
    for path, accept in artefacts:
        told = http.head(path, headers=accept | {"Range": "bytes=0-1"})
        sent = http.get(path, headers=accept)
        assert (told.status_code, told.content) == (200, b"")
        for name in ("content-length", "content-type", "etag", "accept-ranges", "cache-control"):
            assert told.headers[name] == sent.headers[name], (path, name)
        assert told.headers.get("content-disposition") == sent.headers.get("content-disposition")


def test_representations_of_one_address_are_told_apart(http, generation):
    path = f"/v1/generations/{generation}/images"
    answers = [http.get(path, headers=accept) for accept in (ZIP, NPZ, GRID)]
    assert len({answer.headers["etag"] for answer in answers}) == 3
    assert {answer.headers["vary"] for answer in answers} == {"Accept"}


def test_images_take_the_labels_of_the_request_in_turn(http, store, generation):
    record = store.read_request(generation)
    labelled = record.model_copy(update={"request": record.request | {"labels": ["Nodule", "Mass, large"]}})
    store.write_request(labelled)
    content = http.get(f"/v1/generations/{generation}/images").content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        rows = archive.read("labels.csv").decode().splitlines()
    assert (len(rows), rows[0]) == (301, "file,labels")
    assert rows[299:] == ["000298.png,Nodule", '000299.png,"Mass, large"']


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/v1/datasets/ds_01k00000000000000000000000/images.npz", 404),
        ("HEAD", "/v1/generations/gn_01k00000000000000000000000/images/0.png", 404),
    ],
)
def test_head_of_what_is_not_there_is_refused_as_get_is(http, method, path, status):
    assert http.request(method, path).status_code == status


def test_the_documentation_knows_of_parts_and_conditions(http):
    document = http.get("/openapi.json").json()
    for path in (
        *("/v1/datasets/{resource_id}/images.npz", "/v1/datasets/{resource_id}/items.csv"),
        *("/v1/datasets/{resource_id}/contact-sheet.png", "/v1/trainings/{resource_id}/snapshots/{step}.png"),
        "/v1/datasets/{resource_id}/classical-augmentation.png",
        *("/v1/trainings/{resource_id}/snapshots.gif", "/v1/generations/{resource_id}/images"),
        *("/v1/generations/{resource_id}/images/{index}.png", "/v1/evaluations/{resource_id}/grid.png"),
        *("/v1/evaluations/{resource_id}/card.md", "/v1/evaluations/{resource_id}/card.html"),
        "/v1/reader-studies/{resource_id}/results.csv",
        "/v1/reader-studies/{resource_id}/readers/{reader_id}/images/{place}.png",
        *("/v1/studies/{resource_id}/curve.svg", "/v1/studies/{resource_id}/tables/{table}.csv"),
    ):
        operation = document["paths"][path]["get"]
        assert {"200", "206", "304", "416"} <= operation["responses"].keys()
        assert {"Range", "if-range", "if-none-match"} <= {each["name"] for each in operation["parameters"]}
        assert operation["responses"]["206"]["headers"].keys() == {"ETag", "Accept-Ranges", "Content-Range"}
