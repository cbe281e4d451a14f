"""The feature extractors that an evaluation may ask for by name; those that are networks live here."""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker import classifier
from worker.contract.errors import InvalidRequest
from worker.contract.requests import FeatureKind
from worker.dataset import Dataset
from worker.distortions import DISTORTIONS, distorted
from worker.metrics.features import FeatureExtractor, Features, Images, PixelComponents

FITTED_ON = 20_000
"""Training images that `pixels` are fitted on, at the most: they are held as floating-point numbers."""
LARGEST_SIDE = 32
"""Pixels; larger images are reduced to it for the classifier, which else takes a CPU minutes to teach."""
IMAGES_PASSED = 7_500
"""Through the classifier while it learns, all epochs together: less than half a minute of two CPU cores."""
MOST_EPOCHS = 20
LABELLED_IMAGES, DISTORTED_IMAGES = 2_500, 250
"""Training images that are learnt from, at the most; of the latter, each under every distortion."""
LEAST_OF_CLASS = 25
"""Images; fewer are learnt by heart."""
LEAST_LEARNT_FROM = 20
INCEPTION_SIDE = 299
INCEPTION_CHANNELS = 3
INCEPTION_IMAGES_AT_ONCE = 16
"""Bounds the memory of the activations."""

OF_LABELS = (
    "The features 'classifier' were taught by the dataset's labels: they follow what tells these classes apart, and "
    "overlook slight blur and noise. Go by the metrics of images for those."
)

OnEpoch = Callable[[int, int], None]
"""Called with the epochs done and how many there are; what it raises ends the fitting."""


def extractor_named(
    name: FeatureKind, dataset: Dataset, *, seed: int, inception_weights: Path | None, on_epoch: OnEpoch
) -> FeatureExtractor:
    """Make an extractor. What it is fitted on, if on anything, is the dataset's training part alone.

    Raises:
        InvalidRequest: there are too few training images for it, or no weights.
        NoUsableImages: all training images are equal.
    """
    if name == "inception":
        return InceptionFeatures(inception_weights)
    drawn = np.random.default_rng(seed).permutation(dataset.indices("train"))
    if name == "classifier":
        return ClassifierFeatures(dataset, drawn, seed=seed, on_epoch=on_epoch)
    return PixelComponents(dataset.images[np.sort(drawn[:FITTED_ON])], seed=seed)


class ClassifierFeatures:
    """The dense layer of `worker.classifier`, taught to tell the findings or, without such, distortions.

    Classes are whole lists of findings with LEAST_OF_CLASS images or more. Where there are not two of them, the network
    learns without labels (`worker.distortions`), and its features then see blur and noise much better: what is taught
    by labels keeps little but what tells these apart. Neither sees what is lost as images are reduced to LARGEST_SIDE.
    """

    name = "classifier"
    dimensions = classifier.FEATURES
    comparable_with_published = False

    def __init__(self, dataset: Dataset, drawn: NDArray[np.int64], *, seed: int, on_epoch: OnEpoch) -> None:
        """Learn from some of the dataset's images at the places `drawn`, the first ones first.

        Raises:
            InvalidRequest: there are fewer than LEAST_LEARNT_FROM.
        """
        if len(drawn) < LEAST_LEARNT_FROM:
            raise InvalidRequest.at(
                "#/features",
                f"The training part has {len(drawn)} images, and 'classifier' learns from {LEAST_LEARNT_FROM} or more: "
                "take 'pixels', or a larger dataset.",
            )
        lesson = _by_labels(dataset, drawn) or _by_distortions(dataset, drawn, seed)
        epochs = min(MOST_EPOCHS, max(1, IMAGES_PASSED // len(lesson.images)))
        self._classifier = classifier.fit(
            lesson.images,
            lesson.classes,
            class_count=lesson.class_count,
            seed=seed,
            recipe=classifier.Recipe(epochs=epochs, optimizer="adam", balance="weights"),
            on_epoch=lambda epoch: on_epoch(epoch.number, epochs),
        )
        side = lesson.images.shape[1]
        self.fitted_on = f"{lesson.told}, at {side}x{side} pixels"
        self.caveats = lesson.caveats

    def __call__(self, images: Images) -> Features:
        return self._classifier.features(_reduced(images))


class InceptionFeatures:
    """The average-pooled last layer of InceptionV3 (Szegedy et al. 2016), as learnt from photographs.

    Images are enlarged to 299x299 pixels and repeated over three channels.
    """

    name = "inception"
    dimensions = 2048
    fitted_on = "photographs of ImageNet, if the weights at RAGAN_INCEPTION_WEIGHTS are Keras's own"
    comparable_with_published = False
    caveats = (
        (
            "Distances over 'inception' are not the published FID or KID: Keras's weights and resizing are not those "
            "of the reference programs, and grey images are repeated over the three channels of colour photographs."
        ),
    )

    def __init__(self, weights: Path | None) -> None:
        """Load the network from a file of its weights without the top; nothing is ever downloaded.

        Raises:
            InvalidRequest: there is no such file, or it holds something else.
        """
        advice = (
            "put inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5, as Keras publishes it, where the worker can "
            "read it, and its path into the worker's RAGAN_INCEPTION_WEIGHTS, or take other features."
        )
        if weights is None or not weights.is_file():
            what = "RAGAN_INCEPTION_WEIGHTS is not set" if weights is None else f"There is no file {weights.name}"
            raise InvalidRequest.at("#/features", f"{what}, so that 'inception' has no weights: {advice}")
        shape = (INCEPTION_SIDE, INCEPTION_SIDE, INCEPTION_CHANNELS)
        network = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=shape, pooling="avg")
        try:
            with warnings.catch_warnings():
                # Of what it does not find in a file Keras only warns, and leaves it at random.
                warnings.simplefilter("error", UserWarning)
                network.load_weights(weights)
        except (OSError, ValueError, LookupError, UserWarning) as error:
            raise InvalidRequest.at(
                "#/features",
                f"{weights.name} does not hold the weights of Keras's InceptionV3 without its top: {advice}",
            ) from error

        def pooled(images: tf.Tensor) -> tf.Tensor:
            large = tf.image.resize(images[..., tf.newaxis], (INCEPTION_SIDE, INCEPTION_SIDE), antialias=True)
            coloured = tf.repeat(large, INCEPTION_CHANNELS, axis=-1)
            return network(keras.applications.inception_v3.preprocess_input(coloured), training=False)

        self._pooled = tf.function(pooled, autograph=False, reduce_retracing=True)

    def __call__(self, images: Images) -> Features:
        features = np.empty((len(images), self.dimensions))
        for start in range(0, len(images), INCEPTION_IMAGES_AT_ONCE):
            block = slice(start, start + INCEPTION_IMAGES_AT_ONCE)
            features[block] = self._pooled(tf.constant(images[block])).numpy()
        return features


@dataclass(frozen=True)
class _Lesson:
    """Images uint8 (N, S, S) and the class of each, (N,); and what is to be said of them."""

    images: Images
    classes: NDArray[np.int64]
    class_count: int
    told: str
    caveats: tuple[str, ...] = ()


def _by_labels(dataset: Dataset, drawn: NDArray[np.int64]) -> _Lesson | None:
    """The findings of images, or None if fewer than two lists of them are frequent enough."""
    findings = dataset.labels
    counts = Counter(findings[place] for place in drawn)
    numbers = {each: number for number, each in enumerate(sorted(e for e in counts if counts[e] >= LEAST_OF_CLASS))}
    if len(numbers) < 2:
        return None
    places = np.sort([place for place in drawn if findings[place] in numbers][:LABELLED_IMAGES])
    classes = np.array([numbers[findings[place]] for place in places])
    if len(np.unique(classes)) < 2:
        return None
    return _Lesson(
        _reduced(dataset.images[places]),
        classes,
        len(numbers),
        f"the labels of {len(places):,} training images in {len(numbers)} classes",
        (OF_LABELS,),
    )


def _by_distortions(dataset: Dataset, drawn: NDArray[np.int64], seed: int) -> _Lesson:
    images = _reduced(dataset.images[np.sort(drawn[:DISTORTED_IMAGES])])
    return _Lesson(
        *distorted(images, seed),
        len(DISTORTIONS),
        f"{len(images):,} training images under {len(DISTORTIONS)} distortions each, without labels",
    )


def _reduced(images: Images) -> Images:
    """By area, to LARGEST_SIDE at the most."""
    side = images.shape[1]
    if side <= LARGEST_SIDE:
        return images
    reduced = np.empty((len(images), LARGEST_SIDE, LARGEST_SIDE), np.uint8)
    for start in range(0, len(images), classifier.IMAGES_AT_ONCE):
        block = slice(start, start + classifier.IMAGES_AT_ONCE)
        resized = tf.image.resize(images[block][..., np.newaxis], reduced.shape[1:], tf.image.ResizeMethod.AREA)
        reduced[block] = np.rint(resized.numpy()[..., 0])
    return reduced
