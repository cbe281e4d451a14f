import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.idempotency import KeyedRequest
from worker.contract.errors import IdempotencyKeyReused, InvalidRequest
from worker.contract.queues import QueueName, queue
from worker.contract.requests import DatasetRequest
from worker.contract.resources import Kind

SMALL = {"source": "clinic", "image_size": 16}
KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
JSON = {"Content-Type": "application/json"}


def problem_of(response):
    assert response.status_code == 422, response.text
    return response.json()["type"]


def keyed(key="a-key", kind=Kind.DATASET, scope="", **request):
    return KeyedRequest.of(key, kind, DatasetRequest(source="clinic", **request), scope=scope)


class TestKeyedRequests:
    def test_are_the_same_for_the_same_key_sender_and_request(self):
        assert keyed() == keyed()
        assert keyed(image_size=64) == keyed()  # 64 is the default

    @pytest.mark.parametrize("other", [{"key": "another"}, {"scope": "ada"}])
    def test_of_other_keys_or_senders_have_nothing_to_do_with_one_another(self, other):
        assert keyed(**other).key_sha256 != keyed().key_sha256

    def test_of_scope_and_key_that_only_look_alike_together_are_told_apart(self):
        assert keyed("bc", scope="a").key_sha256 != keyed("c", scope="ab").key_sha256

    @pytest.mark.parametrize("other", [{"seed": 1}, {"kind": Kind.TRAINING}])
    def test_that_ask_for_something_else_are_refused(self, other):
        made = keyed().made("ds_01k00000000000000000000000")
        keyed().check_same(made)
        with pytest.raises(IdempotencyKeyReused, match="ds_01k0"):
            keyed(**other).check_same(made)

    @pytest.mark.parametrize("key", ["!", "~" * 255, '"8e03978e"'])
    def test_take_visible_ascii(self, key):
        keyed(key)

    @pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é", "\t", "a\x7f"])
    def test_take_nothing_else(self, key):
        with pytest.raises(InvalidRequest, match="UUID") as refused:
            keyed(key)
        assert refused.value.errors[0].pointer == "header: Idempotency-Key"


def test_the_same_request_is_answered_with_what_it_has_made(http, redis):
    first = http.post("/v1/datasets", json=SMALL, headers=KEY)
    again = http.post("/v1/datasets", content=b'{"image_size": 16, "source": "clinic", "seed": 0}', headers=KEY | JSON)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["location"] == first.headers["location"]
    assert again.json() == first.json()
    assert queue(QueueName.PREPARE, redis).count == 1


def test_what_has_ended_since_is_answered_as_it_is(http, work):
    address = http.post("/v1/datasets", json=SMALL, headers=KEY).headers["location"]
    work(QueueName.PREPARE)
    for prefer in ({}, {"Prefer": "wait=60"}):
        again = http.post("/v1/datasets", json=SMALL, headers=KEY | prefer)
        assert (again.status_code, again.headers["location"]) == (200, address)
        assert again.json()["status"] == "succeeded"


def test_another_request_with_the_same_key_is_refused(http, training):
    http.post("/v1/datasets", json=SMALL, headers=KEY)
    reused = "/problems/idempotency-key-reused"
    assert problem_of(http.post("/v1/datasets", json=SMALL | {"seed": 1}, headers=KEY)) == reused
    assert problem_of(http.post("/v1/generations", json={"training": training}, headers=KEY)) == reused
    assert http.post("/v1/datasets", json=SMALL | {"seed": 1}, headers={"Idempotency-Key": "other"}).status_code == 202


def test_without_a_key_each_request_makes_something(http):
    assert len({http.post("/v1/datasets", json=SMALL).headers["location"] for _ in range(2)}) == 2


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_can_be_asked_for_again_even_where_it_could_not_be_made_any_more(
    http, store, family, dataset, training, kind
):
    body = {
        Kind.DATASET: SMALL,
        Kind.TRAINING: {"dataset": dataset, "model": {"family": "tiny16"}},
        Kind.GENERATION: {"training": training},
        Kind.EVALUATION: {"training": training},
        Kind.READER_STUDY: {"training": training, "reference": "validation"},
        Kind.STUDY: {"dataset": dataset, "generator": {"model": {"family": "tiny16"}}},
    }[kind]
    first = http.post(f"/v1/{kind.collection}", json=body, headers=KEY)
    store.withdraw(training, "checkpoints")
    (store.root / "families" / "tiny16.json").unlink()
    again = http.post(f"/v1/{kind.collection}", json=body, headers=KEY)
    assert (again.status_code, again.headers["location"]) == (202, first.headers["location"])


def test_latest_is_the_same_request_whatever_is_the_latest_by_now(http, store, training):
    first = http.post("/v1/generations", json={"training": training}, headers=KEY)
    store.withdraw(training, "checkpoints/00000030")
    again = http.post("/v1/generations", json={"training": training}, headers=KEY)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["request"]["checkpoint"] == 30


def test_of_two_at_once_one_makes_it(http, redis, monkeypatch):
    both_have_looked = threading.Barrier(2, timeout=20)
    monkeypatch.setattr("app.routes.datasets.check_room", lambda *_: both_have_looked.wait())
    with ThreadPoolExecutor() as clients:
        posts = [clients.submit(http.post, "/v1/datasets", json=SMALL, headers=KEY) for _ in range(2)]
        answers = [each.result() for each in posts]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert queue(QueueName.PREPARE, redis).count == 1


def test_a_redis_that_has_lost_everything_changes_nothing(http, redis):
    first = http.post("/v1/datasets", json=SMALL, headers=KEY)
    redis.flushall()
    again = http.post("/v1/datasets", json=SMALL, headers=KEY)
    assert again.headers["location"] == first.headers["location"]
    assert len(http.get("/v1/datasets").json()["data"]) == 1


def test_a_refused_request_leaves_its_key_free(http):
    assert http.post("/v1/datasets", json=SMALL | {"source": "clinc"}, headers=KEY).status_code == 422
    assert http.post("/v1/datasets", json=SMALL, headers=KEY).status_code == 202


def test_a_request_that_could_not_be_queued_leaves_its_key_free(http, monkeypatch):
    def unreachable(*_, **__):
        raise RedisTimeoutError

    with monkeypatch.context() as broken:
        broken.setattr("app.jobs.enqueue", unreachable)
        assert http.post("/v1/datasets", json=SMALL | {"seed": 1}, headers=KEY).status_code == 503
    assert http.get("/v1/datasets").json()["data"] == []
    assert http.post("/v1/datasets", json=SMALL, headers=KEY).status_code == 202


def test_what_was_deleted_can_be_made_again(http):
    first = http.post("/v1/datasets", json=SMALL, headers=KEY)
    http.post(first.json()["links"]["cancel"])
    assert http.delete(first.headers["location"]).status_code == 204
    assert http.post("/v1/datasets", json=SMALL, headers=KEY).headers["location"] != first.headers["location"]


def test_a_dry_run_ignores_it(http):
    http.post("/v1/datasets", json=SMALL, headers=KEY)
    for headers in (KEY, {"Idempotency-Key": "not a key"}):
        answer = http.post("/v1/datasets?dry_run=true", json=SMALL | {"seed": 1}, headers=headers)
        assert (answer.status_code, answer.json()["dry_run"]) == (200, True)


def test_a_key_that_cannot_be_is_refused(http):
    refused = http.post("/v1/datasets", json=SMALL, headers={"Idempotency-Key": "x" * 256})
    assert (problem_of(refused), "1 to 255" in refused.json()["detail"]) == ("/problems/invalid-request", True)
    assert http.get("/v1/datasets").json()["data"] == []


def test_the_key_of_another_sender_has_nothing_to_do_with_it(as_key):
    ada, bob = as_key("ada"), as_key("bob")
    addresses = [client.post("/v1/datasets", json=SMALL, headers=KEY).headers["location"] for client in (ada, bob, ada)]
    assert addresses[0] == addresses[2] != addresses[1]


def test_what_is_sent_again_uses_up_no_quota(as_key):
    ada = as_key("ada", jobs=1)
    answers = [ada.post("/v1/datasets", json=SMALL, headers=KEY) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3


class TestMemory:
    def test_lasts_a_day_at_least_and_ends_some_time(self, store):
        made = keyed().made("ds_01k00000000000000000000000")
        evening = datetime(2026, 1, 2, 23, 59, tzinfo=UTC)
        store.write_keyed("0" * 64, made, evening.date())
        store.write_keyed("1" * 64, made, (evening + timedelta(hours=24)).date())
        assert store.read_keyed("0" * 64) == made
        store.write_keyed("2" * 64, made, (evening + timedelta(hours=24, minutes=1)).date())
        assert [store.read_keyed(digit * 64) for digit in "012"] == [None, made, made]

    def test_is_that_of_the_newest_day(self, store):
        old, new = (keyed(seed=seed).made("ds_01k00000000000000000000000") for seed in (1, 2))
        store.write_keyed("0" * 64, old, datetime(2026, 1, 2, tzinfo=UTC).date())
        store.write_keyed("0" * 64, new, datetime(2026, 1, 3, tzinfo=UTC).date())
        assert store.read_keyed("0" * 64) == new


def test_the_documentation_knows_of_it(http):
    for kind in Kind:
        post = http.get("/openapi.json").json()["paths"][f"/v1/{kind.collection}"]["post"]
        assert ("idempotency-key", "header") in [(each["name"], each["in"]) for each in post["parameters"]]
