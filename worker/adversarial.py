"""One adversarial training step, as one device sees it: its share of the batch, its copy of the networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from worker.contract.fast_paths import FastPath
from worker.differentiable_augmentation import augment
from worker.fast_paths import PLAIN, FastPaths
from worker.gradient_penalty import R1Penalty
from worker.losses import BOUNDARY, discriminator_losses, generator_losses

if TYPE_CHECKING:
    from worker.models.base import CommonHyperparameters

REAL, GENERATED = 0, 1
"""Which of a step's augmentations are for which images."""


@dataclass(frozen=True)
class Networks:
    """The two networks and their optimisers; gradients are summed over the devices when they are applied.

    `loss_scale` keeps gradients in float16 from vanishing (`worker.precision`); `r1` is a penalty of the discriminator.
    """

    generator: keras.Model
    discriminator: keras.Model
    generator_optimizer: keras.optimizers.Optimizer
    discriminator_optimizer: keras.optimizers.Optimizer
    loss_scale: float = 1.0
    fast_paths: FastPaths = PLAIN
    r1: R1Penalty | None = None


@dataclass(frozen=True)
class Batch:
    """A device's share of a step's data.

    `real` is float32 (d_steps, B, S, S, 1) in [0, 1]; `latents` is float32 (d_steps + 1, B, latent_size); `size` is
    the batch size over all devices, by which sums are divided; `step` counts from 1. `augmentations`, there if images
    are to be changed, is float32 (d_steps + 1, B, 2, NUMBERS) in [0, 1): for real and for generated images at each
    update of the discriminator, and last for generated ones at the generator's. `codes`, there for families that take
    labels, is int32 (d_steps, B), the classes of the real images and of those that are generated beside them.
    """

    real: tf.Tensor
    latents: tf.Tensor
    size: int
    step: tf.Tensor | int = 1
    augmentations: tf.Tensor | None = None
    codes: tf.Tensor | None = None


def alternating_step(
    networks: Networks, batch: Batch, hyperparameters: "CommonHyperparameters"
) -> dict[str, tf.Tensor]:
    """Update the discriminator on each set of real images, then the generator on the last set of latent points.

    On the fast path the last update of the discriminator takes that last set, too, so that its images are drawn once.
    Where there are classes, those of the last real images are the generator's.

    Returns:
        This device's share of `d_loss`, the mean over the real and generated images of the last discriminator
        update; `d_acc`, the share of them on the right side; `g_loss`; `g_acc`, the share of generated images taken
        for real; and with that penalty `r1`, the mean squared gradient norm at the last step that took it.
    """
    metrics: dict[str, tf.Tensor] = {}
    *others, last = tf.unstack(batch.real)
    codes = [None] * batch.real.shape[0] if batch.codes is None else tf.unstack(batch.codes)
    if FastPath.ONE_GENERATOR_PASS not in networks.fast_paths:
        others, last = [*others, last], None
    for update, (real, latents, shown) in enumerate(zip(others, tf.unstack(batch.latents), codes, strict=False)):
        fake = _generated(networks, latents, shown)
        metrics = _taught(networks, real, fake, shown, batch, update, hyperparameters)

    variables = networks.generator.trainable_variables
    with tf.GradientTape() as tape:
        fake = _generated(networks, batch.latents[-1], codes[-1])
        if last is not None:
            with tape.stop_recording():
                metrics = _taught(networks, last, fake, codes[-1], batch, len(others), hyperparameters)
        seen = _augmented(fake, batch, -1, GENERATED, hyperparameters)
        logits = networks.discriminator(with_codes(seen, codes[-1]), training=True)
        loss = tf.reduce_sum(generator_losses(logits, hyperparameters.loss)) / batch.size
        scaled = loss * networks.loss_scale
    _apply(networks.generator_optimizer, tape.gradient(scaled, variables), variables, networks.loss_scale)
    metrics |= {"g_loss": loss, "g_acc": _count(logits > BOUNDARY[hyperparameters.loss]) / batch.size}
    return metrics if networks.r1 is None else metrics | {"r1": networks.r1.last_norm.read_value()}


def _taught(
    networks: Networks,
    real: tf.Tensor,
    fake: tf.Tensor,
    codes: tf.Tensor | None,
    batch: Batch,
    update: int,
    hyperparameters: "CommonHyperparameters",
) -> dict[str, tf.Tensor]:
    real = _augmented(real, batch, update, REAL, hyperparameters)
    fake = _augmented(fake, batch, update, GENERATED, hyperparameters)
    return update_discriminator(networks, real, fake, codes, batch, hyperparameters)


def _augmented(
    images: tf.Tensor, batch: Batch, update: int, kind: int, hyperparameters: "CommonHyperparameters"
) -> tf.Tensor:
    """Images as the discriminator sees them."""
    if batch.augmentations is None:
        return images
    return augment(images, batch.augmentations[update, :, kind], hyperparameters.diff_augment)


def update_discriminator(
    networks: Networks,
    real: tf.Tensor,
    fake: tf.Tensor,
    codes: tf.Tensor | None,
    batch: Batch,
    hyperparameters: "CommonHyperparameters",
) -> dict[str, tf.Tensor]:
    """Teach the discriminator on real images (B, S, S, 1) and as many generated ones, as it is shown them.

    Both are of the classes `codes` (B,), None without classes. They are a share of a `batch`, of which only size and
    step are looked at.
    """
    size, boundary = batch.size, BOUNDARY[hyperparameters.loss]
    variables = networks.discriminator.trainable_variables
    with tf.GradientTape() as tape:
        both = None if codes is None else tf.concat([codes, codes], axis=0)
        logits = networks.discriminator(with_codes(tf.concat([real, fake], axis=0), both), training=True)
        real_logits, fake_logits = tf.split(logits, 2)
        losses = tf.concat(
            discriminator_losses(real_logits, fake_logits, hyperparameters.loss, hyperparameters.label_smoothing),
            axis=0,
        )
        loss = tf.reduce_sum(losses) / (2 * size)
        scaled = loss * networks.loss_scale
    gradients = tape.gradient(scaled, variables)
    if networks.r1 is not None:
        gradients = networks.r1.added_to(
            gradients,
            variables,
            lambda images: networks.discriminator(with_codes(images, codes), training=False),
            real,
            size=size,
            step=batch.step,
            loss_scale=networks.loss_scale,
        )
    _apply(networks.discriminator_optimizer, gradients, variables, networks.loss_scale)
    right = tf.concat([real_logits > boundary, fake_logits <= boundary], axis=0)
    return {"d_loss": loss, "d_acc": _count(right) / (2 * size)}


def with_codes(first: tf.Tensor, codes: tf.Tensor | None = None) -> tf.Tensor | list[tf.Tensor]:
    """What a network takes: latent points or images, and class codes if there are classes."""
    return first if codes is None else [first, codes]


def _generated(networks: Networks, latents: tf.Tensor, codes: tf.Tensor | None) -> tf.Tensor:
    """Images (B, S, S, 1), float32 whatever the generator computes in, for the discriminator sees real ones so, too."""
    return tf.cast(networks.generator(with_codes(latents, codes), training=True), tf.float32)


def _apply(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[tf.Variable],
    loss_scale: float,
) -> None:
    unscaled = gradients if loss_scale == 1.0 else _unscaled(gradients, loss_scale)
    optimizer.apply_gradients(zip(unscaled, variables, strict=True))


def _unscaled(gradients: Sequence[tf.Tensor], loss_scale: float) -> list[tf.Tensor]:
    """Gradients of the loss itself; if one of them overflowed, zeros, so that nothing is learnt from this batch."""
    finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
    return [tf.where(finite, gradient / loss_scale, 0.0) for gradient in gradients]


def _count(flags: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(flags, tf.float32))
