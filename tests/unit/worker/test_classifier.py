"""A classifier that learns what can be learnt, the same way each time, and is told what does not go together."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.classifier import FEATURES, Classifier, Epoch, Recipe, fit, release_memory
from worker.contract.errors import InvalidRequest
from worker.population import Population
from worker.study.arms import Joined

SIDE = 8
SHORT = Recipe(epochs=2, batch_size=16)

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]


def striped(count: int, seed: int, share: float = 0.5) -> Labelled:
    """Noise with rows (class 0) or, for a share of the images, columns (class 1) that are brighter."""
    chance = np.random.default_rng(seed)
    images = chance.integers(0, 120, (count, SIDE, SIDE))
    classes = (np.arange(count) < share * count).astype(np.int64)
    images[classes == 0, ::2] += 120
    images[classes == 1, :, ::2] += 120
    return images.astype(np.uint8), classes


def fitted(recipe: Recipe = SHORT, seed: int = 0, **more) -> Classifier:
    images, classes = striped(64, 1)
    return fit(images, classes, class_count=2, seed=seed, recipe=recipe, **more)


def test_it_learns_to_tell_classes_apart() -> None:
    images, classes = striped(100, 2)
    classifier = fitted(replace(SHORT, epochs=15, optimizer="adam"))
    probabilities = classifier.predict(images)
    assert probabilities.shape == (100, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert (probabilities.argmax(axis=1) == classes).mean() > 0.95
    features = classifier.features(images)
    assert (features.shape, features.dtype) == ((100, FEATURES), np.float64)
    assert features.min() == 0
    assert classifier.epochs[-1].accuracy > classifier.epochs[0].accuracy


def test_images_need_not_be_one_array(monkeypatch: pytest.MonkeyPatch) -> None:
    images, classes = striped(64, 1)
    monkeypatch.setattr("worker.classifier.IMAGES_AT_ONCE", 10)
    parts = Joined((Population(images[:40], np.arange(40)), Population(images, np.arange(40, 64))))
    joined = fit(parts, classes, class_count=2, seed=0, recipe=SHORT)
    np.testing.assert_array_equal(joined.predict(images), fitted().predict(images))


def test_the_recipe_of_the_paper_lowers_the_loss() -> None:
    classifier = fitted(replace(SHORT, epochs=10))
    assert classifier.epochs[-1].loss < classifier.epochs[0].loss


def test_equal_seeds_give_equal_weights_whatever_was_taught_before() -> None:
    images, _ = striped(10, 3)
    first = fitted(seed=1)
    before = first.predict(images)
    other, again = fitted(seed=2), fitted(seed=1)
    np.testing.assert_array_equal(again.predict(images), before)
    assert again.epochs == first.epochs
    assert (other.predict(images) != before).any()
    np.testing.assert_array_equal(first.predict(images), before)
    release_memory()
    np.testing.assert_array_equal(fitted(seed=1).predict(images), before)
    np.testing.assert_array_equal(first.predict(images), before)


def test_more_images_than_a_block_holds_give_each_its_own(monkeypatch) -> None:
    images, _ = striped(10, 3)
    classifier = fitted()
    whole = classifier.features(images)
    monkeypatch.setattr("worker.classifier.IMAGES_AT_ONCE", 4)
    np.testing.assert_allclose(classifier.features(images), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("balance", ["weights", "oversampling"])
def test_a_small_class_is_not_drowned(balance) -> None:
    images, classes = striped(80, 4, share=0.05)
    shown, _ = striped(60, 5, share=1)
    plain, balanced = (
        fit(images, classes, class_count=2, seed=0, recipe=replace(SHORT, optimizer="adam", balance=each))
        for each in ("none", balance)
    )
    assert balanced.predict(shown)[:, 1].mean() > plain.predict(shown)[:, 1].mean() + 0.1


def test_the_weights_are_those_of_the_epoch_with_the_lowest_validation_loss() -> None:
    images, classes = striped(30, 6)
    # Wrong classes: the better it learns, the higher this loss.
    recipe = replace(SHORT, epochs=12, optimizer="adam", patience=2)
    classifier = fitted(recipe, validation=(images, 1 - classes))
    losses = [epoch.validation_loss for epoch in classifier.epochs]
    assert classifier.best_epoch == np.argmin(losses) + 1
    assert len(losses) == classifier.best_epoch + 2 < 12
    wrong = classifier.predict(images)[np.arange(30), 1 - classes]
    assert -np.log(wrong).mean() == pytest.approx(min(losses), rel=1e-4)


def test_without_patience_all_epochs_are_taken() -> None:
    classifier = fitted(validation=striped(20, 6))
    assert [epoch.number for epoch in classifier.epochs] == [1, 2]
    assert classifier.best_epoch == 2
    assert classifier.epochs[-1].validation_accuracy is not None
    assert fitted().epochs[-1].validation_loss is None


def test_epochs_are_told_and_what_that_raises_ends_the_training() -> None:
    told: list[Epoch] = []

    class Enough(Exception):
        pass

    def stop(epoch: Epoch) -> None:
        told.append(epoch)
        if epoch.number == 2:
            raise Enough

    with pytest.raises(Enough):
        fitted(replace(SHORT, epochs=5), on_epoch=stop)
    assert [epoch.number for epoch in told] == [1, 2]
    assert fitted().epochs[:1] == tuple(told[:1])


def test_images_can_be_changed_each_time_they_are_learnt_from() -> None:
    images, _ = striped(64, 1)
    told: list[tuple[bool, list[int], float]] = []

    def change(batch, rows, chance):
        told.append((np.array_equal(batch, images[rows]), rows.tolist(), chance.uniform()))
        return 255 - batch

    first, again = (fitted(change=change) for _ in range(2))
    assert all(same for same, _, _ in told)
    half, batches = len(told) // 2, 64 // SHORT.batch_size
    assert told[:half] == told[half:]
    # What Keras looks at before the first epoch comes before these, and is not learnt from.
    learnt = told[half - SHORT.epochs * batches : half]
    for epoch in (learnt[:batches], learnt[batches:]):
        assert sorted(row for _, rows, _ in epoch for row in rows) == list(range(64))
    assert len({number for _, _, number in learnt}) == len(learnt)
    np.testing.assert_array_equal(first.predict(images), again.predict(images))
    assert (first.predict(images) != fitted().predict(images)).any()


def test_blank_images_are_no_division_by_zero() -> None:
    blank = np.zeros((4, SIDE, SIDE), np.uint8)
    classifier = fit(blank, np.array([0, 1, 0, 1]), class_count=2, seed=0, recipe=replace(SHORT, epochs=1))
    assert np.isfinite(classifier.predict(blank)).all()


IMAGES, CLASSES = striped(8, 0)


@pytest.mark.parametrize(
    ("images", "classes", "more", "sentence"),
    [
        (IMAGES[:, :4, :4], CLASSES, {}, "squares of 8 pixels or more"),
        (IMAGES, CLASSES[:3], {}, "each needs one"),
        (IMAGES, CLASSES + 1, {}, "classes from 1 to 2 are not among 2"),
        (IMAGES, CLASSES, {"validation": (IMAGES[:, :4], CLASSES)}, "all one size"),
        (IMAGES, CLASSES, {"recipe": replace(SHORT, patience=1)}, "there are none"),
    ],
)
def test_what_does_not_go_together_is_refused(images, classes, more, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        fit(images, classes, class_count=2, seed=0, **more)


def test_one_class_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="needs images of two classes"):
        fit(IMAGES, np.zeros(8, np.int64), class_count=2, seed=0)
