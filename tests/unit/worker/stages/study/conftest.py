"""A dataset to study, and the contexts of a study."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from study_bench import dataset_of, drawn

from worker.contract.resources import Kind
from worker.dataset import Dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return dataset_of(tmp_path / "dataset", drawn())


@pytest.fixture
def context(job_context: Callable[..., Any]) -> Callable[..., Any]:
    """Contexts of one study, or of a new one."""
    study_id = Kind.STUDY.new_id()
    return lambda resource_id=study_id, **more: job_context(resource_id, **more)
