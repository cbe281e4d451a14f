"""What jobs leave behind, for tests that do not run them."""

from datetime import UTC, datetime
from typing import Any

from worker.contract.checkpoints import NO_CLASSES, RECORD_FILE, CheckpointRecord, LearntClasses, checkpoint_name
from worker.contract.resources import Kind, Manifest, RequestRecord, Status
from worker.contract.store import Store

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def checkpoint_file(step: int, dataset: str, classes: LearntClasses = NO_CLASSES) -> tuple[str, bytes]:
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
        classes=classes,
    )
    return f"{checkpoint_name(step)}/{RECORD_FILE}", record.model_dump_json().encode()


def dataset_result(images: int) -> dict[str, Any]:
    """What is told of a dataset of so many images, as far as others ask: all are for training and show a mass."""
    counts = {
        "label": {"Mass": images},
        "view": {"PA": images},
        "sex": {"F": images},
        "age_decade": {"30-39": images},
        "split": {"train": images, "validation": 0, "test": 0},
    }
    return {"images": images, "sha256": "0" * 64, "counts": counts}


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
