"""The losses of the two networks, image by image; whoever calls them takes the mean over the global batch.

Logits are float (B, 1), positive for "real"; losses are float32 (B,).
"""

import tensorflow as tf


def discriminator_losses(
    real_logits: tf.Tensor, fake_logits: tf.Tensor, label_smoothing: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Binary cross-entropy of the discriminator on real and on generated images (Goodfellow et al. 2014, eq. 1).

    Smoothing is one-sided: the target for real images is 1 - label_smoothing (Salimans et al. 2016, 3.4).
    """
    return _cross_entropy(real_logits, 1.0 - label_smoothing), _cross_entropy(fake_logits, 0.0)


def generator_losses(fake_logits: tf.Tensor) -> tf.Tensor:
    """Non-saturating loss of the generator, -log D(G(z)) (Goodfellow et al. 2014, section 3)."""
    return _cross_entropy(fake_logits, 1.0)


def _cross_entropy(logits: tf.Tensor, target: float) -> tf.Tensor:
    logits = tf.cast(logits, tf.float32)[:, 0]
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.fill(tf.shape(logits), target), logits=logits)
