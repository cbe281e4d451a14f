"""Drawing images against Keras `predict` on the same weights; and what a slice, bfloat16 and each fast path give.

    python benchmarks/generation.py [--full] [--json]

The limit is the rate of a large matrix product in the same precision.
"""

import quiet  # noqa: F401 - before TensorFlow

# isort: split
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from builders import build_generator, build_sampler
from hardware import matrix_product
from harness import Report, beside_limits, compare, options, rounds_of, take_turns, timed
from numpy.typing import NDArray

from worker.contract.fast_paths import FastPath
from worker.devices import device_names
from worker.fast_paths import PLAIN, FastPaths, for_drawing, taking
from worker.models.networks.folding import fold_batch_norm
from worker.models.registry import family
from worker.precision import resolve
from worker.sampling import slice_size

FAMILY = "dcgan64"
BATCHES = (16, 256)
ROUNDS, FULL_ROUNDS = 8, 20


@dataclass(frozen=True)
class Contender:
    """Draws images for latent points by so many operations each; the limit is a product in this precision."""

    draw: Callable[[NDArray[np.float32]], object]
    operations: float
    precision: str


def contenders(device: str, *, full: bool) -> dict[str, Contender]:
    """By name, the peer first."""
    best = for_drawing(None, device)
    network = build_generator(FAMILY, PLAIN)

    def predict(points: NDArray[np.float32]) -> object:
        return network.predict(points, batch_size=len(points))

    found = {"Keras predict": Contender(predict, operations(PLAIN), "float32")}
    for precision in dict.fromkeys(("float32", resolve("auto", device))):
        sample = build_sampler(FAMILY, precision=precision)
        found[f"RaGAN, {precision}"] = Contender(sample, operations(best), precision)
    for path in (FastPath.FOLDED_BATCH_NORM, FastPath.TOOM_COOK, FastPath.SMALL_KERNELS) if full else ():
        others = best - {path}
        found[f"RaGAN without {path}"] = Contender(build_sampler(FAMILY, others), operations(others), "float32")
    return found


def operations(fast_paths: FastPaths) -> float:
    """Floating-point operations of an image, 2 for a multiplication with its addition."""
    network = build_generator(FAMILY, fast_paths)
    if FastPath.FOLDED_BATCH_NORM in fast_paths:
        with taking(fast_paths):
            network = fold_batch_norm(network)
    size = slice_size()
    draw = tf.function(lambda latents: network(latents, training=False), autograph=False)
    graph = draw.get_concrete_function(tf.TensorSpec((size, network.input_shape[-1]))).graph
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    silent = builder(builder.float_operation()).with_empty_output().build()
    return tf.compat.v1.profiler.profile(graph, options=silent).total_float_ops / size


def compare_drawing(report: Report, drawing: Mapping[str, Contender], device: str, batch: int, rounds: int) -> None:
    """Let contenders draw so many images in turns, and multiply matrices in between."""
    latent_size = family(FAMILY).latent_size
    points = np.random.default_rng(0).uniform(-1, 1, (batch, latent_size)).astype(np.float32)
    turns = {name: timed(lambda draw=each.draw: draw(points)) for name, each in drawing.items()}
    work = {name: batch * each.operations for name, each in drawing.items()}
    limits = {name: f"limit: {each.precision} products" for name, each in drawing.items()}
    for precision, limit in {each.precision: limits[name] for name, each in drawing.items()}.items():
        multiply, work[limit] = matrix_product(device, precision)
        turns[limit] = timed(lambda multiply=multiply: multiply().numpy())
    take_turns(turns, 1)
    rows = beside_limits(compare(take_turns(turns, rounds), batch), work, limits)
    report.table(f"Drawing {batch} images, {FAMILY}", rows, "images")


def main() -> None:
    chosen = options((__doc__ or "").splitlines()[0]).parse_args()
    report = Report("generation", as_json=chosen.json)
    keras.utils.disable_interactive_logging()
    device = device_names()[0]
    drawing = contenders(device, full=chosen.full)
    for batch in BATCHES:
        compare_drawing(report, drawing, device, batch, rounds_of(chosen, ROUNDS, FULL_ROUNDS))
    report.fact("images of a slice", slice_size())
    report.finish()


if __name__ == "__main__":
    main()
