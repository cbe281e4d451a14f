"""Nearest images by normalised cross-correlation, whatever the brightness, the contrast, a small shift and mirroring.

Two images are as alike as the middle of one, without a border of SHIFT pixels, and the most similar of the windows of
that size in the other one and in its mirror image. Both are smoothed a little first, lest grain decide: that takes
much from the distance between a picture and its noisy copy, and little from that between two pictures.

The search has two stages. Coarse: every window, reduced to COARSE_PIXELS on a side by area, against every reduced
reference image, as products of matrices. Fine: the score itself for the best CANDIDATES. Memory beyond the images is
at most BLOCK_BYTES and REFERENCE_BYTES for each reference image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]  # it ships no types

SHIFT = 2
"""Pixels, up, down, left and right."""
SMOOTHING = 0.8
"""Standard deviation of the Gaussian, in pixels."""
COARSE_PIXELS = 12
CANDIDATES = 32
"""In 300 searches among 1,000 to 4,000 radiographs the nearest was one of the coarse stage's first seven.

The rank grows with their number, that of a copy does not. The search may then miss the nearest image of a query that is
no copy, and finds one that is hardly further away.
"""
SMALLEST_SIDE = 2 * SHIFT + 2
BLOCK_BYTES = 2**25
"""For images of up to 128 pixels on a side, whose candidates take the most; it grows with their pixels."""
REFERENCE_BYTES = 4 * COARSE_PIXELS**2 + 128
"""A reduced image in single precision, and its scores and their order for a block of queries."""

_WINDOWS = 2 * SHIFT + 1
"""Along one axis."""
_QUERIES_AT_ONCE = 16
_REFERENCES_AT_ONCE = 1024
_REDUCED_AT_ONCE = 32
_LEAST_SPREAD = 1e-3
"""Standard deviation in grey levels below which an image is blank: far above what rounding leaves of one."""

OnBlock = Callable[[int, int], None]
"""Called with the blocks of queries done and how many there are; what it raises ends the search."""


@dataclass(frozen=True)
class NearestImages:
    """For each query the row of its nearest reference image, int64 (Q,), and their score, float64 (Q,), in [-1, 1].

    A blank image scores 0 with every other.
    """

    indices: NDArray[np.int64]
    correlations: NDArray[np.float64]


def nearest_images(
    queries: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    *,
    rows: NDArray[np.int64] | None = None,
    leave_own_out: bool = False,
    candidates: int = CANDIDATES,
    on_block: OnBlock | None = None,
) -> NearestImages:
    """The most similar reference image of each query; of equally similar ones, the first.

    Args:
        queries: uint8 (Q, S, S).
        reference: uint8 (N, S, S); it may be mapped into memory, and is read in blocks.
        rows: those of the reference that are searched, int64 (R,); all if they are not given.
        leave_own_out: queries and searched images are the same, and each is to find another one than itself.
        candidates: how many the fine stage looks at; from R on the search is exhaustive. More take more memory.
        on_block: called after each block of queries; and before, with none done, as the reference is gone through.

    Raises:
        ValueError: the sizes differ or are below SMALLEST_SIDE, there is no reference image, or none but the own.
    """
    rows = np.arange(len(reference)) if rows is None else rows
    _check(queries, reference, rows, leave_own_out=leave_own_out)
    tell, blocks = on_block or _unheard, query_blocks(len(queries))
    searched = _reduced_middles(reference, rows, lambda: tell(0, blocks))
    indices = np.empty(len(queries), np.int64)
    correlations = np.empty(len(queries), np.float64)
    for done, start in enumerate(range(0, len(queries), _QUERIES_AT_ONCE), 1):
        block = queries[start : start + _QUERIES_AT_ONCE]
        scores = _coarse_scores(block, searched)
        if leave_own_out:
            scores[np.arange(len(scores)), start + np.arange(len(scores))] = -np.inf
        for query, (image, coarse) in enumerate(zip(block, scores, strict=True), start):
            best = _best(coarse, candidates)
            fine = (_windows(image) @ _middles(reference[rows[best]]).T).max(axis=0)
            fine[coarse[best] == -np.inf] = -np.inf
            found = int(fine.argmax())
            indices[query], correlations[query] = rows[best[found]], fine[found]
        tell(done, blocks)
    return NearestImages(indices, correlations.clip(-1, 1))


def query_blocks(queries: int) -> int:
    """How many blocks a search for so many queries has."""
    return -(-queries // _QUERIES_AT_ONCE)


def _unheard(done: int, blocks: int) -> None:
    """Of a search that nobody watches."""


def _check(
    queries: NDArray[np.uint8], reference: NDArray[np.uint8], rows: NDArray[np.int64], *, leave_own_out: bool
) -> None:
    side = queries.shape[-1]
    if not queries.shape[1:] == reference.shape[1:] == (side, side) or side < SMALLEST_SIDE:
        raise ValueError(
            f"images of {queries.shape[1:]} and {reference.shape[1:]} pixels: they must be squares of one size, "
            f"{SMALLEST_SIDE} pixels or more"
        )
    if len(rows) <= int(leave_own_out):
        raise ValueError("there is no image to be the nearest")
    if leave_own_out and len(queries) != len(rows):
        raise ValueError(f"{len(queries)} images cannot be the same as {len(rows)}")


def _best(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The positions of the highest scores, in ascending order."""
    if count >= len(scores):
        return np.arange(len(scores))
    return np.sort(np.argpartition(scores, -count)[-count:])


def _smoothing(side: int) -> NDArray[np.float64]:
    """The matrix that smooths along one axis of a window; beyond its edge the window goes on as its mirror image.

    What lies outside has no part in it, so a copy that was shifted is, in the right window, still exactly equal.
    """
    matrix: NDArray[np.float64] = ndimage.gaussian_filter1d(np.eye(side), SMOOTHING, axis=0)
    return matrix


def _middles(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The middle of each image as a vector to correlate with: (N, (S - 2 * SHIFT) ** 2)."""
    middles = images[:, SHIFT:-SHIFT, SHIFT:-SHIFT].astype(np.float64)
    smoothing = _smoothing(middles.shape[1])
    return _normalised((smoothing @ middles @ smoothing.T).reshape(len(images), -1))


def _windows(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Each window of an image, then of its mirror image, as a vector: (2 * _WINDOWS ** 2, (S - 2 * SHIFT) ** 2)."""
    side = len(image) - 2 * SHIFT
    both = np.stack([image, image[:, ::-1]]).astype(np.float64)
    smoothing = _smoothing(side)
    windows = smoothing @ sliding_window_view(both, (side, side), axis=(1, 2)) @ smoothing.T
    return _normalised(windows.reshape(-1, side * side))


def _normalised(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors of mean 0 and length 1, whose products are correlations; of blank images, all zeros."""
    centred = vectors - vectors.mean(axis=-1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=-1, keepdims=True)
    blank = lengths < _LEAST_SPREAD * np.sqrt(vectors.shape[-1])
    directions: NDArray[np.float64] = np.divide(centred, lengths, out=np.zeros_like(centred), where=~blank)
    return directions


def _coarse_scores(queries: NDArray[np.uint8], searched: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each query and reference image the best correlation of reduced windows: (Q, N)."""
    windows = _reduced_windows(queries)
    scores = np.empty((len(windows), len(searched)), np.float32)
    for start in range(0, len(searched), _REFERENCES_AT_ONCE):
        block = slice(start, start + _REFERENCES_AT_ONCE)
        products = windows.reshape(-1, windows.shape[2]) @ searched[block].T
        products.reshape(len(windows), windows.shape[1], -1).max(axis=1, out=scores[:, block])
    return scores


def _reduced_middles(
    reference: NDArray[np.uint8], rows: NDArray[np.int64], on_block: Callable[[], None]
) -> NDArray[np.float32]:
    """The middle of each image at the rows, reduced: float32 (R, pixels)."""
    middle = _reducers(reference.shape[1])[SHIFT]
    reduced = np.empty((len(rows), len(middle) ** 2), np.float32)
    for start in range(0, len(rows), _REDUCED_AT_ONCE):
        if start % _REFERENCES_AT_ONCE == 0:
            on_block()
        block = slice(start, start + _REDUCED_AT_ONCE)
        middles = middle @ reference[rows[block]].astype(np.float64) @ middle.T
        reduced[block] = _normalised(middles.reshape(len(middles), -1))
    return reduced


def _reduced_windows(queries: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Each window of each image and of its mirror image, reduced: float32 (Q, 2 * _WINDOWS ** 2, pixels)."""
    reducers = _reducers(queries.shape[1])
    side = reducers.shape[1]
    every = reducers.reshape(_WINDOWS * side, -1)
    both = np.stack([queries, queries[:, :, ::-1]], axis=1).astype(np.float64)
    reduced = (every @ both @ every.T).reshape(-1, 2, _WINDOWS, side, _WINDOWS, side).swapaxes(3, 4)
    return _normalised(reduced.reshape(len(queries), 2 * _WINDOWS**2, side * side)).astype(np.float32)


def _reducers(size: int) -> NDArray[np.float64]:
    """For each shift along an axis the matrix that smooths the window there and takes means over equal parts of it.

    Returns:
        float64 (_WINDOWS, COARSE_PIXELS or the window's pixels if these are fewer, size).
    """
    window = size - 2 * SHIFT
    edges = np.linspace(0, window, min(COARSE_PIXELS, window) + 1)[:, np.newaxis]
    pixels = np.arange(window)
    covered = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    reducer = covered.clip(0) / edges[1] @ _smoothing(window)
    return np.stack([np.pad(reducer, ((0, 0), (shift, size - window - shift))) for shift in range(_WINDOWS)])
