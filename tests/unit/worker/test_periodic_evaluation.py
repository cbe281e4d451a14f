"""What a training is compared with on the way, by drawing from generators that are no networks."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from trainers import labelled_dataset
from worker.contract.checkpoints import NO_CLASSES, LearntClasses
from worker.contract.errors import InvalidRequest, NoUsableImages
from worker.contract.requests import ClassChoice, TrackedMetric, TrainingRequest
from worker.dataset import Dataset
from worker.draws import latent_points
from worker.periodic_evaluation import COMPARED, Draw, PeriodicEvaluation
from worker.population import Population

SIZE, LATENT_SIZE = 16, 4
EVERYTHING = get_args(TrackedMetric)
LABELS = ("Nodule", "Mass", "Nodule")
"""Of the images in turn."""
LEARNT = LearntClasses(by="labels", names=("Mass", "Nodule"))


def blurred(chance: np.random.Generator, images: int) -> NDArray[np.uint8]:
    """Images that differ by a slope and its height."""
    slopes, heights = chance.normal(0, 40, images), chance.normal(128, 20, images)
    planes = heights[:, None, None] + slopes[:, None, None] * np.linspace(-1, 1, SIZE)[None, :, None]
    return np.clip(planes + chance.normal(0, 4, (images, SIZE, SIZE)), 0, 255).astype(np.uint8)


def dataset(folder: Path, *, train: int = 60, validation: int = 45) -> Dataset:
    """Those of masses are brighter."""
    count = train + validation
    labels = [LABELS[index % len(LABELS)] for index in range(count)]
    images = blurred(np.random.default_rng(5), count)
    images[1::3] = np.minimum(images[1::3], 205) + 50
    return labelled_dataset(folder, images, labels, ["train"] * train + ["validation"] * validation)


def evaluation(
    data: Dataset, learnt: LearntClasses = NO_CLASSES, classes: ClassChoice | None = None, **fields: Any
) -> PeriodicEvaluation:
    request = TrainingRequest(
        dataset="ds_x", evaluate_every=1, classes=classes, **({"evaluate_metrics": EVERYTHING} | fields)
    )
    return PeriodicEvaluation(request, data, Population(data.images, data.indices("train"), learnt), LATENT_SIZE)


def drawing(spread: float) -> Draw:
    """Draws images like the real ones, as varied as it is told, from the first numbers of their latent points."""

    def draw(latents: NDArray[np.float32], _: NDArray[np.int32] | None) -> NDArray[np.float32]:
        slopes, heights = (70 * latents[:, :2].T * spread)[..., None, None]
        planes = 140 + heights / 2 + slopes * np.linspace(-1, 1, SIZE)[:, None]
        return np.broadcast_to(planes / 255, (len(latents), SIZE, SIZE)).astype(np.float32)

    return draw


def test_equal_networks_have_equal_metrics_however_often_and_by_whomever_they_are_taken(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    first, again = evaluation(data), evaluation(data)
    metrics = first.of(drawing(1))
    assert tuple(metrics) == EVERYTHING
    assert metrics == first.of(drawing(1)) == again.of(drawing(1))
    assert metrics != evaluation(data, seed=1).of(drawing(1))


def test_a_better_generator_is_nearer_to_real_images(tmp_path: Path) -> None:
    compared = evaluation(dataset(tmp_path))
    good, collapsed = compared.of(drawing(1)), compared.of(drawing(0.01))
    for metric in ("frechet_distance", "kernel_distance", "sliced_wasserstein_distance"):
        assert good[metric] < collapsed[metric], metric
    assert good["recall"] > collapsed["recall"]


def test_the_latent_points_are_the_first_of_the_seed_each_time(tmp_path: Path) -> None:
    seen = []

    def draw(latents: NDArray[np.float32], codes: NDArray[np.int32] | None) -> NDArray[np.float32]:
        seen.append(latents)
        assert codes is None
        return drawing(1)(latents, codes)

    compared = evaluation(dataset(tmp_path, train=60, validation=100), seed=7)
    for _ in range(2):
        seen.clear()
        compared.of(draw)
        np.testing.assert_array_equal(np.concatenate(seen), latent_points(7, 0, 100, LATENT_SIZE))


def test_classes_are_drawn_in_the_mix_of_the_real_images(tmp_path: Path) -> None:
    """Whoever draws a mass bright and a nodule dark, as they are, is the nearer one."""
    codes_seen = []

    def shifted(by: float) -> Draw:
        def draw(latents: NDArray[np.float32], codes: NDArray[np.int32] | None) -> NDArray[np.float32]:
            assert codes is not None
            codes_seen.append(codes)
            return drawing(1)(latents, None) + by * np.float32(codes == LEARNT.names.index("Mass"))[:, None, None]

        return draw

    data = dataset(tmp_path)
    compared = evaluation(data, LEARNT)
    right, wrong = compared.of(shifted(50 / 255)), compared.of(shifted(-50 / 255))
    assert right["frechet_distance"] < wrong["frechet_distance"]
    (codes, _) = codes_seen
    assert np.bincount(codes).tolist() == [15, 30]


@pytest.mark.parametrize(
    ("sizes", "compared_with"),
    [
        ({}, "45 validation images"),
        ({"validation": 39}, "60 train images"),
        ({"validation": COMPARED + 10}, f"{COMPARED} validation images"),
    ],
)
def test_images_to_validate_with_are_compared_unless_they_are_too_few(
    tmp_path: Path, sizes: dict[str, int], compared_with: str
) -> None:
    assert evaluation(dataset(tmp_path, **sizes)).compared_with == compared_with


def test_images_of_other_classes_are_left_out(tmp_path: Path) -> None:
    data = dataset(tmp_path, train=150)
    compared = evaluation(data, classes=ClassChoice(only=("Mass",)))
    assert compared.compared_with == "50 train images"
    learnt = LearntClasses(by="labels", names=("Nodule",))
    assert evaluation(data, learnt).compared_with == "100 train images"


def test_too_few_images_of_a_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="20 images to learn from and 15 to validate with") as caught:
        evaluation(dataset(tmp_path), classes=ClassChoice(only=("Mass",)))
    assert [error.pointer for error in caught.value.errors] == ["#/evaluate_every"]


def test_images_that_are_all_equal_are_refused(tmp_path: Path) -> None:
    data = labelled_dataset(tmp_path, np.zeros((50, SIZE, SIZE), np.uint8), ["Mass"] * 50)
    with pytest.raises(NoUsableImages, match="All reference images are equal"):
        evaluation(data)
