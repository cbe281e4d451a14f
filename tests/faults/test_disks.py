"""What must happen when a disk is full, or not there, with real processes and a real disk: docs/reliability.md."""

import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from machine import Machine, eventually
from worker.contract.checkpoints import latest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of some megabytes; only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs to be root to mount a small disk: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def cramped(tmp_path: Path, small_disk: Path) -> Any:
    """A service whose store is on the small disk, with a worker for each queue, a dataset and a training."""
    (tmp_path / "sources").mkdir()
    machine = Machine(tmp_path, small_disk / "store")
    machine.start_redis()
    machine.start_api()
    dataset = machine.prepare()
    for queue in ("prepare", "train", "generate"):
        machine.start_worker(queue)
    training = machine.wait_for(machine.train(dataset, steps=20))
    yield machine, dataset, training
    machine.close()


def fill(disk: Path) -> Path:
    """A file that takes all that is left."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def failed_for_want_of_room(machine: Machine, resource: dict[str, Any]) -> None:
    failed = eventually(lambda: now if (now := machine.get(resource))["status"] == "failed" else None)
    assert failed["error"]["type"] == "/problems/disk-full", failed["error"]
    assert failed["error"]["status"] == 507
    assert re.search(r"[\d,.]+ (MB|bytes) are needed and [\d,.]+ (MB|bytes) are free", failed["error"]["detail"])
    eventually(lambda: not list(machine.store.glob(f".scratch/{resource['id']}*")))
    assert not list((machine.store / resource["links"]["self"].removeprefix("/v1/")).rglob(".*"))


def test_what_cannot_fit_on_the_disk_is_refused_at_once(cramped):
    machine, _, training = cramped
    for path, body in [
        ("/v1/datasets", {"source": "phantom", "image_size": 512}),
        ("/v1/generations", {"training": training["id"], "count": 100_000}),
    ]:
        refused = machine.http.post(path, json=body)
        assert (refused.status_code, refused.json()["type"]) == (507, "/problems/disk-full"), refused.text
        assert " MB are needed and " in refused.json()["detail"]


def test_a_disk_that_fills_up_fails_the_training_and_keeps_its_checkpoints(cramped, small_disk):
    machine, dataset, _ = cramped
    training = machine.train(dataset, steps=5_000)
    machine.wait_for_step(training, 10)
    kept = eventually(lambda: latest(machine.store / "trainings" / training["id"]))
    filler = fill(small_disk)
    failed_for_want_of_room(machine, training)
    newest = latest(machine.store / "trainings" / training["id"])
    assert newest.step >= kept.step

    filler.unlink()
    resumed = machine.post(f"{training['links']['self']}/resume", {"steps": newest.step + 20})
    assert machine.wait_for(resumed)["result"]["steps"] == newest.step + 20


@pytest.mark.parametrize("kind", ["datasets", "generations"])
def test_a_disk_that_fills_up_fails_the_job_and_nothing_of_it_is_served(cramped, small_disk, kind):
    machine, _, training = cramped
    # So much that it is still under way when the disk is full.
    body, less = (
        ({"source": "phantom", "image_size": 64}, {"limit": 100})
        if kind == "datasets"
        else ({"training": training["id"], "count": 30_000}, {"count": 64})
    )
    resource = machine.post(f"/v1/{kind}", body)
    eventually(lambda: (progress := machine.get(resource)["progress"]) and progress["done"])
    filler = fill(small_disk)
    failed_for_want_of_room(machine, resource)
    assert machine.http.get(resource["links"]["images"]).status_code == 409

    filler.unlink()
    machine.wait_for(machine.post(f"/v1/{kind}", body | less))


def test_a_store_that_cannot_be_written_is_told_and_waited_for(machine):
    machine.store.mkdir()
    machine.start_redis()
    unmounted = machine.root / "unmounted"
    machine.store.rename(unmounted)
    machine.store.write_text("not a folder")
    machine.start_api()
    worker = machine.start_worker("train")
    answer = machine.http.get("/readyz")
    assert answer.status_code == 503
    assert "mount it, or point RAGAN_STORE" in answer.json()["store"]

    eventually(lambda: "mount it, or point RAGAN_STORE" in machine.log.read_text())
    assert worker.poll() is None
    machine.store.unlink()
    unmounted.rename(machine.store)
    assert machine.http.get("/readyz").status_code == 200
    machine.wait_for(machine.train(machine.prepare(), steps=2))
    assert worker.poll() is None
