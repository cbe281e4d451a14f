from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from trainers import trainer_of
from worker.models import registry
from worker.trainer import Population


@pytest.mark.parametrize(("images", "chosen", "expected"), [(5, [0, 3, 3], 3 * 8 * 8), (5, [], 0), (0, [], 0)])
def test_a_population_knows_how_many_bytes_its_pixels_take(images: int, chosen: list[int], expected: int) -> None:
    population = Population(np.zeros((images, 8, 8), np.uint8), np.array(chosen, np.int64))
    assert population.bytes == expected


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_the_size_of_a_state_is_known_before_it_is_written(tiny: str, tmp_path: Path, ema_decay: float) -> None:
    family = registry.family(tiny)
    trainer = trainer_of(family, family.configure("default", {"ema_decay": ema_decay}))
    trainer.advance(1)
    trainer.state().write(str(tmp_path / "state"))
    reader = tf.train.load_checkpoint(str(tmp_path / "state"))
    names = set(reader.get_variable_to_shape_map()) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    written = sum(np.asarray(reader.get_tensor(name)).nbytes for name in names)
    others = sum(np.asarray(reader.get_tensor(name)).nbytes for name in names if "seed" in name or "counter" in name)
    assert trainer.state_bytes == pytest.approx(written, abs=others)
