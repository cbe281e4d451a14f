"""What jobs leave behind, for tests that do not run them."""

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from worker.contract.checkpoints import NO_CLASSES, RECORD_FILE, CheckpointRecord, LearntClasses, checkpoint_name
from worker.contract.readings import IMAGES, TRUTH, ImageTruth, Truth
from worker.contract.requests import ReaderStudyRequest
from worker.contract.resources import Kind, Manifest, RequestRecord, Status
from worker.contract.results import (
    BestCheckpoint,
    EvaluationResult,
    FeatureInfo,
    Interval,
    Measurement,
    MissingCell,
    ReaderStudyResult,
    StudyArmResult,
    StudyChoice,
    StudyComparison,
    StudyFold,
    StudyPoint,
    StudyResult,
    StudyScores,
)
from worker.contract.store import Store
from worker.sources.base import NO_FINDING
from worker.sources.items import ITEM_COLUMNS, ITEMS

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def checkpoint_file(
    step: int, dataset: str, classes: LearntClasses = NO_CLASSES, best: BestCheckpoint | None = None
) -> tuple[str, bytes]:
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
        best=best,
    )
    return f"{checkpoint_name(step)}/{RECORD_FILE}", record.model_dump_json().encode()


def evaluation_result() -> dict[str, Any]:
    """What an evaluation of 60 images of 16 pixels found: far from real, and no copies."""
    metrics = {
        "frechet_distance": Measurement(
            value={"distance": 75.4707},
            value_at_floor_images={"distance": 81.2513},
            floor={"distance": 3.94755},
            floor_images=30,
        ),
        "precision_recall": Measurement(
            value={"precision": 0.25, "recall": 0.5, "neighbours": 3}, floor=None, floor_images=None
        ),
    }
    found = {
        "images": 60,
        "training_images": 100,
        "held_out_images": 60,
        "copies": 0,
        "share": 0.0,
        "share_by_chance": 1 / 61,
        "p_value": 1.0,
        "nearer_to_training": 0.45,
        "held_out_nearer_to_training": 0.5,
        "nearest_held_out": {"image": 1, "training_image": 2, "ratio": 0.4, "correlation": 0.9},
        "worst": [{"image": 3, "training_image": 4, "ratio": 0.9, "correlation": 0.7}],
    }
    result = EvaluationResult(
        checkpoint=30,
        image_size=16,
        synthetic=60,
        real=60,
        reference="validation",
        features=FeatureInfo(
            extractor="pixels", dimensions=64, fitted_on="100 images", comparable_with_published=False
        ),
        metrics=metrics,
        memorisation=found,
        caveats=("60 images are too few for 64 dimensions, which need 313: the distance comes out too large.",),
        seconds=28.8,
    )
    return result.model_dump(mode="json")


def study_result() -> dict[str, Any]:
    """What a study of 40 images in two classes found: no gain, and one arm that was cancelled."""
    of_each = {"Mass": 6, "Nodule": 6}
    scores = StudyScores(
        images=40,
        accuracy=Interval(estimate=0.75, low=0.6, high=0.875),
        balanced_accuracy=Interval(estimate=0.72, low=0.55, high=0.86),
        auc=None,
        sensitivity={"Mass": Interval(estimate=0.6, low=0.4, high=0.8), "Nodule": None},
        specificity={"Mass": Interval(estimate=0.9, low=0.7, high=1.0), "Nodule": None},
        confusion=((12, 8), (2, 18)),
    )
    result = StudyResult(
        classes=("Mass", "Nodule"),
        images=40,
        patients=30,
        folds=(StudyFold(train={"Mass": 8, "Nodule": 8}, validation=of_each, test=of_each),),
        arms=(
            StudyArmResult(
                arm="real", chosen=(StudyChoice(fold=1, amount=0, threshold=0.5),), validation=scores, test=scores
            ),
        ),
        comparisons=(
            StudyComparison(
                first="real",
                second="real_synthetic",
                difference=-0.025,
                p_value=0.625,
                adjusted_p_value=1.0,
                test="permutation",
            ),
        ),
        curve=(StudyPoint(arm="real", amount=0, validation=scores, test=scores),),
        missing=(MissingCell(fold=1, arm="synthetic", amount=500),),
        caveats=("Few patients are tested on of Mass (20): intervals are wide.",),
        seconds=61.5,
    )
    return result.model_dump(mode="json")


def dataset_result(train: int, validation: int = 0) -> dict[str, Any]:
    """What is told of a dataset of so many images, as far as others ask: all of them show a mass."""
    images = train + validation
    counts = {
        "label": {"Mass": images},
        "view": {"PA": images},
        "sex": {"F": images},
        "age_decade": {"30-39": images},
        "split": {"train": train, "validation": validation, "test": 0},
    }
    return {"images": images, "patients": images, "sha256": "0" * 64, "counts": counts}


def write_items(store: Store, dataset: str, sizes: Mapping[str, int], split: str = "train") -> None:
    """The items.csv of a dataset with so many images of each class, all in one part; those with findings are PA."""
    lines = [",".join(ITEM_COLUMNS)]
    for name, images in sizes.items():
        labels = "" if name == NO_FINDING else name
        lines += [f"x.png,1,{labels},{'PA' if labels else 'AP'},F,34,{split},{len(lines)}," for _ in range(images)]
    store.publish_bytes("\n".join(lines).encode(), dataset, ITEMS)


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


def write_reader_study(
    store: Store, training: str, *, count: int = 10, classes: Sequence[str] = (), owner: str | None = None
) -> tuple[str, Truth]:
    """A reader study that is ready, of 16 pixels: real images are noise, synthetic ones flat, which compresses well.

    With classes, which are shown in turn, both tasks are asked; without, the origin alone.
    """
    chance = np.random.default_rng(5)
    real = chance.integers(0, 256, (count, 16, 16), np.uint8)
    synthetic = np.broadcast_to(chance.integers(0, 256, (count, 1, 1), np.uint8), real.shape)
    told = [
        ImageTruth(origin=origin, class_name=classes[index % len(classes)] if classes else None, source=index)
        for origin in ("real", "synthetic")
        for index in range(count)
    ]
    mixed = chance.permutation(2 * count)
    truth = Truth(secret="5ec2e7" * 10, images=tuple(told[each] for each in mixed))
    request = ReaderStudyRequest(
        training=training,
        checkpoint=30,
        count=count,
        tasks=("origin", "class") if classes else ("origin",),
        seed=3141592653,
    )
    result = ReaderStudyResult(
        checkpoint=30,
        image_size=16,
        synthetic=count,
        real=count,
        reference="test",
        classes=tuple(classes),
        seconds=0.5,
    )
    study = write_ended(
        store, Kind.READER_STUDY, request.model_dump(mode="json"), result.model_dump(mode="json"), owner=owner
    )
    array = io.BytesIO()
    np.save(array, np.concatenate([real, synthetic])[mixed])
    store.publish_bytes(array.getvalue(), study, IMAGES)
    store.publish_bytes(truth.model_dump_json().encode(), study, TRUTH)
    return study, truth
