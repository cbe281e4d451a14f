"""`python -m worker --queue train`: what `ragan worker` runs."""

import os

import click

from worker.contract.errors import RaganError
from worker.contract.queues import QueueName
from worker.contract.settings import Settings


@click.command()
@click.option("--queue", type=click.Choice([str(name) for name in QueueName]), required=True)
def main(queue: str) -> None:
    """Work on one queue until told to stop."""
    # TensorFlow's own banner is of no use to whoever runs a service; warnings and errors still show.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    from worker.main import run

    try:
        run(QueueName(queue), Settings())
    except RaganError as error:
        raise click.ClickException(error.detail) from error


main()
