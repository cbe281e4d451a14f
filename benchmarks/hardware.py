"""The devices of this host, what a worker chooses on them, and what they can do at most; prints one line of JSON.

python benchmarks/hardware.py
"""

import quiet  # noqa: F401 - before TensorFlow

# isort: split
import json
from collections.abc import Callable

import tensorflow as tf
from harness import machine, timed

from worker.devices import device_names
from worker.precision import Precision, resolve

PRODUCT_SIDE = {"CPU": 2048, "GPU": 8192}
MEMORY_FLOATS = {"CPU": 2**26, "GPU": 2**28}
TRIES = 10


def matrix_product(device: str, precision: Precision) -> tuple[Callable[[], tf.Tensor], int]:
    """A large one, to be called; and its floating-point operations, 2 for a multiplication with its addition."""
    side = PRODUCT_SIDE[device.partition(":")[0]]
    with tf.device(device):
        factor = tf.cast(tf.random.normal((side, side)), precision)
    multiply = tf.function(tf.linalg.matmul, autograph=False)
    return lambda: multiply(factor, factor), 2 * side**3


def memory_rate(device: str) -> float:
    """Bytes/s, read and written by all threads, where 1 is added to each element of a large array."""
    with tf.device(device):
        array = tf.zeros(MEMORY_FLOATS[device.partition(":")[0]])
    increase = tf.function(lambda numbers: numbers + 1.0, autograph=False)

    def work() -> None:
        increase(array)[0].numpy()  # on a GPU, looking at the result waits for it

    return 2 * array.dtype.size * int(tf.size(array)) / min(timed(work)() for _ in range(TRIES))


def name_of(device: str) -> str:
    """What the processor or the GPU is called."""
    kind, _, index = device.partition(":")
    if kind == "CPU":
        return str(machine()["processor"])
    details = tf.config.experimental.get_device_details(tf.config.list_physical_devices(kind)[int(index)])
    return str(details.get("device_name", "a GPU that does not tell its name"))


def main() -> None:
    devices = device_names()
    told = {
        "devices": devices,
        "names": [name_of(device) for device in devices],
        "precision": resolve("auto", devices[0]),
        "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "memory_bytes_per_second": memory_rate(devices[0]),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
