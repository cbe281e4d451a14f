import pytest

from worker.models.networks.dcgan import scaled


@pytest.mark.parametrize(("width", "channels"), [(1.0, 64), (0.5, 32), (0.05, 3), (1e-6, 1), (4.0, 256)])
def test_width_scales_channels_and_leaves_one(width: float, channels: int) -> None:
    assert scaled(64, width) == channels
