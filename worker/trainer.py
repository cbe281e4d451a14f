"""The networks of a training on its devices, and the steps that teach them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.adversarial import Batch, Networks, with_codes
from worker.averaging import decay_at, update_average
from worker.classical_augmentation import augmented
from worker.contract.errors import DeviceMemoryExhausted
from worker.contract.fast_paths import FastPath
from worker.contract.requests import ClassicalPreset
from worker.differentiable_augmentation import NUMBERS
from worker.draws import (
    augmentation_numbers,
    class_batches,
    latent_batches,
    member_batches,
    real_batches,
    variant_chance,
)
from worker.fast_paths import FastPaths, taking
from worker.gradient_penalty import R1Penalty
from worker.models.base import CommonHyperparameters, Family
from worker.models.networks.spectral_norm import SpectrallyNormalized
from worker.population import Population
from worker.precision import LOSS_SCALE, Precision, computing_in

ADAM_BETA_1 = 0.5
HOST = "CPU:0"
"""Where steps are counted: on a GPU every look at the count would wait for all that was queued there."""
GENERATOR, AVERAGE = "generator", "average"
"""Names, within a state, of the networks that images can be drawn from."""


@dataclass(frozen=True)
class Plan:
    """How a training computes: what its results depend on beside family, hyper-parameters and images.

    ValueError if variants of images are to be made on the host, and the images to lie on the devices.
    """

    batch_size: int
    seed: int
    precision: Precision
    fast_paths: FastPaths
    classical_augmentation: ClassicalPreset | None = None

    def __post_init__(self) -> None:
        if self.classical_augmentation is not None and FastPath.RESIDENT_DATA in self.fast_paths:
            raise ValueError("images on the devices cannot be augmented: choose paths by for_training(…, varied=True)")


class Trainer:
    """Built by a seed, on the devices of a strategy. `steps_done` counts the steps that are in the networks.

    On CPUs with equally many cores the same plan and steps give the same networks bit for bit, however the steps are
    shared out over calls and processes; kernels for GPUs may round differently from run to run.
    """

    def __init__(
        self,
        family: Family[Any],
        hyperparameters: CommonHyperparameters,
        strategy: tf.distribute.Strategy,
        population: Population,
        plan: Plan,
    ) -> None:
        self.steps_done = 0
        self.family = family
        self.hyperparameters = hyperparameters
        self.plan = plan
        self.classes = population.classes
        self._strategy = strategy
        self._population = population
        self._metric_names: tuple[str, ...] = ()
        keras.utils.set_random_seed(plan.seed)  # initial weights and dropout
        with strategy.scope(), computing_in(plan.precision), taking(plan.fast_paths):
            self._networks = self._build()
            self._average = self._copy_of_generator() if hyperparameters.ema_decay else None
        self._resident = self._copy_to_devices() if FastPath.RESIDENT_DATA in plan.fast_paths else None
        compiled = FastPath.XLA in plan.fast_paths or None
        self._replica_step = tf.function(self._taught_replica, autograph=False, jit_compile=compiled)
        size = self.family.image_size
        self._steps = tf.function(
            self._global_steps,
            autograph=False,
            input_signature=[
                tf.TensorSpec((), tf.int64),
                tf.TensorSpec((), tf.int64),
                tf.TensorSpec((None, *self.real_shape, size, size), tf.uint8),
            ],
        )
        self._sampler = tf.function(
            self._networks.generator if self._average is None else self._average, autograph=False
        )

    @property
    def real_shape(self) -> tuple[int, int]:
        """Real images that a step takes: discriminator updates, batch size."""
        return self.hyperparameters.d_steps, self.plan.batch_size

    @property
    def devices(self) -> tuple[str, ...]:
        """Names such as `GPU:0`."""
        specs = [tf.DeviceSpec.from_string(name) for name in self._strategy.extended.worker_devices]
        return tuple(f"{spec.device_type}:{spec.device_index}" for spec in specs)

    def advance(self, steps: int) -> list[dict[str, float]]:
        """Take steps, without coming back to Python in between.

        Returns:
            For each step the metrics over the global batch, in the family's order; not finite if the training diverged.

        Raises:
            DeviceMemoryExhausted: the batch does not fit.
        """
        first = self.steps_done + 1
        with _memory_told(
            f"A batch of {self.plan.batch_size} does not fit into the memory of "
            f"{self._strategy.num_replicas_in_sync} device(s): take a smaller batch_size, a smaller width, or more "
            "devices."
        ):
            rows = self._steps(first, steps, self._batches(first, steps)).numpy()
        self.steps_done += steps
        # By way of its text, a float32 becomes the shortest number that stands for it: 0.1, not 0.10000000149.
        return [dict(zip(self._metric_names, (float(str(value)) for value in row), strict=True)) for row in rows]

    def sample(self, latents: NDArray[np.float32], codes: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        """Images (B, S, S) in [0, 1] for latent points (B, latent_size), from the average if there is one.

        `codes` are the classes (B,) of the images, None if the family takes no labels.
        """
        shown = None if codes is None else tf.constant(codes)
        images: NDArray[np.float32] = self._sampler(with_codes(tf.constant(latents), shown), training=False).numpy()
        return images[..., 0].astype(np.float32)

    def state(self) -> tf.train.Checkpoint:
        """All that a later step depends on but the number of steps, to be written or read as one."""
        networks = self._networks
        states = network_state(GENERATOR, networks.generator) | network_state("discriminator", networks.discriminator)
        if self._average is not None:
            states |= network_state(AVERAGE, self._average)
        penalty = {} if networks.r1 is None else {"r1": networks.r1}
        return tf.train.Checkpoint(
            **states,
            **penalty,
            generator_optimizer=networks.generator_optimizer,
            discriminator_optimizer=networks.discriminator_optimizer,
        )

    @property
    def state_bytes(self) -> int:
        """What `state` takes when it is written, but for the names in it."""
        networks = self._networks
        models = (networks.generator, networks.discriminator, self._average)
        optimizers = (networks.generator_optimizer, networks.discriminator_optimizer)
        return sum(variable_bytes(model.weights) for model in models if model is not None) + sum(
            variable_bytes(optimizer.variables) for optimizer in optimizers
        )

    def is_finite(self) -> bool:
        """Whether every weight is a number."""
        models = (self._networks.generator, self._networks.discriminator)
        return all(bool(np.isfinite(weight.numpy()).all()) for model in models for weight in model.weights)

    def _build(self) -> Networks:
        chosen = self.hyperparameters
        classes = len(self.classes.names)
        generator = self.family.generator(chosen, classes)
        discriminator = self.family.discriminator(chosen, classes)
        networks = Networks(
            generator=generator,
            discriminator=SpectrallyNormalized(discriminator) if chosen.spectral_norm else discriminator,
            generator_optimizer=_optimizer(chosen.optimizer, chosen.learning_rate_g),
            discriminator_optimizer=_optimizer(chosen.optimizer, chosen.learning_rate_d),
            loss_scale=LOSS_SCALE[self.plan.precision],
            fast_paths=self.plan.fast_paths,
            r1=R1Penalty(chosen.r1_weight, chosen.r1_every) if chosen.r1_weight else None,
        )
        # Inside a replica no variables can be made.
        networks.generator_optimizer.build(networks.generator.trainable_variables)
        networks.discriminator_optimizer.build(networks.discriminator.trainable_variables)
        return networks

    def _copy_of_generator(self) -> keras.Model:
        copy = self.family.generator(self.hyperparameters, len(self.classes.names))
        copy.set_weights(self._networks.generator.get_weights())
        return copy

    def _copy_to_devices(self) -> Any:
        """The whole population, uint8 (images, S, S), once on each device."""
        everything = self._population.take(np.arange(len(self._population)))
        devices = self._strategy.extended.worker_devices

        def copy(context: Any) -> tf.Tensor:
            # By itself the strategy would put every device's copy on the first one.
            with tf.device(devices[context.replica_id_in_sync_group]):
                return tf.identity(everything)

        with _memory_told(
            f"The dataset ({everything.nbytes / 1e9:.2f} GB) does not fit into a device's memory beside the networks: "
            "start the worker with RAGAN_FAST_PATHS without resident_data."
        ):
            return self._strategy.experimental_distribute_values_from_function(copy)

    def _batches(self, first: int, steps: int) -> NDArray[np.uint8]:
        """The real images of some steps, uint8 (steps, d_steps, batch_size, S, S); none if they are on the devices."""
        size = self.family.image_size
        batches = np.empty((steps if self._resident is None else 0, *self.real_shape, size, size), np.uint8)
        for offset in range(len(batches)):
            batches[offset] = self._shown(first + offset)
        return batches

    def _shown(self, step: int) -> NDArray[np.uint8]:
        """The real images of a step, or variants of them: uint8 (d_steps, batch_size, S, S)."""
        images = self._population.take(self._chosen(step).numpy())
        if self.plan.classical_augmentation is None:
            return images
        several = images.reshape(-1, *images.shape[2:])
        chance = variant_chance(self.plan.seed, step)
        return augmented(several, self.plan.classical_augmentation, chance).reshape(images.shape)

    @property
    def _latent_shape(self) -> tuple[int, int, int]:
        return self.hyperparameters.d_steps + 1, self.plan.batch_size, self.family.latent_size

    def _augmentations(self, step: tf.Tensor) -> tf.Tensor | None:
        if not self.hyperparameters.diff_augment:
            return None
        return augmentation_numbers(self.plan.seed, step, (*self._latent_shape[:2], 2, NUMBERS))

    def _codes(self, step: tf.Tensor | int) -> tf.Tensor | None:
        """The classes of a step's real images, each as often as any other; None if the family takes no labels."""
        if not (classes := len(self.classes.names)):
            return None
        return class_batches(self.plan.seed, step, self.real_shape, classes)

    def _chosen(self, step: tf.Tensor | int) -> tf.Tensor:
        if (codes := self._codes(step)) is not None:
            return member_batches(self.plan.seed, step, codes, self._population.class_sizes)
        return real_batches(self.plan.seed, step, self.real_shape, len(self._population))

    def _global_steps(self, first: tf.Tensor, steps: tf.Tensor, batches: tf.Tensor) -> tf.Tensor:
        """Metrics of each step, float32 (steps, metrics)."""

        def one(offset: tf.Tensor, rows: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            with tf.device(HOST):
                step, following, row = first + offset, offset + 1, tf.cast(offset, tf.int32)
            latents = latent_batches(self.plan.seed, step, self._latent_shape)
            # What is drawn within a compiled function may not be what is drawn without.
            real = batches[row] if self._resident is None else self._chosen(step)
            shares = self._strategy.run(
                self._replica_step,
                args=(step, latents, real, self._codes(step), self._augmentations(step), self._resident),
            )
            metrics = {name: self._strategy.reduce("SUM", share, axis=None) for name, share in shares.items()}
            self._metric_names = tuple(metrics)
            return following, rows.write(row, tf.stack(list(metrics.values())))

        def unfinished(offset: tf.Tensor, _: tf.TensorArray) -> tf.Tensor:
            with tf.device(HOST):
                return offset < steps

        with tf.device(HOST):
            rows = tf.TensorArray(tf.float32, tf.cast(steps, tf.int32))
            begin = tf.constant(0, tf.int64)
        return tf.while_loop(unfinished, one, (begin, rows), parallel_iterations=1)[1].stack()

    def _taught_replica(
        self,
        step: tf.Tensor,
        latents: tf.Tensor,
        real: tf.Tensor,
        codes: tf.Tensor | None,
        changes: tf.Tensor | None,
        resident: tf.Tensor | None,
    ) -> dict[str, tf.Tensor]:
        """Take one step as one device, of whose share of the global batch there is more in all but the first and last.

        `real` has images, or where there are `resident` ones their positions among them.
        """
        mine = self._share(real)
        if resident is not None:
            mine = tf.gather(resident, mine)
        grey = tf.cast(mine, tf.float32)[..., tf.newaxis] / 255.0
        batch = Batch(
            real=grey,
            latents=self._share(latents),
            size=self.plan.batch_size,
            step=step,
            augmentations=None if changes is None else self._share(changes),
            codes=None if codes is None else self._share(codes),
        )
        metrics = self.family.step(self._networks, batch, self.hyperparameters)
        if self._average is not None:
            decay = decay_at(step - 1, self.hyperparameters.ema_decay)
            update_average(self._average.weights, self._networks.generator.weights, decay)
        return metrics

    def _share(self, whole: tf.Tensor) -> tf.Tensor:
        """This device's part of the second axis."""
        replicas = self._strategy.num_replicas_in_sync
        updates, batch, *rest = whole.shape
        parts = tf.reshape(whole, (updates, replicas, batch // replicas, *rest))
        return parts[:, tf.distribute.get_replica_context().replica_id_in_sync_group]


def variable_bytes(variables: list[Any]) -> int:
    """The memory of Keras variables."""
    return sum(int(variable.value.shape.num_elements()) * int(variable.value.dtype.size) for variable in variables)


@contextmanager
def _memory_told(sentence: str) -> Iterator[None]:
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise DeviceMemoryExhausted(sentence) from error


def _optimizer(name: str, learning_rate: float) -> keras.optimizers.Optimizer:
    if name == "adam":
        return keras.optimizers.Adam(learning_rate, beta_1=ADAM_BETA_1)
    return keras.optimizers.RMSprop(learning_rate)


def network_state(name: str, network: keras.Model) -> dict[str, Any]:
    """A network as a checkpoint holds it: under its name, and under NAME_unseen what TensorFlow does not find in it.

    Such are the states of Keras's seed generators, which draw the dropout, and weights that a network of a family has
    in a list. Without them a training would go on, and images be drawn, only not as by the network that was written.
    """
    seen = {id(each) for each in tf.train.TrackableView(network).descendants()}
    return {name: network, f"{name}_unseen": [each.value for each in network.variables if id(each) not in seen]}
