"""The whole service as a user runs it: real Redis, front end and workers in processes of their own."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from app.stack import Stack
from drawn import draw_nih_folder
from worker.contract.settings import Settings

DEVICES = 2
DRAWN_MATCHES = 12


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Runs with two logical devices; its sources are a drawn one and, where there is one, the real one."""
    root = tmp_path_factory.mktemp("service")
    matching = [(f"{index:08}_000.png", "No Finding", index // 2, "40", "M", "AP") for index in range(DRAWN_MATCHES)]
    others = [(f"{index:08}_001.png", "Nodule", index, "50", "F", "PA") for index in range(6)]
    draw_nih_folder(root / "sources" / "drawn", [*matching, *others], size=96)
    real = Path(__file__).resolve().parents[3] / "shared" / "data" / "nih-cxr14-128"
    if real.is_dir():
        (root / "sources" / "real").symlink_to(real)
    settings = Settings(sources=root / "sources", store=root / "store", REDIS_URL=None)
    with ExitStack() as stopping:
        with pytest.MonkeyPatch.context() as environment:  # for the processes of the service, not for later tests
            environment.setenv("RAGAN_CPU_DEVICES", str(DEVICES))
            stack = stopping.enter_context(Stack(settings, "127.0.0.1", 0, output=root / "log"))
        stack.wait_until_ready(trainable=True)
        yield stack


@pytest.fixture
def http(service: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as client:
        yield client
