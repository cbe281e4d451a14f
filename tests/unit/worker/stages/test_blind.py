"""A blind reading from end to end: which images it has, how they are mixed, and what is told of it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trainers import labelled_dataset
from worker.context import StopRequested
from worker.contract.errors import CheckpointMissing, InvalidRequest
from worker.contract.readings import Truth
from worker.contract.requests import ClassChoice, GenerationRequest, ReaderStudyRequest, TrainingRequest
from worker.contract.resources import Kind
from worker.contract.results import ReaderStudyResult
from worker.dataset import Dataset
from worker.stages.blind import prepare_reading
from worker.stages.generate import generate
from worker.stages.train import train

SIZE, COUNT = 8, 12


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Noise: to test by, 20 nodules and 10 masses."""
    images = np.random.default_rng(1).integers(0, 256, (40, SIZE, SIZE), np.uint8)
    labels = ["Mass", "Nodule"] * 4 + ["Nodule"] * 20 + ["Mass"] * 12
    parts = ["train"] * 8 + ["test"] * 30 + ["validation"] * 2
    return labelled_dataset(tmp_path / "dataset", images, labels, parts)


def trained(context: Any, dataset: Dataset, family: str) -> str:
    request = TrainingRequest(dataset=Kind.DATASET.new_id(), model={"family": family}, steps=2, batch_size=4)
    train(request, dataset, context)
    return str(context.resource_id)


@pytest.fixture
def training(job_context: Callable[..., Any], dataset: Dataset, tiny: str) -> str:
    return trained(job_context(Kind.TRAINING.new_id()), dataset, tiny)


def run(
    context: Any, dataset: Dataset, training: str, classes: ClassChoice | None = None, **more: Any
) -> tuple[ReaderStudyResult, NDArray[np.uint8], Truth]:
    """The result, the images, and which is which."""
    asked = ReaderStudyRequest(**{"training": training, "checkpoint": 2, "count": COUNT} | more)
    result = prepare_reading(asked, dataset, context, classes=classes)
    folder = context.store.folder(context.resource_id)
    return result, np.load(folder / "images.npy"), Truth.model_validate_json((folder / "truth.json").read_bytes())


def test_synthetic_images_are_mixed_with_as_many_real_ones_that_were_not_learnt_from(
    job_context, dataset, training
) -> None:
    context = job_context(Kind.READER_STUDY.new_id())
    result, images, truth = run(context, dataset, training, seed=3)
    assert (result.synthetic, result.real, result.reference, result.classes) == (COUNT, COUNT, "test", ())
    assert (images.shape, images.dtype, result.image_size) == ((2 * COUNT, SIZE, SIZE), np.uint8, SIZE)
    assert Counter(image.origin for image in truth.images) == {"real": COUNT, "synthetic": COUNT}
    assert {image.class_name for image in truth.images} == {None}

    drawing = job_context(Kind.GENERATION.new_id())
    generate(GenerationRequest(training=training, checkpoint=2, count=COUNT, seed=3), drawing)
    drawn = np.load(drawing.store.folder(drawing.resource_id) / "shards" / "000000.npy")
    for pixels, image in zip(images, truth.images, strict=True):
        assert np.array_equal(pixels, (dataset.images if image.origin == "real" else drawn)[image.source])
    real = {image.source for image in truth.images if image.origin == "real"}
    assert len(real) == COUNT
    assert real <= set(dataset.indices("test").tolist())
    assert len({image.origin for image in truth.images[:COUNT]}) == 2
    assert context.last_progress.phase == "generate"


def test_a_seed_chooses_the_images_and_not_their_order(job_context, dataset, training) -> None:
    runs = [run(job_context(Kind.READER_STUDY.new_id()), dataset, training, seed=3) for _ in range(2)]
    first, second = ({pixels.tobytes() for pixels in images} for _, images, _ in runs)
    assert first == second
    assert not np.array_equal(runs[0][1], runs[1][1])
    assert runs[0][2].secret != runs[1][2].secret


def test_classes_are_as_mixed_as_those_of_the_real_images(job_context, dataset, tiny_labelled) -> None:
    training = trained(job_context(Kind.TRAINING.new_id()), dataset, tiny_labelled)
    result, _, truth = run(job_context(Kind.READER_STUDY.new_id()), dataset, training, count=30, tasks=("class",))
    assert result.classes == ("Mass", "Nodule")
    mixes = [Counter(each.class_name for each in truth.images if each.origin == kind) for kind in ("real", "synthetic")]
    assert mixes == [{"Nodule": 20, "Mass": 10}] * 2


def test_a_training_that_was_kept_to_a_class_stands_beside_that_alone(job_context, dataset, training) -> None:
    masses = ClassChoice(only=("Mass",))
    _, _, truth = run(job_context(Kind.READER_STUDY.new_id()), dataset, training, masses, count=10)
    found = dataset.classes("labels")
    real = [image.source for image in truth.images if image.origin == "real"]
    assert {found.names[code] for code in found.codes[real]} == {"Mass"}
    with pytest.raises(InvalidRequest, match="has 10 images, and 11 are to be shown"):
        run(job_context(Kind.READER_STUDY.new_id()), dataset, training, masses, count=11)
    with pytest.raises(InvalidRequest, match="does not tell classes apart"):
        run(job_context(Kind.READER_STUDY.new_id()), dataset, training, masses, count=10, tasks=("class",))


def test_a_stop_is_heard(job_context, dataset, training) -> None:
    with pytest.raises(StopRequested):
        run(job_context(Kind.READER_STUDY.new_id(), stop_after=0), dataset, training)


@pytest.mark.parametrize("checkpoint", [7, "latest"])
def test_a_checkpoint_that_is_gone_or_was_not_resolved_is_told(job_context, dataset, training, checkpoint) -> None:
    with pytest.raises(CheckpointMissing):
        run(job_context(Kind.READER_STUDY.new_id()), dataset, training, checkpoint=checkpoint)
