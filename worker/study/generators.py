"""The generators of a study, one for each class of each fold: trained, or carried on, until they can draw."""

import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from worker.checkpoint import read_state, write_state
from worker.classifier import release_memory
from worker.context import JobContext, StopRequested
from worker.contract.errors import InvalidRequest, TrainingDiverged
from worker.contract.study_requests import StudyRequest
from worker.dataset import ImagesWriter
from worker.devices import device_names, open_strategy
from worker.draws import latent_points
from worker.fast_paths import for_training
from worker.models import registry
from worker.precision import resolve
from worker.sources.classes import check_unlabelled
from worker.study.plan import random_seed
from worker.study.record import IMAGES_FILE, StudyRecord
from worker.study.sealed_fold import SealedFold
from worker.trainer import Plan, Trainer

CALL_SECONDS = 0.5
"""So many steps are taken in one call; nothing is told, and no stop heard, while it lasts."""
STATE_EVERY = 200
"""Steps between two states that are kept: what a study that is killed has to do again, at the most."""
DRAWN_AT_ONCE = 64
"""Images per call of the network, always so many: another batch size may round differently."""


def check_generator(request: StudyRequest, image_size: int) -> None:
    """InvalidRequest unless the generator's family is here, takes its hyper-parameters, and makes such images."""
    try:
        family = registry.family(request.generator.model.family)
        family.configure(request.generator.model.preset, request.generator.model.hyperparameters)
    except InvalidRequest as wrong:
        raise wrong.below("#/generator") from wrong
    check_unlabelled(family.name, takes_labels=family.takes_labels)
    if family.image_size != image_size:
        raise InvalidRequest.at(
            "#/generator/model/family",
            f"The dataset's images are {image_size} pixels on a side and {family.name} makes {family.image_size}: take "
            "another family, or another dataset.",
        )


class GeneratorTraining:
    """The training of the generator of one class on the train part of one fold."""

    def __init__(
        self,
        sealed: SealedFold,
        code: int,
        request: StudyRequest,
        record: StudyRecord,
        context: JobContext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build the networks, or read the newest state that an earlier attempt has kept.

        Args:
            sealed: The fold.
            code: The class, by its place among the names.
            request: The study.
            record: What the study keeps.
            context: The job.
            clock: Seconds.

        Raises:
            InvalidRequest: the family is unknown here, or its hyper-parameters are wrong.
            DeviceMemoryExhausted: the images do not fit.
        """
        self._asked = request.generator
        self._record = record
        self._context = context
        self._clock = clock
        self._fold, self._code = sealed.number, code
        self._told = f"fold {sealed.number + 1}, generator of {sealed.subjects.names[code]}"
        self._seed = random_seed(request.seed, "generator", sealed.number, sealed.subjects.names[code])
        self._seconds_per_step = float("inf")
        family = registry.family(self._asked.model.family)
        device = device_names(context.settings.cpu_devices)[0]
        population = sealed.population(code)
        self._trainer = Trainer(
            family,
            family.configure(self._asked.model.preset, self._asked.model.hyperparameters),
            open_strategy(1, context.settings.cpu_devices),
            population,
            Plan(
                batch_size=self._asked.batch_size,
                seed=self._seed,
                precision=resolve(self._asked.precision, device),
                fast_paths=for_training(
                    context.settings.fast_paths,
                    device,
                    data_bytes=population.bytes,
                    varied=self._asked.classical_augmentation is not None,
                ),
                classical_augmentation=self._asked.classical_augmentation,
            ),
        )
        self._restore()

    @property
    def state_bytes(self) -> int:
        """What its states take in the store when they take most: the next one is written before the last one goes."""
        return 2 * self._trainer.state_bytes

    def finish(self) -> None:
        """Take the steps that are left.

        Raises:
            TrainingDiverged: a metric is not a number any more.
            StopRequested: the job was told to stop; with the state kept, if another attempt may go on.
        """
        while (step := self._trainer.steps_done) < self._asked.steps:
            self._context.progress(f"{self._told}: train", step, self._asked.steps, "steps")
            if self._context.should_stop():
                if not self._context.canceled():
                    self._keep_state()
                raise StopRequested
            self._advance(min(self._asked.steps, step - step % STATE_EVERY + STATE_EVERY))
            if self._trainer.steps_done % STATE_EVERY == 0:
                self._keep_state()
        self._context.progress(f"{self._told}: train", self._asked.steps, self._asked.steps, "steps")

    def draw(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """The first `count` images of its seed, one by one: uint8 (S, S).

        Raises:
            TrainingDiverged: a pixel is not a number.
            StopRequested: the job was told to stop.
        """
        for first in range(0, count, DRAWN_AT_ONCE):
            self._context.progress(f"{self._told}: draw", first, count, "images")
            if self._context.should_stop():
                raise StopRequested
            drawn = self._trainer.sample(
                latent_points(self._seed, first, DRAWN_AT_ONCE, self._trainer.family.latent_size)
            )
            if not np.isfinite(drawn).all():
                raise self._diverged("a pixel that it draws")
            yield from np.rint(255 * np.clip(drawn, 0, 1)).astype(np.uint8)[: count - first]
        self._context.progress(f"{self._told}: draw", count, count, "images")

    def _advance(self, until: int) -> None:
        steps = max(1, min(until - self._trainer.steps_done, int(CALL_SECONDS / self._seconds_per_step)))
        began = self._clock()
        rows = self._trainer.advance(steps)
        # The first call also builds the graph, so that it says little of the next.
        self._seconds_per_step = (self._clock() - began) / steps
        if not np.isfinite([list(row.values()) for row in rows]).all():
            raise self._diverged("a loss")

    def _keep_state(self) -> None:
        """Publish a state, then take back the one before."""
        made = self._context.scratch / "state"
        write_state(self._trainer.state(), made)
        folder = self._record.unfinished_name(self._fold, self._code)
        step = self._trainer.steps_done
        self._context.store.publish(made, self._context.resource_id, f"{folder}/{step:08d}")
        for old in self._record.unfinished_steps(self._fold, self._code):
            if old != step:
                self._context.store.withdraw(self._context.resource_id, f"{folder}/{old:08d}")

    def _restore(self) -> None:
        steps = self._record.unfinished_steps(self._fold, self._code)
        if not steps:
            return
        name = f"{self._record.unfinished_name(self._fold, self._code)}/{steps[-1]:08d}"
        read_state(self._trainer.state(), self._context.store.folder(self._context.resource_id) / name)
        self._trainer.steps_done = steps[-1]
        self._context.note(f"The {self._told} goes on from step {steps[-1]}.")

    def _diverged(self, what: str) -> TrainingDiverged:
        chosen = self._trainer.hyperparameters
        return TrainingDiverged(
            f"{self._told}: by step {self._trainer.steps_done} {what} was no longer a number. Ask for the study anew, "
            f"its generator with learning_rate_d below {chosen.learning_rate_d:g} and learning_rate_g below "
            f"{chosen.learning_rate_g:g}."
        )


def synthetic_images(
    sealed: SealedFold,
    code: int,
    request: StudyRequest,
    record: StudyRecord,
    context: JobContext,
    clock: Callable[[], float] = time.monotonic,
) -> NDArray[np.uint8]:
    """What the generator of a class of a fold draws, uint8 (largest amount, S, S), memory-mapped: kept, or made now.

    Raises:
        TrainingDiverged: the generator has failed.
        DiskFull: there is no room for its state.
        OSError: the disk does not take its images.
        StopRequested: the job was told to stop.
    """
    kept = record.synthetic(sealed.number, code)
    if kept is not None:
        record.withdraw_states(sealed.number, code)  # if an earlier attempt was killed before it did
        return kept
    began = clock()
    training = GeneratorTraining(sealed, code, request, record, context, clock)
    context.need_room(training.state_bytes + request.amounts[-1] * sealed.images[0].nbytes)
    training.finish()
    drawn = context.scratch / IMAGES_FILE
    with ImagesWriter(drawn, sealed.images.shape[1]) as writer:
        for image in training.draw(request.amounts[-1]):
            writer.append(image)
    del training
    release_memory()
    return record.keep_synthetic(sealed.number, code, drawn, clock() - began)
