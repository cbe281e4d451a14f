"""What jobs leave behind, for tests that do not run them."""

from datetime import UTC, datetime
from typing import Any

from worker.contract.checkpoints import RECORD_FILE, CheckpointRecord, checkpoint_name
from worker.contract.resources import Kind, Manifest, RequestRecord, Status
from worker.contract.store import Store

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def checkpoint_file(step: int, dataset: str) -> tuple[str, bytes]:
    """Name and content of what is said of a checkpoint of the family `tiny16`; its networks are not there."""
    record = CheckpointRecord(
        step=step,
        created_at=NOW,
        bytes=100,
        family="tiny16",
        hyperparameters={},
        image_size=16,
        dataset=dataset,
        dataset_sha256="0" * 64,
        images_seen=1,
        seconds=1.0,
        versions={},
    )
    return f"{checkpoint_name(step)}/{RECORD_FILE}", record.model_dump_json().encode()


def write_ended(
    store: Store,
    kind: Kind,
    request: dict[str, Any],
    result: dict[str, Any] | None = None,
    owner: str | None = None,
    **fields: Any,
) -> str:
    """A resource that has ended, as a worker leaves it."""
    record = RequestRecord(id=kind.new_id(), kind=kind, created_at=NOW, owner=owner, request=request)
    store.write_request(record)
    ended: dict[str, Any] = {
        "status": Status.SUCCEEDED,
        "started_at": NOW,
        "finished_at": NOW,
        "attempt": 1,
        "progress": None,
        "error": None,
        "versions": {},
    }
    store.write_manifest(Manifest(id=record.id, kind=kind, run=1, result=result, **(ended | fields)))
    return record.id
