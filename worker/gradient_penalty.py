"""R1: a penalty for how steep a discriminator is at real images (Mescheder et al. 2018, arXiv:1801.04406)."""

from collections.abc import Callable, Sequence

import tensorflow as tf

Judge = Callable[[tf.Tensor], tf.Tensor]
"""A discriminator as it is outside of training: images (B, S, S, 1) to logits (B, 1), each of its image alone."""


class R1Penalty(tf.Module):  # type: ignore[misc] # TensorFlow ships no types
    """weight / 2 times the mean squared norm of the gradient of real images' logits by their pixels.

    The paper adds it to the sum of the losses on real and on generated images. Here it joins their mean, half of that:
    a weight w is the paper's gamma of 2w.

    It is taken at the first step and then every so many steps, times their number (Karras et al. 2020,
    arXiv:1912.04958, appendix B). In the mean over the steps its gradient is then as if each step took it. The updates
    are not: RMSprop and Adam divide a gradient by the size of those of late.

    `last_norm` is this device's share of the mean at the last step that took it; a checkpoint has their sum.
    """

    def __init__(self, weight: float, every: int) -> None:
        super().__init__()
        self._weight = weight
        self._every = every
        self.last_norm = tf.Variable(
            0.0,
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def added_to(
        self,
        gradients: Sequence[tf.Tensor],
        variables: Sequence[tf.Variable],
        judge: Judge,
        images: tf.Tensor,
        *,
        size: int,
        step: tf.Tensor | int,
        loss_scale: float,
    ) -> list[tf.Tensor]:
        """Gradients of a scaled loss, with the penalty's own added at a step that takes it; at others as they are.

        Args:
            gradients: Of the loss times the scale, by the variables.
            variables: Of the discriminator.
            judge: The discriminator. It may draw nothing, nor ask other devices anything, for this is within a branch.
            images: This device's share of the real images, float32 (B, S, S, 1).
            size: The batch size over all devices.
            step: Counted from 1. Of a number that is known while a graph is made, there is only one branch.
            loss_scale: Keeps gradients in float16 from vanishing.
        """

        def taken() -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                norm = tf.reduce_sum(squared_gradient_norms(judge, images, loss_scale)) / size
                penalty = norm * (self._weight / 2 * self._every * loss_scale)
            own = tape.gradient(penalty, variables)
            # A last bias, for one, does nothing for the slope.
            return [norm, *(one if other is None else one + other for one, other in zip(dense, own, strict=True))]

        def left_out() -> list[tf.Tensor]:
            return [self.last_norm.read_value(), *dense]

        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
        with tf.device("CPU:0"):  # where steps are counted
            due = (step - 1) % self._every == 0
        if isinstance(due, bool):
            norm, *changed = taken() if due else left_out()
        else:
            norm, *changed = tf.cond(due, taken, left_out)
        self.last_norm.assign(norm)
        return changed


def squared_gradient_norms(judge: Judge, images: tf.Tensor, loss_scale: float) -> tf.Tensor:
    """The squared norm of the gradient of each image's logit by its pixels, float32 (B,); it has a gradient itself."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        scaled = tf.reduce_sum(tf.cast(judge(images), tf.float32)) * loss_scale
    # The sum has each image's own gradient, for its logit alone depends on it.
    return tf.reduce_sum(tf.square(tape.gradient(scaled, images) / loss_scale), axis=(1, 2, 3))
