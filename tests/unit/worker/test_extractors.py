"""Which extractor a name stands for, what it is fitted on, and what is said where it cannot be had."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from drawn import chest
from worker import extractors
from worker.contract.errors import InvalidRequest
from worker.dataset import Dataset
from worker.distortions import DISTORTIONS
from worker.extractors import LEAST_OF_CLASS, OF_LABELS, InceptionFeatures, extractor_named
from worker.metrics.features import FeatureExtractor

TRAINED, HELD_OUT = 60, 10


@pytest.fixture(autouse=True)
def few_images_are_learnt_from(monkeypatch) -> None:
    monkeypatch.setattr(extractors, "IMAGES_PASSED", 150)
    monkeypatch.setattr(extractors, "DISTORTED_IMAGES", 5)


def radiographs(side: int) -> NDArray[np.uint8]:
    return np.stack([chest(seed, side) for seed in range(TRAINED + HELD_OUT)])


def dataset(folder: Path, findings: list[str], side: int = 16, images: NDArray[np.uint8] | None = None) -> Dataset:
    """The first TRAINED images are for training; findings are repeated as often as needed."""
    count = TRAINED + HELD_OUT
    lines = [f"{findings[index % len(findings)]},{index}" for index in range(count)]
    (folder / "items.csv").write_text("\n".join(["labels,index", *lines]) + "\n")
    shown = radiographs(side) if images is None else images
    return Dataset(folder, shown, np.repeat(np.array([0, 1], np.uint8), [TRAINED, HELD_OUT]))


def made(name: Any, of: Dataset, **more: Any) -> FeatureExtractor:
    return extractor_named(name, of, **{"seed": 0, "inception_weights": None, "on_epoch": lambda *_: None} | more)


def test_pixels_are_fitted_on_the_training_part(tmp_path) -> None:
    extractor = made("pixels", dataset(tmp_path, [""]))
    assert (extractor.name, extractor.caveats) == ("pixels", ())
    assert extractor.fitted_on == f"{TRAINED} reference images of 16x16 pixels"


def test_two_frequent_findings_are_what_the_classifier_learns(tmp_path) -> None:
    extractor = made("classifier", dataset(tmp_path, ["Effusion", "Effusion|Nodule"]))
    assert extractor.fitted_on == f"the labels of {TRAINED} training images in 2 classes, at 16x16 pixels"
    assert (extractor.name, extractor.dimensions) == ("classifier", 256)
    assert extractor.caveats == (OF_LABELS,)


@pytest.mark.parametrize("findings", [["Effusion"], [""], ["Effusion"] * 2 + ["Nodule"]])
def test_without_them_it_learns_distortions(findings, tmp_path) -> None:
    assert TRAINED // 3 < LEAST_OF_CLASS
    extractor = made("classifier", dataset(tmp_path, findings))
    expected = f"5 training images under {len(DISTORTIONS)} distortions each, without labels, at 16x16 pixels"
    assert extractor.fitted_on == expected
    assert extractor.caveats == ()


def test_no_held_out_image_is_learnt_from_and_equal_seeds_give_equal_features(tmp_path) -> None:
    other = radiographs(16)
    other[TRAINED:] = 255 - other[TRAINED:]
    first, second = (made("classifier", dataset(tmp_path, [""], images=each)) for each in (radiographs(16), other))
    shown = radiographs(16)[:7]
    features = first(shown)
    assert features.shape == (7, 256)
    np.testing.assert_array_equal(second(shown), features)


def test_large_images_are_reduced_by_area(tmp_path) -> None:
    large = np.repeat(np.repeat(radiographs(32), 2, axis=1), 2, axis=2)
    extractor = made("classifier", dataset(tmp_path, [""], images=large))
    assert "at 32x32 pixels" in extractor.fitted_on
    np.testing.assert_array_equal(extractor(large[:5]), extractor(radiographs(32)[:5]))


def test_epochs_are_told_and_what_that_raises_ends_it(tmp_path) -> None:
    told = []

    class Enough(Exception):
        pass

    def stop(done: int, epochs: int) -> None:
        told.append((done, epochs))
        raise Enough

    with pytest.raises(Enough):
        made("classifier", dataset(tmp_path, [""]), on_epoch=stop)
    assert told == [(1, 2)]


def test_too_few_training_images_are_refused(tmp_path) -> None:
    whole = dataset(tmp_path, [""])
    few = Dataset(tmp_path, whole.images, np.repeat(np.array([0, 1], np.uint8), [19, TRAINED + HELD_OUT - 19]))
    with pytest.raises(InvalidRequest, match="has 19 images, and 'classifier' learns from 20 or more") as refused:
        made("classifier", few)
    assert refused.value.errors[0].pointer == "#/features"


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """InceptionV3 with random weights, as nobody has learnt them."""
    keras.utils.set_random_seed(0)
    return keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(299, 299, 3), pooling="avg")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras as it writes HDF5
def test_inception_takes_its_weights_from_a_file(network, tmp_path) -> None:
    weights = tmp_path / "inception_notop.h5"  # as a whole model in HDF5, of the older kind that Keras publishes
    network.save(weights, include_optimizer=False)
    extractor = made("inception", dataset(tmp_path, [""]), inception_weights=weights)
    shown = radiographs(64)[:2]
    features = extractor(shown)
    assert features.shape == (2, extractor.dimensions)
    assert (extractor.name, extractor.comparable_with_published) == ("inception", False)
    assert "are not the published FID or KID" in extractor.caveats[0]
    coloured = shown[..., np.newaxis].repeat(3, axis=-1).astype(np.float32)
    large = keras.ops.image.resize(coloured, (299, 299), antialias=True)
    expected = network(large / 127.5 - 1, training=False)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5)


def test_without_weights_inception_says_what_to_put_where(tmp_path) -> None:
    for weights, sentence in ((None, "RAGAN_INCEPTION_WEIGHTS is not set"), (tmp_path / "gone.h5", "no file gone.h5")):
        with pytest.raises(InvalidRequest, match=sentence) as refused:
            InceptionFeatures(weights)
        assert refused.value.errors[0].pointer == "#/features"
        assert "put inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5" in refused.value.detail


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_files_of_something_else_are_refused(network, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(keras.applications, "InceptionV3", lambda **_: network)
    small = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    small.save_weights(tmp_path / "small.weights.h5")
    small.save(tmp_path / "small.h5", include_optimizer=False)
    for name in ("text.h5", "text.weights.h5", "text.txt"):
        (tmp_path / name).write_text("nothing of the kind")
    for file in sorted(tmp_path.iterdir()):
        with pytest.raises(InvalidRequest, match=f"{file.name} does not hold the weights"):
            InceptionFeatures(file)
