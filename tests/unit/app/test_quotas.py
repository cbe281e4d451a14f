from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app.keys import Keyring, Quotas, Scope
from app.quotas import MEASURED, RESERVED_SECONDS, Admission
from worker.contract import owners
from worker.contract.errors import AboveQuota, QuotaUsedUp
from worker.contract.live import utc_now
from worker.contract.queues import QueueName
from worker.contract.resources import Kind, RequestRecord, Status

SMALL = {"source": "clinic", "image_size": 16}
JOBS, QUEUE = 3, 12
"""As the front end that asks for keys has them."""


def refused(response, code, seconds):
    """Check that a response is this problem of a quota, and return its sentence."""
    body = response.json()
    assert (response.status_code, body["type"]) == (429, f"/problems/{code}"), response.text
    assert response.headers["retry-after"] == str(seconds)
    return body["detail"]


def test_a_key_has_so_many_jobs_under_way_and_no_more(as_key, store):
    ada = as_key("ada")
    made = [ada.post("/v1/datasets", json=SMALL).json() for _ in range(JOBS)]
    assert "'ada' is used up: 3 of 3 jobs" in refused(ada.post("/v1/datasets", json=SMALL), "quota-used-up", 60)
    assert len(store.ids(Kind.DATASET)) == JOBS
    assert as_key("ben").post("/v1/datasets", json=SMALL).status_code == 202
    assert ada.post(made[0]["links"]["cancel"]).status_code == 202
    assert ada.post("/v1/datasets", json=SMALL).status_code == 202


def test_a_job_that_has_ended_makes_room(as_key, work):
    ada = as_key("ada")
    for _ in range(2):
        for _ in range(JOBS):
            assert ada.post("/v1/datasets", json=SMALL).status_code == 202
        refused(ada.post("/v1/datasets", json=SMALL), "quota-used-up", 60)
        work(QueueName.PREPARE)


def test_a_running_job_is_under_way_too(as_key, live):
    ada = as_key("ada", jobs=1)
    made = ada.post("/v1/datasets", json=SMALL).json()
    live.move(made["id"], 1, Status.RUNNING)
    assert "1 of 1 jobs" in refused(ada.post("/v1/datasets", json=SMALL), "quota-used-up", 60)


def test_of_many_who_ask_at_once_as_many_are_served_as_there_is_room(as_key, store):
    ada = as_key("ada")
    with ThreadPoolExecutor(10) as clients:
        answers = list(clients.map(lambda _: ada.post("/v1/datasets", json=SMALL).status_code, range(10)))
    assert sorted(answers) == [202] * JOBS + [429] * (10 - JOBS)
    assert len(store.ids(Kind.DATASET)) == JOBS


def test_a_resumed_training_is_a_job_as_any_other(as_key, store, training):
    store.write_request(store.read_request(training).model_copy(update={"owner": "ada"}))
    ada = as_key("ada", jobs=1)
    made = ada.post("/v1/datasets", json=SMALL).json()
    resume = f"/v1/trainings/{training}/resume"
    refused(ada.post(resume, json={"steps": 40}), "quota-used-up", 60)
    assert ada.get(f"/v1/trainings/{training}").json()["status"] == "succeeded"
    ada.post(made["links"]["cancel"])
    assert "allows 500" in refused(ada.post(resume, json={"steps": 501}), "above-quota", 3600)
    assert ada.post(resume, json={"steps": 500}).status_code == 202
    refused(ada.post("/v1/datasets", json=SMALL), "quota-used-up", 60)


def test_one_request_is_only_so_large(as_key, family, dataset, training):
    ada, ben = as_key("ada", jobs=4), as_key("ben", jobs=4, steps=501, images=51)
    requests = (
        ("steps", "/v1/trainings", {"dataset": dataset, "model": {"family": "tiny16"}, "steps": 501}),
        ("count", "/v1/generations", {"training": training, "count": 51}),
        ("count", "/v1/evaluations", {"training": training, "count": 51}),
        ("count", "/v1/reader-studies", {"training": training, "count": 51, "reference": "validation"}),
    )
    for field, path, body in requests:
        response = ada.post(path, json=body)
        assert "ask for less" in refused(response, "above-quota", 3600)
        assert response.json()["errors"][0]["pointer"] == f"#/{field}"
        assert ada.post(path, json=body | {field: body[field] - 1}).status_code == 202
        assert ben.post(path, json=body).status_code == 202


def test_a_generator_of_a_study_is_only_as_large_as_a_training_and_a_generation(as_key, family, dataset):
    ada = as_key("ada")
    small = {"model": {"family": "tiny16"}, "steps": 500}
    for generator, amounts, pointer in (
        (small | {"steps": 501}, [0, 50], "#/generator/steps"),
        (small, [0, 51], "#/amounts"),
    ):
        response = ada.post("/v1/studies", json={"dataset": dataset, "generator": generator, "amounts": amounts})
        assert "in one generator of a study" in refused(response, "above-quota", 3600)
        assert response.json()["errors"][0]["pointer"] == pointer
    allowed = {"dataset": dataset, "generator": small, "amounts": [0, 50]}
    assert ada.post("/v1/studies", json=allowed).status_code == 202


def test_a_study_without_synthetic_images_has_no_generator_that_could_be_too_large(as_key, family, dataset):
    ada = as_key("ada")  # the defaults are above ada's quotas
    generator = {"model": {"family": "tiny16"}}
    body = {"dataset": dataset, "generator": generator, "arms": ["real", "real_classical"]}
    assert ada.post("/v1/studies", json=body | {"amounts": [0]}).status_code == 202
    assert ada.post("/v1/studies", json=body).status_code == 202
    refused(ada.post("/v1/studies", json=body | {"arms": ["real_synthetic"]}), "above-quota", 3600)


def test_what_is_stored_counts_once_it_has_ended_and_until_it_is_deleted(as_key, work, redis):
    ada = as_key("ada", bytes=1)
    made = ada.post("/v1/datasets", json=SMALL).json()
    assert ada.post("/v1/datasets", json=SMALL).status_code == 202
    work(QueueName.PREPARE)
    assert "of 1 bytes" in refused(ada.post("/v1/datasets", json=SMALL), "quota-used-up", 60)
    (second,) = [each["id"] for each in ada.get("/v1/datasets").json()["data"] if each["id"] != made["id"]]
    for resource_id in (made["id"], second):
        refused(ada.post("/v1/datasets", json=SMALL), "quota-used-up", 60)
        assert ada.delete(f"/v1/datasets/{resource_id}").status_code == 204
    assert ada.post("/v1/datasets", json=SMALL).status_code == 202


def test_an_admin_has_no_quotas_but_those_that_were_set(as_key, family, dataset):
    root = as_key("root", "admin")
    body = {"dataset": dataset, "model": {"family": "tiny16"}, "steps": 501}
    assert [root.post("/v1/trainings", json=body).status_code for _ in range(JOBS + 1)] == [202] * (JOBS + 1)
    refused(as_key("deputy", "admin", steps=500).post("/v1/trainings", json=body), "above-quota", 3600)


def test_the_queues_hold_so_much_whoever_asks(as_key):
    root = as_key("root", "admin")
    assert {root.post("/v1/datasets", json=SMALL).status_code for _ in range(QUEUE)} == {202}
    assert "12 jobs wait" in refused(as_key("ada").post("/v1/datasets", json=SMALL), "queue-full", 30)


def test_a_request_that_is_sent_again_takes_no_place(as_key):
    ada = as_key("ada", jobs=1)
    answers = [ada.post("/v1/datasets", json=SMALL, headers={"Idempotency-Key": "once"}) for _ in range(2)]
    assert [each.status_code for each in answers] == [202, 202]
    assert answers[0].json()["id"] == answers[1].json()["id"]


# Without a front end.


@pytest.fixture
def now():
    return [utc_now()]


@pytest.fixture
def admission(redis, store, live, keyring, settings, now):
    redis.set(MEASURED, "1")  # so that no thread is left when the test is over
    small = settings.model_copy(update={"quota_jobs": 1, "quota_bytes": 10_000})
    return Admission(redis, store, live, keyring, small, clock=lambda: now[0])


def asked(kind=Kind.DATASET, owner="ada", **request):
    return RequestRecord(id=kind.new_id(), kind=kind, created_at=utc_now(), owner=owner, request=request)


def test_a_place_that_is_not_taken_is_free_again(admission, now):
    admission.admit(asked())
    with pytest.raises(QuotaUsedUp):
        admission.admit(asked())
    now[0] += timedelta(seconds=RESERVED_SECONDS + 1)
    admission.admit(asked())


def test_a_key_that_was_revoked_has_the_usual_quotas(admission, keyring):
    keyring.create("ada", Scope.ADMIN)
    admission.admit(asked())
    admission.admit(asked())
    keyring.revoke("ada")
    with pytest.raises(QuotaUsedUp):
        admission.admit(asked())


def test_how_all_stand_that_are_under_way_is_asked_at_once(admission, keyring, redis, live):
    keyring.create("ada", Scope.SUBMIT, Quotas(jobs=100))
    for _ in range(50):
        job = asked()
        live.create(job.id, 1)
        owners.count(redis, "ada", job.id)
    redis.config_resetstat()
    admission.admit(asked())
    counted = redis.info("commandstats")
    assert counted["cmdstat_mget"]["calls"] == 1
    assert "cmdstat_get" not in counted


def test_without_a_key_there_are_no_quotas(admission):
    for _ in range(5):
        admission.admit(asked(Kind.TRAINING, owner=None, steps=10**7))


def test_a_quota_of_nothing_is_nothing(admission, keyring):
    keyring.create("ada", Scope.SUBMIT, Quotas(images=0, jobs=0))
    with pytest.raises(AboveQuota):
        admission.admit(asked(Kind.GENERATION, count=1))
    with pytest.raises(QuotaUsedUp):
        admission.admit(asked())


def test_what_redis_has_lost_is_measured_again(admission, redis, ended, store):
    theirs = ended(Kind.DATASET, {}, owner="ada")
    ended(Kind.DATASET, {}, owner=None)
    store.publish_bytes(b"x" * 10_000, theirs, "images.npy")
    redis.flushall()
    admission.measure_everything()
    with pytest.raises(QuotaUsedUp, match=r"takes 10,\d\d\d of 10,000 bytes"):
        admission.admit(asked())
    admission.admit(asked(owner="ben"))


def test_to_measure_again_changes_nothing(admission, ended, store):
    store.publish_bytes(b"x" * 9_000, ended(Kind.DATASET, {}, owner="ada"), "images.npy")
    for _ in range(3):
        admission.measure_everything()
    admission.admit(asked())


def test_it_is_measured_by_itself_and_once(admission, ended, store, redis, monkeypatch):
    store.publish_bytes(b"x" * 10_000, ended(Kind.DATASET, {}, owner="ada"), "images.npy")
    started = []

    class Thread:
        def __init__(self, target, daemon):
            self.run = target

        def start(self):
            started.append(self)

    monkeypatch.setattr("app.quotas.Thread", Thread)
    redis.delete(MEASURED)
    for owner in ("ben", "cleo"):
        admission.admit(asked(owner=owner))
    (measuring,) = started
    measuring.run()
    with pytest.raises(QuotaUsedUp, match="bytes"):
        admission.admit(asked())


def test_two_front_ends_count_the_same(admission, redis, store, live, settings):
    other = Admission(redis, store, live, Keyring.of(settings), settings.model_copy(update={"quota_jobs": 2}))
    admission.admit(asked())
    other.admit(asked())
    with pytest.raises(QuotaUsedUp, match="2 of 2"):
        other.admit(asked())


def test_what_is_queued_again_is_counted_again(admission, redis, live):
    forgotten = asked()
    live.create(forgotten.id, 1)
    owners.count(redis, "ada", forgotten.id)
    with pytest.raises(QuotaUsedUp, match="1 of 1 jobs"):
        admission.admit(asked())
    live.forget(forgotten.id)
    admission.admit(asked())
