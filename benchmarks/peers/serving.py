"""How a contender of the training benchmark talks to it: one process each, so that none is in another's way.

The process is given its networks as JSON, builds them, warms up, and writes one line of JSON that says what it is. Then
for each line with a number it takes so many steps, and answers with the seconds they took.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

WARM_UP_STEPS = 2


@dataclass(frozen=True)
class Task:
    """What every contender trains: the networks of a family, and the numbers that a step depends on.

    `width` is already in the channels of the blocks.
    """

    family: str
    image_size: int
    latent_size: int
    start: tuple[int, int]
    generator_blocks: tuple[tuple[int, int], ...]
    discriminator_blocks: tuple[tuple[int, int], ...]
    batch_size: int
    learning_rate_d: float
    learning_rate_g: float
    threads: int
    width: float
    devices: int
    hardware: Literal["CPU", "GPU"]


def read_arguments(variants: tuple[str, ...]) -> tuple[Task, str]:
    """The task and the variant that the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", help="a Task as JSON")
    parser.add_argument("variant", choices=variants)
    arguments = parser.parse_args()
    return Task(**json.loads(arguments.task)), arguments.variant


def one_by_one(step: Callable[[], object], finish: Callable[[], object] = lambda: None) -> Callable[[int], object]:
    """Takes as many steps as it is told, and waits for the last one to be done."""

    def take(steps: int) -> None:
        for _ in range(steps):
            step()
        finish()

    return take


def serve(take: Callable[[int], object], parameters: int | None, settings: str, operations: int | None = None) -> None:
    """Warm up, tell so, and take steps as asked until standard input ends.

    Args:
        take: Takes so many steps.
        parameters: Of the networks that are trained; None where there are none.
        settings: What distinguishes this contender, for people.
        operations: Of a step, floating-point, where they are known here.
    """
    take(WARM_UP_STEPS)
    print(json.dumps({"parameters": parameters, "settings": settings, "operations": operations}), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        take(int(line))
        print(time.perf_counter() - began, flush=True)
