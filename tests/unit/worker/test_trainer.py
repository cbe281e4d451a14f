import numpy as np
import pytest

from worker.trainer import Population


@pytest.mark.parametrize(("images", "chosen", "expected"), [(5, [0, 3, 3], 3 * 8 * 8), (5, [], 0), (0, [], 0)])
def test_a_population_knows_how_many_bytes_its_pixels_take(images: int, chosen: list[int], expected: int) -> None:
    population = Population(np.zeros((images, 8, 8), np.uint8), np.array(chosen, np.int64))
    assert population.bytes == expected
