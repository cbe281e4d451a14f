"""One adversarial training step, as one device sees it: its share of the batch, its copy of the networks."""

from dataclasses import dataclass

import keras
import tensorflow as tf

from worker.losses import discriminator_losses, generator_losses


@dataclass(frozen=True)
class Networks:
    """The two networks and their optimisers; gradients are summed over the devices when they are applied."""

    generator: keras.Model
    discriminator: keras.Model
    generator_optimizer: keras.optimizers.Optimizer
    discriminator_optimizer: keras.optimizers.Optimizer


@dataclass(frozen=True)
class Batch:
    """A device's share of a step's data.

    `real` is float32 (d_steps, B, S, S, 1) in [0, 1]; `latents` is float32 (d_steps + 1, B, latent_size); `size` is
    the batch size over all devices, by which sums are divided.
    """

    real: tf.Tensor
    latents: tf.Tensor
    size: int


def alternating_step(networks: Networks, batch: Batch, *, label_smoothing: float) -> dict[str, tf.Tensor]:
    """Update the discriminator on each set of real images, then the generator on the last set of latent points.

    Returns:
        This device's share of `d_loss`, the mean over the real and generated images of the last discriminator
        update; `d_acc`, the share of them on the right side; `g_loss`; `g_acc`, the share of generated images taken
        for real.
    """
    metrics: dict[str, tf.Tensor] = {}
    for update in range(batch.real.shape[0]):
        metrics = update_discriminator(
            networks, batch.real[update], batch.latents[update], batch.size, label_smoothing=label_smoothing
        )
    return metrics | update_generator(networks, batch.latents[-1], batch.size)


def update_discriminator(
    networks: Networks, real: tf.Tensor, latents: tf.Tensor, size: int, *, label_smoothing: float
) -> dict[str, tf.Tensor]:
    """Teach the discriminator on real images (B, S, S, 1) and as many generated ones, of a global batch of `size`."""
    fake = networks.generator(latents, training=True)
    variables = networks.discriminator.trainable_variables
    with tf.GradientTape() as tape:
        logits = networks.discriminator(tf.concat([real, fake], axis=0), training=True)
        real_logits, fake_logits = tf.split(logits, 2)
        losses = tf.concat(discriminator_losses(real_logits, fake_logits, label_smoothing), axis=0)
        loss = tf.reduce_sum(losses) / (2 * size)
    _apply(networks.discriminator_optimizer, tape.gradient(loss, variables), variables)
    right = tf.concat([real_logits > 0, fake_logits <= 0], axis=0)
    return {"d_loss": loss, "d_acc": _count(right) / (2 * size)}


def update_generator(networks: Networks, latents: tf.Tensor, size: int) -> dict[str, tf.Tensor]:
    """Teach the generator to be taken for real by the discriminator, whose weights stay as they are."""
    variables = networks.generator.trainable_variables
    with tf.GradientTape() as tape:
        logits = networks.discriminator(networks.generator(latents, training=True), training=True)
        loss = tf.reduce_sum(generator_losses(logits)) / size
    _apply(networks.generator_optimizer, tape.gradient(loss, variables), variables)
    return {"g_loss": loss, "g_acc": _count(logits > 0) / size}


def _apply(optimizer: keras.optimizers.Optimizer, gradients: list[tf.Tensor], variables: list[tf.Variable]) -> None:
    optimizer.apply_gradients(zip(gradients, variables, strict=True))


def _count(flags: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(flags, tf.float32))
