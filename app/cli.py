"""`ragan`: the service, and the verbs that speak to it."""

import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.failures import explained
from app.key_verbs import keys
from app.reading_verbs import READING_VERBS
from app.study_verb import study
from app.verbs import VERBS

if TYPE_CHECKING:
    from worker.contract.settings import Settings

# Everything else is imported where it is used: `ragan --help` shall be there at once.


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ragan")
def main() -> None:
    """Synthetic radiology images as a service: select a cohort, train a GAN, draw images.

    The verbs sources, models, select, train, resume, generate, evaluate, study, reader-study, readings, status and
    cancel speak to the service at RAGAN_URL (default http://127.0.0.1:8000), with the API key in RAGAN_API_KEY. Exit
    codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no service there.
    """


_host = click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; on any but this machine's own, API keys are needed, and the first is made and shown.",
)
_insecure = click.option("--insecure", is_flag=True, help="Ask nobody for an API key.")


@main.command()
@_host
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free port.")
@_insecure
@explained
def up(host: str, port: int, insecure: bool) -> None:
    """Run the whole service on this machine.

    Starts a Redis server unless REDIS_URL names one, the front end, and a worker for each queue; prints one line when
    it is ready, and stops on Ctrl-C.
    """
    from app.access import Policy, policy_for
    from app.stack import Stack
    from worker.contract.settings import Settings

    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())

    def pause(seconds: float) -> None:
        if stopping.wait(seconds):
            raise SystemExit

    settings = Settings()
    if policy_for(host, insecure) is Policy.REQUIRED:
        _show_first_key(settings)
    with Stack(settings, host, port, insecure=insecure, pause=pause) as stack:
        click.echo(f"RaGAN is ready at {stack.url}")
        while True:
            stack.tend()
            pause(0.5)


@main.command()
@_host
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@_insecure
@explained
def api(host: str, port: int, insecure: bool) -> None:
    """Run the front end alone, with the Redis server at REDIS_URL."""
    import uvicorn

    from app.access import Policy, policy_for
    from app.logs import configure_logging
    from app.main import create_app
    from worker.contract.settings import Settings

    settings = Settings()
    configure_logging(settings)
    policy = policy_for(host, insecure)
    service = create_app(settings, policy)
    if policy is Policy.REQUIRED:
        _show_first_key(settings)
    elif policy is Policy.SWITCHED_OFF:
        logging.getLogger("ragan.api").warning("--insecure: whoever reaches %s:%d may do everything", host, port)
    uvicorn.run(
        service,
        host=host,
        port=port,
        log_level=settings.log_level,
        log_config=None,  # as ours is, set above
        server_header=False,
        # An open event stream would else hold up a stop for ever.
        timeout_graceful_shutdown=3,
    )


@main.command()
@click.option(
    "--queue", required=True, type=click.Choice(["prepare", "train", "generate", "evaluate"]), help="What it works on."
)
def worker(queue: str) -> None:
    """Run one worker, with the Redis server at REDIS_URL."""
    # Another program, not an import: this package stays free of what trains.
    os.execv(sys.executable, [sys.executable, "-m", "worker", "--queue", queue])  # noqa: S606 - ourselves


@main.command()
@click.option(
    "--source",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of images with metadata, such as NIH ChestX-ray14; without it, drawn phantoms.",
)
@click.option(
    "--output",
    default=Path("demo"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the pictures go.",
)
@click.option("--steps", default=200, show_default=True, type=click.IntRange(1), help="Training steps.")
@explained
def demo(folder: Path | None, output: Path, steps: int) -> None:
    """Show the main job on this machine.

    Selects, trains the smallest family and generates, within minutes, and saves pictures of each step.
    """
    from app.demo import run_demo

    run_demo(folder, output, steps)


for verb in (*VERBS, study, *READING_VERBS, keys):
    main.add_command(verb)


def _show_first_key(settings: "Settings") -> None:
    """Without any key nobody could come in: make one, so that to start the service stays one command."""
    from app.keys import FIRST_ADMIN, Keyring

    if secret := Keyring.of(settings).create_first():
        click.echo(f"API key {FIRST_ADMIN!r} with the scope admin, shown only now: {secret}")
