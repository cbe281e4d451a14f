"""What shows only in fresh processes: a resumed training is the uninterrupted one, and two devices are one."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

TESTS = str(Path(__file__).parents[3])

TRAIN = """
import sys
from pathlib import Path
import numpy as np
from worker.context import JobContext
from worker.contract.errors import InvalidRequest
from worker.contract.requests import TrainingRequest
from worker.contract.settings import Settings
from worker.contract.store import Store
from worker.stages.train import train
from trainers import labelled_dataset

class Silent:
    def report(self, progress): ...
    def emit(self, kind, data): ...
    def should_stop(self): return False
    def canceled(self): return False

def run(root, cpu_devices=1, **more):
    store = Store(Path(root))
    images = np.random.default_rng(0).integers(0, 256, (12, 28, 28), np.uint8)
    dataset = labelled_dataset(store.root, images, ["Mass"] * 2 + ["Nodule"] * 10)
    asked = {"dataset": "ds_" + 26 * "a", "batch_size": 4, "seed": 11, "checkpoint_every": 100} | more
    with store.scratch("training") as scratch:
        context = JobContext(
            resource_id="tr_" + 26 * "a", store=store, scratch=scratch,
            settings=Settings(store=store.root, cpu_devices=cpu_devices), reporter=Silent(),
        )
        return train(TrainingRequest(**asked), dataset, context)
"""

RESUME = """
family, *runs = sys.argv[1:]
small = {"family": family, "preset": "reference", "hyperparameters": {"width": 0.05, "ema_decay": 0.9}}
for root, steps in zip(runs[::2], runs[1::2]):
    run(root, steps=int(steps), model=small)
"""

COMPARE = """
import json
import tensorflow as tf
from trainers import noise, trainer_of
from worker.contract.fast_paths import FastPath
from worker.draws import codes_in_turn
from worker.fast_paths import DEFAULTS
from worker.models.base import CommonHyperparameters, Family
from worker.models.networks import dcgan

class Small(Family[CommonHyperparameters]):
    name, title, reference, image_size = "small", "The reference networks' layers, few of them", "none", 8
    takes_labels = sys.argv[2] == "labels"
    hyperparameters = CommonHyperparameters
    presets = {"default": CommonHyperparameters(ema_decay=0.9), "reference": CommonHyperparameters()}
    def generator(self, chosen, classes):
        rest = {"width": 1, "dropout": chosen.dropout, "classes": classes}
        return dcgan.generator(latent_size=100, start=(4, 8), blocks=[(6, 2), (4, 1)], **rest)
    def discriminator(self, chosen, classes):
        rest = {"width": 1, "dropout": chosen.dropout, "classes": classes}
        return dcgan.discriminator(image_size=8, blocks=[(4, 2), (6, 1)], **rest)

CHANGES = ["brightness", "contrast", "translation", "cutout"]
OPTIONS = {
    "hinge, augmentation and spectral norm": {"loss": "hinge", "diff_augment": CHANGES, "spectral_norm": True},
    "least squares and R1": {"loss": "lsgan", "r1_weight": 1.0, "r1_every": 2},
    "classical augmentation": {},
}

root = Path(sys.argv[1])
try:
    run(root, cpu_devices=2, batch_size=5, steps=1)
except InvalidRequest as error:
    refused = error.problem().model_dump()

fed = DEFAULTS["CPU"]
kept = fed | {FastPath.RESIDENT_DATA}
one, two, again, resident, alone = (
    trainer_of(
        Small(), Small.presets["default"], images=noise(8, 50), batch_size=16, seed=4,
        devices=devices, logical_devices=2, fast_paths=paths,
    )
    for devices, paths in ((1, fed), ("all", fed), (1, fed), ("all", kept), (1, kept))
)
steps = list(zip(one.advance(4), two.advance(1) + two.advance(3), resident.advance(2) + resident.advance(2)))
alone_steps = alone.advance(4)

def weights(trainer):
    trainer.state().write(str(root / "state"))
    reader = tf.train.load_checkpoint(str(root / "state"))
    names = sorted(name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name)
    return {name: np.asarray(reader.get_tensor(name), np.float64) for name in names}

ours, theirs = weights(one), weights(two)
again.state().read(str(root / "state")).assert_consumed()
def compared(name, options):
    chosen = Small().configure("default", options)
    one, two = (
        trainer_of(
            Small(), chosen, images=noise(8, 50), batch_size=16, seed=4, devices=devices, logical_devices=2,
            classical_augmentation="paper" if name == "classical augmentation" else None,
        )
        for devices in (1, "all")
    )
    steps = [one.advance(3), two.advance(3)]
    vectors = getattr(two.state().discriminator, "vectors", [])
    copies = [[copy.numpy() for copy in vector.value.values] for vector in vectors]
    ours, theirs = weights(one), weights(two)
    return {
        "steps": steps,
        "furthest_weight": max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours),
        "normalized": len(copies) > 0,
        "vectors_are_the_same": all(np.array_equal(*each) for each in copies),
    }

points = np.random.default_rng(2).uniform(-1, 1, (4, 100)).astype(np.float32)
codes = codes_in_turn(len(one.classes.names), 4)
print(json.dumps({
    "refused": refused,
    "devices": [one.devices, two.devices],
    "steps": steps,
    "same_names": list(ours) == list(theirs),
    "furthest_weight": max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours),
    "alone_is_fed": alone_steps == [step for step, _, _ in steps],
    "copies_lie_on": [part.device.rpartition("/device:")[2] for part in resident._resident.values],
    "resident_is_fed": all(np.array_equal(theirs[name], kept) for name, kept in weights(resident).items()),
    "furthest_pixel": float(np.abs(one.sample(points, codes) - two.sample(points, codes)).max()),
    "restored_on_one": float(np.abs(again.sample(points, codes) - two.sample(points, codes)).max()),
    "options": {name: compared(name, options) for name, options in OPTIONS.items()},
}))
"""


def execute(script: str, *arguments: object) -> str:
    command = [sys.executable, "-c", TRAIN + script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": TESTS})
    assert done.returncode == 0, done.stderr
    return done.stdout


def digest(root: Path, step: int) -> str:
    """Of everything in a checkpoint that TensorFlow wrote: weights, averages, optimisers, seed states."""
    (state,) = root.glob(f"trainings/*/checkpoints/{step:08d}")
    reader = tf.train.load_checkpoint(str(state / "state"))
    total = hashlib.sha256()
    for name in sorted(reader.get_variable_to_shape_map()):
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH":
            total.update(np.asarray(reader.get_tensor(name)).tobytes())
    return total.hexdigest()


@pytest.mark.parametrize("family", ["minuscule28", "minuscule28-conditional"])
def test_four_steps_are_two_and_two_more_in_another_process_bit_for_bit_with_dropout(
    tmp_path: Path, family: str
) -> None:
    execute(RESUME, family, tmp_path / "straight", 4, tmp_path / "resumed", 2)
    execute(RESUME, family, tmp_path / "resumed", 4)
    assert digest(tmp_path / "resumed", 4) == digest(tmp_path / "straight", 4)
    (straight,), (resumed,) = ((tmp_path / run).glob("trainings/*/metrics.jsonl") for run in ("straight", "resumed"))
    assert resumed.read_text() == straight.read_text()


@pytest.fixture(scope="module", params=["no labels", "labels"])
def comparison(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One device and two logical ones of the CPU, side by side in a process that has them."""
    printed = execute(COMPARE, tmp_path_factory.mktemp("devices"), request.param)
    answer: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return answer


def test_two_devices_of_eight_are_one_of_sixteen(comparison: dict[str, Any]) -> None:
    assert comparison["devices"] == [["CPU:0"], ["CPU:0", "CPU:1"]]
    for one, two, _ in comparison["steps"]:
        assert one == pytest.approx(two, abs=1e-5)
    assert comparison["same_names"]
    assert comparison["furthest_weight"] < 1e-5
    assert comparison["furthest_pixel"] < 1e-5


@pytest.mark.parametrize(
    "options", ["hinge, augmentation and spectral norm", "least squares and R1", "classical augmentation"]
)
def test_with_every_option_two_devices_are_one(comparison: dict[str, Any], options: str) -> None:
    found = comparison["options"][options]
    for one, two in zip(*found["steps"], strict=True):
        assert one == pytest.approx(two, abs=1e-5)
    assert found["furthest_weight"] < 1e-5
    assert found["normalized"] == ("spectral norm" in options)
    assert found["vectors_are_the_same"]


def test_images_kept_on_the_devices_teach_the_same_bit_for_bit(comparison: dict[str, Any]) -> None:
    for _, two, resident in comparison["steps"]:
        assert resident == two
    assert comparison["resident_is_fed"]
    assert comparison["alone_is_fed"]
    assert comparison["copies_lie_on"] == ["CPU:0", "CPU:1"]


def test_what_two_devices_learned_can_be_carried_on_by_one(comparison: dict[str, Any]) -> None:
    assert comparison["restored_on_one"] < 1e-6


def test_a_batch_that_cannot_be_shared_out_is_refused(comparison: dict[str, Any]) -> None:
    assert comparison["refused"]["errors"][0]["pointer"] == "#/batch_size"
    assert "A batch of 5 cannot be shared out evenly over 2 devices" in comparison["refused"]["detail"]
