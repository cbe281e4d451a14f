import json
import logging
import time

import pytest

from worker.contract.queues import QueueName

SMALL = {"source": "clinic", "image_size": 16}


@pytest.fixture
def audited(caplog):
    """So many lines of the audit log, parsed, as soon as they are there: a client has its answer a moment before."""
    caplog.set_level(logging.INFO, "ragan.audit")

    def lines(count):
        while len(found := [record for record in caplog.records if record.name == "ragan.audit"]) < count:
            time.sleep(0.01)  # pytest's time limit is the end of patience
        caplog.clear()
        return [json.loads(record.getMessage()) for record in found]

    return lines


def test_a_line_says_who_did_what_to_which_and_how_it_ended(as_key, audited):
    made = as_key("ada").post("/v1/datasets", json=SMALL, headers={"X-Request-ID": "my-request"})
    (line,) = audited(1)
    assert line.pop("time").endswith("Z")
    assert line == {
        "logger": "ragan.audit",
        "action": "create",
        "key": "ada",
        "method": "POST",
        "path": "/v1/datasets",
        "resource": made.json()["id"],
        "status": 202,
        "client": "127.0.0.1",
        "request_id": "my-request",
    }


def test_every_change_and_every_download_is_written_down(
    as_key, work, training, generation, evaluation, study, audited
):
    root = as_key("root", "admin")
    dataset = root.post("/v1/datasets", json=SMALL).json()["links"]["self"]
    work(QueueName.PREPARE)
    root.post(f"/v1/trainings/{training}/resume", json={"steps": 40})
    root.post(f"/v1/trainings/{training}/cancel")
    root.delete(f"/v1/generations/{generation}")
    assert [(each["action"], each["status"]) for each in audited(4)] == [
        ("create", 202),
        ("resume", 202),
        ("cancel", 202),
        ("delete", 204),
    ]
    pictures = ("contact-sheet.png", "classical-augmentation.png")
    below = [f"{dataset}/{name}" for name in (*pictures, "items.csv", "images.npz")]
    below += [f"/v1/trainings/{training}/{name}" for name in ("snapshots/10.png", "snapshots.gif")]
    below += [f"/v1/evaluations/{evaluation}/{name}" for name in ("grid.png", "nearest.png", "card.md", "card.html")]
    below += [f"/v1/studies/{study}/{name}" for name in ("curve.png", "curve.svg", "tables/predictions.csv")]
    for path in below:
        assert root.get(path).status_code == 200
    assert [(each["action"], each["path"]) for each in audited(len(below))] == [("download", path) for path in below]


def test_images_of_a_generation_are_a_download(as_key, generation, audited):
    ada = as_key("ada", "read")
    for path in ("images", "images/7.png"):
        ada.get(f"/v1/generations/{generation}/{path}")
    assert [(each["action"], each["resource"], each["key"]) for each in audited(2)] == [
        ("download", generation, "ada")
    ] * 2


def test_a_reading_is_written_down_with_who_looked_at_its_truth(as_key, reader_study, audited):
    root, ben = as_key("root", "admin"), as_key("ben", "blind")
    address = f"/v1/reader-studies/{reader_study}"
    reader = root.post(f"{address}/readers", json={"name": "Ben"}).json()
    answer = {"origin": "real", "confidence": 3, "seconds": 2.5}
    lines = audited(1)
    for who, method, path, body in (
        (ben, "GET", reader["next"]["image"], None),
        (ben, "PUT", reader["next"]["answer"], answer),
        (root, "GET", f"{address}/results", None),
        (root, "GET", f"{address}/results.csv", None),
        (ben, "GET", f"{address}/results", None),
    ):
        who.request(method, path, json=body)
        lines += audited(1)
    assert [(each["action"], each["key"], each["status"]) for each in lines] == [
        ("enrol", "root", 201),
        ("download", "ben", 200),
        ("answer", "ben", 200),
        ("download", "root", 200),
        ("download", "root", 200),
        ("download", None, 403),
    ]


def test_what_is_refused_is_written_down_too(as_key, dataset, audited):
    as_key().post("/v1/datasets", json=SMALL)
    ada = as_key("ada")
    ada.delete(f"/v1/datasets/{dataset}")
    ada.post("/v1/datasets", json={"source": "nowhere"})
    assert [(each["action"], each["key"], each["resource"], each["status"]) for each in audited(3)] == [
        ("create", None, None, 401),
        ("delete", "ada", dataset, 403),
        ("create", "ada", None, 422),
    ]


@pytest.mark.parametrize("end", ["%0A", "%00"])
def test_no_control_character_leads_around_the_audit_log(as_key, dataset, training, generation, audited, end):
    ada = as_key("ada", "admin")
    for method, path in (
        ("POST", "/v1/datasets"),
        ("POST", f"/v1/trainings/{training}/cancel"),
        ("POST", f"/v1/trainings/{training}/resume"),
        ("DELETE", f"/v1/generations/{generation}"),
        ("GET", f"/v1/datasets/{dataset}/images.npz"),
        ("GET", f"/v1/generations/{generation}/images"),
    ):
        body = {"steps": 40} if path.endswith("resume") else SMALL
        refused = ada.request(method, path + end, json=body if method == "POST" else None)
        assert (refused.status_code, refused.json()["detail"]) == (404, "There is no such address."), path
    # Nothing was done, and so nothing written down.
    assert [each["id"] for each in ada.get("/v1/datasets").json()["data"]] == [dataset]
    assert ada.delete(f"/v1/generations/{generation}").status_code == 204
    assert [each["action"] for each in audited(1)] == ["delete"]


def test_to_look_or_to_try_is_nothing_to_write_down(as_key, training, audited):
    ada = as_key("ada")
    assert ada.post("/v1/datasets?dry_run=true", json=SMALL).status_code == 200
    for path in ("", "/events", "/metrics", "/snapshots", "/checkpoints"):
        ada.get(f"/v1/trainings/{training}{path}")
    for path in ("/healthz", "/v1/datasets", "/v1/workers", "/v1/nowhere/x/images"):
        ada.get(path)
    ada.post("/v1/datasets", json=SMALL)
    assert [each["action"] for each in audited(1)] == ["create"]


def test_an_error_that_nobody_foresaw_is_written_down(as_key, audited, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("app.jobs.Jobs._queue", broken)
    response = as_key("ada").post("/v1/datasets", json=SMALL)
    assert response.status_code == 500
    (line,) = audited(1)
    assert (line["status"], line["request_id"]) == (500, response.headers["x-request-id"])


def test_no_log_ever_holds_a_key(as_key, keyring, caplog, generation):
    caplog.set_level(logging.DEBUG)
    ada = as_key("ada", "admin")
    right = ada.headers["authorization"].removeprefix("Bearer ")
    wrong = "rgn_wrong-but-somebody-may-have-mistyped-it"
    for secret in (right, wrong):
        for scheme in ("Bearer", "bearer", "Basic", "Token"):
            headers = {"Authorization": f"{scheme} {secret}"}
            ada.post("/v1/datasets", json=SMALL, headers=headers)
            ada.get(f"/v1/generations/{generation}/images", headers=headers)
            ada.delete(f"/v1/generations/{generation}x", headers=headers)
    assert "ragan.audit" in {record.name for record in caplog.records}
    logged = "\n".join([caplog.text, *(str(vars(record)) for record in caplog.records)])
    assert right not in logged
    assert wrong not in logged
