"""Draws images by a trained generator: always in slices of one size, so that a latent point gives the same pixels."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.adversarial import with_codes
from worker.checkpoint import load_generator
from worker.contract.checkpoints import LearntClasses
from worker.contract.fast_paths import FastPath
from worker.fast_paths import FastPaths, taking
from worker.models.networks.folding import fold_batch_norm
from worker.precision import Precision, computing_in

CPU_SLICE, GPU_SLICE = 8, 256
"""Images per call of the network, padded to it: another batch size may round differently, and pixels with it."""
WARM_MODELS = 4


class Sampler(Protocol):
    """Draws uint8 images (B, S, S) for latent points (B, latent_size), of any number.

    `codes` int32 (B,) are the classes of the images, None if the network has learnt none.
    """

    def __call__(self, latents: NDArray[np.float32], codes: NDArray[np.int32] | None = None) -> NDArray[np.uint8]: ...


@lru_cache(maxsize=WARM_MODELS)
def load_sampler(training: Path, step: int, precision: Precision, fast_paths: FastPaths) -> tuple[Sampler, int, int]:
    """A training's generator at a step, ready to draw; the last few stay loaded."""
    with computing_in(precision), taking(fast_paths):
        network = load_generator(training, step)
        return sampler_of(network, fast_paths), network.inputs[0].shape[-1], network.output_shape[1]


def sampler_of(network: keras.Model, fast_paths: FastPaths) -> Sampler:
    """Draws by a network as it is now."""
    folded = fold_batch_norm(network) if FastPath.FOLDED_BATCH_NORM in fast_paths else network
    size = slice_size()
    specs = [tf.TensorSpec((size, *each.shape[1:]), each.dtype) for each in network.inputs]

    def to_grey(*inputs: tf.Tensor) -> tf.Tensor:
        images = tf.cast(folded(with_codes(*inputs), training=False), tf.float32)
        return tf.cast(tf.round(255.0 * tf.clip_by_value(images, 0.0, 1.0)), tf.uint8)[..., 0]

    draw = tf.function(to_grey, autograph=False, input_signature=specs)

    def draw_slice(parts: Sequence[NDArray[Any]]) -> NDArray[np.uint8]:
        count = len(parts[0])
        padded = [np.zeros((size, *part.shape[1:]), part.dtype) for part in parts]
        for whole, part in zip(padded, parts, strict=True):
            whole[:count] = part
        images: NDArray[np.uint8] = draw(*map(tf.constant, padded)).numpy()[:count]
        return images

    def sample(latents: NDArray[np.float32], codes: NDArray[np.int32] | None = None) -> NDArray[np.uint8]:
        inputs: list[NDArray[Any]] = [latents] if codes is None else [latents, codes]
        slices = [[each[start : start + size] for each in inputs] for start in range(0, len(latents), size)]
        with ThreadPoolExecutor(_slices_at_once()) as threads:
            return np.concatenate(list(threads.map(draw_slice, slices)))

    return sample


def codes_of(labels: Sequence[str] | None, learnt: LearntClasses) -> NDArray[np.int32] | None:
    """The codes, int32 of as many, by which a network knows some of the classes it has learnt; None without labels."""
    return None if labels is None else np.array([learnt.names.index(label) for label in labels], np.int32)


def slice_size() -> int:
    """Images per call of the network on this worker's kind of device."""
    return GPU_SLICE if _on_gpu() else CPU_SLICE


def _slices_at_once() -> int:
    """Calls of the network that run side by side: on a CPU, one alone leaves cores idle between its operations."""
    return 1 if _on_gpu() else os.cpu_count() or 1


def _on_gpu() -> bool:
    return bool(tf.config.list_logical_devices("GPU"))
