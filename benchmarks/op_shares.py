"""How the time of one training step is shared out over kinds of operations; prints one line of JSON.

python benchmarks/op_shares.py FAMILY BATCH_SIZE
"""

import worker  # noqa: F401 - before TensorFlow, which is then to compute by oneDNN

# isort: split
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from worker.devices import device_names, open_strategy
from worker.fast_paths import for_training
from worker.models.registry import family
from worker.trainer import Plan, Population, Trainer

KINDS = {
    "matrix products over channels": ("BatchMatMul",),
    "transforms and dense layers": ("MatMul", "Einsum"),
    "convolutions": ("Conv2D",),
    "gradients of convolutions": ("Conv2DBackprop",),
    "moving data": ("Transpose", "Reshape", "Slice", "Pad", "Concat", "Depth", "Tile", "Split", "Gather", "Pack"),
}
"""Parts of the names of operations, the longest match first."""
REST = "element by element: batch norm, activations, optimisers, average"


def kind_of(operation: str) -> str:
    """The kind whose name matches best."""
    matches = [(len(part), kind) for kind, parts in KINDS.items() for part in parts if part in operation]
    return max(matches)[1] if matches else REST


def main() -> None:
    name, batch_size = sys.argv[1], int(sys.argv[2])
    kind, device = family(name), device_names()[0]
    images = np.random.default_rng(0).integers(0, 256, (256, kind.image_size, kind.image_size), np.uint8)
    plan = Plan(batch_size=batch_size, seed=0, precision="float32", fast_paths=for_training(None, device))
    population = Population(images, np.arange(len(images)))
    trainer = Trainer(kind, kind.configure("default", {}), open_strategy(1), population, plan)
    trainer.advance(2)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            trainer.advance(1)
        (file,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    seconds: Counter[str] = Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                # Operations are named `name:kind`; what has no kind only calls others.
                _, _, operation = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if operation.startswith("_Mkl") or operation in tf.raw_ops.__dict__:
                    seconds[kind_of(operation)] += event.duration_ps
    total = seconds.total()
    print(json.dumps({kind: spent / total for kind, spent in seconds.most_common()}))


if __name__ == "__main__":
    main()
