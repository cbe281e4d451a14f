"""The verbs of `ragan` for blind reading: prepare a reader study, enrol readers, see how well they could tell."""

from pathlib import Path

import click

from app.failures import explained
from app.verb_options import as_json_option, checkpoint_option, no_wait_option
from app.verb_output import run_job, show


@click.command("reader-study")
@click.argument("training")
@checkpoint_option
@click.option("--count", type=int, default=50, show_default=True, help="Synthetic images, and as many real ones.")
@click.option(
    "--reference",
    type=click.Choice(["validation", "test"]),
    default="test",
    show_default=True,
    help="The part of the dataset that the real images are from.",
)
@click.option(
    "--task",
    "tasks",
    type=click.Choice(["origin", "class"]),
    multiple=True,
    help="What to ask of an image: real or synthetic (default), or which class; may be repeated.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the images of either kind.")
@click.option("--reader", "readers", multiple=True, metavar="NAME", help="Enrol somebody; may be repeated.")
@no_wait_option
@as_json_option
@explained
def reader_study(
    training: str,
    checkpoint: str | int,
    count: int,
    reference: str,
    tasks: tuple[str, ...],
    seed: int,
    readers: tuple[str, ...],
    no_wait: bool,
    as_json: bool,
) -> None:
    """Have people tell synthetic images of TRAINING from real ones.

    Prints where each reader reads: pass it on to nobody but them.
    """
    from app.client import Client

    if readers and no_wait:
        raise click.UsageError("--reader needs the images, so it cannot go with --no-wait.")
    with Client() as client:
        made = run_job(
            "prepare",
            as_json,
            lambda bar: client.reader_study(
                training,
                checkpoint=checkpoint,
                count=count,
                reference=reference,
                tasks=tasks or ("origin",),
                seed=seed,
                wait=not no_wait,
                on_progress=bar,
            ),
        )
        for name in readers:
            address = f"{made['links']['readers']}/{client.enrol(made, name)['id']}"
            click.echo(f"{name} reads at {address}", err=as_json)


@click.command()
@click.argument("study")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save results.json, and results.csv with every answer, in this folder.",
)
@as_json_option
@explained
def readings(study: str, output: Path | None, as_json: bool) -> None:
    """Show how well the readers of STUDY could tell, those who have answered every image."""
    from app.client import Client
    from app.display import readings_report

    with Client() as client:
        found = client.readings(study)
        show(found, as_json, lambda: list(readings_report(found)))
        if output:
            output.mkdir(parents=True, exist_ok=True)
            links = client.get(study)["links"]
            for link, name in (("results", "results.json"), ("results_table", "results.csv")):
                click.echo(f"saved {client.download(links[link], output / name)}", err=True)


READING_VERBS = (reader_study, readings)
