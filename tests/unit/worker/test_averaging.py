import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers import trainer_of
from worker.averaging import decay_at
from worker.models.registry import family


@given(updates=st.integers(0, 10_000_000), decay=st.floats(0, 1, exclude_max=True, width=32))
def test_the_decay_warms_up(updates: int, decay: float) -> None:
    assert float(decay_at(updates, decay)) == pytest.approx(min(decay, (1 + updates) / (10 + updates)), rel=1e-6)


@pytest.mark.parametrize("decay", [0.3, 0.995])
def test_the_average_follows_weights_and_statistics_as_numpy_has_it(tiny: str, decay: float) -> None:
    trainer = trainer_of(family(tiny), family(tiny).configure("default", {"ema_decay": decay}), batch_size=4)
    expected = [weight.astype(np.float64) for weight in trainer._networks.generator.get_weights()]
    for updates in range(5):
        trainer.advance(1)
        keep = min(decay, (1 + updates) / (10 + updates))
        current = trainer._networks.generator.get_weights()
        expected = [keep * mean + (1 - keep) * value for mean, value in zip(expected, current, strict=True)]
        for ours, theirs in zip(trainer._average.get_weights(), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_without_a_decay_there_is_no_average_and_samples_are_the_generators(tiny: str) -> None:
    trainer = trainer_of(family(tiny), family(tiny).configure("default", {"ema_decay": 0}), batch_size=4)
    trainer.advance(1)
    points = np.random.default_rng(1).uniform(-1, 1, (2, 4)).astype(np.float32)
    drawn = trainer._networks.generator(points, training=False).numpy()[..., 0]
    np.testing.assert_allclose(trainer.sample(points), drawn, atol=1e-6)
    assert trainer._average is None
