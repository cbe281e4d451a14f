"""What a client waits for: start-up, a few images, a thousand images; on the whole service, started here.

    python benchmarks/api.py [--full] [--json]

The limit is drawing alone: the same images by the same fast paths in this process, into memory and no further.
"""

import quiet  # noqa: F401 - before TensorFlow

# isort: split
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import keras
import numpy as np
from builders import build_generator, build_sampler
from harness import Report, compare, options, rounds_of, take_turns, timed
from numpy.typing import NDArray
from PIL import Image

from app.client import Client
from app.stack import Stack
from worker.contract.settings import Settings
from worker.fast_paths import PLAIN
from worker.models.registry import family

FAMILY = "dcgan64"
MANY, FEW = 1000, 16
ROUNDS, FULL_ROUNDS = 4, 10
REQUESTS, FULL_REQUESTS = 40, 200
STARTS, FULL_STARTS = 3, 7


def start_ups(report: Report, root: Path, starts: int) -> None:
    """Seconds until the command line answers, and until the front end does."""
    ragan = str(Path(sys.executable).with_name("ragan"))
    shown = [
        timed(lambda: subprocess.run([ragan, "--help"], check=True, stdout=subprocess.DEVNULL))() for _ in range(starts)
    ]
    report.fact("`ragan --help`, median s", round(statistics.median(shown), 3))
    ready = [seconds_until_ready(ragan, root / str(start)) for start in range(starts)]
    report.fact("`ragan up` until /readyz is 200, median s", round(statistics.median(ready), 2))


def seconds_until_ready(ragan: str, root: Path) -> float:
    """Start all of the service and ask until Redis and the store are in reach; `ragan up` says so in one line."""
    environment = os.environ | {"RAGAN_STORE": str(root)}
    environment.pop("REDIS_URL", None)
    began = time.perf_counter()
    with subprocess.Popen(
        [ragan, "up", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("RaGAN is ready")
        seconds = time.perf_counter() - began
        process.terminate()
    return seconds


def first_step(report: Report, client: Client, http: httpx.Client) -> str:
    """Train two steps on drawn images; returns the training's id."""
    dataset = client.select("phantom", limit=64, image_size=64)
    training = client.train(dataset, family=FAMILY, steps=2, batch_size=64, snapshot_every=2)
    events = http.get(f"/v1/trainings/{training['id']}/events", headers={"Accept": "application/json"}).json()
    at = {
        (event["type"], event["data"].get("status")): int(event["id"].partition("-")[0]) for event in reversed(events)
    }
    seconds = (at["metrics", None] - at["status", "running"]) / 1000
    report.fact(f"job start to the end of the first training step, {FAMILY}, batch 64, s", round(seconds, 2))
    return str(training["id"])


def few_images(report: Report, http: httpx.Client, training: str, requests: int) -> None:
    """From the POST to the answer that they are drawn."""
    sample, latents = build_sampler(FAMILY), points(FEW)

    def post() -> None:
        answer = http.post("/v1/generations", json={"training": training, "count": FEW}, headers={"Prefer": "wait=60"})
        assert answer.status_code == 200, answer.text

    turns = {"answered": timed(post), "drawn": timed(lambda: sample(latents))}
    take_turns(turns, 1)
    seconds = take_turns(turns, requests)
    answered = sorted(seconds["answered"])
    report.fact(f"{FEW} images, POST to answer, p50 ms", round(1000 * statistics.median(answered)))
    report.fact(f"{FEW} images, POST to answer, p95 ms", round(1000 * answered[int(0.95 * len(answered))]))
    report.fact(f"{FEW} images, the limit: drawing alone, p50 ms", round(1000 * statistics.median(seconds["drawn"])))


def many_images(report: Report, http: httpx.Client, training: str, rounds: int) -> None:
    """From the POST to the last byte of the archive, against Keras, Pillow and zipfile in a script."""
    network, sample, latents = build_generator(FAMILY, PLAIN), build_sampler(FAMILY), points(MANY)

    def by_the_service() -> None:
        request = {"training": training, "count": MANY}
        made = http.post("/v1/generations", json=request, headers={"Prefer": "wait=60"})
        assert made.status_code == 200, made.text
        archive = http.get(f"{made.headers['Location']}/images").content
        assert len(zipfile.ZipFile(io.BytesIO(archive)).namelist()) == MANY + 2

    def by_hand() -> None:
        images = np.round(255 * network.predict(latents, batch_size=64)[..., 0]).astype(np.uint8)
        with zipfile.ZipFile(io.BytesIO(), "w") as archive:
            for index, image in enumerate(images):
                file = io.BytesIO()
                Image.fromarray(image).save(file, "PNG")
                archive.writestr(f"{index:06}.png", file.getvalue())

    turns = {
        "Keras predict, Pillow, zipfile": timed(by_hand),
        "RaGAN, POST to last byte": timed(by_the_service),
        "limit: drawing alone": timed(lambda: sample(latents)),
    }
    take_turns(turns, 1)
    rows = compare(take_turns(turns, rounds), MANY)
    rows = [replace(row, of_limit=rows[-1].seconds / row.seconds) for row in rows]
    report.table(f"{MANY} images in a ZIP, {FAMILY}", rows, "images")


def points(count: int) -> NDArray[np.float32]:
    """Latent points, of which the time to draw does not depend."""
    return np.random.default_rng(0).uniform(-1, 1, (count, family(FAMILY).latent_size)).astype(np.float32)


def main() -> None:
    arguments = options((__doc__ or "").splitlines()[0]).parse_args()
    keras.utils.disable_interactive_logging()
    report = Report("api", as_json=arguments.json)
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        start_ups(report, root, rounds_of(arguments, STARTS, FULL_STARTS))
        settings = Settings(store=root / "store", sources=root / "sources", REDIS_URL=None)
        service = stack.enter_context(Stack(settings, "127.0.0.1", 0, output=root / "log"))
        service.wait_until_ready(trainable=True)
        client = stack.enter_context(Client(service.url))
        http = stack.enter_context(httpx.Client(base_url=service.url, timeout=120))
        training = first_step(report, client, http)
        few_images(report, http, training, rounds_of(arguments, REQUESTS, FULL_REQUESTS))
        many_images(report, http, training, rounds_of(arguments, ROUNDS, FULL_ROUNDS))
    report.finish()


if __name__ == "__main__":
    main()
