"""The networks of a training on its devices, and the step that teaches them."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.adversarial import Batch, Networks
from worker.averaging import decay_at, update_average
from worker.contract.errors import DeviceMemoryExhausted
from worker.draws import latent_batches
from worker.models.base import CommonHyperparameters, Family

ADAM_BETA_1 = 0.5
PRECISION = "float32"
GENERATOR, AVERAGE = "generator", "average"
"""Names, within a state, of the networks that images can be drawn from."""


class Trainer:
    """Built by a seed, on the devices of a strategy. `steps_done` counts the steps that are in the networks.

    On CPUs with equally many cores the same seed and steps give the same networks bit for bit, however the steps are
    shared out over processes; kernels for GPUs may round differently from run to run.
    """

    def __init__(
        self,
        family: Family[Any],
        hyperparameters: CommonHyperparameters,
        strategy: tf.distribute.Strategy,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        self.steps_done = 0
        self.family = family
        self.hyperparameters = hyperparameters
        self.batch_size = batch_size
        self._strategy = strategy
        self._seed = seed
        keras.utils.set_random_seed(seed)  # initial weights and dropout
        with strategy.scope():
            self._networks = self._build()
            self._average = self._copy_of_generator() if hyperparameters.ema_decay else None
        self._step = tf.function(self._global_step)
        self._sampler = tf.function(self._networks.generator if self._average is None else self._average)

    @property
    def real_shape(self) -> tuple[int, int]:
        """Real images that a step takes: discriminator updates, batch size."""
        return self.hyperparameters.d_steps, self.batch_size

    @property
    def devices(self) -> tuple[str, ...]:
        """Names such as `GPU:0`."""
        specs = [tf.DeviceSpec.from_string(name) for name in self._strategy.extended.worker_devices]
        return tuple(f"{spec.device_type}:{spec.device_index}" for spec in specs)

    def advance(self, real: NDArray[np.uint8]) -> dict[str, float]:
        """Take one step on real images, uint8 (d_steps, batch_size, S, S).

        Returns:
            The metrics over the global batch, in the family's order; not finite if the training diverged.

        Raises:
            DeviceMemoryExhausted: the batch does not fit.
        """
        shape = (self.hyperparameters.d_steps + 1, self.batch_size, self.family.latent_size)
        latents = latent_batches(self._seed, self.steps_done + 1, shape)
        try:
            metrics = self._step(
                self._share_out(real), self._share_out(latents), tf.constant(self.steps_done, tf.float32)
            )
        except tf.errors.ResourceExhaustedError as error:
            raise DeviceMemoryExhausted(
                f"A batch of {self.batch_size} does not fit into the memory of {self._strategy.num_replicas_in_sync} "
                "device(s): take a smaller batch_size, a smaller width, or more devices."
            ) from error
        self.steps_done += 1
        # By way of its text, a float32 becomes the shortest number that stands for it: 0.1, not 0.10000000149.
        return {name: float(str(value.numpy())) for name, value in metrics.items()}

    def sample(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """Images (B, S, S) in [0, 1] for latent points (B, latent_size), from the average if there is one."""
        images: NDArray[np.float32] = self._sampler(tf.constant(latents), training=False).numpy()
        return images[..., 0]

    def state(self) -> tf.train.Checkpoint:
        """All that a later step depends on but the number of steps, to be written or read as one."""
        networks = self._networks
        models = {GENERATOR: networks.generator, "discriminator": networks.discriminator}
        if self._average is not None:
            models[AVERAGE] = self._average
        return tf.train.Checkpoint(
            **models,
            generator_optimizer=networks.generator_optimizer,
            discriminator_optimizer=networks.discriminator_optimizer,
            # TensorFlow does not see the states of Keras's seed generators, which draw the dropout.
            seeds=[state for model in models.values() for state in _seed_states(model)],
        )

    def is_finite(self) -> bool:
        """Whether every weight is a number."""
        models = (self._networks.generator, self._networks.discriminator)
        return all(bool(np.isfinite(weight.numpy()).all()) for model in models for weight in model.weights)

    def _build(self) -> Networks:
        chosen = self.hyperparameters
        networks = Networks(
            generator=self.family.generator(chosen),
            discriminator=self.family.discriminator(chosen),
            generator_optimizer=_optimizer(chosen.optimizer, chosen.learning_rate_g),
            discriminator_optimizer=_optimizer(chosen.optimizer, chosen.learning_rate_d),
        )
        # Inside a replica no variables can be made.
        networks.generator_optimizer.build(networks.generator.trainable_variables)
        networks.discriminator_optimizer.build(networks.discriminator.trainable_variables)
        return networks

    def _copy_of_generator(self) -> keras.Model:
        copy = self.family.generator(self.hyperparameters)
        copy.set_weights(self._networks.generator.get_weights())
        return copy

    def _global_step(self, real: Any, latents: Any, updates: tf.Tensor) -> dict[str, tf.Tensor]:
        shares = self._strategy.run(self._replica_step, args=(real, latents, updates))
        return {name: self._strategy.reduce("SUM", share, axis=None) for name, share in shares.items()}

    def _replica_step(self, real: tf.Tensor, latents: tf.Tensor, updates: tf.Tensor) -> dict[str, tf.Tensor]:
        grey = tf.cast(real, tf.float32)[..., tf.newaxis] / 255.0
        batch = Batch(real=grey, latents=latents, size=self.batch_size)
        metrics = self.family.step(self._networks, batch, self.hyperparameters)
        if self._average is not None:
            decay = decay_at(updates, self.hyperparameters.ema_decay)
            update_average(self._average.weights, self._networks.generator.weights, decay)
        return metrics

    def _share_out(self, whole: NDArray[Any]) -> Any:
        """Give each device its part of the second axis."""
        share = self.batch_size // self._strategy.num_replicas_in_sync

        def part(context: Any) -> tf.Tensor:
            first = context.replica_id_in_sync_group * share
            return tf.constant(whole[:, first : first + share])

        return self._strategy.experimental_distribute_values_from_function(part)


def _optimizer(name: str, learning_rate: float) -> keras.optimizers.Optimizer:
    if name == "adam":
        return keras.optimizers.Adam(learning_rate, beta_1=ADAM_BETA_1)
    return keras.optimizers.RMSprop(learning_rate)


def _seed_states(model: keras.Model) -> list[tf.Variable]:
    weights = {id(weight) for weight in model.weights}
    return [variable.value for variable in model.variables if id(variable) not in weights]
