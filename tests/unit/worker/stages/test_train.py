from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from training_bench import DATASET, TRAINING, Bench
from worker.contract.checkpoints import read_record
from worker.contract.errors import (
    DeviceMemoryExhausted,
    DevicesUnavailable,
    InvalidRequest,
    TrainingDiverged,
    UnknownFamily,
)
from worker.contract.resources import Kind, Manifest, Status
from worker.dataset import Dataset
from worker.fast_paths import for_training
from worker.trainer import Trainer


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "store")


def test_a_training_leaves_metrics_snapshots_and_checkpoints(bench: Bench, tiny: str) -> None:
    result, told = bench.run(tiny, snapshot_every=4, keep_checkpoints=2)

    rows = bench.rows()
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert list(rows[0]) == ["step", "d_loss", "d_acc", "g_loss", "g_acc"]
    assert bench.snapshots() == told.steps_of("snapshot") == [0, 4, 6]
    assert told.steps_of("checkpoint") == [2, 4, 6]
    assert bench.checkpoints() == [4, 6]
    assert told.steps_of("metrics")[-1] == 6
    assert dict(told.events)["checkpoint"]["bytes"] == read_record(bench.folder, 6).bytes > 0
    assert (told.progress[0].done, told.progress[-1].done, told.progress[-1].total) == (0, 6, 6)
    assert (told.progress[-1].phase, told.progress[-1].unit) == ("train", "steps")

    assert result.model_dump() == {
        "steps": 6,
        "images_seen": 24,
        "seconds": 6.0,
        "images_per_second": 4.0,
        "final": rows[-1],
        "devices": ("CPU:0",),
        "precision": "float32",
        "fast_paths": tuple(sorted(for_training(None, "CPU:0"))),
        "checkpoints": (4, 6),
        "best": None,
    }


def test_a_checkpoint_says_what_it_is_of(bench: Bench, tiny: str) -> None:
    bench.store.write_manifest(
        Manifest(
            id=DATASET,
            kind=Kind.DATASET,
            run=1,
            status=Status.SUCCEEDED,
            started_at=None,
            finished_at="2024-05-01T12:00:00Z",
            attempt=1,
            progress=None,
            result={"sha256": "c0ffee"},
            error=None,
            versions={},
        )
    )
    bench.run(tiny, steps=2, model={"hyperparameters": {"d_steps": 2}})
    record = read_record(bench.folder, 2)
    assert (record.family, record.image_size, record.dataset) == ("tiny", 8, DATASET)
    assert (record.dataset_sha256, record.images_seen, record.seconds) == ("c0ffee", 16, 2.0)
    assert record.hyperparameters["d_steps"] == 2
    assert record.hyperparameters["dropout"] == 0.5
    assert record.versions["tensorflow"] == tf.__version__


def test_only_the_training_part_of_a_dataset_is_shown(bench: Bench, failing: Callable[[str], str]) -> None:
    bench.run(failing('metrics["brightest"] = tf.reduce_max(batch.real)'), steps=3, batch_size=64)
    assert all(150 / 255 < row["brightest"] < 200 / 255 for row in bench.rows())


def test_a_training_that_is_kept_to_a_class_sees_nothing_else(bench: Bench, failing: Callable[[str], str]) -> None:
    family = failing('metrics["brightest"] = tf.reduce_max(batch.real)')
    bench.run(family, steps=2, batch_size=16, classes={"only": ["Mass"]})
    assert [row["brightest"] for row in bench.rows()] == [0, 0]
    assert read_record(bench.folder, 2).classes.names == ()


def test_classes_are_learnt_from_their_own_images_and_kept_on_record(
    bench: Bench, install: Callable[..., None], tiny_labelled: str
) -> None:
    told = """
    from tiny_labelled_family import TinyLabelled, tf

    class Telling(TinyLabelled):
        name = "telling"

        def step(self, networks, batch, hyperparameters):
            masses = tf.cast(batch.codes == 1, tf.float32)
            black = tf.cast(tf.reduce_max(batch.real, axis=(2, 3, 4)) == 0, tf.float32)
            metrics = super().step(networks, batch, hyperparameters)
            share = tf.reduce_mean(masses)
            return metrics | {"wrong": tf.reduce_sum(tf.abs(black - masses)), "masses": share}
    """
    install("telling_family", told, "Telling")
    bench.run("telling", batch_size=64, classes={"only": ["Nodule", "Mass"]})
    rows = bench.rows()
    assert {row["wrong"] for row in rows} == {0.0}
    # Half of the images, though one in seven is of the class: within four standard deviations.
    assert np.mean([row["masses"] for row in rows]) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(6 * 64))
    record = read_record(bench.folder, 6)
    assert (record.classes.by, record.classes.names) == ("labels", ("Nodule", "Mass"))


def test_the_latent_points_of_snapshots_take_the_classes_in_turn(
    bench: Bench, tiny_labelled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    sample = Trainer.sample

    def watched(trainer: Trainer, latents: Any, codes: Any) -> Any:
        shown.append(codes.tolist())
        return sample(trainer, latents, codes)

    monkeypatch.setattr(Trainer, "sample", watched)
    bench.run(tiny_labelled, steps=1)
    assert shown == [[0, 1] * 8] * 2


def test_a_training_with_labels_that_is_stopped_goes_on_bit_for_bit(tmp_path: Path, tiny_labelled: str) -> None:
    straight, stopped = Bench(tmp_path / "straight"), Bench(tmp_path / "stopped")
    straight.run(tiny_labelled)
    stopped.run(tiny_labelled, stop_at=3)
    stopped.run(tiny_labelled)
    assert stopped.rows() == straight.rows()
    assert stopped.digest(6) == straight.digest(6)


def test_a_training_that_is_stopped_keeps_what_it_learned_and_goes_on_bit_for_bit(tmp_path: Path, tiny: str) -> None:
    straight, stopped = Bench(tmp_path / "straight"), Bench(tmp_path / "stopped")
    straight.run(tiny)

    result, told = stopped.run(tiny, stop_at=3)
    assert result.steps == 3
    assert result.checkpoints == (2, 3)
    assert told.steps_of("metrics")[-1] == 3
    assert stopped.checkpoints() == [2, 3]

    result, told = stopped.run(tiny)
    assert told.progress[0].done == 3
    assert told.steps_of("snapshot") == [4, 5, 6]
    assert (result.steps, result.images_seen, result.seconds) == (6, 24, 6.0)
    assert stopped.rows() == straight.rows()
    assert stopped.snapshots() == straight.snapshots()
    assert stopped.digest(6) == straight.digest(6)


@pytest.mark.parametrize(
    "option",
    [
        {"loss": "hinge"},
        {"loss": "lsgan"},
        {"diff_augment": ["brightness", "contrast", "translation", "cutout"]},
        {"spectral_norm": True},
        {"r1_weight": 1.0, "r1_every": 4},
    ],
    ids=lambda option: next(iter(option.values())),
)
def test_with_every_option_a_training_goes_on_bit_for_bit(tmp_path: Path, tiny: str, option: dict[str, Any]) -> None:
    straight, stopped = Bench(tmp_path / "straight"), Bench(tmp_path / "stopped")
    chosen = {"hyperparameters": option}
    straight.run(tiny, model=chosen)
    # Neither at a step that takes R1 nor before one.
    stopped.run(tiny, steps=3, model=chosen)
    stopped.run(tiny, model=chosen)
    assert stopped.rows() == straight.rows()
    assert stopped.digest(6) == straight.digest(6)


@pytest.mark.parametrize("preset", ["chest", "paper"])
def test_with_classical_augmentation_a_training_goes_on_bit_for_bit(tmp_path: Path, tiny: str, preset: str) -> None:
    chosen = {"classical_augmentation": preset, "model": {"hyperparameters": {"d_steps": 2}}}
    straight, stopped, many = (Bench(tmp_path / name) for name in ("straight", "stopped", "many"))
    straight.run(tiny, **chosen)
    stopped.run(tiny, stop_at=3, **chosen)
    stopped.run(tiny, **chosen)
    many.run(tiny, tick=0.001, snapshot_every=100, **chosen)
    for other in (stopped, many):
        assert other.rows() == straight.rows()
        assert other.digest(6) == straight.digest(6)


def test_classical_augmentation_changes_what_is_learnt_and_not_what_is_drawn_from(tmp_path: Path, tiny: str) -> None:
    plain, varied = Bench(tmp_path / "plain"), Bench(tmp_path / "varied")
    plain.run(tiny)
    varied.run(tiny, classical_augmentation="chest")
    assert varied.digest(6) != plain.digest(6)
    first = "snapshots/00000000.png"
    assert (varied.folder / first).read_bytes() == (plain.folder / first).read_bytes()


def test_r1_is_told_from_the_last_step_that_took_it(bench: Bench, tiny: str) -> None:
    bench.run(tiny, model={"hyperparameters": {"r1_weight": 1.0, "r1_every": 3}})
    rows = bench.rows()
    assert list(rows[0]) == ["step", "d_loss", "d_acc", "g_loss", "g_acc", "r1"]
    first, *others = [row["r1"] for row in rows]
    assert first > 0
    assert others == [first, first, others[2], others[2], others[2]]
    assert others[2] != first


def test_a_hinge_that_diverged_is_not_told_to_smooth_labels(bench: Bench, failing: Callable[[str], str]) -> None:
    family = failing('metrics["d_loss"] = tf.constant(float("inf"))')
    with pytest.raises(TrainingDiverged, match=r"or with loss bce\."):
        bench.run(family, model={"hyperparameters": {"loss": "hinge"}})


def test_a_training_goes_on_to_a_larger_total(tmp_path: Path, tiny: str) -> None:
    straight, extended = Bench(tmp_path / "straight"), Bench(tmp_path / "extended")
    straight.run(tiny)
    extended.run(tiny, steps=3)
    result, _ = extended.run(tiny, steps=6)
    assert result.steps == 6
    assert extended.rows() == straight.rows()
    assert extended.digest(6) == straight.digest(6)


def test_a_training_that_has_all_its_steps_only_tells_its_result(bench: Bench, tiny: str) -> None:
    first, _ = bench.run(tiny, steps=2)
    again, told = bench.run(tiny, steps=2)
    assert again == first
    assert told.events == [("log", {"message": "Goes on from the checkpoint at step 2."})]


def test_what_a_crashed_run_left_beyond_its_checkpoint_is_taken_again(bench: Bench, tiny: str) -> None:
    bench.run(tiny, steps=4)
    rows, snapshot = bench.rows(), (bench.folder / "snapshots" / "00000003.png").read_bytes()
    bench.store.withdraw(TRAINING, "checkpoints/00000004")
    with (bench.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "d_lo')

    _, told = bench.run(tiny, steps=4)
    assert told.steps_of("snapshot") == [3, 4]
    assert bench.rows() == rows
    assert (bench.folder / "snapshots" / "00000003.png").read_bytes() == snapshot


def test_a_training_stopped_before_its_first_step_can_be_drawn_from(bench: Bench, tiny: str) -> None:
    result, _ = bench.run(tiny, stop_at=0)
    assert (result.steps, result.images_per_second, result.final) == (0, None, {})
    assert bench.checkpoints() == [0]


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_last_good_checkpoint(
    bench: Bench, failing: Callable[[str], str]
) -> None:
    family = failing('metrics["g_loss"] = tf.where(updates >= 4, float("nan"), metrics["g_loss"])')
    with pytest.raises(
        TrainingDiverged, match=r"At step 4 .*g_loss nan.*learning_rate_d below 0\.0004.*step 2 is kept"
    ):
        bench.run(family)
    assert [row["step"] for row in bench.rows()] == [1, 2, 3]
    assert bench.checkpoints() == [2]


def test_many_steps_of_one_call_leave_what_single_ones_do(tmp_path: Path, tiny: str) -> None:
    single, many = Bench(tmp_path / "single"), Bench(tmp_path / "many")
    single.run(tiny)
    result, _ = many.run(tiny, tick=0.001, snapshot_every=100, checkpoint_every=4)
    assert many.rows() == single.rows()
    assert many.digest(6) == single.digest(6)
    # Three calls: the first shows what a step takes, the second goes on to the checkpoint, the third to the end.
    assert result.seconds == pytest.approx(3 * 0.001)
    assert many.checkpoints() == [4, 6]


def test_a_loss_that_is_no_number_within_a_call_keeps_the_steps_before_it(
    bench: Bench, failing: Callable[[str], str]
) -> None:
    family = failing('metrics["g_loss"] = tf.where(updates >= 4, float("nan"), metrics["g_loss"])')
    with pytest.raises(TrainingDiverged, match=r"At step 4 .*No checkpoint had been made yet"):
        bench.run(family, tick=0.001, snapshot_every=100, checkpoint_every=100)
    assert [row["step"] for row in bench.rows()] == [1, 2, 3]


def test_an_infinite_loss_at_the_first_step_says_that_nothing_is_kept(
    bench: Bench, failing: Callable[[str], str]
) -> None:
    with pytest.raises(TrainingDiverged, match=r"d_loss inf.*No checkpoint had been made yet"):
        bench.run(failing('metrics["d_loss"] = tf.constant(float("inf"))'))
    assert bench.rows() == []


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_weights_that_are_no_numbers_are_never_kept(bench: Bench, failing: Callable[[str], str], network: str) -> None:
    # The loss of that step was computed before, and was fine.
    spoil = f"[weight.assign(tf.where(updates >= 4, float('nan'), weight)) for weight in networks.{network}.weights]"
    with pytest.raises(TrainingDiverged, match=r"After step 4 .*no longer"):
        bench.run(failing(spoil))
    assert bench.checkpoints() == [2]


def test_a_batch_beyond_the_devices_memory_is_told_as_such(bench: Bench, failing: Callable[[str], str]) -> None:
    # 400 terabytes, more than a process can address.
    side = "tf.cast(updates, tf.int64) * 10_000_000"
    with pytest.raises(DeviceMemoryExhausted, match=r"A batch of 4 does not fit .* smaller batch_size"):
        bench.run(failing(f'metrics["huge"] = tf.reduce_sum(tf.fill([{side}, {side}], 0.5))'))


@pytest.mark.parametrize(
    ("wrong", "pointer", "sentence"),
    [
        ({"size": 16}, "#/dataset", "images are 16 pixels on a side and tiny makes 8: prepare"),
        ({"classes": {"only": ["Nodul"]}}, "#/classes/only/0", "no class 'Nodul'. Did you mean 'Nodule'"),
        ({"model": {"preset": "best"}}, "#/model/preset", "no preset 'best'"),
        ({"model": {"hyperparameters": {"width": -1}}}, "#/model/hyperparameters/width", "greater than 0"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_its_field(
    bench: Bench, tiny: str, wrong: dict[str, Any], pointer: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        bench.run(tiny, **wrong)
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert not bench.folder.exists()


def test_an_unknown_family_and_too_many_devices_are_refused(bench: Bench, tiny: str) -> None:
    with pytest.raises(UnknownFamily, match="Did you mean 'tiny'"):
        bench.run("tinny")
    with pytest.raises(DevicesUnavailable, match=r"has 1 device\(s\) \(CPU:0\) and the training asks for 2"):
        bench.run(tiny, devices=2)


def test_a_dataset_without_training_images_is_refused(bench: Bench, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dataset, "indices", lambda *_: np.empty(0, np.int64))
    with pytest.raises(InvalidRequest, match="give `train` a larger split"):
        bench.run(tiny)
