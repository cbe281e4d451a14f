import pytest

from worker.contract.compared_part import part_to_compare_with
from worker.contract.errors import InvalidRequest


@pytest.mark.parametrize(
    ("images", "part"),
    [
        ({"train": 40, "validation": 40, "test": 0}, "validation"),
        ({"train": 10, "validation": 40}, "validation"),
        ({"train": 40, "validation": 39, "test": 100}, "train"),
        ({"train": 40}, "train"),
    ],
)
def test_images_that_are_not_learnt_from_go_first(images: dict[str, int], part: str) -> None:
    assert part_to_compare_with(16, images) == part


@pytest.mark.parametrize(
    ("image_size", "images", "sentence"),
    [
        (15, {"train": 100, "validation": 100}, "15 pixels on a side, and an evaluation needs 16"),
        (16, {"train": 39, "validation": 39, "test": 100}, "39 images to learn from and 39 to validate with"),
    ],
)
def test_too_few_and_too_small_ones_are_refused(image_size: int, images: dict[str, int], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        part_to_compare_with(image_size, images)
    assert [error.pointer for error in caught.value.errors] == ["#/evaluate_every"]
