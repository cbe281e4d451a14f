"""Memory and time of a small training on a memory-mapped array; prints one line of JSON.

python benchmarks/resident_memory.py IMAGES.npy
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from worker.devices import device_names, open_strategy
from worker.fast_paths import for_training
from worker.models.registry import family
from worker.trainer import Plan, Population, Trainer

STEPS = 40


def own_megabytes() -> float:
    """What the process holds beyond files that it maps: the page cache may take those back."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1024


def main() -> None:
    images = np.load(sys.argv[1], mmap_mode="r")
    kind, device = family("dcgan64"), device_names()[0]
    plan = Plan(batch_size=64, seed=0, precision="float32", fast_paths=for_training(None, device))
    population = Population(images, np.arange(len(images)))
    trainer = Trainer(kind, kind.configure("default", {"width": 0.1}), open_strategy(1), population, plan)
    trainer.advance(3)
    seconds = []
    for _ in range(STEPS):
        began = time.perf_counter()
        trainer.advance(1)
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"own memory, MB": round(own_megabytes()), "step, s": round(statistics.median(seconds), 4)}))


if __name__ == "__main__":
    main()
