from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import trainer_of
from worker.models.registry import family
from worker.precision import LOSS_SCALE, Precision, computing_in, resolve


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fma avx2", "float32"), ("avx2 avx512_bf16", "bfloat16"), ("amx_bf16 amx_tile", "bfloat16")],
)
def test_auto_is_bfloat16_where_the_processor_has_it(tmp_path: Path, flags: str, expected: str) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: fpu {flags} sse\n")
    assert resolve("auto", "CPU:0", cpuinfo) == expected
    assert resolve("float16", "CPU:0", cpuinfo) == "float16"


def test_without_a_list_of_instructions_auto_is_float32(tmp_path: Path) -> None:
    assert resolve("auto", "CPU:0", tmp_path / "none") == "float32"


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_auto_is_bfloat16_from_ampere_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: ["first", "second"])
    details = {"second": {"compute_capability": capability}}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)
    assert resolve("auto", "GPU:1") == expected


def test_layers_made_within_compute_in_half_and_keep_whole_weights() -> None:
    before = keras.config.dtype_policy()
    with computing_in("bfloat16"):
        layer = keras.layers.Dense(2)
    layer.build((None, 3))
    assert (layer.compute_dtype, layer.kernel.dtype) == ("bfloat16", "float32")
    assert keras.config.dtype_policy() == before


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["minuscule28", "tiny"])
def test_half_precision_trains_much_as_float32_does_and_their_checkpoints_are_alike(
    name: str, precision: Precision, tiny: str, tmp_path: Path
) -> None:
    kind = family(name)
    chosen = kind.configure("default", {"width": 0.05, "dropout": 0})
    whole = trainer_of(kind, chosen, batch_size=8)
    half = trainer_of(kind, chosen, batch_size=8, precision=precision)
    for ours, theirs in zip(half.advance(2), whole.advance(2), strict=True):
        assert ours["d_loss"] == pytest.approx(theirs["d_loss"], abs=0.02)
        assert ours["g_loss"] == pytest.approx(theirs["g_loss"], abs=0.02)

    half.state().write(str(tmp_path / "state"))
    whole.state().read(str(tmp_path / "state")).assert_consumed()
    points = np.random.default_rng(0).uniform(-1, 1, (4, kind.latent_size)).astype(np.float32)
    np.testing.assert_allclose(whole.sample(points), half.sample(points), atol=0.02)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_in_half_precision_the_slope_at_real_images_is_much_the_same(precision: Precision) -> None:
    kind = family("minuscule28")
    chosen = kind.configure("default", {"width": 0.05, "r1_weight": 1.0, "ema_decay": 0})
    whole, half = (
        trainer_of(kind, chosen, batch_size=4, precision=each).advance(1)[0] for each in ("float32", precision)
    )
    assert half["r1"] == pytest.approx(whole["r1"], rel=0.05)


def test_a_batch_whose_gradients_overflow_teaches_nothing(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSS_SCALE, "float16", 2.0**60)
    kind = family(tiny)
    trainer = trainer_of(kind, kind.configure("default", {"dropout": 0}), batch_size=8, precision="float16")
    networks = (trainer.state().generator, trainer.state().discriminator)
    before = [weight.numpy() for network in networks for weight in network.trainable_weights]
    trainer.advance(1)
    after = [weight.numpy() for network in networks for weight in network.trainable_weights]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
