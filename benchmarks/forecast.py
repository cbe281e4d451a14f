"""What a worker's dry run says of a training; prints one line of JSON.

python benchmarks/forecast.py FAMILY BATCH_SIZE [--width WIDTH] [--devices DEVICES]
"""

import quiet  # noqa: F401 - before TensorFlow

# isort: split
import argparse
from pathlib import Path

import numpy as np
from builders import noise

from worker.contract.requests import ModelChoice, TrainingRequest
from worker.contract.resources import Kind
from worker.contract.settings import Settings
from worker.dataset import Dataset
from worker.models.registry import family
from worker.sources.base import SPLITS
from worker.stages.foresee import foresee


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("family")
    parser.add_argument("batch_size", type=int)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--devices", type=int, default=1, help="GPUs, or logical devices of a CPU without any")
    chosen = parser.parse_args()
    images = noise(family(chosen.family).image_size, chosen.devices)
    request = TrainingRequest(
        dataset=Kind.DATASET.new_id(),
        model=ModelChoice(family=chosen.family, hyperparameters={"width": chosen.width}),
        batch_size=chosen.batch_size,
        devices=chosen.devices,
    )
    dataset = Dataset(Path(), images, np.full(len(images), SPLITS.index("train"), np.uint8))
    print(foresee(request, dataset, Settings(fast_paths=None, cpu_devices=chosen.devices)).model_dump_json())


if __name__ == "__main__":
    main()
