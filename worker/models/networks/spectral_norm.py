"""Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957): weights divided by their largest singular value."""

from typing import Any

import keras
import tensorflow as tf

# keras.layers.SpectralNormalization is another method: in every pass, those that teach the generator included, it
# writes the divided kernel over the kernel, so that no gradient flows through the norm. It would also have to be put
# around each layer, by every family.


class SpectrallyNormalized(keras.Model):  # type: ignore[misc] # Keras ships no types
    """A network whose weights of two and more axes, kernels and embeddings, are divided by their spectral norm.

    Each is taken for a matrix whose columns are its last axis. A pass in training takes one step of power iteration,
    from a vector that is a weight of this network and not trained; a pass outside of training takes the vector as it
    is. Gradients flow through the norm, not through the vectors (section 2.1 and appendix A).

    On many devices each takes the same steps from the same weights, so that the vectors stay the same everywhere.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name=network.name, dtype="float32")
        self.network = network
        self.vectors = [
            self.add_weight(
                name=f"{weight.name}_vector", shape=weight.shape[-1:], initializer="random_normal", trainable=False
            )
            for weight in self._matrices()
        ]
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        divided = [
            (weight, _divided(tf.convert_to_tensor(weight), vector, training=training))
            for weight, vector in zip(self._matrices(), self.vectors, strict=True)
        ]
        # Within, layers read these values for their weights, and what they change themselves is only noted.
        with keras.StatelessScope(divided) as scope:
            outputs = self.network(inputs, training=training)
        for variable in self.network.non_trainable_variables:
            if (changed := scope.get_current_value(variable)) is not None:
                variable.assign(changed)
        return outputs

    def _matrices(self) -> list[keras.Variable]:
        return [weight for weight in self.network.trainable_variables if len(weight.shape) > 1]


def _divided(weight: tf.Tensor, vector: keras.Variable, *, training: bool) -> tf.Tensor:
    """A weight by its spectral norm, as far as it is known; in training it is known better afterwards."""
    matrix = tf.reshape(weight, (-1, weight.shape[-1]))
    right = tf.convert_to_tensor(vector)[:, tf.newaxis]
    left = tf.stop_gradient(tf.math.l2_normalize(matrix @ right))
    if training:
        right = tf.matmul(matrix, left, transpose_a=True)
        vector.assign(tf.math.l2_normalize(right)[:, 0])
    right = tf.stop_gradient(tf.math.l2_normalize(right))
    return tf.math.divide_no_nan(weight, tf.matmul(left, matrix @ right, transpose_a=True)[0, 0])
