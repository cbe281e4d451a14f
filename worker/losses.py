"""The losses of the two networks, image by image; whoever calls them takes the mean over the global batch.

Logits are float (B, 1), the larger the more "real"; losses are float32 (B,). The papers add up what the discriminator
loses on real and on generated images; the mean over both, which the metrics tell, is half of that.
"""

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from worker.models.base import Loss

BOUNDARY: "dict[Loss, float]" = {"bce": 0.0, "hinge": 0.0, "lsgan": 0.5}
"""The logit above which an image is taken for real: half-way between the targets."""


def discriminator_losses(
    real_logits: tf.Tensor, fake_logits: tf.Tensor, loss: "Loss", label_smoothing: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """What the discriminator loses on real and on generated images.

    - `bce`: binary cross-entropy (Goodfellow et al. 2014, eq. 1).
    - `hinge`: max(0, 1 - D(x)) and max(0, 1 + D(G(z))) (Lim and Ye 2017; Miyato et al. 2018, eq. 16).
    - `lsgan`: (D(x) - b)^2 and (D(G(z)) - a)^2 with a = 0 and b = 1, of the logits (Mao et al. 2017, eq. 9).

    Smoothing is one-sided: the target for real images, b of `lsgan`, is 1 - label_smoothing (Salimans et al. 2016,
    3.4). `hinge` has no target, and takes no notice of it.
    """
    if loss == "hinge":
        return tf.nn.relu(1.0 - _by_image(real_logits)), tf.nn.relu(1.0 + _by_image(fake_logits))
    if loss == "lsgan":
        return tf.square(_by_image(real_logits) - (1.0 - label_smoothing)), tf.square(_by_image(fake_logits))
    return _cross_entropy(real_logits, 1.0 - label_smoothing), _cross_entropy(fake_logits, 0.0)


def generator_losses(fake_logits: tf.Tensor, loss: "Loss") -> tf.Tensor:
    """What the generator loses on its images.

    - `bce`: -log D(G(z)), which does not saturate (Goodfellow et al. 2014, section 3).
    - `hinge`: -D(G(z)) (Miyato et al. 2018, eq. 17).
    - `lsgan`: (D(G(z)) - c)^2 / 2 with c = 1 (Mao et al. 2017, eq. 9).
    """
    if loss == "hinge":
        return -_by_image(fake_logits)
    if loss == "lsgan":
        return tf.square(_by_image(fake_logits) - 1.0) / 2.0
    return _cross_entropy(fake_logits, 1.0)


def _cross_entropy(logits: tf.Tensor, target: float) -> tf.Tensor:
    logits = _by_image(logits)
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.fill(tf.shape(logits), target), logits=logits)


def _by_image(logits: tf.Tensor) -> tf.Tensor:
    return tf.cast(logits, tf.float32)[:, 0]
