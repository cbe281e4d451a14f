"""`ragan study`: whether synthetic images help a classifier."""

from pathlib import Path
from typing import Any

import click

from app.failures import explained
from app.verb_options import as_json_option, no_wait_option, setting
from app.verb_output import run_job, save_study, show
from app.verbs import fitting_family


class _Listed(click.ParamType[tuple[Any, ...]]):
    """Words with commas between them."""

    name = "list"

    def __init__(self, each: type[str] | type[int]) -> None:
        self._each = each

    def convert(
        self, value: str | tuple[Any, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self._each(word.strip()) for word in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not numbers with commas between them, as in 0,500,1000.", param, ctx)


class _Folds(click.ParamType[int | None]):
    """How many, or none."""

    name = "folds"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "none" or isinstance(value, int):
            return None if value == "none" else int(value)
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is not how many folds: name a number, or take none.", param, ctx)


_folds_option = click.option(
    "--folds",
    type=_Folds(),
    metavar="NUMBER|none",
    default=5,
    show_default=True,
    help="Parts of all images, by patient, each of which is tested on once; none: the dataset's own parts.",
)
_arms_option = click.option(
    "--arms",
    type=_Listed(str),
    metavar="ARM,…",
    help="What classifiers learn from, as in real,synthetic; default: all.",
)
_amounts_option = click.option(
    "--amounts",
    type=_Listed(int),
    metavar="NUMBER,…",
    default=(0, 500, 1000, 2000, 3000, 5000),
    help="Synthetic images of each class; default: 0,500,1000,2000,3000,5000.",
)


@click.command()
@click.argument("dataset")
@_folds_option
@_arms_option
@_amounts_option
@click.option("--family", help="What the generators are; default: the one that makes images of the dataset's size.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="A hyper-parameter of theirs; may be repeated."
)
@click.option("--steps", type=int, default=2000, show_default=True, help="Training steps of each generator.")
@click.option("--epochs", type=int, default=150, show_default=True, help="Of each classifier.")
@click.option(
    "--optimizer", type=click.Choice(["sgd", "adam"]), default="sgd", show_default=True, help="Of the classifiers."
)
@click.option(
    "--patience", type=int, help="Stop a classifier after so many epochs without a lower loss on validation images."
)
@click.option(
    "--classical",
    type=click.Choice(["chest", "paper"]),
    default="chest",
    show_default=True,
    help="How real images are varied in the arms with classical augmentation.",
)
@click.option("--classes", multiple=True, metavar="NAME", help="A class to tell apart; may be repeated; default: all.")
@click.option(
    "--by",
    type=click.Choice(["labels", "view", "sex", "age_decade"]),
    default="labels",
    show_default=True,
    help="What makes a class.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws everything that is drawn.")
@click.option("--dry-run", is_flag=True, help="Only show what it would take.")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Save the curve and the tables in this folder."
)
@no_wait_option
@as_json_option
@explained
def study(
    dataset: str,
    folds: int | None,
    arms: tuple[str, ...] | None,
    amounts: tuple[int, ...],
    family: str | None,
    settings: tuple[str, ...],
    steps: int,
    epochs: int,
    optimizer: str,
    patience: int | None,
    classical: str,
    classes: tuple[str, ...],
    by: str,
    seed: int,
    dry_run: bool,
    output: Path | None,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Find out whether synthetic images of DATASET's classes help a classifier."""
    from app.client import Client
    from app.display import study_plan_table

    if output and no_wait:
        raise click.UsageError("--output needs the curve, so it cannot go with --no-wait.")
    model: dict[str, Any] = {"hyperparameters": dict(setting(each) for each in settings)}
    with Client() as client:
        if family := family or fitting_family(client, dataset):
            model["family"] = family
        request: dict[str, Any] = {
            "classes": {"by": by, "only": classes or None},
            "folds": folds,
            "amounts": amounts,
            "generator": {"model": model, "steps": steps},
            "classifier": {"epochs": epochs, "optimizer": optimizer, "patience": patience},
            "classical": classical,
            "seed": seed,
        }
        if arms:
            request["arms"] = arms
        if dry_run:
            plan = client.study_plan(dataset, **request)
            show(plan, as_json, lambda: [study_plan_table(plan)])
            return
        made = run_job(
            "study", as_json, lambda bar: client.study(dataset, wait=not no_wait, on_progress=bar, **request)
        )
        if output:
            save_study(client, made, output)
