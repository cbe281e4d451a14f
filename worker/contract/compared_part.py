"""Whether there are images to compare with, of an evaluation or a training: asked by front end and worker alike."""

from collections.abc import Mapping

from worker.contract.errors import InvalidRequest
from worker.contract.requests import MIN_EVALUATED, MIN_EVALUATED_PIXELS, EvaluationRequest


def check_reference(request: EvaluationRequest, image_size: int, images: int) -> None:
    """Whether an evaluation can be compared with the part of the dataset that it asks for.

    Args:
        request: The evaluation.
        image_size: Pixels on a side.
        images: How many there are in that part, of the classes that the training was kept to.

    Raises:
        InvalidRequest: they are too small, or too few.
    """
    if image_size < MIN_EVALUATED_PIXELS:
        raise InvalidRequest.at(
            "#/training",
            f"Its images are {image_size} pixels on a side, and an evaluation needs {MIN_EVALUATED_PIXELS}.",
        )
    if images < MIN_EVALUATED:
        raise InvalidRequest.at(
            "#/reference",
            f"The part {request.reference!r} of the dataset has {images} images to compare with, and an evaluation "
            f"needs {MIN_EVALUATED}: take another part, or make a dataset with a larger one. Images of other classes "
            "than the training's do not count.",
        )


def part_to_compare_with(image_size: int, images: Mapping[str, int]) -> str:
    """What a training is compared with: `validation`, which is not learnt from; or `train`, where that has too few.

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
