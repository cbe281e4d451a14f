"""A training step against what a user could pick instead: the 2018 loop in Keras, and PyTorch.

    python benchmarks/training.py [--full] [--json] [--torch PYTHON] [--plot FOLDER]
    python benchmarks/training.py --gpu

Each contender is a process of its own, all are loaded at once, and they take turns step by step. PyTorch is looked for
in an environment of its own (benchmarks/peers/requirements.txt) and left out where there is none. `--gpu` compares
RaGAN with itself on the GPUs of this host: precision, XLA, and how near it comes to the peak.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from harness import NATIVE_BFLOAT16, Peer, Report, Row, compare, options, take_turns
from numpy.typing import NDArray

HERE = Path(__file__).parent
FAMILIES = {
    "minuscule28": (28, (7, 256), ((128, 2), (64, 2), (32, 1)), ((64, 2), (128, 2), (256, 2), (512, 1))),
    "dcgan64": (64, (8, 256), ((128, 2), (64, 2), (32, 2)), ((64, 2), (128, 2), (256, 2), (512, 1))),
    "dcgan128": (128, (8, 256), ((256, 2), (128, 2), (64, 2), (32, 2)), ((64, 2), (128, 2), (256, 2), (128, 1))),
}
"""Image size, first map, blocks of both networks; checked against RaGAN's own by the number of parameters."""
ROUNDS, FULL_ROUNDS = 4, 10
MANY, FEW = 1_000_000, 1_000


def task(family: str, batch_size: int, width: float = 1.0, devices: int = 1) -> str:
    """What all contenders are asked to do, as JSON."""
    image_size, start, generator_blocks, discriminator_blocks = FAMILIES[family]
    return json.dumps(
        {
            "image_size": image_size,
            "latent_size": 100,
            "start": start,
            "generator_blocks": generator_blocks,
            "discriminator_blocks": discriminator_blocks,
            "batch_size": batch_size,
            "learning_rate_d": 2e-4,
            "learning_rate_g": 1e-4,
            "threads": os.cpu_count(),
            "width": width,
            "devices": devices,
        }
    )


def against_peers(report: Report, family: str, batch_size: int, torch: str, rounds: int) -> list[Row]:
    """Time a step of every contender, in turns."""
    own = ["plain", "default", "float32"] if NATIVE_BFLOAT16 else ["plain", "default"]
    wanted = {"the 2018 loop (Keras 3)": (sys.executable, "keras_2018.py", "plain")}
    if Path(torch).exists():
        wanted["PyTorch, the usual example"] = (torch, "pytorch_dcgan.py", "example")
        wanted["PyTorch at its best"] = (torch, "pytorch_dcgan.py", "best-bf16" if NATIVE_BFLOAT16 else "best")
    else:
        report.fact("PyTorch", f"left out: there is no {torch}; `make peers` installs it")
    wanted |= {f"RaGAN, {variant}": (sys.executable, "ragan.py", variant) for variant in own}
    with ExitStack() as stack:
        peers = {
            name: stack.enter_context(Peer(interpreter, script, task(family, batch_size), variant))
            for name, (interpreter, script, variant) in wanted.items()
        }
        same = {peer.greeting["parameters"] for peer in peers.values()}
        if len(same) != 1:
            sys.exit(f"The contenders for {family} do not train the same networks: {same} parameters.")
        seconds = take_turns({name: lambda peer=peer: peer.steps(1) for name, peer in peers.items()}, rounds)
    rows = compare(seconds, batch_size)
    report.table(f"A training step, {family}, batch {batch_size} ({same.pop():,} parameters)", rows, "images")
    return rows


def scaling(report: Report, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Images a second of RaGAN by batch size, image size and devices, at half width."""
    curves: dict[str, list[tuple[float, float]]] = {}

    def measure(curve: str, x: float, family: str, batch_size: int, devices: int = 1) -> None:
        with Peer(sys.executable, "ragan.py", task(family, batch_size, 0.5, devices), "default") as peer:
            seconds = statistics.median(peer.steps(1) for _ in range(rounds))
        curves.setdefault(curve, []).append((x, batch_size / seconds))
        report.fact(
            f"images/s, half width, {family}, batch {batch_size}, devices {devices}", round(batch_size / seconds, 1)
        )

    for batch_size in (8, 16, 32, 64, 128):
        measure("batch size", batch_size, "dcgan64", batch_size)
    for family, (image_size, *_) in FAMILIES.items():
        measure("image size", image_size, family, 16)
    for devices in (1, 2):
        measure("logical devices", devices, "dcgan64", 64, devices)
    return curves


def limits(report: Report) -> None:
    """What this machine can do at most."""
    import worker  # noqa: F401 - before TensorFlow, which is then to compute by oneDNN

    # isort: split
    import tensorflow as tf

    size = 2048
    factor = tf.random.normal((size, size))
    product = tf.function(lambda: tf.linalg.matmul(factor, factor), autograph=False)
    seconds = best_of(lambda: product().numpy())
    report.fact("float32 matrix product of 2,048, GFLOP/s", round(2 * size**3 / seconds / 1e9, 1))
    block = np.zeros(2**27, np.uint8)
    report.fact(
        "copying memory in one thread, GB/s read and written", round(2 * block.size / best_of(block.copy) / 1e9, 1)
    )


def best_of(work: Callable[[], object], times: int = 5) -> float:
    """Fewest seconds of several tries, after one that does not count."""
    work()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def shares(report: Report, family: str, batch_size: int) -> None:
    """How a step's time is shared out over kinds of operations, by TensorFlow's profiler; two threads count twice."""
    for name, share in answer_of("op_shares.py", family, str(batch_size)).items():
        report.fact(f"share of a step, {family}, {name}", f"{100 * share:.1f} %")


def answer_of(script: str, *arguments: str) -> dict[str, float]:
    """What a script beside this one prints as its last line, run in a process of its own."""
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def memory(report: Report) -> None:
    """Train on 1,000 and on 1,000,000 images of 64x64, memory-mapped: memory of its own, and seconds of a step."""
    with tempfile.TemporaryDirectory() as folder:
        for count in (FEW, MANY):
            path = Path(folder) / f"{count}.npy"
            write_images(path, count)
            for name, value in answer_of("resident_memory.py", str(path)).items():
                report.fact(f"training on {count:,} images of 64x64, {name}", value)


def write_images(path: Path, count: int) -> None:
    images: NDArray[np.uint8] = np.lib.format.open_memmap(path, "w+", np.uint8, (count, 64, 64))
    block = np.random.default_rng(0).integers(0, 256, (FEW, 64, 64), np.uint8)
    for first in range(0, count, FEW):
        images[first : first + FEW] = block
    images.flush()


def on_gpus(report: Report) -> None:
    """Steps a second on this host's GPUs by precision and with XLA, FLOP/s, and the seconds of 2,000 steps of 256."""
    for family, flops in (("dcgan64", 6.4e9), ("dcgan128", 16.6e9)):
        for variant in ("float32", "bfloat16", "xla"):
            with Peer(sys.executable, "ragan.py", task(family, 256), variant) as peer:
                seconds = peer.steps(200) / 200
            report.fact(
                f"{family}, batch 256, {variant}",
                f"{1 / seconds:.2f} steps/s, {256 / seconds:.0f} images/s, {256 * flops / seconds / 1e12:.2f} TFLOP/s, "
                f"{2000 * seconds:.0f} s for 2,000 steps",
            )


def plot(curves: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """One panel for each curve."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(curves), 2.8), layout="constrained")
    for axes, (name, points) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items(), strict=True):
        axes.plot(*zip(*points, strict=True), marker="o", color="#1f4e79")
        axes.set(xlabel=name, ylabel="images/s", ylim=(0, None), xticks=[x for x, _ in points])
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--torch", default=".venv-peers/bin/python", help="the interpreter that has PyTorch")
    parser.add_argument("--gpu", action="store_true", help="measure RaGAN on this host's GPUs instead")
    parser.add_argument("--plot", type=Path, default=Path("docs/benchmarks/training.svg"), help="where --full draws")
    chosen: Namespace = parser.parse_args(arguments)
    report = Report("training", as_json=chosen.json)
    if chosen.gpu:
        on_gpus(report)
    else:
        limits(report)
        rounds = FULL_ROUNDS if chosen.full else ROUNDS
        against_peers(report, "dcgan64", 64, chosen.torch, rounds)
        against_peers(report, "dcgan128", 16, chosen.torch, rounds)
        shares(report, "dcgan64", 64)
        if chosen.full:
            memory(report)
            plot(scaling(report, rounds), chosen.plot)
    report.finish()


if __name__ == "__main__":
    main()
