"""Not a training, but its limit: large matrix products on as many devices, by TensorFlow, in the variant's precision.

`float32-strict` is float32 without TensorFloat-32, in which GPUs multiply where TensorFlow is left alone.
"""

import tensorflow as tf
from hardware import matrix_product
from peers.serving import read_arguments, serve

from worker.devices import device_names

PRODUCTS = {"CPU": 5, "GPU": 1}
"""Of a step on each device, so that it lasts a while."""


def main() -> None:
    task, variant = read_arguments(("float32", "bfloat16", "float32-strict"))
    precision, _, strict = variant.partition("-")
    if strict:
        tf.config.experimental.enable_tensor_float_32_execution(False)
    devices = device_names(task.devices)[: task.devices]
    products = [matrix_product(device, precision) for device in devices]
    times = PRODUCTS[devices[0].partition(":")[0]]

    def take(steps: int) -> None:
        for _ in range(steps * times):
            results = [multiply() for multiply, _ in products]
        for result in results:
            result[0, 0].numpy()  # on a GPU, this waits for all that was queued

    operations = times * sum(each for _, each in products)
    serve(take, parameters=None, settings=f"TensorFlow {tf.__version__}", operations=operations)


if __name__ == "__main__":
    main()
