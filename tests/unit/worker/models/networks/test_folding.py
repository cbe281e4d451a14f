import keras
import numpy as np
import pytest
from keras import layers

from worker.fast_paths import DEFAULTS, PLAIN, FastPaths, taking
from worker.models.networks.dcgan import generator
from worker.models.networks.folding import fold_batch_norm


def shaken(network: keras.Model) -> keras.Model:
    """With weights and statistics as if it had learned."""
    random = np.random.default_rng(0)
    network.set_weights([random.uniform(0.5, 1.5, weight.shape) / 10 for weight in network.get_weights()])
    return network


@pytest.mark.parametrize("paths", [PLAIN, DEFAULTS["CPU"]], ids=["plain", "fast"])
def test_a_folded_generator_draws_the_same_images_without_batch_norm(paths: FastPaths) -> None:
    with taking(paths):
        network = shaken(generator(latent_size=6, start=(4, 32), blocks=[(32, 2), (3, 1)], width=1, dropout=0.5))
        folded = fold_batch_norm(network)
    points = np.random.default_rng(1).uniform(-1, 1, (3, 6)).astype(np.float32)
    np.testing.assert_allclose(folded(points), network(points, training=False), atol=2e-6)
    assert not any(isinstance(layer, layers.BatchNormalization | layers.Dropout) for layer in folded.layers)


def test_what_cannot_be_folded_stays() -> None:
    stack = [
        keras.Input((4,)),
        layers.BatchNormalization(),
        layers.Dense(5, activation="relu"),
        layers.BatchNormalization(scale=False),
        layers.Dense(5, use_bias=False),
        layers.BatchNormalization(center=False),
        layers.Dense(5),
        layers.BatchNormalization(scale=False, center=False),
    ]
    network = shaken(keras.Sequential(stack))
    folded = fold_batch_norm(network)
    points = np.random.default_rng(1).uniform(-1, 1, (3, 4)).astype(np.float32)
    np.testing.assert_allclose(folded(points), network(points, training=False), atol=1e-6)
    assert sum(isinstance(layer, layers.BatchNormalization) for layer in folded.layers) == 3


def test_a_network_that_is_no_sequence_is_left_alone() -> None:
    inputs = keras.Input((4,))
    branched = keras.Model(inputs, inputs + layers.Dense(4)(inputs))
    assert fold_batch_norm(branched) is branched
