"""The curve as files: equal for equal numbers, readable in grey, and with what it is to show."""

import io
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from skimage.color import rgb2lab

from worker.study.curves import DOTS_PER_INCH, INCHES, LOOKS, CurvePoint, draw_curve
from worker.study.scores import Interval, Scores

SYNTHETIC = ("real_synthetic", "real_classical_synthetic", "synthetic")
AMOUNTS = (0, 500, 1000, 5000)
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""What of linear RGB is seen: Machado et al. 2009, at full severity."""


def scores_of(accuracy: float) -> Scores:
    interval = Interval(accuracy, accuracy - 0.02, accuracy + 0.01)
    return Scores(interval, interval, None, (interval, None), (interval, None), ((3, 1), (0, 0)), 0)


def points_of(arms: Sequence[str] = tuple(LOOKS), amounts: Sequence[int] = AMOUNTS) -> list[CurvePoint]:
    return [
        CurvePoint(arm, amount, scores_of(0.6), scores_of(0.7 + 0.03 * number + amount / 100_000))
        for number, arm in enumerate(arms)
        for amount in (amounts if arm in SYNTHETIC else (0,))
    ]


def texts_in(svg: bytes) -> str:
    """What is written: matplotlib draws letters, and leaves the text beside them as a comment."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))  # noqa: S314  # our own file
    return "\n".join(each.text or "" for each in ET.fromstring(svg, parser).iter() if each.tag is ET.Comment)  # noqa: S314


def test_equal_numbers_give_equal_bytes_whatever_the_machine_is_set_to() -> None:
    chosen = {"real_synthetic": (500, 1000), "synthetic": (5000,)}
    drawn = draw_curve(points_of(), chosen)
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 9, "svg.hashsalt": None}):
        assert draw_curve(points_of()[::-1], chosen) == drawn
        assert mpl.rcParams["font.size"] == 20
    assert draw_curve(points_of(), {}) != drawn
    assert b"<dc:date>" not in drawn.svg


def test_the_pictures_can_be_printed() -> None:
    drawn = draw_curve(points_of(), {})
    with Image.open(io.BytesIO(drawn.png)) as picture:
        assert picture.size == tuple(round(side * DOTS_PER_INCH) for side in INCHES)
        assert picture.info["dpi"] == pytest.approx((DOTS_PER_INCH, DOTS_PER_INCH), abs=0.1)
        assert picture.getextrema()[0] == (0, 255)
    texts = texts_in(drawn.svg)
    for text in (
        "Accuracy on test (%)",
        "Balanced accuracy on test (%)",
        "Synthetic images per class",
        "95 % interval",
    ):
        assert text in texts
    for look in LOOKS.values():
        assert look.label in texts


def test_an_arm_that_was_not_asked_for_is_not_in_the_legend() -> None:
    texts = texts_in(draw_curve(points_of(["real", "synthetic"]), {}).svg)
    assert LOOKS["synthetic"].label in texts
    assert LOOKS["real_classical"].label not in texts


@pytest.mark.parametrize(("arms", "amounts"), [(["real"], (0,)), (["synthetic"], (500,)), (["real_synthetic"], (0, 1))])
def test_little_can_be_drawn_too(arms: list[str], amounts: tuple[int, ...]) -> None:
    ET.fromstring(draw_curve(points_of(arms, amounts), {arms[0]: amounts}).svg)  # noqa: S314  # our own file


def test_arms_are_told_apart_in_grey() -> None:
    assert len({look.marker for look in LOOKS.values()}) == len(LOOKS)
    lines = {(str(look.dashes), look.marker) for look in LOOKS.values()}
    assert len(lines) == len(LOOKS)


@pytest.mark.parametrize("seen", BLIND.values(), ids=BLIND)
def test_arms_are_told_apart_by_colour_blind_people(seen: list[list[float]]) -> None:
    colours = np.array([to_rgb(look.colour) for look in LOOKS.values()])
    as_seen = np.clip(colours**2.2 @ np.array(seen).T, 0, 1) ** (1 / 2.2)
    lab = rgb2lab(as_seen)
    apart = np.linalg.norm(lab[:, np.newaxis] - lab, axis=-1)
    assert apart[~np.eye(len(lab), dtype=bool)].min() > 15  # 2.3 is a just noticeable difference


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="without points"):
        draw_curve([], {})
    with pytest.raises(KeyError, match="no look for imaginary"):
        draw_curve(points_of(["imaginary"]), {})
