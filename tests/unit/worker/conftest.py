"""Families of models that a test installs: whole ones, broken ones, and ones that fail at a chosen step."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from worker.models.registry import families

TINY = """
from typing import ClassVar

import keras
import tensorflow as tf

from worker.models.base import CommonHyperparameters, Family


class Tiny(Family[CommonHyperparameters]):
    name = "tiny"
    title = "8x8, for tests"
    reference = "none"
    image_size = 8
    latent_size = 4
    hyperparameters = CommonHyperparameters
    presets: ClassVar = {"default": CommonHyperparameters(dropout=0.5), "reference": CommonHyperparameters()}

    def generator(self, hyperparameters, classes):
        return keras.Sequential([
            keras.Input((4,)),
            keras.layers.Dense(64),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("sigmoid"),
            keras.layers.Reshape((8, 8, 1)),
        ])

    def discriminator(self, hyperparameters, classes):
        return keras.Sequential([
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dropout(hyperparameters.dropout),
            keras.layers.Dense(1),
        ])
"""

TINY_LABELLED = (
    TINY
    + """

from worker.models.networks.conditioning import EMBEDDING_SIZE, conditional_generator, projection_discriminator


class TinyLabelled(Tiny):
    name = "tiny-labelled"
    takes_labels = True

    def generator(self, hyperparameters, classes):
        layers = map(fresh, super().generator(hyperparameters, classes).layers)
        return conditional_generator(keras.Sequential([keras.Input((4 + EMBEDDING_SIZE,)), *layers]), classes)

    def discriminator(self, hyperparameters, classes):
        features = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Dropout(hyperparameters.dropout)])
        head = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
        return projection_discriminator(features, head, classes)


def fresh(layer):
    return type(layer).from_config(layer.get_config())
"""
)

Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution of one module for this test: `install(module, source, name of its family class)`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    installed = []

    def put(module: str, source: str, kind: str) -> None:
        installed.append(module)
        (site / f"{module}.py").write_text(dedent(source))
        metadata = site / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[ragan.models]\n{module} = {module}:{kind}\n")
        importlib.invalidate_caches()
        families.cache_clear()

    yield put
    families.cache_clear()
    for module in installed:
        sys.modules.pop(module, None)


@pytest.fixture
def tiny(install: Install) -> str:
    """A family of 8x8 images that trains in no time, with dropout, batch norm and an average; its name."""
    install("tiny_family", TINY, "Tiny")
    return "tiny"


@pytest.fixture
def tiny_labelled(install: Install) -> str:
    """The same, which takes labels."""
    install("tiny_labelled_family", TINY_LABELLED, "TinyLabelled")
    return "tiny-labelled"


@pytest.fixture
def failing(install: Install) -> Callable[[str], str]:
    """`failing(statement)` installs a family whose every training step runs a statement after the usual one; its name.

    The statement sees `networks` and `metrics`, and `updates`, the number of generator updates so far, as a tensor.
    """

    def put(statement: str) -> str:
        step = f"""

class Failing(Tiny):
    name = "failing"

    def step(self, networks, batch, hyperparameters):
        metrics = super().step(networks, batch, hyperparameters)
        updates = tf.convert_to_tensor(networks.generator_optimizer.iterations)
        {statement}
        return metrics
"""
        install("failing_family", TINY + step, "Failing")
        return "failing"

    return put
