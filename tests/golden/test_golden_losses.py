"""The losses of the first steps at a fixed seed stay what they were, whatever is rewritten for speed or clarity."""

import json
from pathlib import Path

import pytest

from trainers import trainer_of
from worker.models.registry import family

GOLDEN = json.loads(Path(__file__).with_name("losses.json").read_text())
STEPS, BATCH = 3, 4
CHOSEN = {"width": 0.05}


def losses(name: str) -> list[dict[str, float]]:
    """Of the default preset, on noise, by the fast paths of a CPU."""
    trainer = trainer_of(family(name), family(name).configure("default", CHOSEN), batch_size=BATCH, seed=2018)
    return [{name: value for name, value in step.items() if name.endswith("_loss")} for step in trainer.advance(STEPS)]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_first_losses_are_those_on_record(name: str) -> None:
    for ours, golden in zip(losses(name), GOLDEN[name], strict=True):
        # Kernels for other processors round differently, and RMSprop's first updates make much of it.
        assert ours == pytest.approx(golden, abs=2e-3)
