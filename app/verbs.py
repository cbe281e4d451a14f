"""The verbs of `ragan` that speak to the service: thin, for each is a call of `app.client.Client`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.failures import explained
from app.verb_options import as_json_option, checkpoint_option, class_training, no_wait_option, setting
from app.verb_output import run_job, save_evaluation, show, show_resource

if TYPE_CHECKING:
    from app.client import Client


@click.command()
@as_json_option
@explained
def sources(as_json: bool) -> None:
    """List the collections of images there are to choose from."""
    from app.display import listing

    with _client() as client:
        found = client.sources()
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "id": lambda row: row["id"],
        "layout": lambda row: row["layout"],
        "rows": lambda row: f"{row['rows']:,}",
        "images present": lambda row: f"{row['images_present']:,}",
        "labels": lambda row: row["problem"] or ", ".join(row["fields"]["label"]),
    }
    show(found, as_json, lambda: [listing("Sources", found, columns)])


@click.command()
@as_json_option
@explained
def models(as_json: bool) -> None:
    """List the families that can be trained."""
    from app.display import listing

    with _client() as client:
        found = client.models()
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "family": lambda row: row["family"],
        "title": lambda row: row["title"],
        "image size": lambda row: ", ".join(str(size) for size in row["image_sizes"]),
        "presets": lambda row: ", ".join(row["presets"]),
        "parameters": lambda row: ", ".join(f"{name} {count:,}" for name, count in row["parameters"].items()),
    }
    show(found, as_json, lambda: [listing("Families", found, columns)])


@click.command()
@click.argument("source")
@click.option("--label", "labels", multiple=True, help="A finding; may be repeated.")
@click.option(
    "--label-match",
    type=click.Choice(["exact", "any", "all"]),
    default="exact",
    show_default=True,
    help="exact: these findings and no others; any: at least one of them; all: all of them, perhaps more.",
)
@click.option("--view", multiple=True, help="A view position, such as PA; may be repeated.")
@click.option("--sex", multiple=True, help="M or F; may be repeated.")
@click.option("--age", nargs=2, type=int, metavar="MIN MAX", help="Years, both included.")
@click.option(
    "--exclude",
    multiple=True,
    help="A flag that excludes an image, in place of the default inverted, not_frontal and rotated; also colour, blank "
    "and duplicate; may be repeated.",
)
@click.option("--image-size", type=int, default=64, show_default=True, help="Pixels on a side.")
@click.option(
    "--fit",
    type=click.Choice(["pad", "crop"]),
    default="pad",
    show_default=True,
    help="How an image that is not square is made so: with black beside it, or by its centre.",
)
@click.option("--limit", type=int, help="At most so many images.")
@click.option("--source-split", is_flag=True, help="Keep to the parts that the source itself has.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the limit and the split.")
@click.option("--dry-run", is_flag=True, help="Only show what would be selected.")
@no_wait_option
@as_json_option
@explained
def select(
    source: str,
    labels: tuple[str, ...],
    label_match: str,
    view: tuple[str, ...],
    sex: tuple[str, ...],
    age: tuple[int, int] | None,
    exclude: tuple[str, ...],
    image_size: int,
    fit: str,
    limit: int | None,
    source_split: bool,
    seed: int,
    dry_run: bool,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Select images of SOURCE and prepare them as a dataset."""
    from app.display import selection_tables

    where: dict[str, Any] = {"labels": labels, "label_match": label_match, "view": view, "sex": sex}
    if age:
        where["age"] = {"min": age[0], "max": age[1]}
    request: dict[str, Any] = {"where": where, "image_size": image_size, "fit": fit, "limit": limit, "seed": seed}
    if exclude:
        request["exclude"] = exclude
    if source_split:
        request["split"] = "source"
    with _client() as client:
        if dry_run:
            result = client.preview(source, **request)
            show(result, as_json, lambda: list(selection_tables(result)))
        else:
            run_job("select", as_json, lambda bar: client.select(source, wait=not no_wait, on_progress=bar, **request))


@click.command()
@click.argument("dataset")
@click.option("--family", help="What to train; default: the one that makes images of the dataset's size.")
@click.option("--preset", help="Where hyper-parameters that are not set come from; default: default.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A hyper-parameter, as in width=0.5 (ragan models --json lists them); may be repeated.",
)
@click.option("--steps", type=int, default=2000, show_default=True, help="Training steps.")
@click.option("--batch-size", type=int, default=256, show_default=True, help="Images per step, over all devices.")
@click.option("--devices", default="all", show_default=True, help="How many, or all.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="auto: bfloat16 where the hardware computes in it, else float32.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws initial weights and batches.")
@click.option(
    "--classes",
    multiple=True,
    metavar="NAME",
    help="Train on images of this class alone, as in --classes 'Effusion|Infiltration'; a family that takes labels "
    "learns to tell these apart; may be repeated.",
)
@click.option(
    "--by",
    type=click.Choice(["labels", "view", "sex", "age_decade"]),
    help="What makes a class; default: labels, all findings of an image together.",
)
@click.option(
    "--classical-augmentation",
    type=click.Choice(["chest", "paper"]),
    help="Train on random variants of the real images; chest: rotated by up to 10°, perhaps moved or scaled a little; "
    "paper (Frid-Adar et al. 2018): rotated by up to 180°, perhaps flipped, moved or scaled; default: as they are.",
)
@click.option(
    "--evaluate-every", type=int, help="Compare with real images every so many steps, and keep the best checkpoint."
)
@click.option("--dry-run", is_flag=True, help="Only show what it would take.")
@no_wait_option
@as_json_option
@explained
def train(
    dataset: str,
    family: str | None,
    preset: str | None,
    settings: tuple[str, ...],
    steps: int,
    batch_size: int,
    devices: str,
    precision: str,
    seed: int,
    classes: tuple[str, ...],
    by: str | None,
    classical_augmentation: str | None,
    evaluate_every: int | None,
    dry_run: bool,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Train a family of models on DATASET."""
    from app.display import forecast_table

    hyperparameters = dict(setting(each) for each in settings)
    with _client() as client:
        request: dict[str, Any] = {
            "family": family or fitting_family(client, dataset),
            "preset": preset,
            "hyperparameters": hyperparameters,
            "steps": steps,
            "batch_size": batch_size,
            "devices": int(devices) if devices.isdigit() else devices,
            "precision": precision,
            "seed": seed,
            "classical_augmentation": classical_augmentation,
            "evaluate_every": evaluate_every,
        }
        if classes or by:
            request["classes"] = {"by": by or "labels", "only": classes or None}
        if dry_run:
            result = client.forecast(dataset, **request)
            show(result, as_json, lambda: [forecast_table(result)])
        else:
            run_job("train", as_json, lambda bar: client.train(dataset, wait=not no_wait, on_progress=bar, **request))


@click.command()
@click.argument("training", required=False)
@click.option("--balance", metavar="DATASET", help="In place of TRAINING: draw what the classes of a dataset lack.")
@click.option(
    "--training", "trainings", metavar="CLASS=ID", multiple=True, help="What draws a class for --balance; repeated."
)
@click.option("--count", type=int, help="How many images; default: 64.")
@click.option("--seed", type=int, default=0, show_default=True, help="Equal seeds, equal images.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    help="A class that the training has learnt; may be repeated, and images take them in turn; default: all.",
)
@checkpoint_option
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="bfloat16 is faster where the hardware computes in it, and some grey levels off.",
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Save the images here, as a ZIP of PNG files."
)
@no_wait_option
@as_json_option
@explained
def generate(
    training: str | None,
    balance: str | None,
    trainings: tuple[str, ...],
    count: int | None,
    seed: int,
    labels: tuple[str, ...],
    checkpoint: str | int,
    precision: str,
    output: Path | None,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Draw synthetic images from TRAINING, or what the classes of a dataset lack."""
    if output and no_wait:
        raise click.UsageError("--output needs the images, so it cannot go with --no-wait.")
    given = {"balance": balance, "trainings": dict(map(class_training, trainings)), "count": count, "labels": labels}
    request = {
        **{name: value for name, value in given.items() if value not in (None, (), {})},
        "seed": seed,
        "checkpoint": checkpoint,
        "precision": precision,
    }
    with _client() as client:
        made = run_job(
            "generate", as_json, lambda bar: client.generate(training, wait=not no_wait, on_progress=bar, **request)
        )
        if output:
            client.download(made["links"]["images"], output, "application/zip")
            click.echo(f"saved {output}", err=True)


@click.command()
@click.argument("training")
@checkpoint_option
@click.option("--count", type=int, default=2048, show_default=True, help="Synthetic images, and real ones at the most.")
@click.option(
    "--reference",
    type=click.Choice(["train", "validation", "test"]),
    default="validation",
    show_default=True,
    help="The part of the dataset to compare with.",
)
@click.option(
    "--features",
    type=click.Choice(["pixels", "classifier", "inception"]),
    default="pixels",
    show_default=True,
    help="What distances are taken over.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the images of either kind.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save the pictures and the data card in this folder.",
)
@no_wait_option
@as_json_option
@explained
def evaluate(
    training: str,
    checkpoint: str | int,
    count: int,
    reference: str,
    features: str,
    seed: int,
    output: Path | None,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Compare synthetic images of TRAINING with real ones, and look for copies."""
    if output and no_wait:
        raise click.UsageError("--output needs the pictures, so it cannot go with --no-wait.")
    with _client() as client:
        made = run_job(
            "evaluate",
            as_json,
            lambda bar: client.evaluate(
                training,
                checkpoint=checkpoint,
                count=count,
                reference=reference,
                features=features,
                seed=seed,
                wait=not no_wait,
                on_progress=bar,
            ),
        )
        if output:
            save_evaluation(client, made, output)


@click.command()
@click.argument("resource")
@click.option("--wait", is_flag=True, help="Watch it until it ends.")
@as_json_option
@explained
def status(resource: str, wait: bool, as_json: bool) -> None:
    """Show how a dataset, training, generation, evaluation, study or reader study is doing."""
    with _client() as client:
        if wait:
            run_job("wait", as_json, lambda bar: client.wait(resource, on_progress=bar))
        else:
            show_resource(client.get(resource), as_json)


@click.command()
@click.argument("training")
@click.option("--steps", type=int, help="The new total; default: the old one.")
@no_wait_option
@as_json_option
@explained
def resume(training: str, steps: int | None, no_wait: bool, as_json: bool) -> None:
    """Carry TRAINING further, from its newest checkpoint."""
    with _client() as client:
        run_job("train", as_json, lambda bar: client.resume(training, steps=steps, wait=not no_wait, on_progress=bar))


@click.command()
@click.argument("resource")
@as_json_option
@explained
def cancel(resource: str, as_json: bool) -> None:
    """Ask a job to stop; a training keeps what it has learned."""
    with _client() as client:
        show_resource(client.cancel(resource), as_json)


VERBS = (sources, models, select, train, resume, generate, evaluate, status, cancel)


def _client() -> "Client":
    from app.client import Client

    return Client()


def fitting_family(client: "Client", dataset: str) -> str | None:
    """The first family without labels that makes images of the dataset's size; None, the service's default, if none."""
    image_size = client.get(dataset)["request"]["image_size"]
    unlabelled = (each for each in client.models() if not each["takes_labels"])
    return next((each["family"] for each in unlabelled if image_size in each["image_sizes"]), None)
