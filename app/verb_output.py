"""What the verbs of `ragan` print and save: JSON for programs, tables for people, and how far a job is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from app.client import Client
    from app.display import JobProgress


def run_job(title: str, as_json: bool, job: "Callable[[JobProgress], dict[str, Any]]") -> dict[str, Any]:
    """Do a job, with a bar that shows how far it is; then show and return the resource as it ended, or was queued."""
    from rich.console import Console

    from app.display import job_bars

    # The bar goes to standard error, so that standard output is the answer and nothing else.
    with job_bars(Console(stderr=True)) as begin:
        resource = job(begin(title))
    show_resource(resource, as_json)
    return resource


def save_evaluation(client: "Client", evaluation: dict[str, Any], folder: Path) -> None:
    """The picture of both kinds of images, that of the likeliest copies if they were looked for, and the card."""
    folder.mkdir(parents=True, exist_ok=True)
    searched = evaluation["result"]["memorisation"] is not None
    for link in ("grid", "nearest", "card") if searched else ("grid", "card"):
        path = evaluation["links"][link]
        saved = client.download(path, folder / path.rpartition("/")[2])
        click.echo(f"saved {saved}", err=True)


def save_study(client: "Client", study: dict[str, Any], folder: Path) -> None:
    """The curve and every table."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in study["links"].items():
        if name.startswith("curve") or name.endswith("_table"):
            click.echo(f"saved {client.download(path, folder / path.rpartition('/')[2])}", err=True)


def show_resource(resource: dict[str, Any], as_json: bool) -> None:
    """Print a resource, and what an evaluation or a study has found in words."""
    from app.display import evaluation_report, resource_table, study_report

    reports = {"evaluation": evaluation_report, "study": study_report}

    def report() -> list[Any]:
        in_words = reports.get(resource["kind"])
        return [resource_table(resource), *(in_words(resource["result"]) if in_words and resource["result"] else ())]

    show(resource, as_json, report)


def show(data: Any, as_json: bool, tables: Callable[[], list[Any]]) -> None:
    """Print data as JSON, or else as tables."""
    if as_json:
        click.echo(json.dumps(data, indent=2))
        return
    from rich.console import Console

    console = Console()
    for table in tables():
        console.print(table)
