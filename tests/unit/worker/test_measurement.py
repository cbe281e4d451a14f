from typing import get_args

import numpy as np
import pytest

from worker import measurement
from worker.contract.requests import DISTANCES, TrackedMetric
from worker.measurement import TRACKED, over_features, over_images


def test_every_tracked_metric_is_a_number_of_one_that_there_is() -> None:
    chance = np.random.default_rng(0)
    real, synthetic = chance.integers(0, 256, (2, 40, 16, 16), np.uint8)
    features = [images.reshape(len(images), -1)[:, :4] / 255 for images in (real, synthetic)]
    assert TRACKED.keys() == set(get_args(TrackedMetric)) > DISTANCES
    for metric, number in TRACKED.values():
        if metric in over_features(0):
            result = over_features(0)[metric](*features)
        else:
            result = over_images(0)[metric](real, synthetic)
        assert isinstance(getattr(result, number), float)


@pytest.mark.parametrize("metric", ["frechet_distance", "kernel_distance"])
def test_of_a_distance_less_is_better(metric: TrackedMetric) -> None:
    real, near = np.random.default_rng(0).normal(size=(2, 60, 4))
    name, number = TRACKED[metric]
    measure = over_features(0)[name]
    assert getattr(measure(real, near), number) < getattr(measure(real, near + 2), number)


def test_where_there_are_more_of_one_kind_those_that_come_first_are_compared() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 16), np.uint8)
    distance = over_images(0)["sliced_wasserstein_distance"]
    assert distance(images, images[:40]).mean == 0
    assert distance(images[:40], images).mean == 0


def test_the_sliced_wasserstein_distance_takes_no_more_images_than_there_is_memory_for(monkeypatch) -> None:
    monkeypatch.setattr(measurement, "MOST_BY_PATCHES", 30)
    images, others = np.random.default_rng(0).integers(0, 256, (2, 50, 16, 16), np.uint8)
    others[:30] = images[:30]
    assert over_images(0)["sliced_wasserstein_distance"](images, others).mean == 0
