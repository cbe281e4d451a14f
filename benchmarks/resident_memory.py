"""Memory and time of a training on a memory-mapped array; prints one line of JSON.

python benchmarks/resident_memory.py IMAGES.npy [--width WIDTH]
"""

import quiet  # noqa: F401 - before TensorFlow

# isort: split
import argparse
import json
import statistics
from pathlib import Path

import numpy as np
from builders import all_of, build_trainer
from harness import timed
from memory import own_megabytes

FAMILY, BATCH_SIZE = "dcgan64", 64
STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path, help="uint8 (images, 64, 64)")
    parser.add_argument("--width", type=float, default=0.5)
    chosen = parser.parse_args()
    images = np.load(chosen.images, mmap_mode="r")
    trainer = build_trainer(FAMILY, BATCH_SIZE, hyperparameters={"width": chosen.width}, population=all_of(images))
    trainer.advance(3)
    seconds = statistics.median(timed(lambda: trainer.advance(1))() for _ in range(STEPS))
    print(json.dumps({"images_per_second": BATCH_SIZE / seconds, "own_megabytes": own_megabytes()}))


if __name__ == "__main__":
    main()
