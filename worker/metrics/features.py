"""Features: the vectors by which images are compared, and what turns images into them.

A distance means nothing without the features it was taken over, so a result names the extractor, its dimensions and
what it was fitted on.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA  # type: ignore[import-untyped]  # it ships no types

from worker.contract.errors import InvalidRequest, NoUsableImages

Images = NDArray[np.uint8]
"""(images, side, side), 0 black to 255 white."""
Features = NDArray[np.float64]
"""(images, dimensions), a row for each image."""

DIMENSIONS = 64
IMAGES_AT_ONCE = 1024
"""Images that are held as floating-point numbers while features are computed."""


class FeatureExtractor(Protocol):
    """A fixed map from images to features, where a short distance means that two images look alike."""

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def fitted_on(self) -> str:
        """What the map was learnt from, in words for a report."""
        ...

    @property
    def comparable_with_published(self) -> bool:
        """Whether distances over these features may stand beside those in papers."""
        ...

    @property
    def caveats(self) -> tuple[str, ...]:
        """What to know of these features before a distance over them is repeated, in sentences."""
        ...

    def __call__(self, images: Images) -> Features: ...


class PixelComponents:
    """Grey values in [0, 1], projected on the first principal components of a reference: no trained weights needed.

    They follow brightness, contrast, posture and the large shapes; they are blind to fine texture. A reference with
    few images for each dimension lies wider in its own components than new images do, so that precision comes out too
    high and recall too low.
    """

    name = "pixels"
    comparable_with_published = False
    caveats = ()

    def __init__(self, reference: Images, dimensions: int = DIMENSIONS, *, seed: int = 0) -> None:
        """Fit the components by randomised PCA (Halko et al. 2011), whose random start the seed fixes.

        The reference is held as float32 meanwhile. There are fewer components than asked for where it has not more
        images or pixels than that.

        Raises:
            InvalidRequest: the reference has fewer than two images.
            NoUsableImages: all of its images are equal.
        """
        if len(reference) < 2:
            raise InvalidRequest(f"Principal components need 2 reference images, and there are {len(reference)}.")
        if (reference == reference[0]).all():
            raise NoUsableImages("All reference images are equal, so nothing tells images apart: take other ones.")
        count, height, width = reference.shape
        self.dimensions = min(dimensions, count - 1, height * width)
        self.fitted_on = f"{count:,} reference images of {width}x{height} pixels"
        self._components = PCA(self.dimensions, copy=False, svd_solver="randomized", random_state=seed)
        self._components.fit(_grey_values(reference))

    @property
    def explained_variance(self) -> float:
        """Which share of the reference's variance the components hold, in (0, 1]."""
        return float(self._components.explained_variance_ratio_.sum())

    def __call__(self, images: Images) -> Features:
        """Features of (images, dimensions), relative to the mean image of the reference.

        Raises:
            ValueError: the images are not of the reference's size.
        """
        features = np.empty((len(images), self.dimensions))
        for first in range(0, len(images), IMAGES_AT_ONCE):
            block = slice(first, first + IMAGES_AT_ONCE)
            features[block] = self._components.transform(_grey_values(images[block]))
        return features


def check_features(reference: Features, synthetic: Features, *, at_least: int) -> None:
    """Refuse sets that no distance is defined for, before a library answers with NaN.

    Raises:
        InvalidRequest: one of them has fewer images than a metric takes.
        ValueError: they are not two finite arrays of (images, dimensions) with the same dimensions.
    """
    if reference.ndim != 2 or synthetic.ndim != 2 or reference.shape[1] != synthetic.shape[1]:
        raise ValueError(f"features of shapes {reference.shape} and {synthetic.shape} cannot be compared")
    for kind, features in (("reference", reference), ("synthetic", synthetic)):
        if len(features) < at_least:
            raise InvalidRequest(f"There are {len(features)} {kind} images, and this metric needs {at_least} or more.")
        if not np.isfinite(features).all():
            raise ValueError(f"the {kind} features are not all finite")


def _grey_values(images: Images) -> NDArray[np.float32]:
    """(images, pixels) in [0, 1]."""
    return np.divide(images.reshape(len(images), -1), 255, dtype=np.float32)
