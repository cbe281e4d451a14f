"""Every number that an evaluation can tell has words, and those without are told all the same."""

import dataclasses

import pytest

from app.measures import MEASURES, MEMORISATION, figures, measure, memorisation_figures, number
from worker.metrics.density_coverage import DensityCoverage
from worker.metrics.frechet_distance import FrechetDistance
from worker.metrics.intensity_histogram import IntensityDistance
from worker.metrics.kernel_distance import KernelDistance
from worker.metrics.memorisation import Memorisation
from worker.metrics.power_spectrum import SpectralDistance
from worker.metrics.precision_recall import PrecisionRecall
from worker.metrics.sliced_wasserstein import SlicedWassersteinDistance
from worker.metrics.structural_similarity import Diversity

RESULTS = {
    "frechet_distance": FrechetDistance,
    "kernel_distance": KernelDistance,
    "precision_recall": PrecisionRecall,
    "density_coverage": DensityCoverage,
    "sliced_wasserstein_distance": SlicedWassersteinDistance,
    "diversity": Diversity,
    "intensity_distance": IntensityDistance,
    "spectral_distance": SpectralDistance,
}


def test_the_words_are_those_of_the_metrics():
    assert MEASURES.keys() == RESULTS.keys()
    for name, result in RESULTS.items():
        assert MEASURES[name].meanings.keys() <= {field.name for field in dataclasses.fields(result)}
    assert MEMORISATION.meanings.keys() <= {field.name for field in dataclasses.fields(Memorisation)}


def test_a_number_stands_beside_its_floor():
    measured = {
        "value": {"precision": 0.5, "recall": 0.1},
        "value_at_floor_images": {"recall": 0.2},
        "floor": {"recall": 0.9},
    }
    shown = [
        (each.name, each.value, each.at_floor_images, each.floor) for each in figures("precision_recall", measured)
    ]
    assert shown == [("precision", 0.5, None, None), ("recall", 0.1, 0.2, 0.9)]
    (copies,) = memorisation_figures({"copies": 3})
    assert (copies.name, copies.value, copies.floor) == ("copies", 3, None)


def test_a_metric_without_words_is_told_by_its_own_names():
    shown = figures("new_metric", {"value": {"low_end": 0.5, "parts": [1]}, "floor": None})
    assert [(each.name, each.value, each.meaning) for each in shown] == [("new metric low end", 0.5, "")]
    assert measure("new_metric").title == "new metric"


@pytest.mark.parametrize(
    ("value", "text"), [(None, "n/a"), (0, "0"), (112_120, "112,120"), (75.47074, "75.47"), (0.0025343, "0.002534")]
)
def test_numbers_are_to_be_read(value, text):
    assert number(value) == text
