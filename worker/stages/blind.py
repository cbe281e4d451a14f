"""Prepares a blind reading: synthetic images and as many real ones, mixed, and which is which in a file apart."""

import secrets
import time
from collections.abc import Callable

import numpy as np

from worker.context import JobContext
from worker.contract.checkpoints import read_record
from worker.contract.errors import CheckpointMissing
from worker.contract.readings import IMAGES, TRUTH, ImageTruth, Truth, check_reading
from worker.contract.requests import ClassChoice, ReaderStudyRequest
from worker.contract.results import ReaderStudyResult
from worker.contract.space import reader_study_bytes
from worker.dataset import Dataset
from worker.population import kept_to, labels_of
from worker.synthetic_images import synthetic_images

SECRET_BYTES = 32


def prepare_reading(
    request: ReaderStudyRequest,
    dataset: Dataset,
    context: JobContext,
    *,
    classes: ClassChoice | None = None,
    clock: Callable[[], float] = time.monotonic,
    new_secret: Callable[[int], str] = secrets.token_hex,
) -> ReaderStudyResult:
    """Draw images, take as many real ones of the same classes, and publish them with the truth.

    Both kinds are 8-bit grey of one size in one window, as the dataset has them: no grey value is changed. Which images
    they are follows from the seed; how they are mixed does not, or whoever knows the seed would know which is which.

    Args:
        request: What to show.
        dataset: That of the training.
        context: The job.
        classes: Those that the training was kept to, as it was asked for.
        clock: Seconds.
        new_secret: As many random bytes, in hexadecimal.

    Raises:
        InvalidRequest: the training knows no classes to ask for, or there are too few real images.
        DiskFull: there is no room for the images.
        CheckpointMissing: the checkpoint is not kept any more.
        StopRequested: the job was told to stop.
    """
    if not isinstance(request.checkpoint, int):
        raise CheckpointMissing("The checkpoint was not resolved when the reader study was asked for.")
    began = clock()
    record = read_record(context.store.folder(request.training), request.checkpoint)
    dataset = kept_to(dataset, classes, record.classes)
    held_out = dataset.indices(request.reference)
    check_reading(request, record.classes, len(held_out))
    context.need_room(reader_study_bytes(request.count, dataset.image_size))

    chosen = np.random.default_rng(request.seed).permutation(held_out)[: request.count]
    labels = labels_of(dataset, record.classes, chosen)
    synthetic = synthetic_images(request.training, record, labels, request.count, request.seed, context)
    known: list[str | None] = [*labels] if labels else [None] * request.count
    told = [
        *(ImageTruth(origin="real", class_name=name, source=int(at)) for at, name in zip(chosen, known, strict=True)),
        *(ImageTruth(origin="synthetic", class_name=name, source=at) for at, name in enumerate(known)),
    ]
    secret = new_secret(SECRET_BYTES)
    mixed = np.random.default_rng(int(secret, 16)).permutation(2 * request.count)
    truth = Truth(secret=secret, images=tuple(told[each] for each in mixed))

    np.save(context.scratch / IMAGES, np.concatenate([dataset.images[chosen], synthetic])[mixed])
    context.store.publish(context.scratch / IMAGES, context.resource_id, IMAGES)
    context.store.publish_bytes(truth.model_dump_json().encode(), context.resource_id, TRUTH)
    return ReaderStudyResult(
        checkpoint=request.checkpoint,
        image_size=dataset.image_size,
        synthetic=request.count,
        real=request.count,
        reference=request.reference,
        classes=record.classes.names if "class" in request.tasks else (),
        seconds=round(clock() - began, 3),
    )
