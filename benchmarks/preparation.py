"""Preparation: files of 1024x1024 pixels to one array of 64x64, against ImageMagick and against decoding alone.

    python benchmarks/preparation.py [--full] [--json] [--source FOLDER] [--plot FOLDER]

The pictures of a source in NIH's layout are copied, and linked to again and again, and so stand for a large one; they
come from memory, for every contender. What is timed is the stage as a worker runs it, from the selection to files in
the store, the start of its processes included.
"""

import csv
import math
import os
import shutil
import statistics
import struct
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from curves import FOLDER, Curve, draw
from harness import Report, Row, Turn, at_least, compare, options, rounds_of, take_turns
from kornia_rs.io import decode_image_png_u8
from memory import Watch
from peers import imagemagick
from PIL import Image

from worker.context import JobContext
from worker.contract.requests import DatasetRequest
from worker.contract.resources import Kind, Progress
from worker.contract.settings import Settings
from worker.contract.store import Store
from worker.reading import BATCH_IMAGES, begin_process
from worker.sources.nih_cxr14 import IMAGE_FOLDERS, NihCxr14
from worker.sources.phantom import Phantom
from worker.stages.prepare import prepare

REAL_SOURCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "nih-cxr14"
ALL_OF_NIH = 112_120
DRAWN = 24
DRAWN_SIDE = 1024
DRAWN_NOISE = 2.0
"""Grey levels; with it a drawn picture compresses about as well as a real one."""
SIZE = 64
IMAGES = 1_200
SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class Contender:
    """Does `images` images a turn."""

    name: str
    images: int
    turn: Turn


class Unheard:
    """Takes a stage's reports and never tells it to stop."""

    def report(self, progress: Progress) -> None: ...

    def emit(self, kind: str, data: dict[str, Any]) -> None: ...

    def should_stop(self) -> bool:
        return False

    def canceled(self) -> bool:
        return False


class Preparation:
    """Runs the stage on sources below one folder."""

    def __init__(self, folder: Path, pictures: Sequence[Path]) -> None:
        self._folder = folder
        self._pictures = pictures
        self._store = Store(folder / "store")

    def source(self, images: int) -> NihCxr14:
        """A source of so many images, which are links to the pictures at hand."""
        folder = self._folder / f"source-{images}"
        if not folder.exists():
            (folder / "images").mkdir(parents=True)
            with (folder / "Data_Entry_2017.csv").open("w", newline="") as file:
                records = csv.writer(file)
                records.writerow(
                    ("Image Index", "Finding Labels", "Patient ID", "Patient Age", "Patient Gender", "View Position")
                )
                for patient, picture in zip(range(images), cycle(self._pictures), strict=False):
                    name = f"{patient:08}_000.png"
                    (folder / "images" / name).hardlink_to(picture)
                    records.writerow((name, "No Finding", patient, 50, "F", "PA"))
        return NihCxr14.open(folder)

    def contender(self, name: str, images: int, *, size: int = SIZE, processes: int) -> Contender:
        """The stage as it is asked for by a request."""
        return Contender(name, images, partial(self.seconds, self.source(images), size, processes))

    def seconds(self, source: NihCxr14, size: int, processes: int) -> float:
        """Prepare all images of a source, throw the dataset away, and tell how long the first took."""
        resource_id = Kind.DATASET.new_id()
        with self._store.scratch(resource_id) as scratch:
            context = JobContext(
                resource_id=resource_id,
                store=self._store,
                scratch=scratch,
                settings=Settings(sources=self._folder, store=self._store.root, prepare_processes=processes),
                reporter=Unheard(),
            )
            began = time.perf_counter()
            result = prepare(DatasetRequest(source=source.id, image_size=size), source, context)
            seconds = time.perf_counter() - began
        assert result.images == len(source.table), "images were left out: give a source whose pictures can be read"
        self._store.delete(resource_id)
        return seconds


class MemoryWatch(Watch):
    """Notes, now and then, the memory of this process and those that it started."""

    def __init__(self) -> None:
        super().__init__(SAMPLE_SECONDS)
        self._began = time.perf_counter()
        self._samples: list[tuple[float, int, float]] = []

    @property
    def peak(self) -> float:
        """Megabytes of all processes together."""
        return max(megabytes for _, _, megabytes in self._samples)

    @property
    def growth(self) -> float:
        """Megabytes a second while all processes work, the first quarter, in which they fill up, left out."""
        most = max(processes for _, processes, _ in self._samples)
        working = [(seconds, megabytes) for seconds, processes, megabytes in self._samples if processes == most]
        settled = working[len(working) // 4 :]
        return statistics.linear_regression(*zip(*settled, strict=True)).slope if len(settled) > 1 else math.nan

    def look(self) -> None:
        memory = [_proportional_megabytes(process) for process in (os.getpid(), *_children_of(os.getpid()))]
        self._samples.append((time.perf_counter() - self._began, len(memory), sum(memory)))


def _children_of(process: int) -> list[int]:
    started = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for children in started for child in children.read_text().split()]


def _proportional_megabytes(process: int) -> float:
    """Its own memory, and its part of what it shares; 0 if it has just ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:")), 0.0)


def decode(path: Path) -> None:
    """What nobody who uses this decoder can do without."""
    content = path.read_bytes()
    width, height, _, colour = struct.unpack(">IIBB", content[16:26])
    decode_image_png_u8(content, (height, width), {0: "mono", 2: "rgb", 6: "rgba"}[colour])


def decoding(pictures: Sequence[Path], processes: int) -> float:
    """Seconds to do nothing but decode, in processes that are started as those of the stage are."""
    began = time.perf_counter()
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=begin_process) as pool:
        for _ in pool.map(decode, pictures, chunksize=BATCH_IMAGES):
            pass
    return time.perf_counter() - began


def draw_pictures(folder: Path) -> list[Path]:
    """Phantom's pictures at the size of real ones, with noise."""
    folder.mkdir()
    phantom, noise = Phantom(), np.random.default_rng(0)
    paths = []
    for row in range(DRAWN):
        small = Image.fromarray(phantom.image(row).read().pixels.astype(np.float32))
        large = np.asarray(small.resize((DRAWN_SIDE, DRAWN_SIDE), Image.Resampling.BICUBIC))
        noisy = large + noise.normal(0, DRAWN_NOISE, large.shape)
        paths.append(folder / f"{row:08}_000.png")
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def copied(pictures: Sequence[Path], folder: Path) -> list[Path]:
    """The pictures where they can be linked to: a source does not follow links that lead out of it."""
    folder.mkdir()
    return [Path(shutil.copy(picture, folder)) for picture in pictures]


def measured(contenders: Sequence[Contender], rounds: int) -> list[Row]:
    """A row for each contender, compared by rates with the first."""
    seconds = take_turns({contender.name: contender.turn for contender in contenders}, rounds)
    rows = [compare({each.name: seconds[each.name]}, each.images)[0] for each in contenders]
    return [replace(row, times=row.per_second / rows[0].per_second) for row in rows]


def read_arguments() -> Namespace:
    """The options of every benchmark, and where the pictures are."""
    parser = options("Preparation of a dataset: speed, what limits it, scaling, memory.")
    parser.add_argument("--source", type=Path, default=REAL_SOURCE, help="a folder in NIH's layout with the pictures")
    parser.add_argument("--images", type=at_least(1), default=IMAGES, help="that RaGAN prepares in a turn")
    parser.add_argument("--plot", type=Path, default=FOLDER, help="the folder where --full draws the scaling")
    return parser.parse_args()


def main() -> None:
    """Measure, print, plot."""
    arguments = read_arguments()
    report = Report("preparation", as_json=arguments.json)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        pictures = sorted(
            picture for name in IMAGE_FOLDERS for picture in (arguments.source.resolve() / name).glob("*.png")
        )
        if not pictures:
            report.fact("pictures", f"drawn, since {arguments.source.name} has none; real ones differ a little")
            pictures = draw_pictures(folder / "drawn")
        else:
            pictures = copied(pictures, folder / "pictures")
        report.fact(
            "files", f"{len(pictures)} of {sum(p.stat().st_size for p in pictures) / len(pictures) / 1e3:.0f} kB"
        )
        report.fact("decoder", f"kornia-rs {version('kornia-rs')}")
        run(report, Preparation(folder, pictures), pictures, folder, arguments)
    report.finish()


def run(report: Report, stage: Preparation, pictures: Sequence[Path], folder: Path, arguments: Namespace) -> None:
    """Everything that is measured, one after the other."""
    cores, images = os.cpu_count() or 1, arguments.images
    against_others(report, stage, pictures, folder, images, rounds_of(arguments, 3, 5))

    rounds = rounds_of(arguments, 1, 3)
    counts = sorted({*(2**power for power in range(cores.bit_length())), cores})
    by_processes = measured([stage.contender(f"processes: {n}", images, processes=n) for n in counts], rounds)
    report.table("By processes", by_processes, "images")

    numbers = (images // 10, images // 3, images, 10 * images)[: None if arguments.full else 3]
    by_images = measured([stage.contender(f"{n:,} images", n, processes=cores) for n in numbers], rounds)
    report.table("By size of the dataset", by_images, "images")

    sizes = (28, 64, 128, 256)
    by_size = measured([stage.contender(f"{n}x{n}", images, size=n, processes=cores) for n in sizes], rounds)
    report.table("By size of the images", by_size, "images")
    if arguments.full:
        curves = [
            curve("processes", counts, by_processes),
            curve("images in the dataset", numbers, by_images),
            curve("pixels on a side", sizes, by_size),
        ]
        draw(curves, "images/s", arguments.plot / "preparation.svg")

    if Path("/proc/self/smaps_rollup").exists():
        memory(report, stage, ALL_OF_NIH if arguments.full else 5 * images, cores)
    else:
        report.fact("memory", "not measured: this system has no /proc/PID/smaps_rollup")


def curve(label: str, at: Sequence[int], rows: Sequence[Row]) -> Curve:
    return Curve(label, [(x, row.per_second) for x, row in zip(at, rows, strict=True)])


def against_others(
    report: Report, stage: Preparation, pictures: Sequence[Path], folder: Path, images: int, rounds: int
) -> None:
    """The stage, ImageMagick, and the limit, which is decoding alone, in turns."""
    cores = os.cpu_count() or 1
    contenders = [stage.contender(f"RaGAN, {cores} processes", images, processes=cores)]
    if imagemagick.MOGRIFY:
        report.fact("ImageMagick", imagemagick.version())
        contenders = [
            Contender(
                name,
                len(pictures),
                partial(imagemagick.mogrify, pictures, SIZE, folder / "mogrified", how, processes),
            )
            for name, how, processes in (
                ("mogrify -resize, one process", imagemagick.AS_TYPED, 1),
                (f"mogrify at its best, {cores} processes", imagemagick.AT_ITS_BEST, cores),
            )
        ] + contenders
    else:
        report.fact("ImageMagick", imagemagick.ADVICE)
    repeated = list(islice(cycle(pictures), images))
    contenders.append(
        Contender(f"decoding alone, {cores} processes", images, partial(decoding, repeated, cores)),
    )
    rows = measured(contenders, rounds)
    limit = rows[-1].per_second
    rows = [replace(row, of_limit=row.per_second / limit) for row in rows]
    report.table(f"{SIZE}x{SIZE} from the files; the limit is decoding alone", rows, "images")


def memory(report: Report, stage: Preparation, images: int, processes: int) -> None:
    """Prepare many images and watch the memory of all processes."""
    source = stage.source(images)
    with MemoryWatch() as watch:
        seconds = stage.seconds(source, SIZE, processes)
    growth = watch.growth * seconds / images * 1000
    report.fact("memory: images", images)
    report.fact("memory: seconds", round(seconds, 1))
    report.fact("memory: peak of all processes, MB", round(watch.peak))
    report.fact("memory: growth for every 1,000 images, MB", round(growth, 3))
    if images < ALL_OF_NIH:
        expected = watch.peak + max(growth, 0) * (ALL_OF_NIH - images) / 1000
        report.fact(f"memory: peak to expect with {ALL_OF_NIH:,} images, MB", round(expected))


if __name__ == "__main__":
    main()
