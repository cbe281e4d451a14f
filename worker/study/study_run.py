"""One attempt at a study: teaches what is not taught yet, cell by cell, and tells what came of it."""

import time
from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from worker.classifier import Epoch
from worker.context import JobContext, StopRequested
from worker.contract.results import StudyResult
from worker.contract.study_cells import Cell, cells_of
from worker.contract.study_requests import StudyRequest
from worker.dataset import Dataset
from worker.study.arms import teach
from worker.study.generators import check_generator, synthetic_images
from worker.study.outcome import Outcome
from worker.study.plan import bytes_of, folds_of, subjects_of
from worker.study.pooled import Held
from worker.study.record import StudyRecord
from worker.study.sealed_fold import SealedFold

CURVE_FILES = ("curve.png", "curve.svg")
TABLES = "tables"


class StudyRun:
    """An attempt at a study, which goes on where an earlier one was.

    InvalidRequest if dataset, classes and folds do not go together.
    """

    def __init__(
        self,
        request: StudyRequest,
        dataset: Dataset,
        context: JobContext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request = request
        self._dataset = dataset
        self._context = context
        self._clock = clock
        self._record = StudyRecord(context)
        self._subjects = subjects_of(request, dataset)
        if request.needs_generators:
            check_generator(request, dataset.image_size)
        kept = self._record.folds()
        self._folds = folds_of(request, dataset, self._subjects) if kept is None else kept
        self._cells = tuple(cells_of(request, len(self._folds)))
        if done := sum(self._record.told(cell) is not None for cell in self._cells):
            context.note(f"Goes on after {done} of {len(self._cells)} classifiers.")

    def work(self) -> None:
        """Teach every classifier that is not taught yet, and what it needs.

        Raises:
            DiskFull: there is no room for what is to come.
            TrainingDiverged: a generator has failed.
            StopRequested: the job was told to stop.
        """
        whole = bytes_of(self._request, self._dataset, self._subjects, len(self._folds))
        self._context.need_room(max(0, whole - self._record.bytes))
        if self._record.folds() is None:
            self._record.keep_folds(self._folds)
        for fold, cells in groupby(enumerate(self._cells, start=1), key=lambda numbered: numbered[1].fold):
            sealed = SealedFold(fold, self._dataset.images, self._subjects, self._folds[fold])
            for number, cell in cells:
                if self._record.told(cell) is None:
                    self._stop_if_told()
                    synthetic = self._synthetic(sealed) if cell.amount else ()
                    self._teach(number, cell, sealed, synthetic)

    def result(self, *, patients_known: bool) -> StudyResult:
        """What came of all that was taught so far, by this attempt and earlier ones; publishes its tables and curve.

        Raises:
            DiskFull: there is no room for them.
            StopRequested: the job was told to stop, and is to go on elsewhere.
        """
        # No attempt will train on, and on a full disk they leave room for the tables.
        self._record.withdraw_unfinished()
        told = {cell: found for cell in self._cells if (found := self._record.told(cell)) is not None}
        outcome = Outcome(
            self._request,
            Held(self._subjects, self._folds, told),
            on_score=self._tell_score,
        )
        self._publish(outcome)
        generators = (
            self._record.generator_seconds(fold, code)
            for fold in range(len(self._folds))
            for code in range(len(self._subjects.names))
        )
        return outcome.result(
            patients_known=patients_known,
            left_out=self._left_out(),
            seconds=sum(generators) + sum(found.seconds for found in told.values()),
        )

    def _synthetic(self, sealed: SealedFold) -> Sequence[NDArray[np.uint8]]:
        """For each class what its generator of this fold draws."""
        return [
            synthetic_images(sealed, code, self._request, self._record, self._context, self._clock)
            for code in range(len(self._subjects.names))
        ]

    def _teach(self, number: int, cell: Cell, sealed: SealedFold, synthetic: Sequence[NDArray[np.uint8]]) -> None:
        phase = f"classifier {number} of {len(self._cells)}: {cell.told}"
        epochs = self._request.classifier.epochs

        def tell(epoch: Epoch) -> None:
            self._context.progress(phase, epoch.number, epochs, "epochs")
            self._stop_if_told()

        self._context.progress(phase, 0, epochs, "epochs")
        told = teach(cell, sealed, synthetic, self._request, on_epoch=tell, clock=self._clock)
        self._record.keep_told(cell, told)

    def _tell_score(self, done: int, total: int) -> None:
        self._context.progress("score", done, total, "scores")
        # One that is cancelled ends with its scores.
        if self._context.should_stop() and not self._context.canceled():
            raise StopRequested

    def _publish(self, outcome: Outcome) -> None:
        if chart := outcome.chart():
            for name, content in zip(CURVE_FILES, (chart.png, chart.svg), strict=True):
                self._context.store.publish_bytes(content, self._context.resource_id, name)
        for name, text in outcome.tables().items():
            self._context.store.publish_bytes(text.encode(), self._context.resource_id, f"{TABLES}/{name}")

    def _left_out(self) -> int:
        """Images that are in no part of any fold."""
        taken = [part for fold in self._folds for part in (fold.train, fold.validation, fold.test)]
        return len(self._subjects.places) - len(np.unique(np.concatenate(taken)))

    def _stop_if_told(self) -> None:
        if self._context.should_stop():
            raise StopRequested
