"""Parts that many tests share: a small folder in NIH's layout, the real data where there is some, a job's context."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from drawn import NihRow, draw_nih_folder, nih_rows
from worker.context import JobContext
from worker.contract.resources import Kind, Progress
from worker.contract.settings import Settings
from worker.contract.store import Store

# No test fails because the machine is busy.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")


@dataclass
class RecordingReporter:
    """Keeps what a stage reports, and tells it to stop once there are `stop_after` reports, for good or not."""

    stop_after: int | None = None
    is_canceled: bool = True
    reports: list[Progress] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def report(self, progress: Progress) -> None:
        self.reports.append(progress)

    def emit(self, kind: str, data: dict[str, Any]) -> None:
        self.events.append((kind, data))

    def should_stop(self) -> bool:
        return self.stop_after is not None and len(self.reports) >= self.stop_after

    def canceled(self) -> bool:
        return self.is_canceled


class RecordedContext(JobContext):
    """A job's context whose reports can be looked at."""

    def __init__(self, *, reporter: RecordingReporter, **parts: Any) -> None:
        super().__init__(reporter=reporter, **parts)
        self.reporter = reporter


@pytest.fixture
def job_context(tmp_path: Path) -> Callable[..., RecordedContext]:
    """Makes contexts over one store below tmp_path: `job_context(resource_id=…, stop_after=…, any_setting=…)`."""
    return contexts_over(tmp_path)


@pytest.fixture(scope="module")
def module_job_context(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RecordedContext]:
    """The same, over one store for all tests of a module."""
    return contexts_over(tmp_path_factory.mktemp("jobs"))


def contexts_over(folder: Path) -> Callable[..., RecordedContext]:
    store = Store(folder / "store")

    def make(resource_id: str | None = None, *, stop_after: int | None = None, **settings: Any) -> RecordedContext:
        scratch = folder / "store" / ".scratch" / (resource_id := resource_id or Kind.DATASET.new_id())
        scratch.mkdir(parents=True, exist_ok=True)
        return RecordedContext(
            resource_id=resource_id,
            store=store,
            scratch=scratch,
            settings=Settings(sources=folder / "sources", store=store.root, **settings),
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

    def draw(name: str = "small", rows: int | Sequence[NihRow] = 24, **more: Any) -> Path:
        chosen = nih_rows(rows) if isinstance(rows, int) else rows
        return draw_nih_folder(tmp_path / "sources" / name, chosen, **more)

    return draw
