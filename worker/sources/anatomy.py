"""The parts of a chest, each a soft shadow on a plane.

Lengths are in half picture widths, x to the right of the picture, which is the patient's left, and y downwards, both
from -1 to 1. Every part is a function of x and y, so that a shift, a turn or another scale of the patient is one of
x and y alone. The numbers are measures taken by eye from radiographs, to look right rather than to be right.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.random import Generator

from worker.sources.shadows import Plane, ball, bump, grid, step, tubes


@dataclass(frozen=True)
class Body:
    """What stays the same from one picture of a patient to the next. `width` is half that of the rib cage."""

    width: float
    height: float
    heart: float
    girth: float
    bone: float
    breast: float
    rib_spacing: float
    rib_phase: float
    tilt: float

    @classmethod
    def of(cls, patient: tuple[int, ...], age: int, sex: str) -> Self:
        """The body that belongs to a seed, an age in years and a sex, `F` or another."""
        draw = np.random.default_rng(patient)
        grown = 0.74 + 0.26 * min(age, 17) / 17
        size = grown * (0.95 if sex == "F" else 1.0)
        return cls(
            width=size * draw.uniform(0.72, 0.80),
            height=size * draw.uniform(0.96, 1.08),
            heart=draw.uniform(0.93, 1.07),
            girth=draw.uniform(0, 1),
            bone=draw.uniform(0.85, 1.15) * (1 - 0.35 * max(age - 45, 0) / 45),
            breast=draw.uniform(0.4, 1.0) * (sex == "F" and age > 13),
            rib_spacing=grown * draw.uniform(0.150, 0.172),
            rib_phase=draw.uniform(0, 1),
            tilt=draw.normal(0, 0.015),
        )


@dataclass(frozen=True)
class Chest:
    """A body as it stands or lies for one picture.

    `aside` is the distance from the midline, `left` is 1 on the patient's left and 0 on the right, `apex` and `base`
    are the heights of the lungs' tops and of the diaphragm, `half` the rib cage's half width at each height, `dome`
    the diaphragm's height at each x. `lung` and `middle` tell where the lungs are and what lies between them, 0 to 1,
    as if there were no heart.
    """

    body: Body
    portable: bool
    x: Plane
    y: Plane
    aside: Plane
    left: Plane
    apex: float
    base: float
    half: Plane
    dome: Plane
    lung: Plane
    middle: Plane


def position(body: Body, chance: Generator, *, portable: bool) -> Chest:
    """Place a patient before the film, upright, or `portable`: in bed, less straight and with less breath."""
    turn = body.tilt + chance.normal(0, 0.035 if portable else 0.015)
    scale = chance.uniform(0.97, 1.04) * (1.04 if portable else 1.0)
    across, down = chance.normal(0, 0.03), chance.normal(0.02, 0.03)
    cos, sin = math.cos(turn) / scale, math.sin(turn) / scale
    film_x, film_y = grid()
    x, y = cos * (film_x - across) + sin * (film_y - down), cos * (film_y - down) - sin * (film_x - across)
    aside, left = np.abs(x), (x > 0).astype(np.float32)

    breath = chance.normal(0, 0.03) - (0.16 if portable else 0.0)
    apex, base = -0.76 * body.height, (0.56 + breath) * body.height
    narrow = 1 - np.clip((y - apex) / (0.80 * (base + 0.12 - apex)), 0, 1)
    half = body.width * np.sqrt(1 - narrow * narrow * np.sqrt(narrow))
    out = aside / body.width - 0.50
    dome = base - 0.15 + 0.08 * step(x, 0.3) + (0.55 * np.abs(out) + 0.30 * out) * np.abs(out)

    # From above: on the left the arch of the aorta and the pulmonary trunk, on the right the great veins.
    left_border = bump(y + 0.36 * body.height, 0.08) + 1.1 * bump(y + 0.08, 0.12)
    right_border = 0.7 * bump(y + 0.30, 0.22)
    border = 0.13 + 0.05 * (right_border + left * (left_border - right_border))
    border += (0.05 if portable else 0.02) * step(-y - 0.3, 0.4)
    beyond = step(aside - border, 0.06)
    lung = step(half - aside, 0.06) * beyond * step(dome - y, 0.035)
    middle = (1 - beyond) * step(y - apex, 0.4)
    return Chest(body, portable, x, y, aside, left, apex, base, half, dome, lung, middle)


def heart(chest: Chest, chance: Generator, *, enlarged: bool) -> Plane:
    """Two thirds of it lie left of the midline. Far from the film, as in an AP view, it looks larger than it is."""
    ratio = chest.body.heart * (0.54 if chest.portable else 0.46) + (chance.uniform(0.14, 0.20) if enlarged else 0.0)
    radius = ratio * chest.body.width
    u, v = chest.x - 0.40 * radius, chest.y - (chest.base - 0.02 - 0.62 * radius)
    cos, sin = math.cos(0.65), math.sin(0.65)
    along = (u * cos + v * sin) / (1.16 * radius)
    over = (v * cos - u * sin) / ((0.74 if enlarged else 0.86) * radius)
    return step(1 - np.sqrt(along * along + over * over), 0.16)


def flesh(chest: Chest) -> tuple[Plane, Plane]:
    """Where the body is, 0 to 1, and how thick."""
    body = chest.body
    shoulder = -0.80 * body.height - 0.36 * np.exp(np.clip(chest.aside - 0.20, 0, None) * np.float32(-4.5))
    flank = body.width + 0.12 + 0.10 * body.girth + 0.7 * step(-chest.y - 0.15, 0.7)
    skin = step(chest.y - shoulder, 0.10) * step(flank - chest.aside, 0.05)
    return skin, skin * (0.30 + 0.68 * ball(np.square(chest.aside / (flank + 0.06))))


def belly(chest: Chest) -> Plane:
    """All that lies below the diaphragm."""
    return step(chest.y - chest.dome, 0.06) * step(chest.half - chest.aside + 0.02, 0.12)


def breasts(chest: Chest) -> Plane:
    """Faint over the lower lungs; nothing on bodies without."""
    across, down = (chest.aside - 0.50 * chest.body.width) / 0.42, (chest.y - 0.30) / 0.34
    return chest.body.breast * ball(across * across + down * down)


def bones(chest: Chest) -> Plane:
    """Ribs, behind and before, spine, collar bones and shoulder blades."""
    body, y, aside = chest.body, chest.y, chest.aside
    cage = step(chest.half + 0.04 - aside, 0.03) * step(y - chest.apex + 0.06, 0.1)
    behind = tubes((y - 0.34 * aside * aside + 0.10 * aside) / body.rib_spacing + body.rib_phase, 0.25)
    before = tubes((y + 0.75 * aside - 0.30 * aside * aside) / (1.1 * body.rib_spacing) + body.rib_phase, 0.22)
    ribs = behind * step(aside - 0.08, 0.06) + 0.6 * before * step(aside - 0.32, 0.25)

    vertebrae = 0.85 + 0.15 * np.sin(y * np.float32(44) + np.float32(6 * body.rib_phase))
    spine = vertebrae * step(0.08 - aside, 0.07)

    rise, slope = (0.05, 0.08) if chest.portable else (0.0, 0.16)
    below_collar = y + 0.66 * body.height + rise + slope * aside - 0.025 * np.sin(aside * np.float32(8))
    collar = ball(np.square(below_collar / 0.030)) * step(aside - 0.09, 0.03) * step(0.80 - aside, 0.1)

    # The arms of a patient who stands turn the blades out of the lungs.
    edge = (0.74 if chest.portable else 0.88) * body.width + 0.14 * (y + 0.4)
    blade = bump(aside - edge, 0.025) * step(0.28 - np.abs(y + 0.38), 0.2)
    ribs *= cage * (0.35 + 0.65 * chest.lung)
    shadow: Plane = body.bone * (0.095 * ribs + 0.11 * spine + 0.12 * collar + 0.05 * blade)
    return shadow


def airway(chest: Chest) -> Plane:
    """The windpipe, down to where it divides."""
    return step(0.035 - np.abs(chest.x + 0.008), 0.03) * step(-0.24 - chest.y, 0.15)


def vessels(chest: Chest, chance: Generator) -> Plane:
    """Of the lungs: they leave a bright hilum on either side and branch, thinner and fainter outwards."""
    u, v = chest.aside - 0.26 * chest.body.width, chest.y + 0.06 + 0.04 * chest.left
    away = np.abs(u) + np.abs(v)
    curve = 0.10 * np.sin(away * np.float32(9) + np.float32(chance.uniform(0, 6)))
    direction = np.clip((1 + v / (away + np.float32(0.02)) + curve) * 24, 0, 62) + 64 * chest.left
    branches = np.clip(chance.standard_normal(128, dtype=np.float32), 0, None)
    nearest = direction.astype(np.int32)
    part = direction - nearest.astype(np.float32)
    streaks = branches.take(nearest) * (1 - part) + branches.take(nearest + 1) * part
    fading = 0.36 * np.exp(away * np.float32(-2.6)) * step(away - 0.05, 0.08)
    shadow: Plane = streaks * fading + 0.5 * bump(u, 0.07) * bump(v, 0.12)
    return shadow


def stomach_bubble(chest: Chest, chance: Generator) -> Plane:
    """Air under the left half of the diaphragm."""
    across, down = chance.uniform(0.09, 0.16), chance.uniform(0.04, 0.07)
    u, v = (chest.x - chance.uniform(0.30, 0.42)) / across, (chest.y - chest.base - down) / down
    return step(1 - np.sqrt(u * u + v * v), 0.3)


def lateral(body: Body, chance: Generator) -> Plane:
    """The whole film from the side: spine behind, the heart low in front, the arms raised; left or right in front."""
    x, y = grid()
    x, y = x - np.float32(chance.normal(0, 0.04)), y - np.float32(chance.normal(0, 0.03))
    x = -x if chance.random() < 0.5 else x
    deep = 0.60 * body.height
    front = -deep + 0.16 * np.square(y - 0.35) + 0.10 * step(-y - 0.55, 0.4)
    back = deep + 0.04 - 0.22 * np.square(y + 0.15)
    dome = 0.36 + 0.34 * np.square(x + 0.25) + 0.14 * x

    skin = step(x - front + 0.16, 0.06) * step(back + 0.22 - x, 0.06)
    arms = step(0.30 - np.abs(x - 0.15) + 0.9 * np.clip(-y - 0.75, 0, None), 0.2) * step(-0.62 - y, 0.2)
    lung = step(x - front - 0.05, 0.08) * step(back - 0.14 - x, 0.08) * step(dome - y, 0.04) * step(y + 0.78, 0.3)
    along, down = (x + 0.24 - 0.3 * (y - 0.2)) / 0.34, (y - 0.16) / 0.34
    muscle = step(1 - np.sqrt(along * along + down * down), 0.25)
    spine = step(0.085 - np.abs(x - back + 0.14), 0.05) * (0.75 + 0.25 * np.sin(y * np.float32(40)))
    ribs = tubes((y - 0.55 * x) / body.rib_spacing, 0.22) * lung
    windpipe = step(0.04 - np.abs(x - 0.02 + 0.1 * y), 0.03) * step(-0.30 - y, 0.2)

    tissue = 0.70 + 0.25 * step(y - 0.2, 1.2) + 0.35 * arms + 0.18 * step(y - dome, 0.05) - 0.08 * windpipe
    film: Plane = skin * (tissue + body.bone * (0.17 * spine + 0.06 * ribs)) - 0.50 * lung * (1 - 0.7 * muscle)
    return film
