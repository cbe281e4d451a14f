"""Drawing images against Keras `predict` on the same weights; and what a slice, bfloat16 and each fast path give.

python benchmarks/generation.py [--full] [--json]
"""

import worker  # noqa: F401 - before TensorFlow, which is then to compute by oneDNN

# isort: split
import keras
import numpy as np
from harness import NATIVE_BFLOAT16, Report, compare, options, take_turns, timed

from worker.contract.fast_paths import FastPath
from worker.devices import device_names
from worker.fast_paths import PLAIN, FastPaths, for_drawing, taking
from worker.models.registry import family
from worker.precision import Precision, computing_in
from worker.stages.generate import Sampler, sampler_of, slice_size

BATCHES = (16, 256)
ROUNDS, FULL_ROUNDS = 8, 20


def generator(paths: FastPaths, precision: Precision) -> keras.Model:
    kind = family("dcgan64")
    with taking(paths), computing_in(precision):
        keras.utils.set_random_seed(0)
        return kind.generator(kind.configure("default", {}))


def sampler(paths: FastPaths, precision: Precision = "float32") -> Sampler:
    with taking(paths), computing_in(precision):
        return sampler_of(generator(paths, precision), paths)


def main() -> None:
    arguments = options((__doc__ or "").splitlines()[0]).parse_args()
    report = Report("generation", as_json=arguments.json)
    plain = generator(PLAIN, "float32")
    fast = for_drawing(None, device_names()[0])
    samplers = {"RaGAN, float32": sampler(fast)}
    if NATIVE_BFLOAT16:
        samplers["RaGAN, bfloat16"] = sampler(fast, "bfloat16")
    if arguments.full:
        samplers |= {
            f"RaGAN without {path}": sampler(fast - {path})
            for path in (FastPath.FOLDED_BATCH_NORM, FastPath.TOOM_COOK, FastPath.SMALL_KERNELS)
        }
    for batch in BATCHES:
        points = np.random.default_rng(0).uniform(-1, 1, (batch, 100)).astype(np.float32)
        turns = {"Keras predict": timed(lambda points=points: plain.predict(points, batch_size=len(points), verbose=0))}
        turns |= {name: timed(lambda sample=sample, points=points: sample(points)) for name, sample in samplers.items()}
        take_turns(turns, 1)
        seconds = take_turns(turns, FULL_ROUNDS if arguments.full else ROUNDS)
        report.table(f"Drawing {batch} images, dcgan64", compare(seconds, batch), "images")
    report.fact("images of a slice", slice_size())
    report.finish()


if __name__ == "__main__":
    main()
