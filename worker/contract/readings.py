"""What is kept of a blind reading: which image is which, who reads, and what they answered.

images.npy                        uint8 (images, size, size), real and synthetic ones mixed
truth.json                        which is which, and the secret that readers' orders are drawn by
readers/<reader>/reader.json      who it is, and in which order they see the images
readers/<reader>/answers/<place>.json

A place is where an image comes in a reader's order, an index where it is in images.npy. Both count from 0.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from worker.contract.checkpoints import LearntClasses
from worker.contract.errors import InvalidRequest
from worker.contract.requests import ReaderStudyRequest
from worker.contract.resources import Timestamp

IMAGES = "images.npy"
TRUTH = "truth.json"
MAX_READERS = 100
"""Of one study."""

Origin = Literal["real", "synthetic"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True)


class Enrolment(_Record):
    """Who is to read."""

    name: str = Field(min_length=1, max_length=100, description="As the results shall call them.")


class Answer(_Record):
    """What a reader says of an image: of each task of the study one answer, and none of others."""

    origin: Origin | None = Field(None, description="Null unless the study asks for it.")
    class_name: str | None = Field(None, alias="class", description="Null unless the study asks for it.")
    confidence: int = Field(ge=1, le=5, description="1: a guess, 5: certain.")
    seconds: float = Field(ge=0, le=86_400, description="From when the image was shown to the answer.")


class GivenAnswer(Answer):
    """An answer as it is kept."""

    answered_at: Timestamp


class Reader(_Record):
    """Who reads, and the indices of the images in the order in which this reader sees them."""

    id: str
    name: str
    enrolled_at: Timestamp
    order: tuple[int, ...]


class ImageTruth(_Record):
    """What an image is; `source` is its place in the dataset's array, or among those that the seed draws."""

    origin: Origin
    class_name: str | None = Field(alias="class")
    source: int


class Truth(_Record):
    """What each image is, by index. Nothing that a reader receives depends on any of it."""

    secret: str = Field(description="256 random bits: an order that followed from the seed alone could be computed.")
    images: tuple[ImageTruth, ...]

    @model_validator(mode="after")
    def _of_either_kind(self) -> Self:
        if {image.origin for image in self.images} != {"real", "synthetic"}:
            raise ValueError("a reading has real images and synthetic ones")
        return self


def check_reading(request: ReaderStudyRequest, learnt: LearntClasses, images: int) -> None:
    """Whether there is what a reader study asks for: asked by front end and worker alike.

    Args:
        request: The study.
        learnt: The classes that its training tells apart.
        images: How many of its classes there are in the part of the dataset that the real ones are from.

    Raises:
        InvalidRequest: a class is asked for where there are not two, or there are fewer images.
    """
    if "class" in request.tasks and len(learnt.names) < 2:
        raise InvalidRequest.at(
            "#/tasks",
            "This training does not tell classes apart, so that nobody knows which class its images show: leave out "
            "the task `class`, or take a training of a family that takes labels.",
        )
    if images < request.count:
        raise InvalidRequest.at(
            "#/count",
            f"The part {request.reference!r} of the dataset has {images} images, and {request.count} are to be shown: "
            "ask for fewer, take the other part, or make a dataset with a larger one. Images of other classes than "
            "the training's do not count.",
        )
