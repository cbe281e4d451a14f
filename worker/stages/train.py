"""Trains a family on a dataset, or goes on from the newest checkpoint: after a crash, a cancel, or for more steps."""

import time
from collections.abc import Callable

import tensorflow as tf

from worker.context import JobContext, StopRequested
from worker.contract.requests import TrainingRequest
from worker.contract.results import TrainingResult
from worker.dataset import Dataset
from worker.devices import device_names, open_strategy
from worker.fast_paths import for_training
from worker.feasibility import devices_to_share
from worker.models import registry
from worker.population import population_of
from worker.precision import resolve
from worker.trainer import Plan, Trainer
from worker.training_run import TrainingRun


def train(
    request: TrainingRequest, dataset: Dataset, context: JobContext, *, clock: Callable[[], float] = time.monotonic
) -> TrainingResult:
    """Train up to the requested number of steps, publishing metrics, snapshots and checkpoints on the way.

    Args:
        request: What to train.
        dataset: What to train on: the images of its `train` part, or of the classes of these that were asked for.
        context: The job.
        clock: Seconds, for the rate and the pace of events.

    Raises:
        InvalidRequest: family, dataset, classes, batch size, devices and evaluations do not go together.
        NoUsableImages: it is to be evaluated, and all images to train on are equal.
        DevicesUnavailable: this worker has fewer devices.
        DeviceMemoryExhausted: the batch does not fit.
        TrainingDiverged: a loss or weight is not a number any more; the last good checkpoint is kept.
        DiskFull: the disk has no room for the checkpoints.
        OSError: it had, and has no more, or does not work.
        StopRequested: the job was told to stop; with the result so far, and a checkpoint of it.
    """
    family = registry.family(request.model.family)
    hyperparameters = family.configure(request.model.preset, request.model.hyperparameters)
    names = device_names(context.settings.cpu_devices)
    devices = devices_to_share(request, dataset, family, names)
    strategy = open_strategy(request.devices, context.settings.cpu_devices)
    # It fails on the gradient of a LeakyReLU behind a convolution, says so as an error in the log, and changes nothing.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    population = population_of(request, dataset, family)
    plan = Plan(
        batch_size=request.batch_size,
        seed=request.seed,
        precision=resolve(request.precision, names[0]),
        fast_paths=for_training(
            context.settings.fast_paths,
            names[0],
            devices=devices,
            data_bytes=population.bytes,
            varied=request.classical_augmentation is not None,
        ),
        classical_augmentation=request.classical_augmentation,
    )
    evaluation = None
    if request.evaluate_every is not None:
        # What it imports takes a second, which other trainings need not wait for.
        from worker.periodic_evaluation import PeriodicEvaluation

        evaluation = PeriodicEvaluation(request, dataset, population, family.latent_size)
        context.note(f"Is compared with {evaluation.compared_with} every {request.evaluate_every} steps.")
    trainer = Trainer(family, hyperparameters, strategy, population, plan)

    with TrainingRun(trainer, request, context, clock, evaluation) as run:
        if run.step == 0:
            run.publish_snapshot()
        while run.step < request.steps:
            if context.should_stop():
                run.save_checkpoint()
                raise StopRequested(run.result())
            run.advance(_next_stop(run.step, request))
            last = run.step == request.steps
            if last or run.step % request.snapshot_every == 0:
                run.publish_snapshot()
            if last or run.at_best or run.step % request.checkpoint_every == 0:
                run.save_checkpoint()
        return run.result()


def _next_stop(step: int, request: TrainingRequest) -> int:
    """The next step after which there is something to publish."""
    paces = (request.snapshot_every, request.checkpoint_every, request.evaluate_every)
    return min(request.steps, *(step - step % every + every for every in paces if every is not None))
