"""How the time of training steps is shared out over kinds of operations; prints one line of JSON.

python benchmarks/op_shares.py FAMILY BATCH_SIZE [--width WIDTH]

The time is that of the kernels on the CPU, by TensorFlow's profiler: what runs beside another counts as if it had run
alone. `products` are the kinds that multiply matrices, however they are called; the others mostly wait for memory.
"""

import quiet  # noqa: F401 - before TensorFlow

# isort: split
import argparse
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from builders import build_trainer
from tensorflow.tsl.profiler.protobuf import xplane_pb2

STEPS = 3
PRODUCTS = {
    "convolutions, gradients of inputs": r":Conv2DBackpropInput",
    "convolutions, gradients of kernels": r":Conv2DBackpropFilter",
    "convolutions, forward": r":Conv2D",
    "Toom-Cook, products over channels": r":BatchMatMul",
    "dense layers": r"dense.*:MatMul",
    "Toom-Cook, transforms; one filter for all taps": r":MatMul",
}
OTHERS = {
    "kernels made of weights": r":(Einsum|Reverse)",
    "batch norm": r"batch_normalization",
    "optimisers": r"rm_sprop|adam",
    "activations and biases": r":(.*Relu|Sigmoid|BiasAdd)",
    "transposing": r":Transpose",
    "cutting, joining, padding": r":(.*Slice|Pad|Concat|Tile|Pack|Unpack|Split|Gather|DepthToSpace|SpaceToDepth|AddN)",
    "average, losses, random numbers, the rest": r"",
}
KINDS = PRODUCTS | OTHERS
"""By what a kernel's `scope:operation` has in it; the first that matches."""
BY_ONEDNN = re.compile(r":_(Mkl)?(Native)?(Fused)?")
"""How its kernels' names begin, of an operation as of one with what follows it."""


def kind_of(kernel: str) -> str:
    """The kind of a kernel such as `generator/dense/MatMul:MatMul`."""
    return next(kind for kind, pattern in KINDS.items() if re.search(pattern, kernel))


def kernels(space: xplane_pb2.XSpace) -> Iterator[tuple[str, int]]:
    """The kernels that have run, under the names that they have without oneDNN, and picoseconds."""
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                plain = BY_ONEDNN.sub(":", name)
                # What has no operation only calls others; others than oneDNN's are known to TensorFlow.
                if plain != name or name.rpartition(":")[2] in tf.raw_ops.__dict__:
                    yield plain, event.duration_ps


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("family")
    parser.add_argument("batch_size", type=int)
    parser.add_argument("--width", type=float, default=1.0)
    chosen = parser.parse_args()
    trainer = build_trainer(chosen.family, chosen.batch_size, hyperparameters={"width": chosen.width})
    trainer.advance(2)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            trainer.advance(STEPS)
        (file,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    spent: Counter[str] = Counter()
    for kernel, picoseconds in kernels(space):
        spent[kind_of(kernel)] += picoseconds
    shares = {kind: time / spent.total() for kind, time in spent.most_common()}
    print(json.dumps({"products": sum(shares.get(kind, 0) for kind in PRODUCTS), "kinds": shares}))


if __name__ == "__main__":
    main()
