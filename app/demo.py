"""`ragan demo`: the main job on this machine, from nothing to synthetic images, with pictures of each step."""

import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageSequence
from rich.console import Console

from app.client import Client
from app.display import job_bars
from app.stack import Stack
from worker.contract.settings import Settings

IMAGES = 2000
"""Enough to learn a chest from, few enough to be drawn in seconds."""
BATCH_SIZE = 64
CHECKPOINT_EVERY = 200
SNAPSHOT_EVERY = 10
GENERATED = 64
PICTURE_TIMES, TIME_LAPSE_TIMES = 4, 3
"""How much larger the pictures to look at are made: 28 pixels are a stamp on today's screens."""
HYPERPARAMETERS: dict[str, Any] = {"width": 0.5}
"""The default recipe, with half the channels for a CPU."""


def run_demo(folder: Path | None, output: Path, steps: int) -> None:
    """Select, train and generate on `folder`, or on phantoms; the pictures and the log go to `output`."""
    console = Console(stderr=True)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ragan-demo-") as temporary:
        sources = _sources(folder, Path(temporary))
        settings = Settings().model_copy(update={"store": output / "store", "sources": sources})
        log = output / "ragan.log"
        console.print(f"Starting Redis, the front end and four workers; their log is {log}", soft_wrap=True)
        with Stack(settings, "127.0.0.1", 0, output=log, insecure=True) as stack:
            stack.wait_until_ready(trainable=True)
            with Client(stack.url) as client:
                _select_train_generate(client, folder.resolve().name if folder else "phantom", output, steps, console)
    _say_where(output, console)


def _sources(folder: Path | None, temporary: Path) -> Path:
    """A folder of sources with the user's in it, by its own name, wherever it lies."""
    if folder is not None:
        (temporary / folder.resolve().name).symlink_to(folder.resolve(), target_is_directory=True)
    return temporary


def _select_train_generate(client: Client, source: str, output: Path, steps: int, console: Console) -> None:
    with job_bars(console) as begin:
        dataset = client.select(source, image_size=28, limit=IMAGES, on_progress=begin("select"))
        _enlarge(client.download(dataset["links"]["contact_sheet"], output / "real.png"), PICTURE_TIMES)
        training = client.train(
            dataset,
            family="minuscule28",
            hyperparameters=HYPERPARAMETERS,
            steps=steps,
            batch_size=BATCH_SIZE,
            snapshot_every=SNAPSHOT_EVERY,
            checkpoint_every=CHECKPOINT_EVERY,
            on_progress=begin("train"),
        )
        _enlarge(client.download(training["links"]["time_lapse"], output / "time-lapse.gif"), TIME_LAPSE_TIMES)
        _draw_losses(client.metrics(training), output / "losses.png")
        generation = client.generate(training, count=GENERATED, seed=7, on_progress=begin("generate"))
        _enlarge(client.download(generation["links"]["images"], output / "synthetic.png", "image/png"), PICTURE_TIMES)
        client.download(generation["links"]["images"], output / "synthetic.zip", "application/zip")


def _enlarge(picture: Path, times: int) -> None:
    """Make each pixel of a PNG or GIF a square of them; nothing is smoothed over."""
    with Image.open(picture) as image:
        size = image.width * times, image.height * times
        frames, durations = [], []
        for frame in ImageSequence.Iterator(image):
            frames.append(frame.convert("L").resize(size, Image.Resampling.NEAREST))
            durations.append(frame.info.get("duration", 0))
    moving: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": durations, "loop": 0}
    frames[0].save(picture, **(moving if len(frames) > 1 else {}))


def _draw_losses(rows: list[dict[str, float]], to: Path) -> None:
    """Losses and D's accuracy by step, raw and smoothed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import numpy as np
    from matplotlib import pyplot as plt

    steps = np.array([row["step"] for row in rows])
    window = max(1, len(rows) // 40)
    figure, (losses, accuracy) = plt.subplots(2, 1, sharex=True, figsize=(8, 6), layout="constrained")
    for axes, name, label, colour in (
        (losses, "d_loss", "discriminator", "tab:blue"),
        (losses, "g_loss", "generator", "tab:orange"),
        (accuracy, "d_acc", "discriminator, right about real and generated", "tab:blue"),
        (accuracy, "g_acc", "generated images taken for real", "tab:orange"),
    ):
        values = np.array([row[name] for row in rows])
        axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
        smooth = np.convolve(values, np.ones(window) / window, mode="valid")
        axes.plot(steps[window - 1 :], smooth, color=colour, label=label)
    losses.set(title="Training of minuscule28", ylabel="binary cross-entropy")
    accuracy.set(xlabel="step", ylabel="share", ylim=(-0.02, 1.02))
    for axes in (losses, accuracy):
        axes.grid(alpha=0.3)
        axes.legend(loc="best", frameon=False)
    figure.savefig(to, dpi=120)
    plt.close(figure)


def _say_where(output: Path, console: Console) -> None:
    console.print("\nLook at:")
    for name, what in {
        "real.png": "real images, a sample",
        "time-lapse.gif": "the same 16 points of latent space as the training went on",
        "losses.png": "losses and accuracies by step",
        "synthetic.png": "64 synthetic images",
        "synthetic.zip": "the same as PNG files, with their provenance",
    }.items():
        console.print(f"  {output / name}  {what}", highlight=False, soft_wrap=True)  # paths shall stay whole
