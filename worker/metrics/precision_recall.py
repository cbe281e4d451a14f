"""Improved precision and recall (Kynkäänniemi et al. 2019): are synthetic images like real ones, and all kinds of them?

A set of images stands for the balls around each of them that reach to its k-th nearest neighbour.
"""

from dataclasses import dataclass

from worker.metrics.features import Features, check_features
from worker.metrics.neighbours import balls_around, neighbour_radii

NEIGHBOURS = 3
"""The paper's k."""


@dataclass(frozen=True)
class PrecisionRecall:
    """Both in [0, 1], and only told together: noise around the mean image has a precision near 1 and no recall.

    `precision` is the share of synthetic images within a ball of a real one, `recall` that of real images within a
    ball of a synthetic one.
    """

    precision: float
    recall: float
    neighbours: int


def precision_recall(reference: Features, synthetic: Features, *, neighbours: int = NEIGHBOURS) -> PrecisionRecall:
    """Eq. 1 and 2 of the paper, which has sets of equal size; the balls of a larger set are smaller.

    Exchanging the sets exchanges the two numbers.

    Raises:
        InvalidRequest: one of the sets has no more than `neighbours` images.
        ValueError: the sets cannot be compared, see `check_features`.
    """
    check_features(reference, synthetic, at_least=neighbours + 1)
    return PrecisionRecall(
        precision=_share_within(synthetic, reference, neighbours),
        recall=_share_within(reference, synthetic, neighbours),
        neighbours=neighbours,
    )


def _share_within(points: Features, centres: Features, neighbours: int) -> float:
    return float((balls_around(points, centres, neighbour_radii(centres, neighbours)) > 0).mean())
