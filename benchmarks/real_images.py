"""The real images that benchmarks train on: small public collections, which the project does not contain."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.sources.pixels import fit_square
from worker.sources.registry import SourceCatalog

Pixels = NDArray[np.uint8]
Codes = NDArray[np.int64]

PNEUMONIA_CLASSES = ("normal", "pneumonia")
CHEST_SIDE = 64
HELD_OUT_PATIENTS = 10
"""Every tenth patient is not learnt from."""


@dataclass(frozen=True)
class Part:
    """Images (N, S, S) and their classes (N,)."""

    images: Pixels
    codes: Codes

    def of(self, code: int) -> Pixels:
        """The images of a class."""
        return self.images[self.codes == code]


def pneumonia(shared: Path) -> Mapping[str, Part]:
    """PneumoniaMNIST, normal or pneumonia at 28x28: its own parts, `train`, `validation` and `test`."""
    parts = {"train": "train", "validation": "val", "test": "test"}
    with np.load(shared / "pneumoniamnist.npz") as arrays:
        return {
            part: Part(arrays[f"{name}_images"], arrays[f"{name}_labels"].ravel().astype(np.int64))
            for part, name in parts.items()
        }


def chests(shared: Path) -> Mapping[str, Part]:
    """A thousand of NIH ChestX-ray14 at 64x64, as one class: `train`, and `validation` of other patients."""
    source = SourceCatalog(shared).get("nih-cxr14-128")
    rows = np.flatnonzero(source.table.present)
    images = np.stack([fit_square(source.image(int(row)).read(), CHEST_SIDE, "pad") for row in rows])
    held_out = source.table.patients[rows] % HELD_OUT_PATIENTS == 0
    return {
        part: Part(images[chosen], np.zeros(int(chosen.sum()), np.int64))
        for part, chosen in (("train", ~held_out), ("validation", held_out))
    }
