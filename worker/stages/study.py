"""Finds out whether synthetic images help a classifier, or goes on finding out where an earlier attempt was."""

import time
from collections.abc import Callable

import tensorflow as tf

from worker.context import JobContext, StopRequested
from worker.contract.errors import RaganError
from worker.contract.results import StudyResult
from worker.contract.study_requests import StudyRequest
from worker.dataset import Dataset
from worker.devices import device_names
from worker.study.study_run import StudyRun


def study(
    request: StudyRequest, dataset: Dataset, context: JobContext, *, clock: Callable[[], float] = time.monotonic
) -> StudyResult:
    """Train the generators of each fold, teach every classifier, and publish tables and a curve of what they told.

    The same request gives the same tables, however often it was interrupted, on CPUs with equally many cores. A study
    that fails leaves those of what is done.

    Args:
        request: What to find out.
        dataset: About which images.
        context: The job.
        clock: Seconds.

    Raises:
        InvalidRequest: dataset, classes, folds and family do not go together.
        PatientLeak: a patient would be both learnt from and tested on.
        TrainingDiverged: a loss or pixel of a generator is not a number any more.
        DeviceMemoryExhausted: a batch does not fit.
        DiskFull: the disk has no room for what is to be kept.
        OSError: the disk does not take the synthetic images, or the state of a generator.
        StopRequested: the job was told to stop; for good, with the result of what is done.
    """
    # Both before the first operation: what is taught first must not depend on what an earlier attempt had done.
    device_names(context.settings.cpu_devices)
    # As of a training, whose graphs it fails on; it may round otherwise.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    manifest = context.store.read_manifest(request.dataset)
    patients_known = bool(manifest.result.get("patients_known", True)) if manifest and manifest.result else True
    run = StudyRun(request, dataset, context, clock)
    try:
        run.work()
    except StopRequested:
        raise StopRequested(run.result(patients_known=patients_known) if context.canceled() else None) from None
    except (RaganError, OSError):
        try:
            run.result(patients_known=patients_known)
        except (RaganError, OSError) as error:  # a full disk, say: what the study failed of is the one to tell
            context.note(f"The tables and the curve of what was done could not be published: {error}")
        raise
    return run.result(patients_known=patients_known)
