from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from trainers import trainer_of
from worker.contract.fast_paths import FastPath
from worker.contract.requests import ClassicalPreset
from worker.contract.settings import Settings
from worker.draws import codes_in_turn
from worker.fast_paths import DEFAULTS, PLAIN, RESIDENT_BYTES, FastPaths, active, for_drawing, for_training, taking
from worker.models.registry import family
from worker.trainer import Plan


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", frozenset()),
        ("toom_cook", {FastPath.TOOM_COOK}),
        (" xla , small_kernels", {FastPath.XLA, FastPath.SMALL_KERNELS}),
    ],
)
def test_the_setting_names_the_paths_to_take(monkeypatch: pytest.MonkeyPatch, text: str, expected: object) -> None:
    monkeypatch.setenv("RAGAN_FAST_PATHS", text)
    assert Settings().fast_paths == expected


def test_unset_the_paths_are_those_of_the_device() -> None:
    assert for_training(Settings().fast_paths, "CPU:1") == DEFAULTS["CPU"] - {FastPath.FOLDED_BATCH_NORM}
    assert for_drawing(Settings().fast_paths, "CPU:1") == DEFAULTS["CPU"] - {FastPath.ONE_GENERATOR_PASS}
    assert FastPath.TOOM_COOK not in for_training(None, "GPU:0")


def test_only_what_applies_is_taken() -> None:
    everything = frozenset(FastPath)
    assert FastPath.FOLDED_BATCH_NORM not in for_training(everything, "CPU:0")
    assert for_drawing(everything, "GPU:0").isdisjoint({FastPath.ONE_GENERATOR_PASS, FastPath.RESIDENT_DATA})
    assert FastPath.XLA in for_training(everything, "GPU:0")
    assert FastPath.XLA not in for_training(everything, "GPU:0", devices=2)
    assert for_training(PLAIN, "GPU:0") == for_drawing(PLAIN, "GPU:0") == PLAIN


def test_data_lie_on_a_gpu_if_they_are_not_too_many() -> None:
    assert FastPath.RESIDENT_DATA in for_training(None, "GPU:0", data_bytes=RESIDENT_BYTES)
    assert FastPath.RESIDENT_DATA not in for_training(None, "GPU:0", data_bytes=RESIDENT_BYTES + 1)
    wanted = frozenset({FastPath.RESIDENT_DATA})
    assert FastPath.RESIDENT_DATA in for_training(wanted, "CPU:0", data_bytes=RESIDENT_BYTES + 1)


def test_images_that_are_varied_on_the_host_do_not_lie_on_a_device() -> None:
    for wanted in (None, frozenset(FastPath)):
        paths = for_training(wanted, "GPU:0", varied=True)
        assert paths == for_training(wanted, "GPU:0") - {FastPath.RESIDENT_DATA}
        Plan(4, 0, "float32", paths, "chest")
    with pytest.raises(ValueError, match="cannot be augmented"):
        Plan(4, 0, "float32", for_training(None, "GPU:0"), "chest")


def test_a_path_that_there_is_not_is_refused_with_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGAN_FAST_PATHS", "toom_cooke")
    with pytest.raises(ValidationError, match=r"'small_kernels'.*'toom_cook'"):
        Settings()


def test_paths_are_taken_within_and_not_after() -> None:
    with taking(DEFAULTS["CPU"]):
        assert active() == DEFAULTS["CPU"]
        with taking(PLAIN):
            assert active() == PLAIN
        assert active() == DEFAULTS["CPU"]
    assert active() == PLAIN


@dataclass(frozen=True)
class TwoSteps:
    """The metrics of each, and images drawn afterwards."""

    name: str
    metrics: list[dict[str, float]]
    images: NDArray[np.float32]


def two_steps(name: str, fast_paths: FastPaths) -> TwoSteps:
    kind = family(name)
    chosen = kind.configure("default", {"width": 0.25, "ema_decay": 0.9})
    trainer = trainer_of(kind, chosen, batch_size=2, fast_paths=fast_paths)
    metrics = trainer.advance(2)
    points = np.random.default_rng(0).uniform(-1, 1, (4, kind.latent_size)).astype(np.float32)
    return TwoSteps(name, metrics, trainer.sample(points, codes_in_turn(len(trainer.classes.names), 4)))


@pytest.fixture(scope="module", params=["minuscule28", "minuscule28-conditional"])
def plain(request: pytest.FixtureRequest) -> TwoSteps:
    return two_steps(request.param, PLAIN)


@pytest.mark.parametrize(
    "fast_paths",
    [
        frozenset({FastPath.SMALL_KERNELS}),
        frozenset({FastPath.MIRRORED_KERNELS, FastPath.SINGLE_FILTER}),
        frozenset({FastPath.TOOM_COOK}),
        frozenset({FastPath.XLA}),
    ],
)
def test_a_path_changes_how_a_step_is_computed_and_not_what(fast_paths: FastPaths, plain: TwoSteps) -> None:
    fast = two_steps(plain.name, fast_paths)
    (first, second), (first_plain, second_plain) = fast.metrics, plain.metrics
    assert first["d_loss"] == pytest.approx(first_plain["d_loss"], abs=1e-5)
    # RMSprop's first updates have nearly the size of the rate, whatever that of the gradient: rounding shows.
    assert second == pytest.approx(second_plain, abs=0.02)
    np.testing.assert_allclose(fast.images, plain.images, atol=0.02)


@pytest.mark.parametrize("preset", [None, "paper"])
def test_options_are_the_same_when_compiled(tiny: str, preset: ClassicalPreset | None) -> None:
    kind = family(tiny)
    every_change = ["brightness", "contrast", "translation", "cutout"]
    options = {"loss": "hinge", "diff_augment": every_change, "spectral_norm": True, "r1_weight": 1.0, "r1_every": 2}
    chosen = kind.configure("default", {"dropout": 0, "d_steps": 2} | options)
    plain, compiled = (
        trainer_of(kind, chosen, batch_size=4, fast_paths=paths, classical_augmentation=preset)
        for paths in (PLAIN, frozenset({FastPath.XLA}))
    )
    for ours, theirs in zip(compiled.advance(3), plain.advance(3), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
