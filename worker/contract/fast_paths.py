"""The names of the faster ways to compute the same, as settings and results know them."""

from enum import StrEnum


class FastPath(StrEnum):
    """A faster way, under the name that settings and results know it by."""

    SMALL_KERNELS = "small_kernels"
    """Up-sampling and a 5x5 convolution as one 3x3 convolution of the small map: exact, 2.78 times fewer products."""
    MIRRORED_KERNELS = "mirrored_kernels"
    """A transposed convolution of stride 1 as the convolution that it is: exact."""
    TOOM_COOK = "toom_cook"
    """Convolutions of stride 1 by evaluation and interpolation: as good as exact, 4 to 6 times fewer products."""
    SINGLE_FILTER = "single_filter"
    """A convolution onto one map, such as the image, as one matrix product for all taps: exact."""
    ONE_GENERATOR_PASS = "one_generator_pass"  # noqa: S105 - no password
    """The images that taught the discriminator teach the generator, too, instead of being drawn anew."""
    FOLDED_BATCH_NORM = "folded_batch_norm"
    """While images are drawn, batch norm is part of the weights before it."""
    RESIDENT_DATA = "resident_data"
    """The whole dataset is kept on the device, where it fits."""
    XLA = "xla"
    """The step is compiled."""
