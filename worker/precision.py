"""In which precision a training computes: where half of it does, weights and checkpoints are float32 all the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import keras
import tensorflow as tf

Precision = Literal["float32", "bfloat16", "float16"]
LOSS_SCALE: dict[Precision, float] = {"float32": 1.0, "bfloat16": 1.0, "float16": 1024.0}
"""Times the loss, and its gradients divided by it: the smallest would vanish in float16."""
BFLOAT16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16"}
FIRST_GPU_WITH_BFLOAT16 = (8, 0)
"""Compute capability: Ampere."""


def resolve(wanted: Literal["auto"] | Precision, device: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> Precision:
    """The precision to compute in on a device such as `GPU:0`; `auto` is bfloat16 where the hardware has it."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if _computes_bfloat16(device, cpuinfo) else "float32"


def _computes_bfloat16(device: str, cpuinfo: Path) -> bool:
    kind, _, index = device.partition(":")
    if kind == "GPU":
        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices(kind)[int(index)])
        return bool(details.get("compute_capability", (0, 0)) >= FIRST_GPU_WITH_BFLOAT16)
    return cpuinfo.exists() and not BFLOAT16_INSTRUCTIONS.isdisjoint(cpuinfo.read_text().split())


@contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Layers that are made within compute in this precision; their weights are float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
