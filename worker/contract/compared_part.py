"""Which part of its dataset a training is compared with on the way: asked by the front end, and by the worker."""

from collections.abc import Mapping

from worker.contract.errors import InvalidRequest
from worker.contract.requests import MIN_EVALUATED, MIN_EVALUATED_PIXELS


def part_to_compare_with(image_size: int, images: Mapping[str, int]) -> str:
    """`validation`, whose images are not learnt from; or `train`, where that has too few.

    Args:
        image_size: Pixels on a side.
        images: How many there are in each part that has any.

    Raises:
        InvalidRequest: both have too few, or the images are too small.
    """
    if image_size < MIN_EVALUATED_PIXELS:
        raise InvalidRequest.at(
            "#/evaluate_every",
            f"The dataset's images are {image_size} pixels on a side, and an evaluation needs {MIN_EVALUATED_PIXELS}: "
            "leave `evaluate_every` out, or take a family of larger images.",
        )
    validation, train = images.get("validation", 0), images.get("train", 0)
    if max(validation, train) < MIN_EVALUATED:
        raise InvalidRequest.at(
            "#/evaluate_every",
            f"There are {train} images to learn from and {validation} to validate with, and an evaluation needs "
            f"{MIN_EVALUATED} of either: leave `evaluate_every` out, or make a larger dataset.",
        )
    return "validation" if validation >= MIN_EVALUATED else "train"
