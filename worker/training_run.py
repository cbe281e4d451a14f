"""What a training leaves in the store while it runs: metrics, snapshots, checkpoints, and what they add up to."""

import math
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from worker.checkpoint import restore_checkpoint, save_checkpoint
from worker.context import JobContext
from worker.contract.checkpoints import latest, list_checkpoints
from worker.contract.errors import TrainingDiverged
from worker.contract.requests import TrainingRequest
from worker.contract.results import BestCheckpoint, TrainingResult
from worker.draws import codes_in_turn, latent_points
from worker.feasibility import check_metric_names
from worker.metrics_log import MetricsLog
from worker.snapshots import TILES, publish_snapshot, withdraw_snapshots_after
from worker.trainer import Trainer

if TYPE_CHECKING:
    from worker.periodic_evaluation import PeriodicEvaluation

METRICS_FILE = "metrics.jsonl"
METRICS_ROW_BYTES = 120
"""About what the five numbers of a row take as text."""
EVALUATED_BYTES = 40
"""About what a number of an evaluation takes more, with its name."""
EMIT_SECONDS = 0.5
"""Shortest time between two events with metrics; the file has every row."""
CALL_SECONDS = 0.5
"""So many steps are taken in one call; nothing is told, and no cancel heard, while it lasts."""


class TrainingRun:
    """One run of a training, from its newest checkpoint if there is one. A context manager; leaving flushes metrics.

    DiskFull if there is no room for what it will write.

    What an earlier run left of steps after that checkpoint is taken back, since those steps are taken again.
    """

    def __init__(
        self,
        trainer: Trainer,
        request: TrainingRequest,
        context: JobContext,
        clock: Callable[[], float],
        evaluation: "PeriodicEvaluation | None" = None,
    ) -> None:
        self._trainer = trainer
        self._request = request
        self._context = context
        self._evaluation = evaluation
        self._clock = clock
        self._folder = context.store.folder(context.resource_id)
        self._latents = latent_points(request.seed, 0, TILES, trainer.family.latent_size)
        self._codes = codes_in_turn(len(trainer.classes.names), TILES)
        self._seconds = 0.0
        self._seconds_per_step = math.inf
        self._saved_step = -1
        self._best: BestCheckpoint | None = None
        self._emitted_step = 0
        self._emitted_at = -math.inf
        self._restore()
        context.need_room(self._bytes_to_come())
        self._metrics = MetricsLog(self._folder / METRICS_FILE, steps=self.step, clock=clock)
        self._tell_progress()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._metrics.close()

    @property
    def step(self) -> int:
        """Steps taken, over all runs."""
        return self._trainer.steps_done

    def advance(self, until: int) -> None:
        """Take as many steps as fit into a call, up to the step `until`, and record their metrics.

        Raises:
            TrainingDiverged: a metric, or a pixel that is to be evaluated, is not a number; there is no record of that
                step.
            InvalidRequest: the family has a metric of the same name as an evaluation.
        """
        steps = max(1, min(until - self.step, int(CALL_SECONDS / self._seconds_per_step)))
        first, began = self.step + 1, self._clock()
        rows = self._trainer.advance(steps)
        now = self._clock()
        self._seconds += now - began
        # The first call also builds the graph, so that it says little of the next.
        self._seconds_per_step = (now - began) / steps
        check_metric_names(self._request, self._trainer.family, rows[0])
        for step, metrics in enumerate(rows, start=first):
            if not all(math.isfinite(value) for value in metrics.values()):
                values = ", ".join(f"{name} {value:g}" for name, value in metrics.items())
                raise self._diverged(f"At step {step} a loss was no longer a number ({values})")
            evaluated = self._evaluate() if step == self.step else {}
            self._metrics.append({"step": step, **metrics, **evaluated})
        if now - self._emitted_at >= EMIT_SECONDS:
            self._emit_metrics()
        self._tell_progress()

    @property
    def at_best(self) -> bool:
        """Whether no step before was as near to real images as this one."""
        return self._best is not None and self._best.step == self.step

    def publish_snapshot(self) -> None:
        """Publish the picture grid of this step; TrainingDiverged if there is none to be seen."""
        images = self._sample(self._latents, self._codes)
        text = {
            "Synthetic": "true",
            "Software": "RaGAN",
            "Training": self._context.resource_id,
            "Step": str(self.step),
            "Seed": str(self._request.seed),
        }
        publish_snapshot(images, self.step, self._context, text)

    def save_checkpoint(self) -> None:
        """Keep this state, unless it is kept already; TrainingDiverged if it is not worth keeping."""
        if self._saved_step == self.step:
            return
        if not self._trainer.is_finite():
            raise self._diverged(f"After step {self.step} a weight was no longer a number")
        # The metrics first: whoever goes on from the checkpoint finds a row for each of its steps.
        self._metrics.sync()
        record = save_checkpoint(
            self._trainer.state(),
            self._context,
            keep=self._request.keep_checkpoints,
            best=self._best,
            step=self.step,
            family=self._trainer.family.name,
            hyperparameters=self._trainer.hyperparameters.model_dump(),
            image_size=self._trainer.family.image_size,
            dataset=self._request.dataset,
            dataset_sha256=self._dataset_sha256(),
            images_seen=self._images_seen(),
            seconds=self._seconds,
            classes=self._trainer.classes,
        )
        self._saved_step = self.step
        self._emit_metrics()
        self._context.emit("checkpoint", {"step": record.step, "bytes": record.bytes})

    def result(self) -> TrainingResult:
        """How the training went so far, over all runs."""
        images = self._images_seen()
        return TrainingResult(
            steps=self.step,
            images_seen=images,
            seconds=round(self._seconds, 3),
            images_per_second=round(images / self._seconds, 1) if self._seconds else None,
            final=self._metrics.last,
            devices=self._trainer.devices,
            precision=self._trainer.plan.precision,
            fast_paths=tuple(sorted(self._trainer.plan.fast_paths)),
            checkpoints=tuple(info.step for info in list_checkpoints(self._folder)),
            best=self._best,
        )

    def _evaluate(self) -> dict[str, float]:
        """The metrics of an evaluation, and whether it is the best so far; none if this is not the step for one."""
        every = self._request.evaluate_every
        if self._evaluation is None or every is None or (self.step % every and self.step != self._request.steps):
            return {}
        metrics = self._evaluation.of(self._sample)
        first = self._request.evaluate_metrics[0]
        if self._best is None or metrics[first] < self._best.value:
            self._best = BestCheckpoint(step=self.step, metric=first, value=metrics[first])
        return metrics

    def _sample(self, latents: NDArray[np.float32], codes: NDArray[np.int32] | None) -> NDArray[np.float32]:
        """Images (B, S, S) of numbers, about in [0, 1]; TrainingDiverged if a pixel is none."""
        images = self._trainer.sample(latents, codes)
        if not np.isfinite(images).all():
            raise self._diverged(f"After step {self.step} the generated pixels were no longer numbers")
        return images

    def _restore(self) -> None:
        if (record := latest(self._folder)) is None:
            return
        restore_checkpoint(self._trainer.state(), self._folder, record.step)
        self._trainer.steps_done = self._saved_step = self._emitted_step = record.step
        self._best = record.best
        self._seconds = record.seconds
        withdraw_snapshots_after(record.step, self._context)
        self._context.note(f"Goes on from the checkpoint at step {record.step}.")

    def _bytes_to_come(self) -> int:
        """What the rest of the run adds to the store when it holds most: before an old checkpoint goes, one more."""
        request, steps, size = self._request, self._request.steps - self.step, self._trainer.family.image_size
        # The best one is kept beside the newest, and each of the evaluations may find a new one.
        evaluations = math.ceil(steps / request.evaluate_every) if request.evaluate_every else 0
        checkpoints = math.ceil(steps / request.checkpoint_every) + evaluations
        kept = request.keep_checkpoints + (1 if evaluations else 0)
        room = max(1, kept + 1 - len(list_checkpoints(self._folder)))
        snapshots = math.ceil(steps / request.snapshot_every)
        metrics = steps * METRICS_ROW_BYTES + evaluations * len(request.evaluate_metrics) * EVALUATED_BYTES
        return min(checkpoints, room) * self._trainer.state_bytes + snapshots * TILES * size**2 + metrics

    def _diverged(self, what: str) -> TrainingDiverged:
        chosen = self._trainer.hyperparameters
        kept = (
            f"The checkpoint at step {self._saved_step} is kept and can be drawn from."
            if self._saved_step >= 0
            else "No checkpoint had been made yet."
        )
        other = "loss bce" if chosen.loss == "hinge" else "label_smoothing 0.1"
        return TrainingDiverged(
            f"{what}: train anew with learning_rate_d below {chosen.learning_rate_d:g} and learning_rate_g below "
            f"{chosen.learning_rate_g:g}, or with {other}. {kept}"
        )

    def _emit_metrics(self) -> None:
        if self._emitted_step < self.step:
            self._context.emit("metrics", self._metrics.last)
            self._emitted_step, self._emitted_at = self.step, self._clock()

    def _tell_progress(self) -> None:
        self._context.progress("train", self.step, self._request.steps, "steps")

    def _images_seen(self) -> int:
        return self.step * math.prod(self._trainer.real_shape)

    def _dataset_sha256(self) -> str | None:
        manifest = self._context.store.read_manifest(self._request.dataset)
        return manifest.result["sha256"] if manifest and manifest.result else None
