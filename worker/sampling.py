"""Draws images by a trained generator: always in slices of one size, so that a latent point gives the same pixels."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.checkpoint import load_generator
from worker.contract.fast_paths import FastPath
from worker.fast_paths import FastPaths, taking
from worker.models.networks.folding import fold_batch_norm
from worker.precision import Precision, computing_in

CPU_SLICE, GPU_SLICE = 8, 256
"""Images per call of the network, padded to it: another batch size may round differently, and pixels with it."""
WARM_MODELS = 4

Sampler = Callable[[NDArray[np.float32]], NDArray[np.uint8]]


@lru_cache(maxsize=WARM_MODELS)
def load_sampler(training: Path, step: int, precision: Precision, fast_paths: FastPaths) -> tuple[Sampler, int, int]:
    """A training's generator at a step, ready to draw; the last few stay loaded."""
    with computing_in(precision), taking(fast_paths):
        network = load_generator(training, step)
        return sampler_of(network, fast_paths), network.input_shape[-1], network.output_shape[1]


def sampler_of(network: keras.Model, fast_paths: FastPaths) -> Sampler:
    """Draws uint8 images (B, S, S) for latent points (B, latent_size), of any number, by a network as it is now."""
    folded = fold_batch_norm(network) if FastPath.FOLDED_BATCH_NORM in fast_paths else network
    size, latent_size = slice_size(), network.input_shape[-1]

    def to_grey(latents: tf.Tensor) -> tf.Tensor:
        images = tf.cast(folded(latents, training=False), tf.float32)
        return tf.cast(tf.round(255.0 * tf.clip_by_value(images, 0.0, 1.0)), tf.uint8)[..., 0]

    draw = tf.function(to_grey, autograph=False, input_signature=[tf.TensorSpec((size, latent_size), tf.float32)])

    def draw_slice(part: NDArray[np.float32]) -> NDArray[np.uint8]:
        padded = np.zeros((size, latent_size), np.float32)
        padded[: len(part)] = part
        images: NDArray[np.uint8] = draw(tf.constant(padded)).numpy()[: len(part)]
        return images

    def sample(latents: NDArray[np.float32]) -> NDArray[np.uint8]:
        slices = [latents[start : start + size] for start in range(0, len(latents), size)]
        with ThreadPoolExecutor(_slices_at_once()) as threads:
            return np.concatenate(list(threads.map(draw_slice, slices)))

    return sample


def slice_size() -> int:
    """Images per call of the network on this worker's kind of device."""
    return GPU_SLICE if _on_gpu() else CPU_SLICE


def _slices_at_once() -> int:
    """Calls of the network that run side by side: on a CPU, one alone leaves cores idle between its operations."""
    return 1 if _on_gpu() else os.cpu_count() or 1


def _on_gpu() -> bool:
    return bool(tf.config.list_logical_devices("GPU"))
