"""Draws a chest radiograph from a handful of numbers: no patient and no atlas, only shadows.

The picture is a sum of what the rays pass through, from skin to ribs, on a film that saturates.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from worker.sources import anatomy
from worker.sources.anatomy import Body, Chest
from worker.sources.base import GreyImage
from worker.sources.shadows import SIZE, Plane, ball, bump, step


@dataclass(frozen=True)
class Radiograph:
    """The way to one picture; all that it shows follows from these values.

    `patient` seeds the body, `exposure` the position, the film and where each finding is.
    """

    patient: tuple[int, ...]
    exposure: tuple[int, ...]
    age: int
    sex: str
    view: str
    findings: tuple[str, ...]
    flags: tuple[str, ...]

    def read(self) -> GreyImage:
        """Draw it: uint8 (SIZE, SIZE)."""
        body, chance = Body.of(self.patient, self.age, self.sex), np.random.default_rng(self.exposure)
        portable = self.view == "AP"
        if "not_frontal" in self.flags:
            film = anatomy.lateral(body, chance)
        else:
            film = _frontal(anatomy.position(body, chance, portable=portable), self.findings, chance)
        grey = _develop(film, chance, portable=portable)
        if "inverted" in self.flags:
            grey = 255 - grey
        if "rotated" in self.flags:
            grey = np.rot90(grey, 1 + int(chance.integers(3)))
        return GreyImage(np.ascontiguousarray(grey))


def _frontal(chest: Chest, findings: tuple[str, ...], chance: Generator) -> Plane:
    heart = anatomy.heart(chest, chance, enlarged="Cardiomegaly" in findings)
    clear = chest.lung * (1 - heart)
    filled = np.zeros_like(clear)
    for finding in findings:
        if finding in _FILLED_BY:
            filled = np.maximum(filled, _FILLED_BY[finding](chest, clear, chance))
    across, down = (chest.aside / chest.body.width - 0.44) / 0.5, (chest.y + 0.05) / 0.95
    air = chest.lung * (0.55 + 0.45 * ball(across * across + down * down)) * (1 - 0.9 * heart) * (1 - filled)

    skin, flesh = anatomy.flesh(chest)
    film: Plane = flesh - chance.uniform(0.66, 0.86) * air
    film += skin * (anatomy.bones(chest) - 0.13 * anatomy.airway(chest))
    belly = anatomy.belly(chest)
    film += 0.22 * belly + 0.13 * np.maximum(heart, chest.middle) * (1 - belly) + 0.10 * anatomy.breasts(chest)
    film += clear * (0.30 * anatomy.vessels(chest, chance) + 0.12 * filled)
    if chance.random() < 0.6:
        film -= 0.20 * anatomy.stomach_bubble(chest, chance)
    if chest.portable:
        film += 0.35 * _lines(chest, chance)
    if chance.random() < 0.5:
        _set_letter(film, chance)
    return film


def _nodule(chest: Chest, clear: Plane, chance: Generator) -> Plane:
    """One or two dense lumps well inside a lung."""
    filled = np.zeros_like(clear)
    for _ in range(1 + int(chance.random() < 0.3)):
        x, y = _place(chest, chance)
        radius = chance.uniform(0.055, 0.095)
        for dx, dy in chance.normal(0, 0.25 * radius, (3, 2)).tolist():
            filled += 0.40 * ball((np.square(chest.x - (x + dx)) + np.square(chest.y - (y + dy))) / radius**2)
    return 0.85 * np.clip(filled, 0, 1) * clear


def _effusion(chest: Chest, clear: Plane, chance: Generator) -> Plane:
    """Fluid that fills one lung or both from below and rises along the wall."""
    filled = np.zeros_like(clear)
    which = chance.random()
    for affected, side in ((which < 0.65, chest.left), (which > 0.35, 1 - chest.left)):
        level = chest.base - chance.uniform(0.10, 0.55)
        if affected:
            outwards = np.clip(chest.aside / chest.body.width - 0.3, 0, None)
            filled += side * step(chest.y - level + 0.35 * outwards * outwards, 0.09)
    return 0.95 * filled


def _infiltration(chest: Chest, clear: Plane, chance: Generator) -> Plane:
    """One or two patches with blurred edges, each of many small clouds."""
    filled = np.zeros_like(clear)
    for _ in range(1 + int(chance.random() < 0.5)):
        x, y = _place(chest, chance, highest=0.0)
        for dx, dy in chance.normal(0, 0.09, (10, 2)).tolist():
            across, down = chance.uniform(0.035, 0.09), chance.uniform(0.035, 0.09)
            filled += 0.28 * bump(chest.x - (x + dx), across) * bump(chest.y - (y + dy), down)
    return np.minimum(filled, 0.80) * clear


_FILLED_BY: Mapping[str, Callable[[Chest, Plane, Generator], Plane]] = {
    "Nodule": _nodule,
    "Effusion": _effusion,
    "Infiltration": _infiltration,
}
"""How much of the lungs' air a finding takes the place of, 0 to 1. Cardiomegaly is a matter of the heart's size."""


def _place(chest: Chest, chance: Generator, *, highest: float | None = None) -> tuple[float, float]:
    """A point inside the left or the right lung."""
    side = 1 if chance.random() < 0.5 else -1
    y = chance.uniform(chest.apex + 0.25 if highest is None else highest, chest.base - 0.22)
    return side * chest.body.width * chance.uniform(0.45, 0.75), y


def _lines(chest: Chest, chance: Generator) -> Plane:
    """Of patients in bed, many have a venous catheter from the neck, and many a lead across the chest."""
    lines = np.zeros_like(chest.x)
    if chance.random() < 0.4:
        side = 1 if chance.random() < 0.7 else -1
        bend = 0.05 + chance.uniform(0.3, 0.6) * np.square(np.clip(-chest.y - 0.30, 0, None))
        lines += bump(-side * chest.x - bend, 0.008) * step(chance.uniform(-0.1, 0.1) - chest.y, 0.03)
    if chance.random() < 0.4:
        sag = 0.12 * np.sin(chest.x * np.float32(chance.uniform(2, 6)) + np.float32(chance.uniform(0, 6)))
        lines += bump(chest.y - chance.uniform(-0.2, 0.4) - chance.uniform(-0.6, 0.6) * chest.x + sag, 0.009)
    return lines


def _set_letter(film: Plane, chance: Generator) -> None:
    """An L of lead, beside the patient's left shoulder."""
    top, left = int(chance.integers(20, 60)), SIZE - int(chance.integers(22, 34))
    film[top : top + 15, left : left + 3] = 1.3
    film[top + 12 : top + 15, left : left + 9] = 1.3


def _develop(film: Plane, chance: Generator, *, portable: bool) -> NDArray[np.uint8]:
    """Film to grey: more exposed or less, foggier and grainier in bed, sometimes with the edge of the beam in view."""
    contrast = chance.uniform(1.1, 1.8) if portable else chance.uniform(1.5, 2.6)
    white, fog = chance.uniform(205, 250), chance.uniform(0, 28 if portable else 12)
    light = np.clip((film - 0.04) / 1.35, 0, None)
    grey = fog + (1 - np.exp(light * np.float32(-contrast))) * np.float32((white - fog) / (1 - math.exp(-contrast)))
    grey += (4.5 if portable else 2.5) * chance.standard_normal(film.shape, dtype=np.float32)
    if chance.random() < 0.2:
        side, edge = int(chance.integers(4)), int(chance.integers(4, 20))
        np.rot90(grey, side)[:edge] = 0
    developed: NDArray[np.uint8] = np.clip(grey, 0, 255).astype(np.uint8)
    return developed
