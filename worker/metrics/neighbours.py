"""Nearest neighbours among features, in memory that does not grow with the square of the number of images.

Distances are Euclidean. They come from matrix products, so a point that lies on the surface of a ball may fall on
either side of it by rounding.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_chunked  # type: ignore[import-untyped]  # it ships no types
from sklearn.neighbors import NearestNeighbors  # type: ignore[import-untyped]

from worker.metrics.features import Features

BLOCK_MEBIBYTES = 64
"""Memory for the distances that are held at once."""


def neighbour_radii(features: Features, neighbours: int) -> NDArray[np.float64]:
    """For each point the distance to its `neighbours`-th nearest one among the others, which must be as many."""
    distances, _ = _search(features, neighbours).kneighbors()
    return np.asarray(distances[:, -1], np.float64)


def nearest_distances(features: Features, among: Features) -> NDArray[np.float64]:
    """For each point of `features` the distance to the nearest one of `among`."""
    distances, _ = _search(among, 1).kneighbors(features)
    return np.asarray(distances[:, 0], np.float64)


def balls_around(points: Features, centres: Features, radii: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each point the number of closed balls, given by `centres` and `radii`, that it lies in."""

    def count(distances: NDArray[np.float64], _first: int) -> NDArray[np.int64]:
        return np.asarray(np.count_nonzero(distances <= radii, axis=1), np.int64)

    blocks = pairwise_distances_chunked(points, centres, reduce_func=count, working_memory=BLOCK_MEBIBYTES)
    return np.concatenate(list(blocks))


def _search(among: Features, neighbours: int) -> NearestNeighbors:
    # A tree does not pay in this many dimensions.
    return NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(among)
