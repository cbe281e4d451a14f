"""A training step against what a user could pick instead: the 2018 loop in Keras, and PyTorch.

    python benchmarks/training.py [--full] [--json] [--torch PYTHON] [--plot FOLDER]
    python benchmarks/training.py --gpu

Each contender is a process of its own, all are loaded at once, and they take turns. PyTorch is looked for in an
environment of its own (benchmarks/peers/requirements.txt) and left out where there is none. `--gpu` measures on the
GPUs of this host, in each precision with and without XLA, on one of them and on all; otherwise no GPU is touched.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from contenders import Command, Hardware, answer_of, at_work, task
from curves import FOLDER, draw
from harness import Column, Report, Row, at_least, beside_limits, compare, options, rounds_of, take_turns
from scaling import by_sizes

ROUNDS, FULL_ROUNDS = 4, 10
CPU_BATCHES = {"dcgan64": 64, "dcgan128": 16}
GPU_BATCHES = {"dcgan64": 256, "dcgan128": 64}
CPU_STEPS, GPU_STEPS = 1, 200
"""Of a turn. RaGAN takes them in one call, as a worker does from one snapshot to the next."""
TRAINING_STEPS = 2_000
"""What a training takes unless it is asked for another number."""
WHOLE_TRAINING = (
    Column("steps/s", lambda row: f"{1 / row.seconds:.2f}"),
    Column(f"{TRAINING_STEPS:,} steps, s", lambda row: f"{TRAINING_STEPS * row.seconds:.0f}"),
)


@dataclass(frozen=True)
class Contender:
    """Who takes part; `operations` of a step, where they are known, and the contender that is its limit."""

    command: Command
    operations: int | None = None
    limit: str | None = None


def peers(report: Report, asked: str, torch: str, precision: str) -> dict[str, Contender]:
    """What a user could pick instead; PyTorch at its best in the precision that RaGAN chooses."""
    contenders = {"the 2018 loop (Keras 3)": Contender(Command(sys.executable, "keras_2018", "plain", asked))}
    if not Path(torch).exists():
        report.fact("PyTorch", f"left out: there is no {torch}; `make peers` installs it")
        return contenders
    at_best = "best" if precision == "float32" else "best-bf16"
    return contenders | {
        "PyTorch, the usual example": Contender(Command(torch, "pytorch_dcgan", "example", asked)),
        f"PyTorch at its best, {precision}": Contender(Command(torch, "pytorch_dcgan", at_best, asked)),
    }


def ragan(variant: str, asked: str, operations: int, devices: int = 1) -> Contender:
    """RaGAN in a variant of `peers/ragan.py`, on so many devices."""
    precision = "float32" if variant == "plain" else variant.partition("-")[0]
    return Contender(Command(sys.executable, "ragan", variant, asked), operations, limit_name(precision, devices))


def limits(variants: Iterable[str], asked: str, devices: int = 1) -> dict[str, Contender]:
    """What no training can exceed: `peers/product.py` in some variants, on so many devices."""
    return {
        limit_name(variant, devices): Contender(Command(sys.executable, "product", variant, asked))
        for variant in variants
    }


def limit_name(variant: str, devices: int) -> str:
    return f"limit: {variant} products, {counted(devices)}"


def counted(devices: int) -> str:
    return "1 device" if devices == 1 else f"{devices} devices"


def on_cpu(report: Report, hardware: Mapping[str, Any], name: str, chosen: Namespace) -> None:
    """A step of RaGAN and its peers, and where RaGAN's time goes."""
    batch_size = chosen.batch or CPU_BATCHES[name]
    asked = task(name, batch_size, width=chosen.width)
    forecast = forecast_of(name, batch_size, chosen.width)
    precision = hardware["precision"]
    precisions = dict.fromkeys(("float32", precision))
    contenders = (
        peers(report, asked, chosen.torch, precision)
        | {"RaGAN, float32, no fast paths": ragan("plain", asked, forecast["flops_per_step_plain"])}
        | {f"RaGAN, {each}": ragan(each, asked, forecast["flops_per_step"]) for each in precisions}
        | limits(precisions, asked)
    )
    rows = compare_steps(report, f"Training steps, {name}, batch {batch_size}", contenders, batch_size, chosen)
    shares = answer_of("op_shares.py", name, str(batch_size), "--width", str(chosen.width))
    kinds = [(kind, 100 * share) for kind, share in shares["kinds"].items()]
    report.listing(f"Where the time of a step goes, {name}, batch {batch_size}", ("operations", "%"), kinds)
    own = rows.get(f"RaGAN, {precision}")
    if own and own.of_limit:
        multiplying = own.of_limit / shares["products"]
        report.fact(f"{name}, RaGAN, of limit while it multiplies", f"{100 * multiplying:.1f} %")


def on_gpus(report: Report, hardware: Mapping[str, Any], name: str, chosen: Namespace) -> None:
    """Steps of RaGAN and its peers on one GPU, and of RaGAN on all."""
    count = chosen.logical or len(hardware["devices"])
    batch_size = chosen.batch or GPU_BATCHES[name]
    batch_size -= batch_size % count
    precision = hardware["precision"]
    precisions = tuple(dict.fromkeys(("float32", precision)))
    strict = ("float32-strict",) if hardware["tensor_float_32"] else ()

    def asked_of(devices: int) -> str:
        kind: Hardware = "CPU" if chosen.logical else "GPU"
        return task(name, batch_size, width=chosen.width, devices=devices, hardware=kind)

    def variants(devices: int, *suffixes: str) -> dict[str, Contender]:
        operations = forecast_of(name, batch_size, chosen.width, devices)["flops_per_step"]
        return {
            f"RaGAN, {each}{suffix}, {counted(devices)}": ragan(each + suffix, asked_of(devices), operations, devices)
            for each in precisions
            for suffix in suffixes
        }

    alone = (
        peers(report, asked_of(1), chosen.torch, precision)
        | variants(1, "", "-xla")
        | limits((*precisions, *strict), asked_of(1))
    )
    compare_steps(report, f"Training steps, {name}, batch {batch_size}, 1 device", alone, batch_size, chosen)
    if count > 1:
        together = (
            variants(1, "")
            | variants(count, "")
            | limits(precisions, asked_of(1))
            | limits(precisions, asked_of(count), count)
        )
        title = f"Training steps, {name}, batch {batch_size}, {count} devices"
        compare_steps(report, title, together, batch_size, chosen)


@cache
def forecast_of(name: str, batch_size: int, width: float, devices: int = 1) -> dict[str, int]:
    """What the dry run of such a training says."""
    return answer_of("forecast.py", name, str(batch_size), "--width", str(width), "--devices", str(devices))


def compare_steps(
    report: Report, title: str, contenders: Mapping[str, Contender], batch_size: int, chosen: Namespace
) -> dict[str, Row]:
    """Let contenders take steps in turns, show how long one takes, and give the rows by name."""
    steps = chosen.steps or (GPU_STEPS if chosen.gpu else CPU_STEPS)
    with at_work({name: contender.command for name, contender in contenders.items()}, report) as started:
        for name, peer in started.items():
            report.keep(f"{title}, {name}", peer.greeting["settings"])
        seconds = take_turns(
            {name: lambda peer=peer: peer.steps(steps) for name, peer in started.items()},
            rounds_of(chosen, ROUNDS, FULL_ROUNDS),
        )
    told = {name: contenders[name].operations or peer.greeting["operations"] for name, peer in started.items()}
    operations = {name: count for name, count in told.items() if count is not None}
    limited = {name: contender.limit for name, contender in contenders.items() if contender.limit}
    rows = beside_limits(compare(seconds, batch_size), operations, limited)
    report.table(title, rows, "images", *(WHOLE_TRAINING if chosen.gpu else ()))
    return {row.name: row for row in rows}


def read_arguments() -> Namespace:
    """The options of every benchmark, and those of this one."""
    parser = options((__doc__ or "").splitlines()[0])
    parser.add_argument("--torch", default=".venv-peers/bin/python", help="the interpreter that has PyTorch")
    parser.add_argument("--plot", type=Path, default=FOLDER, help="the folder where --full draws the scaling")
    parser.add_argument("--gpu", action="store_true", help="measure on this host's GPUs instead")
    parser.add_argument("--families", nargs="+", choices=CPU_BATCHES, default=list(CPU_BATCHES))
    parser.add_argument("--batch", type=at_least(1), help="batch size; by default one that suits the family")
    parser.add_argument("--width", type=float, default=1.0, help="times the channels of all networks")
    parser.add_argument("--steps", type=at_least(1), help=f"of a turn; by default {CPU_STEPS}, by --gpu {GPU_STEPS}")
    parser.add_argument(
        "--logical", type=at_least(1), help="so many logical devices of the CPU in place of GPUs, to try out --gpu"
    )
    return parser.parse_args()


def main() -> None:
    chosen = read_arguments()
    report = Report("training", as_json=chosen.json)
    if chosen.logical or not chosen.gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    hardware = answer_of("hardware.py")
    if chosen.gpu and not chosen.logical and not hardware["devices"][0].startswith("GPU"):
        sys.exit(
            "TensorFlow sees no GPU here: look at what nvidia-smi says, and whether the extra `gpu` is installed. "
            "To try this out without one, add --logical 2 --steps 2 --rounds 1 --batch 8 --width 0.1."
        )
    devices = zip(hardware["devices"], hardware["names"], strict=True)
    report.fact("devices", ", ".join(f"{device} ({called})" for device, called in devices))
    report.fact("memory, read and written, GB/s", round(hardware["memory_bytes_per_second"] / 1e9, 1))
    if chosen.gpu:
        report.fact("TensorFloat-32 in float32", "allowed" if hardware["tensor_float_32"] else "not allowed")
    for name in chosen.families:
        (on_gpus if chosen.gpu else on_cpu)(report, hardware, name, chosen)
    if chosen.full and not chosen.gpu:
        draw(by_sizes(report, rounds_of(chosen, ROUNDS, FULL_ROUNDS)), "images/s", chosen.plot / "training.svg")
    report.finish()


if __name__ == "__main__":
    main()
