"""Parts that many tests share: a small folder in NIH's layout, the real data where there is some, a job's context."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from worker.context import JobContext
from worker.contract.resources import Kind, Progress
from worker.contract.settings import Settings
from worker.contract.store import Store

NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)

NihRow = tuple[str, str, int, str, str, str]
"""File, findings joined with |, patient, age, sex, view."""


@dataclass
class RecordingReporter:
    """Keeps what a stage reports, and tells it to stop once there are `stop_after` reports."""

    stop_after: int | None = None
    reports: list[Progress] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def report(self, progress: Progress) -> None:
        self.reports.append(progress)

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        self.events.append((kind, data))

    def should_stop(self) -> bool:
        return self.stop_after is not None and len(self.reports) >= self.stop_after


class RecordedContext(JobContext):
    """A job's context whose reports can be looked at."""

    def __init__(self, *, reporter: RecordingReporter, **parts: Any) -> None:
        super().__init__(reporter=reporter, **parts)
        self.reporter = reporter


@pytest.fixture
def job_context(tmp_path: Path) -> Callable[..., RecordedContext]:
    """Makes contexts over one store below tmp_path: `job_context(resource_id=…, stop_after=…, any_setting=…)`."""
    store = Store(tmp_path / "store")

    def make(resource_id: str | None = None, *, stop_after: int | None = None, **settings: Any) -> RecordedContext:
        scratch = tmp_path / "store" / ".scratch" / (resource_id := resource_id or Kind.DATASET.new_id())
        scratch.mkdir(parents=True, exist_ok=True)
        return RecordedContext(
            resource_id=resource_id,
            store=store,
            scratch=scratch,
            settings=Settings(sources=tmp_path / "sources", store=store.root, **settings),
            reporter=RecordingReporter(stop_after),
        )

    return make


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real images and metadata beside the repository; whoever asks for them is skipped where there are none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real data in ../shared/data")
    return folder


@pytest.fixture
def nih_folder(tmp_path: Path) -> Callable[..., Path]:
    """Draws sources below tmp_path/sources: `nih_folder(name, rows or their number, outliers=…, size=…)`."""

    def draw(
        name: str = "small",
        rows: int | Sequence[NihRow] = 24,
        *,
        outliers: Iterable[Sequence[Any]] = (),
        size: int = 40,
    ) -> Path:
        folder = tmp_path / "sources" / name
        (folder / "images").mkdir(parents=True)
        chosen = nih_rows(rows) if isinstance(rows, int) else rows
        records = [(file, labels, 0, *rest, 2500, 2048, 0.1, 0.1) for file, labels, *rest in chosen]
        write_csv(folder / "Data_Entry_2017_v2020.csv", NIH_HEADER, records)
        for seed, (file, *_) in enumerate(chosen):
            Image.fromarray(chest(seed, size)).save(folder / "images" / file)
        if outliers:
            write_csv(folder / "cxr14_bad_labels.csv", ",Index,Inverted,Not frontal,Rotated", outliers)
        return folder

    return draw


def nih_rows(count: int) -> list[NihRow]:
    """Rows that differ in every field; every second patient has two images in a row."""
    findings = ("No Finding", "Infiltration", "Effusion|Infiltration", "Nodule")
    return [
        (
            f"{index:08}_000.png",
            findings[index % 4],
            index * 2 // 3,
            f"{20 + 7 * index % 60}",
            "MF"[index // 2 % 2],
            ("PA", "AP")[index // 4 % 2],
        )
        for index in range(count)
    ]


def chest(seed: int, size: int) -> Any:
    """uint8 (size, size), something like a chest: bright with two dark ellipses and noise; no two seeds alike."""
    noise = np.random.default_rng(seed).normal(0, 8, (size, size))
    down, across = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    lungs = (down / 0.7) ** 2 + ((np.abs(across) - 0.45) / 0.3) ** 2 < 1
    return np.clip(np.where(lungs, 60, 190) + noise, 0, 255).astype(np.uint8)


def write_csv(path: Path, header: str, records: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        file.write(header + "\n")
        csv.writer(file).writerows(records)
