"""Trainings that are compared with real images on the way: their rows, their best checkpoint, and what is refused."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainers import trainer_of
from training_bench import TRAINING, Bench
from worker.context import JobContext
from worker.contract.checkpoints import latest, list_checkpoints
from worker.contract.errors import DiskFull, InvalidRequest, TrainingDiverged
from worker.contract.results import BestCheckpoint
from worker.models import registry

IMAGES = {"size": 16, "images": 50}
"""Of which 47 are for training, and too few for validation: their grey is 0.39 in the mean."""
NEAR, FAR, FARTHER = 0.39, 0.6, 0.9
"""Greys, by how far images of nothing else are from these."""

TINY16 = """
from tiny_family import Tiny, keras, tf


class Tiny16(Tiny):
    name = "tiny16"
    image_size = 16

    def generator(self, hyperparameters, classes):
        return keras.Sequential([
            keras.Input((4,)),
            keras.layers.Dense(256),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("sigmoid"),
            keras.layers.Reshape((16, 16, 1)),
        ])

    def discriminator(self, hyperparameters, classes):
        return keras.Sequential([
            keras.Input((16, 16, 1)),
            keras.layers.Flatten(),
            keras.layers.Dropout(hyperparameters.dropout),
            keras.layers.Dense(1),
        ])
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "store")


@pytest.fixture
def tiny16(install: Callable[..., None], tiny: str) -> str:
    """The family `tiny`, of 16x16 images."""
    install("tiny16_family", TINY16, "Tiny16")
    return "tiny16"


@pytest.fixture
def greys(install: Callable[..., None], tiny16: str) -> Callable[..., str]:
    """`greys(…)` installs a family that draws images of one grey, after each step the next of these; its name."""

    def put(*levels: float) -> str:
        family = f"""
from tiny16_family import Tiny16, keras, tf


class Grey(Tiny16):
    name = "grey"

    def generator(self, hyperparameters, classes):
        layers = [keras.layers.Dense(256), keras.layers.Reshape((16, 16, 1))]
        return keras.Sequential([keras.Input((4,)), *layers])

    def step(self, networks, batch, hyperparameters):
        metrics = super().step(networks, batch, hyperparameters)
        dense = networks.generator.layers[0]
        dense.kernel.assign(tf.zeros_like(dense.kernel))
        level = tf.gather(tf.constant([float(each) for each in {[str(each) for each in levels]}]), batch.step - 1)
        dense.bias.assign(tf.fill(dense.bias.shape, level))
        return metrics
"""
        install("grey_family", family, "Grey")
        return "grey"

    return put


def run(bench: Bench, family: str, **more: Any) -> tuple[Any, Any]:
    """Evaluated every second step of six, and saved by itself at the end alone."""
    return bench.run(family, **({"evaluate_every": 2, "checkpoint_every": 100, "snapshot_every": 100} | IMAGES | more))


def run_greys(bench: Bench, family: str, **more: Any) -> tuple[Any, Any]:
    """The same, drawn from the generator itself."""
    return run(bench, family, model={"hyperparameters": {"ema_decay": 0}}, **more)


def test_metrics_are_in_the_rows_of_their_steps_and_of_the_last(bench: Bench, tiny16: str) -> None:
    metrics = ["sliced_wasserstein_distance", "precision", "recall"]
    result, told = run(bench, tiny16, steps=5, evaluate_metrics=metrics)
    usual = ["step", "d_loss", "d_acc", "g_loss", "g_acc"]
    assert [list(row) for row in bench.rows()] == [
        usual if step in (1, 3) else usual + metrics for step in (1, 2, 3, 4, 5)
    ]
    assert result.final == bench.rows()[-1]
    assert ("log", {"message": "Is compared with 47 train images every 2 steps."}) in told.events


def test_evaluations_leave_the_training_as_it_would_be_without(tmp_path: Path, tiny16: str) -> None:
    with_them, without = Bench(tmp_path / "with"), Bench(tmp_path / "without")
    run(with_them, tiny16)
    run(without, tiny16, evaluate_every=None)
    rows = [{name: value for name, value in row.items() if name != "frechet_distance"} for row in with_them.rows()]
    assert rows == without.rows()
    assert with_them.digest(6) == without.digest(6)


def test_the_best_is_kept_while_later_ones_come_and_go(bench: Bench, greys: Callable[..., str]) -> None:
    family = greys(FARTHER, NEAR, NEAR, FAR, FAR, FARTHER)
    result, told = run_greys(bench, family, checkpoint_every=3, keep_checkpoints=1)
    assert told.steps_of("checkpoint") == [2, 3, 6]
    assert [(info.step, info.best) for info in list_checkpoints(bench.folder)] == [(2, True), (6, False)]
    distance = bench.rows()[1]["frechet_distance"]
    assert result.best == BestCheckpoint(step=2, metric="frechet_distance", value=distance)
    assert result.checkpoints == (2, 6)
    assert distance < min(bench.rows()[3]["frechet_distance"], bench.rows()[5]["frechet_distance"])


def test_the_best_moves_and_the_one_before_goes(bench: Bench, greys: Callable[..., str]) -> None:
    family = greys(FARTHER, FARTHER, FAR, FAR, FARTHER, NEAR, NEAR)
    result, told = run_greys(bench, family, steps=7, keep_checkpoints=1)
    # Of two that are equally near, the earlier one stays.
    assert told.steps_of("checkpoint") == [2, 4, 6, 7]
    assert [(info.step, info.best) for info in list_checkpoints(bench.folder)] == [(6, True), (7, False)]
    assert result.best.step == 6


def test_the_first_metric_says_which_is_the_best(bench: Bench, greys: Callable[..., str]) -> None:
    metrics = ["kernel_distance", "coverage"]
    result, _ = run_greys(bench, greys(FAR, NEAR, FAR, FAR), steps=4, evaluate_metrics=metrics)
    assert (result.best.step, result.best.metric) == (2, "kernel_distance")


@pytest.mark.parametrize("first", [{"steps": 4}, {"stop_at": 3, "snapshot_every": 3}], ids=["extended", "stopped"])
def test_what_is_resumed_has_equal_rows_and_an_equal_best(tmp_path: Path, tiny16: str, first: dict[str, Any]) -> None:
    straight, resumed = Bench(tmp_path / "straight"), Bench(tmp_path / "resumed")
    expected, _ = run(straight, tiny16, steps=8)
    run(resumed, tiny16, **({"steps": 8} | first))
    result, _ = run(resumed, tiny16, steps=8)
    assert resumed.rows() == straight.rows()
    assert result.best == expected.best
    assert resumed.digest(expected.best.step) == straight.digest(expected.best.step)
    assert resumed.digest(8) == straight.digest(8)


def test_a_crash_after_the_best_was_published_forgets_nothing(bench: Bench, greys: Callable[..., str]) -> None:
    family = greys(FAR, NEAR, FAR, FARTHER, FAR, FAR)
    expected, _ = run_greys(bench, family, steps=2)
    assert latest(bench.folder).best == expected.best  # whatever comes after its checkpoint may be lost
    result, _ = run_greys(bench, family)
    assert result.best == expected.best


def test_a_best_that_was_lost_with_its_checkpoint_is_found_again(bench: Bench, greys: Callable[..., str]) -> None:
    family = greys(FARTHER, FAR, FAR, NEAR, FAR, FAR)
    expected, _ = run_greys(bench, family)
    rows = bench.rows()
    for step in (4, 6):
        bench.store.withdraw(TRAINING, f"checkpoints/{step:08d}")
    assert latest(bench.folder).best.step == 2
    result, _ = run_greys(bench, family)
    assert (result.best, bench.rows()) == (expected.best, rows)
    assert bench.checkpoints() == [2, 4, 6]


def test_what_was_trained_without_evaluations_has_no_best(bench: Bench, tiny16: str) -> None:
    result, _ = run(bench, tiny16, evaluate_every=None)
    assert result.best is None
    assert [info.best for info in list_checkpoints(bench.folder)] == [False]


def test_classes_that_are_learnt_are_evaluated_too(bench: Bench) -> None:
    model = {"hyperparameters": {"width": 0.05}}
    result, _ = run(bench, "minuscule28-conditional", size=28, images=60, steps=1, model=model)
    assert result.best.step == 1


def test_pixels_that_are_no_numbers_end_the_training(bench: Bench, greys: Callable[..., str]) -> None:
    with pytest.raises(TrainingDiverged, match=r"After step 4 the generated pixels .*step 2 is kept"):
        run_greys(bench, greys(NEAR, NEAR, NEAR, math.nan, NEAR, NEAR))
    assert [row["step"] for row in bench.rows()] == [1, 2, 3]
    assert bench.checkpoints() == [2]


@pytest.mark.parametrize(
    ("wrong", "family", "sentence"),
    [
        ({"size": 8}, "tiny", "images are 8 pixels on a side, and an evaluation needs 16"),
        ({"images": 42}, "tiny16", "39 images to learn from and 1 to validate with, and an evaluation needs 40"),
        ({"classes": {"only": ["Mass"]}}, "tiny16", "There are 1 images to learn from and 0 to validate with"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_the_first_step(
    bench: Bench, tiny16: str, wrong: dict[str, Any], family: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        run(bench, family, **wrong)
    assert [error.pointer for error in caught.value.errors] == ["#/evaluate_every"]
    assert not bench.folder.exists()


def test_a_familys_own_metric_is_not_taken_for_that_of_an_evaluation(
    bench: Bench, install: Callable[..., None], tiny16: str
) -> None:
    own = """
    from tiny16_family import Tiny16, tf

    class Namesake(Tiny16):
        name = "namesake"

        def step(self, networks, batch, hyperparameters):
            metrics = super().step(networks, batch, hyperparameters)
            return metrics | {"frechet_distance": -tf.cast(batch.step, tf.float32)}
    """
    install("namesake_family", own, "Namesake")
    result, told = run(bench, "namesake", evaluate_every=None)
    assert [row["frechet_distance"] for row in bench.rows()] == [-1, -2, -3, -4, -5, -6]
    assert (result.best, told.steps_of("checkpoint")) == (None, [6])
    result, _ = run(bench, "namesake", steps=8, evaluate_metrics=["kernel_distance"])
    assert result.best.metric == "kernel_distance"
    with pytest.raises(InvalidRequest, match="namesake has a metric frechet_distance of its own") as caught:
        run(bench, "namesake", steps=9, evaluate_metrics=["kernel_distance", "frechet_distance"])
    assert [error.pointer for error in caught.value.errors] == ["#/evaluate_metrics/1"]


@pytest.mark.parametrize(
    ("newest", "every", "states"),
    [
        pytest.param(1, None, 2, id="the newest, and the next before it goes"),
        pytest.param(1, 3, 3, id="and the best"),
        pytest.param(20, None, 3, id="all"),
        pytest.param(20, 3, 7, id="all, each evaluation finding a new best"),
    ],
)
def test_room_is_asked_for_the_best_beside_the_newest(
    bench: Bench, tiny16: str, monkeypatch: pytest.MonkeyPatch, newest: int, every: int | None, states: int
) -> None:
    asked = []

    def full(_: JobContext, needed: int) -> None:
        asked.append(needed)
        raise DiskFull

    monkeypatch.setattr(JobContext, "need_room", full)
    with pytest.raises(DiskFull):
        run(bench, tiny16, steps=12, checkpoint_every=4, evaluate_every=every, keep_checkpoints=newest)
    family = registry.family(tiny16)
    state_bytes = trainer_of(family, family.configure("default", {})).state_bytes
    # What metrics and the snapshot take is less than a state.
    assert [needed // state_bytes for needed in asked] == [states]
