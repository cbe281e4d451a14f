import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from worker.losses import BOUNDARY, discriminator_losses, generator_losses
from worker.models.base import Loss

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
"""At a logit of 30, float32 loses some 4e-6 in the difference of two terms."""

logits = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=8)


def log_sigmoid(values: list[float]) -> np.ndarray:
    return -np.log1p(np.exp(-np.array(values, np.float64)))


def column(values: list[float]) -> tf.Tensor:
    return tf.constant(values, tf.float32)[:, tf.newaxis]


@given(real=logits, fake=logits, smoothing=st.floats(0, 0.5, width=32))
def test_discriminator_losses_are_the_cross_entropy_of_the_paper(
    real: list[float], fake: list[float], smoothing: float
) -> None:
    on_real, on_fake = discriminator_losses(column(real), column(fake), "bce", smoothing)
    log_d, log_not_d = log_sigmoid(real), log_sigmoid([-value for value in real])
    np.testing.assert_allclose(on_real, -(1 - smoothing) * log_d - smoothing * log_not_d, **TOLERANCE)
    np.testing.assert_allclose(on_fake, -log_sigmoid([-value for value in fake]), **TOLERANCE)


@given(fake=logits)
def test_generator_losses_do_not_saturate(fake: list[float]) -> None:
    np.testing.assert_allclose(generator_losses(column(fake), "bce"), -log_sigmoid(fake), **TOLERANCE)


@given(real=logits, fake=logits)
def test_hinge_losses_stop_where_an_image_is_clear(real: list[float], fake: list[float]) -> None:
    on_real, on_fake = discriminator_losses(column(real), column(fake), "hinge", 0.0)
    np.testing.assert_allclose(on_real, [max(0.0, 1 - logit) for logit in real], **TOLERANCE)
    np.testing.assert_allclose(on_fake, [max(0.0, 1 + logit) for logit in fake], **TOLERANCE)
    np.testing.assert_allclose(generator_losses(column(fake), "hinge"), -np.array(fake), **TOLERANCE)


@given(real=logits, fake=logits, smoothing=st.floats(0, 0.5, width=32))
def test_least_squares_are_to_zero_and_one(real: list[float], fake: list[float], smoothing: float) -> None:
    on_real, on_fake = discriminator_losses(column(real), column(fake), "lsgan", smoothing)
    np.testing.assert_allclose(on_real, (np.array(real) - 1 + smoothing) ** 2, **TOLERANCE)
    np.testing.assert_allclose(on_fake, np.array(fake) ** 2, **TOLERANCE)
    np.testing.assert_allclose(generator_losses(column(fake), "lsgan"), (np.array(fake) - 1) ** 2 / 2, **TOLERANCE)


@pytest.mark.parametrize("loss", ["bce", "lsgan"])
def test_at_the_boundary_an_image_is_as_much_real_as_generated(loss: Loss) -> None:
    logit = column([BOUNDARY[loss]])
    on_real, on_fake = discriminator_losses(logit, logit, loss, 0.0)
    np.testing.assert_allclose(on_real, on_fake)


@pytest.mark.parametrize("loss", BOUNDARY)
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_losses_are_float32_whatever_the_logits(dtype: tf.DType, loss: Loss) -> None:
    logit = tf.constant([[300.0]], dtype)
    for losses in (*discriminator_losses(logit, logit, loss, 0.0), generator_losses(logit, loss)):
        assert losses.dtype == tf.float32
        assert losses.shape == (1,)
        assert np.isfinite(losses).all()
