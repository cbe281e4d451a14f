"""How a contender of the training benchmark talks to it: one process each, so that none is in another's way.

The process is given its networks as JSON, builds them, warms up, and writes `{"parameters": n, "settings": "…"}` as one
line. Then for each line with a number it takes so many steps, and answers with the seconds they took.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

WARM_UP_STEPS = 2


@dataclass(frozen=True)
class Task:
    """What every contender trains: the networks of a family, and the numbers that a step depends on."""

    image_size: int
    latent_size: int
    start: tuple[int, int]
    generator_blocks: tuple[tuple[int, int], ...]
    discriminator_blocks: tuple[tuple[int, int], ...]
    batch_size: int
    learning_rate_d: float
    learning_rate_g: float
    threads: int
    width: float = 1.0
    devices: int = 1


def read_arguments(variants: tuple[str, ...]) -> tuple[Task, str]:
    """The task and the variant that the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", help="a Task as JSON")
    parser.add_argument("variant", choices=variants)
    arguments = parser.parse_args()
    return Task(**json.loads(arguments.task)), arguments.variant


def one_by_one(step: Callable[[], object]) -> Callable[[int], object]:
    """Takes as many steps as it is told."""

    def take(steps: int) -> None:
        for _ in range(steps):
            step()

    return take


def serve(take: Callable[[int], object], parameters: int, settings: str) -> None:
    """Warm up, tell so, and take steps as asked until standard input ends."""
    take(WARM_UP_STEPS)
    print(json.dumps({"parameters": parameters, "settings": settings}), flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        take(int(line))
        print(time.perf_counter() - began, flush=True)
