"""Convolution by Toom and Cook's method, for CPUs: evaluate at some points, multiply, interpolate.

In one dimension F(m, r) gives m outputs of a filter with r taps by m + r - 1 products in place of m * r. In two, for a
tile of 4x4 outputs, F(4, 3) takes 36 in place of 144, and F(4, 5) 64 in place of 400. Over the channels the products of
one point are a matrix product, which CPUs do best (Lavin and Gray 2016, arXiv:1509.09308, section 4). Everything here
is a linear map, so that TensorFlow derives gradients which cost as little.
"""

import math
from fractions import Fraction
from functools import cache
from typing import cast

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

TILE = 4
"""Outputs of a tile along one axis: more would lose too many digits."""
POINTS = (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))
"""Where polynomials are evaluated, beside infinity; small, so that little is lost to rounding."""
FEWEST_CHANNELS = 32
LARGEST_MAP = 64
"""Pixels on a side. With fewer channels or larger maps the transforms cost more than the products save."""
WHOLE_TRANSFORM = 16
"""Pixels and points on a side up to which both axes are transformed at once."""

KERNEL_RANK = 3
"""Of a kernel at its points, by which it is told from a plain one."""

Matrix = NDArray[np.float64]


def pays(inputs_shape: tf.TensorShape, kernel_shape: tf.TensorShape) -> bool:
    """Whether this is the faster way for a convolution of stride 1: inputs (B, H, W, C), kernel (r, r, C, F)."""
    _, height, width, channels = inputs_shape
    return (
        kernel_shape[0] in (3, 5)
        and min(channels, kernel_shape[3]) >= FEWEST_CHANNELS
        and height == width
        and height <= LARGEST_MAP
    )


def at_points(kernel: tf.Tensor) -> tf.Tensor:
    """A kernel (r, r, C, F), r odd, as `convolve` takes it: (points, C, F).

    Half precision is not enough for the points, so that they are float32 at the least.
    """
    taps, _, channels, filters = kernel.shape
    dtype = _precise(kernel.dtype)
    values = tf.matmul(_both_axes(_filter_evaluation(taps), dtype), _flat(tf.cast(kernel, dtype), taps**2))
    return tf.reshape(values, (-1, channels, filters))


def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """What tf.nn.conv2d(inputs, its kernel, strides=1, padding="SAME") gives, for square maps.

    Args:
        inputs: (B, S, S, C).
        kernel: Of `at_points`.

    Returns:
        (B, S, S, F), of the type of the inputs.
    """
    dtype = _precise(inputs.dtype)
    side, channels = inputs.shape[1], inputs.shape[3]
    points, filters = math.isqrt(kernel.shape[0]), kernel.shape[2]
    taps, tiles, batch = points - TILE + 1, -(-side // TILE), tf.shape(inputs)[0]

    values = _evaluate(tf.cast(inputs, dtype), _tile_evaluation(side, taps))
    products = tf.matmul(tf.reshape(values, (points**2, tiles**2 * batch, channels)), kernel)
    outputs = tf.matmul(_both_axes(_interpolation(taps), dtype), _flat(products, points**2))
    outputs = tf.reshape(outputs, (TILE, TILE, tiles, tiles, batch, filters))
    whole = tf.reshape(tf.transpose(outputs, (4, 2, 0, 3, 1, 5)), (batch, tiles * TILE, tiles * TILE, filters))
    return tf.cast(whole[:, :side, :side], inputs.dtype)


def _precise(dtype: tf.DType) -> tf.DType:
    return dtype if dtype == tf.float64 else tf.float32


def _evaluate(inputs: tf.Tensor, evaluation: NDArray[np.float64]) -> tf.Tensor:
    """Inputs (B, S, S, C) at the points of every tile: (points, points, tiles, tiles, B, C)."""
    points, tiles, side = evaluation.shape
    pixels_first = tf.transpose(inputs, (1, 2, 0, 3))
    if max(side, points * tiles) <= WHOLE_TRANSFORM:
        whole = np.einsum("ptx,qsy->pqtsxy", evaluation, evaluation).reshape((points * tiles) ** 2, side**2)
        return tf.matmul(tf.constant(whole, inputs.dtype), _flat(pixels_first, side**2))
    one_axis = tf.constant(evaluation.reshape(points * tiles, side), inputs.dtype)
    rows = tf.matmul(one_axis, _flat(pixels_first, side))
    both = tf.matmul(one_axis, tf.reshape(rows, (points * tiles, side, -1)))
    return tf.transpose(tf.reshape(both, (points, tiles, points, -1)), (0, 2, 1, 3))


def _flat(tensor: tf.Tensor, rows: int) -> tf.Tensor:
    return tf.reshape(tensor, (rows, -1))


def _both_axes(matrix: Matrix, dtype: tf.DType) -> tf.Tensor:
    return tf.constant(np.kron(matrix, matrix), dtype)


@cache
def _tile_evaluation(side: int, taps: int) -> NDArray[np.float64]:
    """(points, tiles, side): from the pixels of one axis to the points of each tile, zeros beyond the border."""
    evaluation = _matrices(taps)[2]
    points, tiles = len(evaluation), -(-side // TILE)
    whole = np.zeros((points, tiles, side))
    for tile in range(tiles):
        first = tile * TILE - taps // 2
        pixels = [pixel for pixel in range(first, first + points) if 0 <= pixel < side]
        whole[:, tile, pixels] = evaluation[:, [pixel - first for pixel in pixels]]
    return whole


def _interpolation(taps: int) -> Matrix:
    """(TILE, points)."""
    return _matrices(taps)[0]


def _filter_evaluation(taps: int) -> Matrix:
    """(points, taps)."""
    return _matrices(taps)[1]


@cache
def _matrices(taps: int) -> tuple[Matrix, Matrix, Matrix]:
    """A (TILE, points), G (points, taps) and B (points, points) with A ((G g) * (B d)) = the outputs of F(TILE, taps).

    The product of two polynomials is known from its values at enough points; a filter is the transpose of that map.
    """
    size = TILE + taps - 1
    points = [Fraction(point) for point in POINTS[: size - 1]]
    data = _transposed(_inverse(_powers(points, size)))
    scale = [Fraction(int(np.lcm.reduce([value.denominator for value in row]))) for row in data]
    return (
        _floats(_transposed(_powers(points, TILE))),
        # Whole numbers for the data, whose many sums are to be cheap to round; the filter takes the fractions.
        _floats([[value / factor for value in row] for row, factor in zip(_powers(points, taps), scale, strict=True)]),
        _floats([[value * factor for value in row] for row, factor in zip(data, scale, strict=True)]),
    )


def _powers(points: list[Fraction], count: int) -> list[list[Fraction]]:
    """Powers 0 to count - 1 of each point, and last of infinity, where only the highest coefficient is seen."""
    infinity = [Fraction(0)] * (count - 1) + [Fraction(1)]
    return [*([point**power for power in range(count)] for point in points), infinity]


def _inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Exact, by Gauss and Jordan's elimination."""
    size = len(matrix)
    rows = [[*row, *(Fraction(int(index == column)) for column in range(size))] for index, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(index for index in range(column, size) if rows[index][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for index in set(range(size)) - {column}:
            factor = rows[index][column]
            rows[index] = [value - factor * lead for value, lead in zip(rows[index], rows[column], strict=True)]
    return [row[size:] for row in rows]


def _transposed(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    return [list(column) for column in zip(*matrix, strict=True)]


def _floats(matrix: list[list[Fraction]]) -> Matrix:
    return cast("Matrix", np.array(matrix, np.float64))
