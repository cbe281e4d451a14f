"""Which training draws which images of a generation: one all of them, or one those of each class, class after class."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.contract.errors import CheckpointMissing
from worker.contract.requests import GenerationRequest
from worker.sources.classes import labels_in_turn


@dataclass(frozen=True)
class Segment:
    """Images `first` to `first + count - 1`, drawn by a training at a step, which take the labels in turn."""

    training: str
    step: int
    first: int
    count: int
    labels: tuple[str, ...] | None

    def within(self, first: int, count: int) -> "Segment":
        """What it has of `count` images from `first` on, which may be none."""
        begin, end = max(first, self.first), min(first + count, self.first + self.count)
        return Segment(self.training, self.step, begin, max(0, end - begin), self.labels)

    def turns(self) -> list[int]:
        """How many of its images take each of its labels; all of them, where there is none."""
        labels, end = len(self.labels or ("",)), self.first + self.count
        return [len(range(self.first + (place - self.first) % labels, end, labels)) for place in range(labels)]


def segments_of(request: GenerationRequest) -> tuple[Segment, ...]:
    """In the order of the images; CheckpointMissing if the steps were not settled when they were asked for."""
    if request.training is not None:
        return (_segment(request.training, request.checkpoint, 0, request.count, request.labels),)
    segments: list[Segment] = []
    first = 0
    for name, draw in sorted(request.trainings.items()):
        segments.append(_segment(draw.training, draw.checkpoint, first, draw.count or 0, (name,)))
        first += draw.count or 0
    return tuple(segments)


def labels_within(segments: Sequence[Segment], first: int, count: int) -> list[str] | None:
    """The labels of `count` images from one on; None where they have none."""
    parts = (segment.within(first, count) for segment in segments)
    told = [labels_in_turn(part.labels, part.first, part.count) for part in parts]
    return None if None in told else [label for labels in told for label in labels or ()]


def _segment(training: str, step: object, first: int, count: int, labels: tuple[str, ...] | None) -> Segment:
    if not isinstance(step, int):
        raise CheckpointMissing("The checkpoint was not resolved when the generation was asked for.")
    return Segment(training, step, first, count, labels)
