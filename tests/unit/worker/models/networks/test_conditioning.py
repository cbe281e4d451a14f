import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from worker.models.networks import dcgan
from worker.models.networks.conditioning import (
    EMBEDDING_SIZE,
    ClassEmbedding,
    conditional_generator,
    projection_discriminator,
)
from worker.precision import computing_in

CLASSES = 3
CODES = np.array([2, 0, 1, 2], np.int32)


def images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).random((count, 8, 8, 1), np.float32)


def small_discriminator() -> tuple[keras.Model, keras.Sequential, keras.Sequential]:
    features = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(5, 3, strides=2), layers.LeakyReLU()])
    head = keras.Sequential([layers.Flatten(), layers.Dense(1, dtype="float32")])
    return projection_discriminator(features, head, CLASSES), features, head


def test_an_embedding_is_a_row_of_its_table_and_its_gradient_goes_to_that_row() -> None:
    embedding = ClassEmbedding(CLASSES, 4, initializer="glorot_uniform")
    table = embedding.table.numpy()
    np.testing.assert_array_equal(embedding(CODES), table[CODES])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(embedding(tf.constant([2, 2, 0])))
    gradient = tape.gradient(total, embedding.trainable_variables)[0]
    np.testing.assert_array_equal(gradient, np.outer([1, 0, 2], np.ones(4)))


def test_a_class_adds_the_product_of_its_vector_with_the_summed_features() -> None:
    network, features, head = small_discriminator()
    (table,) = [weight for weight in network.weights if weight.name == "table"]
    table.assign(np.random.default_rng(1).normal(size=table.shape))
    maps = features(images()).numpy().astype(np.float64)
    dense = head.layers[-1]
    linear = maps.reshape(4, -1) @ dense.kernel.numpy() + dense.bias.numpy()
    projected = (table.numpy()[CODES] * maps.sum(axis=(1, 2))).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(network([images(), CODES]), linear + projected, rtol=1e-5, atol=1e-5)


def test_at_first_the_class_says_little_of_an_image_but_not_nothing() -> None:
    network, features, head = small_discriminator()
    said = np.abs(network([images(), CODES]) - head(features(images())))
    assert 0 < said.max() < 0.2


def test_a_generator_takes_the_embedding_behind_the_latent_point() -> None:
    body = keras.Sequential([keras.Input((6 + EMBEDDING_SIZE,)), layers.Dense(7)])
    network = conditional_generator(body, CLASSES)
    points = np.random.default_rng(0).uniform(-1, 1, (4, 6)).astype(np.float32)
    (table,) = [weight.numpy() for weight in network.weights if weight.name == "table"]
    assert table.shape == (CLASSES, EMBEDDING_SIZE)
    assert 0.9 < np.abs(table).max() <= 1
    dense = body.layers[0]
    expected = np.hstack([points, table[CODES]]) @ dense.kernel.numpy() + dense.bias.numpy()
    np.testing.assert_allclose(network([points, CODES]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_in_half_precision_images_and_logits_are_float32(precision: str) -> None:
    with computing_in(precision):
        generator = dcgan.generator(latent_size=6, start=(4, 4), blocks=[(4, 2)], width=1, dropout=0.0, classes=CLASSES)
        discriminator = dcgan.discriminator(image_size=8, blocks=[(4, 2)], width=1, dropout=0.0, classes=CLASSES)
    drawn = generator([np.zeros((4, 6), np.float32), CODES])
    assert (drawn.dtype, discriminator([drawn, tf.constant(CODES)]).dtype) == (tf.float32, tf.float32)
    assert {weight.dtype for weight in (*generator.weights, *discriminator.weights)} == {"float32"}
