import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.losses import discriminator_losses, generator_losses

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
"""At a logit of 30, float32 loses some 4e-6 in the difference of two terms."""

logits = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=8)


def log_sigmoid(values: list[float]) -> np.ndarray:
    return -np.log1p(np.exp(-np.array(values, np.float64)))


def column(values: list[float]) -> tf.Tensor:
    return tf.constant(values, tf.float32)[:, tf.newaxis]


@settings(deadline=None)
@given(real=logits, fake=logits, smoothing=st.floats(0, 0.5, width=32))
def test_discriminator_losses_are_the_cross_entropy_of_the_paper(
    real: list[float], fake: list[float], smoothing: float
) -> None:
    on_real, on_fake = discriminator_losses(column(real), column(fake), smoothing)
    log_d, log_not_d = log_sigmoid(real), log_sigmoid([-value for value in real])
    np.testing.assert_allclose(on_real, -(1 - smoothing) * log_d - smoothing * log_not_d, **TOLERANCE)
    np.testing.assert_allclose(on_fake, -log_sigmoid([-value for value in fake]), **TOLERANCE)


@settings(deadline=None)
@given(fake=logits)
def test_generator_losses_do_not_saturate(fake: list[float]) -> None:
    np.testing.assert_allclose(generator_losses(column(fake)), -log_sigmoid(fake), **TOLERANCE)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_losses_are_float32_whatever_the_logits(dtype: tf.DType) -> None:
    logit = tf.constant([[300.0]], dtype)
    for losses in (*discriminator_losses(logit, logit, 0.0), generator_losses(logit)):
        assert losses.dtype == tf.float32
        assert losses.shape == (1,)
        assert np.isfinite(losses).all()
