"""What tells the networks of the DCGAN families which class an image is to be of."""

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops

EMBEDDING_SIZE = 50
"""Coordinates that tell the generator a class, beside those of a latent point."""


class ClassEmbedding(layers.Layer):  # type: ignore[misc] # Keras ships no types
    """A learnt vector for each class: codes int32 (B,) to (B, size).

    A product with one-hot rows, so that the gradient is dense and sums in a fixed order on every kind of device.
    """

    def __init__(self, classes: int, size: int, *, initializer: Any, **options: Any) -> None:
        super().__init__(**options)
        self.classes = classes
        self.size = size
        self.table = self.add_weight(shape=(classes, size), initializer=initializer, name="table")

    def call(self, codes: tf.Tensor) -> tf.Tensor:
        table = tf.convert_to_tensor(self.table)
        return tf.matmul(tf.one_hot(codes, self.classes, dtype=table.dtype), table)

    def compute_output_shape(self, codes_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*codes_shape, self.size)


class ConditionalGenerator(keras.Model):  # type: ignore[misc] # Keras ships no types
    """Latent points (B, L) and class codes int32 (B,) to what `body` makes of the points with an embedding behind each.

    The class joins the latent point at the input, as in Mirza and Osindero 2014, arXiv:1411.1784, section 3.2.
    """

    def __init__(self, body: keras.Sequential, embedding: ClassEmbedding) -> None:
        latents = keras.Input((body.input_shape[-1] - embedding.size,))
        codes = keras.Input((), dtype="int32")
        super().__init__([latents, codes], body(layers.Concatenate()([latents, embedding(codes)])), name="generator")
        self.body = body
        self.embedding = embedding


def conditional_generator(body: keras.Sequential, classes: int) -> ConditionalGenerator:
    """A generator of so many classes; `body` takes EMBEDDING_SIZE coordinates more than a latent point has.

    The embedding begins as wide as latent points are: within [-1, 1].
    """
    as_latents = keras.initializers.RandomUniform(-1.0, 1.0)
    return ConditionalGenerator(body, ClassEmbedding(classes, EMBEDDING_SIZE, initializer=as_latents))


def projection_discriminator(features: keras.Sequential, head: keras.Sequential, classes: int) -> keras.Model:
    """Images and class codes int32 (B,) to logits (B, 1): what `head` makes of the features, and <v_y, h>.

    h are the features (B, H, W, C), summed over their map; v_y is a vector learnt for the class (Miyato and Koyama
    2018, arXiv:1802.05637, section 3: the inner product of the embedded class with the features). It begins small, so
    that a class says little that was not learnt; not at zero, of which spectral normalisation would never let go.
    """
    images, codes = keras.Input(features.input_shape[1:]), keras.Input((), dtype="int32")
    maps = features(images)
    # As the head, in float32 whatever precision the rest runs in.
    summed = ops.sum(ops.cast(maps, "float32"), axis=(1, 2))
    small = keras.initializers.RandomNormal(stddev=0.01)
    vectors = ClassEmbedding(classes, features.output_shape[-1], initializer=small, dtype="float32")(codes)
    projected = ops.sum(vectors * summed, axis=1, keepdims=True)
    return keras.Model([images, codes], head(maps) + projected, name="discriminator")
