"""How well readers could tell: shares, agreement and detectability, each with its interval of 95 %."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from app.blind_readings import BlindReading, finished
from app.reading_statistics import Estimate, Share, cohen_kappa, d_prime, fleiss_kappa, share
from worker.contract.readings import Answer, GivenAnswer, ImageTruth
from worker.contract.requests import ReadingTask

ORIGINS = ("real", "synthetic")


class OneAgainstOthers(BaseModel):
    """How well one answer was told from the others."""

    sensitivity: Share = Field(description="Of the images it is right for, those that got it.")
    specificity: Share = Field(description="Of the other images, those that did not get it.")
    d_prime: Estimate = Field(
        description="Detectability, 0 by chance; log-linear correction (Hautus 1995), the interval by the variance of "
        "Gourevitch and Galanter (1967)."
    )


class Confidence(BaseModel):
    """Mean confidence, 1 to 5, of right and of wrong answers; null without any."""

    right: float | None
    wrong: float | None


class TaskResults(BaseModel):
    """How well a task was done."""

    accuracy: Share
    accuracy_by_origin: dict[str, Share] = Field(description="Of real images and of synthetic ones alone.")
    kappa: Estimate = Field(description="Agreement with the truth beyond chance (Cohen 1960); null if it is undefined.")
    answers: dict[str, OneAgainstOthers]
    confidence: Confidence


class ReaderResults(BaseModel):
    """How well a reader, or all together, could tell."""

    answers: int
    median_seconds: float
    confidence: float = Field(description="Mean of 1 to 5.")
    tasks: dict[ReadingTask, TaskResults]


class OneReaderResults(ReaderResults):
    """How well a reader could tell."""

    reader: str
    name: str


class PairAgreement(BaseModel):
    """How far two readers agree, right or wrong."""

    readers: tuple[str, str]
    kappa: Estimate


class Agreement(BaseModel):
    """How far readers agree beyond chance; null where it is not defined, as of one reader."""

    pairs: tuple[PairAgreement, ...]
    fleiss_kappa: float | None = Field(description="Of all readers (Fleiss 1971).")


class ReadingResults(BaseModel):
    """What came of a reader study so far: of those who have answered every image."""

    images: int
    finished: int = Field(description="Readers that this is of.")
    unfinished: int = Field(description="Readers of whom nothing is told yet.")
    readers: tuple[OneReaderResults, ...]
    together: ReaderResults | None = Field(description="All answers of all of them; null if there are none.")
    agreement: dict[ReadingTask, Agreement]
    caveats: tuple[str, ...] = Field(description="What to know before any of it is repeated.")


@dataclass(frozen=True)
class _Answers:
    """Of some images: int (N,) codes of truth and answers by task, and what was told beside."""

    truth: dict[ReadingTask, NDArray[np.int64]]
    told: dict[ReadingTask, NDArray[np.int64]]
    is_real: NDArray[np.bool_]
    confidence: NDArray[np.int64]
    seconds: NDArray[np.float64]


def results_of(tasks: Sequence[ReadingTask], classes: Sequence[str], reading: BlindReading) -> ReadingResults:
    """What came of a study, by all who have finished.

    Args:
        tasks: What readers were asked.
        classes: Those to choose from.
        reading: The study.
    """
    names: dict[ReadingTask, Sequence[str]] = {
        task: ORIGINS if task == "origin" else classes for task in ("origin", "class") if task in tasks
    }
    done = [(reader, _by_image(reading, reader.order, answers, names)) for reader, answers in finished(reading)]
    each = [answers for _, answers in done]
    together = _joined(each) if each else None
    return ReadingResults(
        images=len(reading.truth().images),
        finished=len(done),
        unfinished=len(reading.readers()) - len(done),
        readers=tuple(
            OneReaderResults(reader=reader.id, name=reader.name, **_results(answers, names).model_dump())
            for reader, answers in done
        ),
        together=_results(together, names) if together else None,
        agreement={
            task: _agreement([reader.id for reader, _ in done], [answers.told[task] for answers in each], len(of_task))
            for task, of_task in names.items()
        },
        caveats=tuple(_caveats(len(done))),
    )


def _by_image(
    reading: BlindReading,
    order: Sequence[int],
    given: Sequence[GivenAnswer],
    names: Mapping[ReadingTask, Sequence[str]],
) -> _Answers:
    """The answers of one reader in the order of the images' indices, the same for all readers."""
    truth = reading.truth().images
    answers = [given[place] for place in np.argsort(order)]
    return _Answers(
        truth={task: _codes(task, truth, of_task) for task, of_task in names.items()},
        told={task: _codes(task, answers, of_task) for task, of_task in names.items()},
        is_real=np.array([image.origin == "real" for image in truth]),
        confidence=np.array([answer.confidence for answer in answers]),
        seconds=np.array([answer.seconds for answer in answers]),
    )


def _codes(task: ReadingTask, told: Iterable[Answer | ImageTruth], names: Sequence[str]) -> NDArray[np.int64]:
    return np.array([names.index((each.origin if task == "origin" else each.class_name) or "") for each in told])


def _joined(each: Sequence[_Answers]) -> _Answers:
    first = each[0]
    return _Answers(
        truth={task: np.concatenate([answers.truth[task] for answers in each]) for task in first.truth},
        told={task: np.concatenate([answers.told[task] for answers in each]) for task in first.told},
        is_real=np.concatenate([answers.is_real for answers in each]),
        confidence=np.concatenate([answers.confidence for answers in each]),
        seconds=np.concatenate([answers.seconds for answers in each]),
    )


def _results(answers: _Answers, names: Mapping[ReadingTask, Sequence[str]]) -> ReaderResults:
    return ReaderResults(
        answers=len(answers.seconds),
        median_seconds=float(np.median(answers.seconds)),
        confidence=float(answers.confidence.mean()),
        tasks={task: _task_results(answers, task, of_task) for task, of_task in names.items()},
    )


def _task_results(answers: _Answers, task: ReadingTask, names: Sequence[str]) -> TaskResults:
    truth, told = answers.truth[task], answers.told[task]
    right = truth == told
    return TaskResults(
        accuracy=share(right),
        accuracy_by_origin={
            "real": share(right[answers.is_real]),
            "synthetic": share(right[~answers.is_real]),
        },
        kappa=cohen_kappa(truth, told, len(names)),
        answers={name: _one_against_others(truth == code, told == code) for code, name in enumerate(names)},
        confidence=Confidence(right=_mean(answers.confidence[right]), wrong=_mean(answers.confidence[~right])),
    )


def _one_against_others(is_it: NDArray[np.bool_], told: NDArray[np.bool_]) -> OneAgainstOthers:
    return OneAgainstOthers(
        sensitivity=share(told[is_it]), specificity=share(~told[~is_it]), d_prime=d_prime(told[is_it], told[~is_it])
    )


def _agreement(readers: Sequence[str], told: Sequence[NDArray[np.int64]], categories: int) -> Agreement:
    pairs = tuple(
        PairAgreement(readers=(readers[a], readers[b]), kappa=cohen_kappa(told[a], told[b], categories))
        for a, b in combinations(range(len(readers)), 2)
    )
    return Agreement(pairs=pairs, fleiss_kappa=fleiss_kappa(told, categories))


def _mean(values: NDArray[np.int64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _caveats(readers: int) -> Iterator[str]:
    if not readers:
        yield "Nobody has answered every image yet."
        return
    if readers == 1:
        yield "One reader says nothing of others: how far readers agree, it takes two to tell."
    else:
        yield (
            "The intervals of all readers together take each answer for one of its own. Those to one image hang "
            "together, and so do those of one reader: the intervals are too narrow."
        )
    yield (
        "As many images are real as synthetic. Readers who know that, or guess it, balance their answers, and where "
        "synthetic images are rare, they are found less often."
    )
