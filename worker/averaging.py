"""The exponential moving average of a generator, from which images are drawn."""

from collections.abc import Sequence

import keras
import tensorflow as tf


def decay_at(updates: tf.Tensor | float, decay: float) -> tf.Tensor:
    """The decay after a number of updates: small at first, so that the untrained weights are soon forgotten.

    min(decay, (1 + t) / (10 + t)), as in tf.train.ExponentialMovingAverage.
    """
    updates = tf.cast(updates, tf.float32)
    return tf.minimum(decay, (1.0 + updates) / (10.0 + updates))


def update_average(average: Sequence[keras.Variable], current: Sequence[keras.Variable], decay: tf.Tensor) -> None:
    """Move each averaged variable to decay * average + (1 - decay) * current; batch-norm statistics like weights."""
    for mean, value in zip(average, current, strict=True):
        mean.assign(decay * mean + (1.0 - decay) * value)
