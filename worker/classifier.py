"""A small classifier of radiographs, by which sets of images are judged: by what can be learnt from them.

It is the network of Frid-Adar et al. 2018, "GAN-based synthetic medical image augmentation for increased CNN
performance in liver lesion classification", Neurocomputing 321: three convolutions of 3x3 with 32, 64 and 128 filters,
each followed by ReLU and 2x2 max-pooling, a dense layer of 256 with dropout of one half, and a softmax.

Whoever trains hundreds in one process has the memory of one: TensorFlow frees little of a network, so that all
classifiers of a kind take turns in the same one, and keep their weights beside it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol, Self

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.random import Generator
from numpy.typing import NDArray

from worker.contract.errors import InvalidRequest
from worker.metrics.intensity_histogram import GREY_LEVELS, intensity_histogram

FILTERS = (32, 64, 128)
KERNEL = 3
FEATURES = 256
"""Units of the dense layer."""
DROPOUT = 0.5
MOMENTUM = 0.9
SMALLEST_SIDE = 2 ** len(FILTERS)
"""Pixels: of smaller images, pooling leaves nothing."""
IMAGES_AT_ONCE = 256
"""Bounds the memory of a prediction."""
WARM_NETWORKS = 4

Images = NDArray[np.uint8]
"""(N, S, S), 0 black to 255 white; they may be mapped into memory, and are read batch by batch."""
Classes = NDArray[np.integer[Any]]
"""(N,), from 0 up."""
Optimizer = Literal["sgd", "adam"]
Change = Callable[[Images, NDArray[np.int64], Generator], Images]
"""Gives the images of a batch (B, S, S) as they are to be seen this time: from them, from their places (B,) among those
that are learnt from, and by what is drawn."""


class ImageRows(Protocol):
    """`Images`, as an array or not, that are read by their rows."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64], /) -> Images: ...


@dataclass(frozen=True)
class Recipe:
    """How a classifier is taught; the defaults are the paper's.

    `balance`: `weights` has every class count for as much as any other in the loss; `oversampling` repeats images of
    the smaller classes, drawn anew for each epoch, until all classes are as large as the largest.

    `patience`: after so many epochs without a lower validation loss no more follow, and the weights are those of the
    epoch with the lowest. None: all epochs, and the weights of the last.
    """

    epochs: int = 150
    batch_size: int = 64
    optimizer: Optimizer = "sgd"
    learning_rate: float = 1e-3
    balance: Literal["none", "weights", "oversampling"] = "none"
    patience: int | None = None


PAPER = Recipe()


@dataclass(frozen=True)
class Epoch:
    """An epoch by its number, from 1: mean cross-entropy and accuracy, and those of the validation images, if any.

    The first two are taken while weights change, under dropout, and weighted as the loss is.
    """

    number: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None


class Classifier:
    """A fitted network: how it got there, and the number of the epoch that its weights are of."""

    def __init__(self, seat: "_Seat", greys: "_GreyValues", epochs: tuple[Epoch, ...], best_epoch: int) -> None:
        self.epochs = epochs
        self.best_epoch = best_epoch
        self._seat = seat
        self._greys = greys
        self._weights = seat.network.get_weights()

    def predict(self, images: Images) -> NDArray[np.float64]:
        """The probability of each class: (N, classes), in rows that add up to 1."""
        return self._computed(images, "probabilities")

    def features(self, images: Images) -> NDArray[np.float64]:
        """What the dense layer makes of images: (N, FEATURES), 0 or more."""
        return self._computed(images, "features")

    def _computed(self, images: Images, layer: str) -> NDArray[np.float64]:
        self._seat.network.set_weights(self._weights)
        results = np.empty((len(images), self._seat.network.get_layer(layer).units))
        for start in range(0, len(images), IMAGES_AT_ONCE):
            block = slice(start, start + IMAGES_AT_ONCE)
            results[block] = self._seat.outputs(self._greys.standardised(images[block]))[layer].numpy()
        return results


def fit(
    images: ImageRows,
    classes: Classes,
    *,
    class_count: int,
    seed: int,
    recipe: Recipe = PAPER,
    validation: tuple[Images, Classes] | None = None,
    change: Change | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Classifier:
    """Teach a network from the start. On a CPU the same arguments give the same weights, bit for bit.

    Args:
        images: to learn from, S at least SMALLEST_SIDE.
        classes: of each.
        class_count: of the softmax; not every class needs images.
        seed: of the initial weights, the order of images, dropout and oversampling.
        recipe: how it is taught.
        validation: other images and their classes, for the losses that `patience` goes by.
        change: what images are put through each time they are learnt from; None: they are taken as they are.
        on_epoch: called after each epoch; what it raises ends the training.

    Raises:
        InvalidRequest: fewer than two classes have images.
        ValueError: the arguments do not go together.
    """
    _check(images, classes, class_count, recipe, validation)
    seat = _seat(images.shape[1], class_count, recipe.optimizer)
    seat.start_anew(seed, recipe.learning_rate)
    greys = _GreyValues.of(images)
    epochs: list[Epoch] = []

    def tell(index: int, logs: dict[str, float]) -> None:
        validated = logs.get("val_loss"), logs.get("val_accuracy")
        epochs.append(Epoch(index + 1, logs["loss"], logs["accuracy"], *validated))
        on_epoch(epochs[-1])

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=tell)]
    best = keras.callbacks.EarlyStopping("val_loss", patience=recipe.patience or 0, restore_best_weights=True)
    if recipe.patience is not None:
        callbacks.append(best)
    seat.network.fit(
        _Batches(images, classes, greys, recipe, seed, change),
        epochs=recipe.epochs,
        shuffle=False,  # the batches are other ones in each epoch as it is
        validation_data=None if validation is None else _Batches(*validation, greys, PAPER),
        callbacks=callbacks,
        verbose=0,
    )
    return Classifier(seat, greys, tuple(epochs), len(epochs) if recipe.patience is None else best.best_epoch + 1)


def release_memory() -> None:
    """Give up the networks that are kept for the next training. Those of classifiers still in use stay."""
    _seat.cache_clear()
    keras.backend.clear_session()


class _Seat:
    """A compiled network, float32 (B, S, S, 1) to what `outputs` names, in which classifiers of a kind take turns."""

    def __init__(self, side: int, class_count: int, optimizer: Optimizer) -> None:
        self._side = side
        self._class_count = class_count
        self.network = self._build()
        self.network.compile(
            keras.optimizers.Adam() if optimizer == "adam" else keras.optimizers.SGD(momentum=MOMENTUM, nesterov=True),
            loss="sparse_categorical_crossentropy",
            weighted_metrics=["accuracy"],
            jit_compile=False,
        )
        self.network.optimizer.build(self.network.trainable_variables)
        named = {name: self.network.get_layer(name).output for name in ("features", "probabilities")}
        self.outputs = tf.function(keras.Model(self.network.inputs, named), autograph=False, reduce_retracing=True)

    def start_anew(self, seed: int, learning_rate: float) -> None:
        """Weights, state of the dropout and optimizer, as of a network that was made just now."""
        keras.utils.set_random_seed(seed)
        for variable, initial in zip(self.network.variables, self._build().variables, strict=True):
            variable.assign(initial)
        optimizer = self.network.optimizer
        for variable in optimizer.variables:
            variable.assign(tf.zeros(variable.shape, variable.dtype))
        optimizer.learning_rate.assign(learning_rate)

    def _build(self) -> keras.Model:
        network = [keras.Input((self._side, self._side, 1))]
        for filters in FILTERS:
            network += [layers.Conv2D(filters, KERNEL, padding="same", activation="relu"), layers.MaxPooling2D()]
        network += [
            layers.Flatten(),
            layers.Dense(FEATURES, activation="relu", name="features"),
            layers.Dropout(DROPOUT),
            layers.Dense(self._class_count, activation="softmax", name="probabilities"),
        ]
        return keras.Sequential(network)


_seat = lru_cache(maxsize=WARM_NETWORKS)(_Seat)


@dataclass(frozen=True)
class _GreyValues:
    """Those of the images that are learnt from, by which all are standardised."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, images: ImageRows) -> Self:
        counts, levels = np.zeros(GREY_LEVELS, np.int64), np.arange(GREY_LEVELS)
        for start in range(0, len(images), IMAGES_AT_ONCE):
            counts += intensity_histogram(images[np.arange(start, min(start + IMAGES_AT_ONCE, len(images)))])
        mean = np.average(levels, weights=counts)
        return cls(float(mean), float(np.sqrt(np.average((levels - mean) ** 2, weights=counts))) or 1.0)

    def standardised(self, images: Images) -> NDArray[np.float32]:
        """(B, S, S, 1)."""
        return ((images[..., np.newaxis] - np.float32(self.mean)) / np.float32(self.deviation)).astype(np.float32)


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """The batches of an epoch, each image with its class and its weight; drawn anew for the next if there is a seed."""

    def __init__(
        self,
        images: ImageRows,
        classes: Classes,
        greys: _GreyValues,
        recipe: Recipe,
        seed: int | None = None,
        change: Change | None = None,
    ) -> None:
        super().__init__()
        self._images = images
        self._classes = classes
        self._greys = greys
        self._recipe = recipe
        self._seed = seed
        self._chance = None if seed is None else np.random.default_rng(seed)
        self._change = change
        self._epoch = 0
        counts = np.bincount(classes)
        shares = len(classes) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        self._weights = np.where(recipe.balance == "weights", shares[classes], 1.0).astype(np.float32)
        self._order = self._drawn()

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._recipe.batch_size)

    def __getitem__(self, batch: int) -> tuple[NDArray[np.float32], Classes, NDArray[np.float32]]:
        first = batch * self._recipe.batch_size
        rows = np.sort(self._order[first : first + self._recipe.batch_size])
        images = self._images[rows]
        if self._change is not None:
            # By the batch's place alone: Keras also looks at batches before the first epoch, and ahead of time.
            of_batch = np.random.Philox(key=[self._seed or 0, self._epoch], counter=[0, 0, 0, batch])
            images = self._change(images, rows, Generator(of_batch))
        return self._greys.standardised(images), self._classes[rows], self._weights[rows]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._order = self._drawn()

    def _drawn(self) -> NDArray[np.int64]:
        rows = np.arange(len(self._classes))
        if self._chance is None:
            return rows
        if self._recipe.balance == "oversampling":
            groups = [np.flatnonzero(self._classes == each) for each in np.unique(self._classes)]
            largest = max(map(len, groups))
            rows = np.concatenate([rows, *(self._chance.choice(group, largest - len(group)) for group in groups)])
        return self._chance.permutation(rows)


def _check(
    images: ImageRows, classes: Classes, class_count: int, recipe: Recipe, validation: tuple[Images, Classes] | None
) -> None:
    if len(images.shape) != 3 or images.shape[1] != images.shape[2] or images.shape[1] < SMALLEST_SIDE:
        raise ValueError(f"images of shape {images.shape}: squares of {SMALLEST_SIDE} pixels or more are needed")
    pairs: list[tuple[ImageRows, Classes]] = [(images, classes), *([validation] if validation else [])]
    for shown, named in pairs:
        if len(shown) != len(named) or shown.shape[1:] != images.shape[1:]:
            raise ValueError(f"{shown.shape} images have {len(named)} classes: each needs one, and all one size")
        if len(named) and not 0 <= named.min() <= named.max() < class_count:
            raise ValueError(f"classes from {named.min()} to {named.max()} are not among {class_count}")
    if recipe.patience is not None and not (validation and len(validation[0])):
        raise ValueError("patience goes by the loss of validation images, and there are none")
    if len(np.unique(classes)) < 2:
        raise InvalidRequest("A classifier needs images of two classes: take a dataset with two kinds of findings.")
