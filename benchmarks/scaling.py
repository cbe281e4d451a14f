"""How the rate of training follows sizes and devices, and its memory the size of the dataset; all at half width."""

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from contenders import Command, Peer, answer_of, task
from curves import Curve
from harness import Report
from numpy.typing import NDArray

from worker.models.registry import family

WIDTH = 0.5
BATCH_SIZES = (8, 16, 32, 64, 128)
FAMILIES = ("minuscule28", "dcgan64", "dcgan128")
DATASET_SIZES = (1_000, 10_000, 100_000, 1_000_000)
LOGICAL_DEVICES = (1, 2)
BLOCK = 1_000
"""Images that are written at once."""


def by_sizes(report: Report, rounds: int) -> list[Curve]:
    """Images a second by batch size, size of the dataset, size of the images, and devices."""
    return [
        Curve("batch size", [(size, rate(report, "dcgan64", size, rounds)) for size in BATCH_SIZES]),
        Curve("images in the dataset", by_dataset(report)),
        Curve(
            "pixels on a side, batch 16",
            [(family(name).image_size, rate(report, name, 16, rounds)) for name in FAMILIES],
        ),
        Curve(
            "logical devices of the CPU",
            [(count, rate(report, "dcgan64", 64, rounds, devices=count)) for count in LOGICAL_DEVICES],
        ),
    ]


def rate(report: Report, name: str, batch_size: int, rounds: int, *, devices: int = 1) -> float:
    """Images a second, by the median step."""
    command = Command(sys.executable, "ragan", "default", task(name, batch_size, width=WIDTH, devices=devices))
    with Peer(command) as peer:
        images = batch_size / statistics.median(peer.steps(1) for _ in range(rounds))
    report.fact(f"{name}, batch {batch_size}, {devices} device(s), images/s", round(images, 1))
    return images


def by_dataset(report: Report) -> list[tuple[float, float]]:
    """Images a second by the size of a memory-mapped dataset of 64x64; what the process holds itself is told, too."""
    points: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        for count in DATASET_SIZES:
            write_noise(path, count)
            measured = answer_of("resident_memory.py", str(path), "--width", str(WIDTH))
            points.append((count, measured["images_per_second"]))
            report.fact(f"dcgan64, {count:,} images, images/s", round(measured["images_per_second"], 1))
            report.fact(f"dcgan64, {count:,} images, memory of its own, MB", round(measured["own_megabytes"]))
    return points


def write_noise(path: Path, count: int) -> None:
    """Write images of 64x64, whole blocks of them, as an array."""
    images: NDArray[np.uint8] = np.lib.format.open_memmap(path, "w+", np.uint8, (count, 64, 64))
    block = np.random.default_rng(0).integers(0, 256, (BLOCK, 64, 64), np.uint8)
    for first in range(0, count, BLOCK):
        images[first : first + BLOCK] = block
    images.flush()
