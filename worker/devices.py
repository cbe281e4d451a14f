"""The devices of this machine, and the way to train on one or several of them by the same code."""

from collections.abc import Sequence
from typing import Literal

import tensorflow as tf

from worker.contract.errors import DevicesUnavailable


def device_names(cpu_devices: int = 1) -> tuple[str, ...]:
    """The GPUs if there are any, else so many logical devices of the CPU; such as `GPU:0`.

    Sets up TensorFlow's devices, which must happen before its first operation in this process.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Else the first process takes all of a GPU's memory, and the one that generates finds none.
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    if gpus:
        return tuple(f"GPU:{index}" for index in range(len(gpus)))
    cpu = tf.config.list_physical_devices("CPU")[0]
    configured = tf.config.get_logical_device_configuration(cpu) or [None]
    if len(configured) != cpu_devices:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * cpu_devices)
    return tuple(f"CPU:{index}" for index in range(cpu_devices))


def choose(devices: Literal["all"] | int, names: Sequence[str]) -> Sequence[str]:
    """All of a worker's devices, which have these names, or the first so many.

    Raises:
        DevicesUnavailable: there are fewer than asked for.
    """
    count = len(names) if devices == "all" else devices
    if count > len(names):
        raise DevicesUnavailable(
            f"This worker has {len(names)} device(s) ({', '.join(names)}) and the training asks for {count}: "
            f"ask for at most {len(names)}, or for 'all'."
        )
    return names[:count]


def open_strategy(devices: Literal["all"] | int, cpu_devices: int = 1) -> tf.distribute.Strategy:
    """The strategy that runs a step on all devices, or on the first so many.

    Raises:
        DevicesUnavailable: there are fewer than asked for.
    """
    names = choose(devices, device_names(cpu_devices))
    return tf.distribute.OneDeviceStrategy(names[0]) if len(names) == 1 else tf.distribute.MirroredStrategy(names)
