"""Compares what a training draws with real images while it runs, so that its best checkpoint is known.

The same latent points are drawn each time and compared with the same real images, so that what changes is the network.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.contract.requests import TrainingRequest
from worker.dataset import Dataset
from worker.draws import latent_points
from worker.feasibility import compared_on_the_way
from worker.measurement import TRACKED, over_features, over_images
from worker.metrics.features import PixelComponents
from worker.population import Population, labels_of
from worker.sampling import codes_of

COMPARED = 512
"""Images of either kind, at the most: enough to tell one checkpoint from another, and seconds to measure."""
FITTED_ON = 5_000
"""Training images that features are fitted on, at the most."""
DRAWN_AT_ONCE = 64
DECIMALS = 6
"""Of a metric in a row: more than it is worth, and short enough to read."""

Draw = Callable[[NDArray[np.float32], NDArray[np.int32] | None], NDArray[np.float32]]
"""Latent points (B, L) and class codes (B,), None without classes, to images (B, S, S) in [0, 1]."""


class PeriodicEvaluation:
    """What `evaluate_every` asks for: made once for a training, called whenever it is time."""

    def __init__(self, request: TrainingRequest, dataset: Dataset, population: Population, latent_size: int) -> None:
        """Choose the real images, and fit the features that they are compared by.

        Raises:
            InvalidRequest: there are too few images of the training's classes, or they are too small.
            NoUsableImages: all training images are equal.
        """
        compared, part = compared_on_the_way(request, dataset, population.classes)
        chance = np.random.default_rng(request.seed)
        chosen = chance.permutation(compared.indices(part))[:COMPARED]
        fitted = np.sort(chance.permutation(compared.indices("train"))[:FITTED_ON])
        self._real = np.asarray(dataset.images[chosen])
        self._features = PixelComponents(dataset.images[fitted], seed=request.seed)
        self._real_features = self._features(self._real)
        self._latents = latent_points(request.seed, 0, len(chosen), latent_size)
        self._codes = codes_of(labels_of(dataset, population.classes, chosen), population.classes)
        self._tracked = request.evaluate_metrics
        self._over_features = over_features(request.seed)
        self._over_images = over_images(request.seed)
        self.compared_with = f"{len(chosen)} {part} images"

    def of(self, draw: Draw) -> dict[str, float]:
        """The metrics that were asked for, by name, of what a network draws now; its pixels are numbers."""
        results = self._measured(self._drawn(draw))
        numbers = {name: getattr(results[TRACKED[name][0]], TRACKED[name][1]) for name in self._tracked}
        return {name: round(float(number), DECIMALS) for name, number in numbers.items()}

    def _measured(self, images: NDArray[np.uint8]) -> Mapping[str, Any]:
        """Each metric that has one of the numbers, taken once."""
        features = self._features(images)
        results = {}
        for metric in dict.fromkeys(TRACKED[name][0] for name in self._tracked):
            if metric in self._over_features:
                results[metric] = self._over_features[metric](self._real_features, features)
            else:
                results[metric] = self._over_images[metric](self._real, images)
        return results

    def _drawn(self, draw: Draw) -> NDArray[np.uint8]:
        images = np.empty(self._real.shape, np.uint8)
        for first in range(0, len(images), DRAWN_AT_ONCE):
            block = slice(first, first + DRAWN_AT_ONCE)
            drawn = draw(self._latents[block], None if self._codes is None else self._codes[block])
            images[block] = np.round(255 * np.clip(drawn, 0, 1))
        return images
