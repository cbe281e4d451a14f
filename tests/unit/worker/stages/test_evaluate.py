"""An evaluation from end to end: what is told, beside what, and what is said where it cannot be told."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trainers import labelled_dataset
from worker import extractors, synthetic_images
from worker.context import StopRequested
from worker.contract.checkpoints import RECORD_FILE, checkpoint_name, latest
from worker.contract.errors import CheckpointMissing, InvalidRequest
from worker.contract.requests import ClassChoice, ClassicalPreset, EvaluationRequest, TrainingRequest
from worker.contract.resources import Kind
from worker.contract.results import BestCheckpoint, EvaluationResult
from worker.dataset import Dataset
from worker.sampling import load_sampler
from worker.sources.phantom import Phantom
from worker.sources.pixels import PngFile, fit_square
from worker.stages import evaluate as stage
from worker.stages.evaluate import evaluate
from worker.stages.train import train

SIZE = 28
TRAINED, VALIDATED, TESTED = 120, 90, 20
COUNT = 100
METRICS = {
    *("frechet_distance", "kernel_distance", "precision_recall", "density_coverage"),
    *("sliced_wasserstein_distance", "diversity", "intensity_distance", "spectral_distance"),
}


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    """Drawn radiographs, each another one."""
    source = Phantom()
    rows = np.linspace(0, len(source.table) - 1, TRAINED + VALIDATED + TESTED).astype(int)
    return np.stack([fit_square(source.image(int(row)).read(), SIZE, "pad") for row in rows])


@pytest.fixture(scope="module")
def dataset(images: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Without findings."""
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "items.csv").write_text(
        "\n".join(["labels,index", *(f",{index}" for index in range(len(images)))]) + "\n"
    )
    return Dataset(folder, images, np.repeat(np.array([0, 1, 2], np.uint8), [TRAINED, VALIDATED, TESTED]))


@pytest.fixture(scope="module")
def job_context(module_job_context: Callable[..., Any]) -> Callable[..., Any]:
    """Over one store, so that one training serves all tests."""
    return module_job_context


@pytest.fixture
def labelled(images: NDArray[np.uint8], tmp_path: Path) -> Dataset:
    """The same images: of those to validate by 50 are of nodules, 30 of masses and 10 of neither."""
    labels = ["Nodule", "Mass"] * (TRAINED // 2) + ["Nodule"] * 50 + ["Mass"] * 30 + [""] * (10 + TESTED)
    parts = ["train"] * TRAINED + ["validation"] * VALIDATED + ["test"] * TESTED
    return labelled_dataset(tmp_path / "labelled", images, labels, parts)


@pytest.fixture(scope="module")
def training(job_context: Callable[..., Any], dataset: Dataset) -> str:
    """The id of a training of two steps, whose images are little more than noise."""
    return trained(job_context(Kind.TRAINING.new_id()), dataset, "minuscule28")


def trained(context: Any, dataset: Dataset, family: str) -> str:
    request = TrainingRequest(
        dataset=Kind.DATASET.new_id(),
        model={"family": family, "hyperparameters": {"width": 0.05}},
        steps=2,
        batch_size=4,
    )
    train(request, dataset, context)
    assert latest(context.store.folder(context.resource_id)).step == 2
    return str(context.resource_id)


def run(
    context: Any,
    dataset: Dataset,
    training: str,
    classes: ClassChoice | None = None,
    classical_augmentation: ClassicalPreset | None = None,
    **more: Any,
) -> EvaluationResult:
    asked = EvaluationRequest(**{"training": training, "checkpoint": 2, "count": COUNT} | more)
    return evaluate(asked, dataset, context, classes=classes, classical_augmentation=classical_augmentation)


def test_every_metric_is_told_beside_its_floor_and_the_pictures_are_published(job_context, dataset, training) -> None:
    context = job_context(Kind.EVALUATION.new_id())
    result = run(context, dataset, training)
    assert (result.synthetic, result.real, result.reference) == (COUNT, VALIDATED, "validation")
    assert (result.features.extractor, result.features.comparable_with_published) == ("pixels", False)
    assert result.metrics.keys() == METRICS
    for measured in result.metrics.values():
        assert measured.floor is not None
        assert measured.floor.keys() == measured.value.keys()
        assert measured.value_at_floor_images.keys() == measured.value.keys()
        assert measured.floor_images == VALIDATED // 2
    far = result.metrics["frechet_distance"]
    assert far.value["distance"] > 10 * far.floor["distance"]
    assert result.metrics["precision_recall"].value["recall"] < 0.1
    assert result.memorisation["copies"] == 0
    proximity = result.memorisation["in_features"]
    assert proximity["synthetic"] > proximity["held_out"] > 0
    assert proximity["training_images"] == TRAINED
    assert proximity["nearer_than_held_out"] < 0.1
    assert "'pixels'" in result.caveats[0]
    json.dumps(result.model_dump(mode="json"), allow_nan=False)

    folder = context.store.folder(context.resource_id)
    assert PngFile(folder / "grid.png").read().pixels.shape[0] > 4 * SIZE
    assert PngFile(folder / "nearest.png").read().pixels.size
    phases = [report.phase for report in context.reporter.reports]
    assert list(dict.fromkeys(phases)) == ["generate", "features", "evaluate", "memorisation", "proximity"]


def test_equal_requests_have_equal_results(job_context, dataset, training) -> None:
    first, second = (run(job_context(Kind.EVALUATION.new_id()), dataset, training, seed=3) for _ in range(2))
    assert first.model_copy(update={"seconds": 0.0}) == second.model_copy(update={"seconds": 0.0})


def test_real_images_are_as_near_as_their_floor_and_training_images_are_found_out(
    job_context, dataset, training, monkeypatch
) -> None:
    def give(images: NDArray[np.uint8]) -> None:
        monkeypatch.setattr(stage, "synthetic_images", lambda *_: images)

    give(dataset.images[dataset.indices("validation")])
    real = run(job_context(Kind.EVALUATION.new_id()), dataset, training)
    assert real.metrics["frechet_distance"].value["distance"] == pytest.approx(0, abs=1e-6)
    give(dataset.images[dataset.indices("train")])
    copied = run(job_context(Kind.EVALUATION.new_id()), dataset, training)
    assert copied.memorisation["copies"] == TRAINED
    assert [pair["correlation"] for pair in copied.memorisation["worst"]] == pytest.approx([1] * 10)
    assert copied.memorisation["in_features"]["nearer_than_held_out"] == 1
    assert copied.memorisation["in_features"]["worst_pairs"] == pytest.approx([0] * 10, abs=1e-6)


def test_real_images_beat_no_floor_at_its_own_number_of_images(job_context, dataset, training, monkeypatch) -> None:
    real = dataset.images[dataset.indices("validation")]
    # As near as can be: of all of them, the distance is below that between the halves.
    monkeypatch.setattr(stage, "synthetic_images", lambda *_: real[::-1])
    monkeypatch.setattr(stage, "_copies", lambda *_: None)
    result = run(job_context(Kind.EVALUATION.new_id()), dataset, training)
    measured = result.metrics["frechet_distance"]
    assert measured.value["distance"] < measured.floor["distance"] / 2
    assert measured.value_at_floor_images["distance"] > measured.floor["distance"] / 2


@pytest.mark.parametrize(
    ("best", "reference", "is_told"),
    [(2, "validation", True), (1, "validation", False), (2, "train", False), (None, "validation", False)],
)
def test_that_the_best_was_chosen_by_what_it_is_compared_with_is_told(
    job_context, dataset, training, best, reference, is_told
) -> None:
    context = job_context(Kind.EVALUATION.new_id())
    record = latest(context.store.folder(training))
    found = BestCheckpoint(step=best, metric="frechet_distance", value=1.0) if best else None
    file = f"{checkpoint_name(2)}/{RECORD_FILE}"
    context.store.publish_bytes(record.model_copy(update={"best": found}).model_dump_json().encode(), training, file)
    result = run(context, dataset, training, reference=reference)
    context.store.publish_bytes(record.model_dump_json().encode(), training, file)
    assert any('Take `"reference": "test"`' in caveat for caveat in result.caveats) == is_told


def test_that_copies_of_variants_pass_unseen_is_told(job_context, dataset, training) -> None:
    for preset in ("paper", None):
        result = run(job_context(Kind.EVALUATION.new_id()), dataset, training, classical_augmentation=preset)
        assert any("(classical augmentation, 'paper')" in caveat for caveat in result.caveats) == (preset == "paper")


def test_images_that_are_alike_are_told_by_their_index_in_the_dataset(
    job_context, dataset, training, monkeypatch
) -> None:
    # Validated first, then trained: a place in either part is no place in the dataset.
    turned = Dataset(Path(), dataset.images, np.repeat(np.array([1, 0], np.uint8), [VALIDATED, TRAINED + TESTED]))
    leaked = turned.images.copy()
    leaked[7] = leaked[VALIDATED + 5][:, ::-1]
    turned = replace(turned, images=leaked)
    monkeypatch.setattr(stage, "synthetic_images", lambda *_: leaked[turned.indices("train")])
    found = run(job_context(Kind.EVALUATION.new_id()), turned, training)
    assert {pair["training_image"] - pair["image"] for pair in found.memorisation["worst"]} == {VALIDATED}
    nearest = found.memorisation["nearest_held_out"]
    assert (nearest["image"], nearest["training_image"]) == (7, VALIDATED + 5)
    sentence = f"Held-out image 7 is as near to training image {VALIDATED + 5} "
    assert any(sentence in caveat for caveat in found.caveats)


def test_a_stop_is_heard_during_the_search_for_copies(job_context, dataset, training, monkeypatch) -> None:
    context = job_context(Kind.EVALUATION.new_id())
    searching = 0

    def should_stop() -> bool:
        nonlocal searching
        last = context.last_progress
        searching += last is not None and last.phase == "memorisation" and last.total is not None
        return searching >= 2

    monkeypatch.setattr(context, "should_stop", should_stop)
    with pytest.raises(StopRequested):
        run(context, dataset, training)
    assert (context.last_progress.phase, context.last_progress.unit) == ("memorisation", "blocks")


@pytest.fixture
def lightly_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "IMAGES_PASSED", 600)
    monkeypatch.setattr(extractors, "DISTORTED_IMAGES", 20)


def test_images_can_be_compared_by_what_a_classifier_has_learnt(job_context, dataset, training, lightly_taught) -> None:
    context = job_context(Kind.EVALUATION.new_id())
    result = run(context, dataset, training, features="classifier")
    assert (result.features.extractor, result.features.dimensions) == ("classifier", 256)
    assert result.features.fitted_on.startswith("20 training images under")
    far = result.metrics["frechet_distance"]
    assert far.value["distance"] > 10 * far.floor["distance"]
    assert any(f"{VALIDATED} images are too few for 256 dimensions" in caveat for caveat in result.caveats)
    phases = [report.phase for report in context.reporter.reports]
    assert list(dict.fromkeys(phases))[1:3] == ["fit", "features"]


def test_a_stop_is_heard_between_epochs(job_context, dataset, training, lightly_taught) -> None:
    context = job_context(Kind.EVALUATION.new_id(), stop_after=2)
    with pytest.raises(StopRequested):
        run(context, dataset, training, features="classifier")
    assert (context.last_progress.phase, context.last_progress.done, context.last_progress.total) == ("fit", 1, 2)


def test_inception_without_its_weights_is_refused(job_context, dataset, training) -> None:
    with pytest.raises(InvalidRequest, match="RAGAN_INCEPTION_WEIGHTS is not set"):
        run(job_context(Kind.EVALUATION.new_id()), dataset, training, features="inception")


def test_a_training_that_was_kept_to_a_class_is_compared_with_that_alone(
    job_context, labelled, training, monkeypatch
) -> None:
    monkeypatch.setattr(stage, "synthetic_images", lambda *_: labelled.images[labelled.indices("train")])
    nodules = ClassChoice(only=("Nodule",))
    result = run(job_context(Kind.EVALUATION.new_id()), labelled, training, nodules)
    assert (result.real, result.subgroups) == (50, {})
    # The synthetic images are all those for training, and it learnt from every second one.
    assert result.memorisation["copies"] == TRAINED // 2
    with pytest.raises(InvalidRequest, match="has 30 images to compare with"):
        run(job_context(Kind.EVALUATION.new_id()), labelled, training, ClassChoice(only=("Mass",)))


def test_classes_that_were_learnt_are_as_mixed_as_the_real_ones_and_told_alone_where_there_are_enough(
    job_context, labelled, monkeypatch
) -> None:
    training = trained(job_context(Kind.TRAINING.new_id()), labelled, "minuscule28-conditional")
    asked_for: list[int] = []

    def sampler(*arguments: Any) -> Any:
        sample, *sizes = load_sampler(*arguments)

        def watched(latents: Any, codes: Any) -> Any:
            asked_for.extend(codes.tolist())
            return sample(latents, codes)

        return watched, *sizes

    monkeypatch.setattr(synthetic_images, "load_sampler", sampler)
    result = run(job_context(Kind.EVALUATION.new_id()), labelled, training)
    mass, nodule = 0, 1
    assert Counter(asked_for[:80]) == {nodule: 50, mass: 30}
    assert asked_for[80:] == asked_for[: COUNT - 80]
    assert len(set(asked_for[80:])) == 2
    assert (result.synthetic, result.real) == (COUNT, 80)
    assert result.subgroups.keys() == {"Nodule"}
    assert result.subgroups["Nodule"].keys() == METRICS
    assert any("takes 40 real images: Mass (30)" in caveat for caveat in result.caveats)


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [({"reference": "test"}, f"has {TESTED} images to compare with, and an evaluation needs 40")],
)
def test_what_cannot_be_compared_is_refused(job_context, dataset, training, request_, sentence) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        run(job_context(Kind.EVALUATION.new_id()), dataset, training, **request_)


def test_images_that_are_too_small_are_refused(job_context, dataset, training) -> None:
    small = Dataset(Path(), dataset.images[:, :8, :8], dataset.splits)
    with pytest.raises(InvalidRequest, match="are 8 pixels on a side"):
        run(job_context(Kind.EVALUATION.new_id()), small, training)


def test_with_few_real_images_there_is_no_floor_and_none_held_out_no_search_for_copies(
    job_context, dataset, training
) -> None:
    few = Dataset(Path(), dataset.images[:60], np.zeros(60, np.uint8))
    context = job_context(Kind.EVALUATION.new_id())
    result = run(context, few, training, reference="train")
    assert {measured.floor for measured in result.metrics.values()} == {None}
    assert {measured.value_at_floor_images for measured in result.metrics.values()} == {None}
    assert result.memorisation is None
    assert any("0 held-out images are too few" in caveat for caveat in result.caveats)
    assert not (context.store.folder(context.resource_id) / "nearest.png").exists()


def test_a_stop_is_heard(job_context, dataset, training) -> None:
    with pytest.raises(StopRequested):
        run(job_context(Kind.EVALUATION.new_id(), stop_after=1), dataset, training)


def test_a_checkpoint_that_is_gone_is_told(job_context, dataset, training) -> None:
    with pytest.raises(CheckpointMissing):
        run(job_context(Kind.EVALUATION.new_id()), dataset, training, checkpoint=7)
