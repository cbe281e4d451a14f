"""The losses of the first steps at a fixed seed stay what they were, whatever is rewritten for speed or clarity."""

import json
from pathlib import Path

import numpy as np
import pytest

from worker.devices import open_strategy
from worker.models.registry import family
from worker.trainer import Trainer

GOLDEN = json.loads(Path(__file__).with_name("losses.json").read_text())
STEPS, BATCH = 3, 4
CHOSEN = {"width": 0.05}


def losses(name: str) -> list[dict[str, float]]:
    """Of the default preset, on noise."""
    trainer = Trainer(
        family(name), family(name).configure("default", CHOSEN), open_strategy(1), batch_size=BATCH, seed=2018
    )
    size = family(name).image_size
    real = np.random.default_rng(2018).integers(0, 256, (STEPS, 1, BATCH, size, size), np.uint8)
    steps = [trainer.advance(batch) for batch in real]
    return [{name: value for name, value in step.items() if name.endswith("_loss")} for step in steps]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_first_losses_are_those_on_record(name: str) -> None:
    for ours, golden in zip(losses(name), GOLDEN[name], strict=True):
        # Kernels for other processors round differently.
        assert ours == pytest.approx(golden, abs=1e-4)
