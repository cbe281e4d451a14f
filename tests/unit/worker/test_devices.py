import pytest
import tensorflow as tf

from worker.contract.errors import DevicesUnavailable
from worker.devices import device_names, open_strategy

no_gpu = pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="this machine has GPUs: no CPU is used"
)


@no_gpu
def test_without_a_gpu_the_cpu_is_one_device() -> None:
    assert device_names() == ("CPU:0",)


@no_gpu
@pytest.mark.parametrize("devices", ["all", 1])
def test_one_device_needs_no_mirrors(devices: str | int) -> None:
    strategy = open_strategy(devices)
    assert isinstance(strategy, tf.distribute.OneDeviceStrategy)
    assert strategy.num_replicas_in_sync == 1


@no_gpu
def test_asking_for_more_devices_than_there_are_says_how_many_there_are() -> None:
    with pytest.raises(
        DevicesUnavailable, match=r"has 1 device\(s\) \(CPU:0\) and the training asks for 4: ask for at"
    ):
        open_strategy(4)
