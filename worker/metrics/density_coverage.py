"""Density and coverage (Naeem et al. 2020): precision and recall that a few outliers do not decide."""

from dataclasses import dataclass

from worker.metrics.features import Features, check_features
from worker.metrics.neighbours import balls_around, nearest_distances, neighbour_radii

NEIGHBOURS = 5
"""The paper's k."""


@dataclass(frozen=True)
class DensityCoverage:
    """Only told together: density rewards images that crowd where real ones are dense.

    `density` is the mean number of balls of real images that a synthetic one lies in, divided by k: 1 on average
    between equal distributions, and without an upper bound. `coverage`, in [0, 1], is the share of real images with a
    synthetic one in their ball: 1 - 2^-k on average between equal distributions and large sets of equal size.
    """

    density: float
    coverage: float
    neighbours: int


def density_coverage(reference: Features, synthetic: Features, *, neighbours: int = NEIGHBOURS) -> DensityCoverage:
    """As the paper defines them; the ball of a real image reaches to its k-th nearest real neighbour.

    Raises:
        InvalidRequest: one of the sets has no more than `neighbours` images.
        ValueError: the sets cannot be compared, see `check_features`.
    """
    check_features(reference, synthetic, at_least=neighbours + 1)
    radii = neighbour_radii(reference, neighbours)
    return DensityCoverage(
        density=float(balls_around(synthetic, reference, radii).mean() / neighbours),
        coverage=float((nearest_distances(reference, synthetic) <= radii).mean()),
        neighbours=neighbours,
    )
