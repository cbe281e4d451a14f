from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract.errors import NotFound, Problem
from worker.contract.resources import Kind, Live, Manifest, RequestRecord, Status, view

NOW = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)


def record(run: int = 1) -> RequestRecord:
    return RequestRecord(
        id="tr_01k00000000000000000000000", kind=Kind.TRAINING, created_at=NOW, run=run, request={"steps": 1}
    )


def manifest(run: int = 1, **fields) -> Manifest:
    ended = {
        "status": Status.FAILED,
        "started_at": NOW,
        "finished_at": NOW,
        "attempt": 2,
        "progress": None,
        "result": None,
        "error": Problem(type="/problems/worker-died", title="t", detail="d"),
        "versions": {},
    }
    return Manifest(id=record().id, kind=Kind.TRAINING, run=run, **{**ended, **fields})


def test_a_manifest_of_the_newest_run_is_the_truth():
    resource = view(record(), manifest(), Live(status=Status.RUNNING, run=1))
    assert (resource.status, resource.attempt) == (Status.FAILED, 2)
    assert resource.error["detail"] == "d"


def test_a_resumed_training_is_not_what_its_last_run_came_to():
    assert view(record(run=2), manifest(run=1), Live(status=Status.RUNNING, run=2)).status is Status.RUNNING
    assert view(record(run=2), manifest(run=1), None).status is Status.QUEUED


def test_what_redis_has_forgotten_waits_to_be_queued_again():
    assert view(record(), None, None).status is Status.QUEUED


def test_times_are_rfc3339_in_utc():
    assert view(record(), None, None).model_dump(mode="json")["created_at"] == "2026-01-02T03:04:05.678Z"


@given(st.sampled_from(Kind))
def test_an_id_tells_its_kind(kind):
    assert Kind.of(kind.new_id()) is kind


def test_ids_sort_by_creation():
    ids = [Kind.DATASET.new_id() for _ in range(1000)]
    assert ids == sorted(set(ids))


@given(st.text())
def test_other_texts_are_no_ids(text):
    with pytest.raises(NotFound, match=r"ids look like ds_…, tr_…, gn_…, ev_…, st_… or rs_…\."):
        Kind.of(text)
