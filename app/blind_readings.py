"""The readers of a study and their answers, in the store: an answer is on the disk before it is acknowledged."""

import hashlib
import re
import secrets
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np

from worker.contract.errors import InvalidRequest, NotFound, WrongState
from worker.contract.live import utc_now
from worker.contract.readings import IMAGES, MAX_READERS, TRUTH, Answer, GivenAnswer, Reader, Truth
from worker.contract.requests import ReadingTask
from worker.contract.store import Store
from worker.sources.names import no_such
from worker.sources.pixels import encode_png

READER_BYTES = 16
"""An id is as good as a password, which nobody finds by trying."""

_READER_ID = re.compile(rf"rd_[0-9a-f]{{{2 * READER_BYTES}}}")


class BlindReading:
    """One study that is ready to be read.

    Each image is seen once, when its turn comes, and an answer stands. To look ahead, or back, would let a reader judge
    an image beside others; to change an answer, after more had been seen; and the time would mean nothing.
    """

    def __init__(self, store: Store, study: str, clock: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._study = study
        self._folder = store.folder(study)
        self._clock = clock

    def truth(self) -> Truth:
        """Which image is which: for the owner alone."""
        return Truth.model_validate_json((self._folder / TRUTH).read_bytes())

    def readers(self) -> list[Reader]:
        """All who are enrolled, in the order in which they were."""
        found = (self._read(file) for file in self._folder.glob("readers/rd_*/reader.json"))
        return sorted(found, key=lambda reader: (reader.enrolled_at, reader.id))

    def reader(self, reader_id: str) -> Reader:
        """NotFound if nobody is enrolled under this id."""
        try:
            if _READER_ID.fullmatch(reader_id):
                return self._read(self._folder / _reader_folder(reader_id) / "reader.json")
        except FileNotFoundError:
            pass
        raise NotFound(f"There is no such reader of {self._study}: take the address that the enrolment answered with.")

    def enrol(self, name: str) -> Reader:
        """Take a reader in, with an order of their own; WrongState if there are MAX_READERS."""
        if len(self.readers()) >= MAX_READERS:
            raise WrongState(f"{self._study} has {MAX_READERS} readers, and no more may be enrolled: make another one.")
        reader_id = f"rd_{secrets.token_hex(READER_BYTES)}"
        truth = self.truth()
        reader = Reader(
            id=reader_id,
            name=name,
            enrolled_at=self._clock(),
            order=_order(truth, reader_id),  # kept, for another version of NumPy may draw another one
        )
        self._store.publish_once(
            reader.model_dump_json().encode(), self._study, f"{_reader_folder(reader_id)}/reader.json"
        )
        return reader

    def answers(self, reader: Reader) -> list[GivenAnswer]:
        """What a reader has answered, by place."""
        return [GivenAnswer.model_validate_json(file.read_bytes()) for file in self._answered(reader)]

    def answered(self, reader: Reader) -> int:
        """How many images a reader has answered, which is the place of the next one."""
        return len(self._answered(reader))

    def answer(self, reader: Reader, place: int, answer: Answer) -> None:
        """Keep an answer to the image at a place; the same one again changes nothing.

        Raises:
            NotFound: there is no such place, or the study was deleted.
            WrongState: the place's turn has not come, or it has another answer.
        """
        _check_place(reader, place)
        if place > (turn := self.answered(reader)):
            raise WrongState(f"Image {turn} comes first: images are answered in the order in which they are shown.")
        given = GivenAnswer(**answer.model_dump(), answered_at=self._clock())
        name = f"{_reader_folder(reader.id)}/answers/{place:04d}.json"
        if self._store.publish_once(given.model_dump_json().encode(), self._study, name):
            return
        kept = GivenAnswer.model_validate_json((self._folder / name).read_bytes())
        if kept != given.model_copy(update={"answered_at": kept.answered_at}):
            raise WrongState(f"Image {place} has another answer already, and answers stand: go on with the next image.")

    def image(self, reader: Reader, place: int) -> bytes:
        """The image whose turn it is, as a PNG that depends on its pixels alone and is as long as any other.

        Raises:
            NotFound: there is no such place.
            WrongState: its turn has not come, or is over.
        """
        _check_place(reader, place)
        if place != (turn := self.answered(reader)):
            shown = f"the next is {turn}" if turn < len(reader.order) else "all are answered"
            raise WrongState(f"Each image is shown once, when its turn comes: {shown}.")
        images = np.load(self._folder / IMAGES, mmap_mode="r")
        return encode_png(np.asarray(images[reader.order[place]]), compress_level=0)

    def _answered(self, reader: Reader) -> list[Path]:
        return sorted((self._folder / _reader_folder(reader.id)).glob("answers/[0-9]*.json"))

    @staticmethod
    def _read(file: Path) -> Reader:
        return Reader.model_validate_json(file.read_bytes())


def check_answer(answer: Answer, tasks: Collection[ReadingTask], classes: Collection[str]) -> None:
    """InvalidRequest unless it answers what a study asks, and nothing else.

    Args:
        answer: A reader's.
        tasks: What the study asks of an image.
        classes: Those to choose from.
    """
    for task, told in (("origin", answer.origin), ("class", answer.class_name)):
        if (told is not None) != (task in tasks):
            asked = " and ".join(f"`{each}`" for each in tasks)
            raise InvalidRequest.at(f"#/{task}", f"Of each image, {asked} is asked: answer that, no less and no more.")
    if answer.class_name is not None and answer.class_name not in classes:
        raise InvalidRequest.at("#/class", no_such("class", answer.class_name, classes))


def finished(reading: BlindReading) -> Iterator[tuple[Reader, list[GivenAnswer]]]:
    """The readers who have answered every image, with their answers by place."""
    for reader in reading.readers():
        answers = reading.answers(reader)
        if len(answers) == len(reader.order):
            yield reader, answers


def _reader_folder(reader_id: str) -> str:
    return f"readers/{reader_id}"


def _check_place(reader: Reader, place: int) -> None:
    if not 0 <= place < len(reader.order):
        raise NotFound(f"There are images 0 to {len(reader.order) - 1}, and no image {place}.")


def _order(truth: Truth, reader_id: str) -> tuple[int, ...]:
    """The indices of all images, shuffled by the study's secret and the reader."""
    seed = hashlib.sha256(f"{truth.secret} {reader_id}".encode()).digest()
    shuffled = np.random.default_rng(int.from_bytes(seed)).permutation(len(truth.images))
    return tuple(shuffled.tolist())
