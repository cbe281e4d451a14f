"""What a terminal shows while a job runs, and of a resource once it is there."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from app.measures import AT_FLOOR_IMAGES, FLOOR, Figure, figures, memorisation_figures, number

Resource = dict[str, Any]


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate, unit = task.fields.get("rate"), task.fields.get("unit", "")
        return Text(f"{rate:,.1f} {unit}/s" if rate else "", style="cyan")


class _Remaining(ProgressColumn):
    def render(self, task: Task) -> Text:
        seconds = task.fields.get("eta_seconds")
        if seconds is None:
            return Text("")
        minutes, seconds = divmod(int(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return Text(f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left")


class JobProgress:
    """A bar for a job, drawn from what the service says of it."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def __call__(self, resource: Resource) -> None:
        status, shown = resource["status"], resource["progress"]
        if status == "queued":
            position = resource["queue_position"]
            waiting = f"queued, {position} before it" if position else "queued"
            self._progress.update(self._task, status=waiting, total=None)
        elif shown is None:
            self._progress.update(self._task, status="starting", total=None)
        else:
            total = shown["total"]
            self._progress.update(
                self._task,
                status=f"{shown['done']:,}/{total:,} {shown['unit']}"
                if total
                else f"{shown['done']:,} {shown['unit']}",
                completed=shown["done"],
                total=total,
                rate=shown["rate"],
                unit=shown["unit"],
                eta_seconds=shown["eta_seconds"],
            )
        if status in ("succeeded", "failed", "canceled"):
            self._progress.update(self._task, eta_seconds=None)


@contextmanager
def job_bars(console: Console) -> Iterator[Callable[[str], JobProgress]]:
    """Bars for jobs that follow one another: call what is yielded with a title to begin the next one."""
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=32),
        TextColumn("{task.fields[status]}"),
        _Rate(),
        _Remaining(),
    )
    with Progress(*columns, console=console) as progress:
        yield lambda title: JobProgress(progress, progress.add_task(title, total=None, status="queued"))


def resource_table(resource: Resource) -> Table:
    """A resource in a few rows."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("id", resource["id"])
    table.add_row("status", resource["status"])
    if resource["queue_position"] is not None:
        table.add_row("queue", f"{resource['queue_position']} before it")
    if progress := resource["progress"]:
        rate = f", {progress['rate']} {progress['unit']}/s" if progress["rate"] else ""
        table.add_row("progress", f"{progress['done']}/{progress['total'] or '?'} {progress['unit']}{rate}")
    for name, value in (resource["result"] or {}).items():
        if not isinstance(value, dict | list):
            table.add_row(name.replace("_", " "), str(value))
    if resource["error"]:
        table.add_row("error", resource["error"]["detail"])
    return table


def selection_tables(result: dict[str, Any]) -> Iterator[Table]:
    """The attrition of a selection, then its counts."""
    flow = Table("step", "removed", "left", title="From all rows to the last image")
    for step in result["attrition"]:
        flow.add_row(step["step"], f"{step['removed']:,}", f"{step['left']:,}")
    yield flow
    counts = Table("field", "value", "images", title=f"{result['images']:,} images of {result['patients']:,} patients")
    for field, values in result["counts"].items():
        for value, images in values.items():
            counts.add_row(field.replace("_", " "), value, f"{images:,}")
        counts.add_section()
    yield counts


def forecast_table(result: dict[str, Any]) -> Table:
    """What a training would take."""
    table = Table(title=f"{result['steps']:,} steps, {result['images_seen']:,} real images", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for network, count in result["parameters"].items():
        table.add_row(f"parameters, {network}", f"{count:,}")
    table.add_section()
    for name, field in (("a step", "flops_per_step"), ("a step without fast paths", "flops_per_step_plain")):
        table.add_row(name, f"{result[field] / 1e9:,.1f} GFLOP")
    table.add_section()
    for part, size in result["memory_bytes"].items():
        table.add_row("memory per device, about" if part == "total" else f"  {part}", f"{size / 2**20:,.1f} MiB")
    table.add_section()
    table.add_row("devices", str(result["devices"]))
    table.add_row("precision", result["precision"])
    table.add_row("fast paths", "\n".join(result["fast_paths"]) or "none")
    return table


def evaluation_report(result: dict[str, Any]) -> Iterator[RenderableType]:
    """The numbers of an evaluation beside their floors, and in words; then what to know before they are repeated.

    Those of each class that was compared alone follow those of all.
    """
    synthetic, real = f"{result['synthetic']:,} synthetic images", f"{result['real']:,} real ones"
    table = _metrics_table(f"How near are {synthetic} to {real} ({result['reference']})?", result["metrics"])
    if result["memorisation"] is not None:
        _add_figures(table, memorisation_figures(result["memorisation"]))
    yield table
    for name, metrics in result.get("subgroups", {}).items():
        yield _metrics_table(f"Of {name} alone", metrics)
    yield Text(FLOOR)
    for caveat in result["caveats"]:
        yield Text(f"• {caveat}")


def readings_report(results: dict[str, Any]) -> Iterator[RenderableType]:
    """How well each reader could tell, and all together; then what to know before it is repeated."""
    done, left = results["finished"], results["unfinished"]
    table = Table(title=f"{results['images']:,} images, {done} readers have finished, {left} have not")
    for heading in ("reader", "task", "accuracy", "sensitivity", "specificity", "d'", "kappa", "median s"):
        table.add_column(heading, justify="left" if heading in ("reader", "task") else "right")
    together = [results["together"] | {"name": "together"}] if results["together"] else []
    for reader in [*results["readers"], *together]:
        for task, found in reader["tasks"].items():
            # Of two answers, what is told of the second says all: of origins, how well synthetic images were found.
            *others, (answer, scores) = found["answers"].items()
            of_one = [scores[name] if len(others) == 1 else None for name in ("sensitivity", "specificity", "d_prime")]
            cells = [_with_interval(each) for each in (found["accuracy"], *of_one, found["kappa"])]
            title = Text(f"{task} ({answer})" if len(others) == 1 else task)
            table.add_row(Text(reader["name"]), title, *cells, f"{reader['median_seconds']:.1f}")
        table.add_section()
    yield table
    for caveat in results["caveats"]:
        yield Text(f"• {caveat}")


def _with_interval(estimate: dict[str, Any] | None) -> str:
    if estimate is None or estimate["value"] is None:
        return "-"
    return f"{estimate['value']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"


def study_plan_table(plan: dict[str, Any]) -> Table:
    """What a study would take, and how many images of each class there are in its folds."""
    title = (
        f"{plan['generators']} generators, {plan['generator_steps']:,} steps\n"
        f"{plan['classifiers']} classifiers, {plan['bytes'] / 2**20:,.1f} MiB"
    )
    table = Table("fold", "part", *plan["classes"], title=title)
    for place, fold in enumerate(plan["folds"], start=1):
        for part, images in fold.items():
            table.add_row(str(place), part, *(f"{images[name]:,}" for name in plan["classes"]))
        table.add_section()
    return table


def study_report(result: dict[str, Any]) -> Iterator[RenderableType]:
    """The arms beside each other, whether they differ, and what to know before any of it is repeated."""
    table = Table(
        "arm", "synthetic of each class", title=f"{result['images']:,} images of {result['patients']:,} patients"
    )
    for heading in ("accuracy", "balanced accuracy", "AUC", "validation"):
        table.add_column(heading, justify="right")
    for arm in result["arms"]:
        test = arm["test"]
        amounts = dict.fromkeys(f"{choice['amount']:,}" for choice in arm["chosen"])
        shown = (test["accuracy"], test["balanced_accuracy"], test["auc"], arm["validation"]["balanced_accuracy"])
        table.add_row(arm["arm"], " ".join(amounts), *map(_interval, shown))
    yield table
    if result["comparisons"]:
        compared = Table("second less first", title="Differences of accuracy on test")
        for heading in ("difference", "p, adjusted"):
            compared.add_column(heading, justify="right")
        for pair in result["comparisons"]:
            compared.add_row(
                f"{pair['second']} less {pair['first']}",
                f"{pair['difference']:+.3f}",
                f"{pair['adjusted_p_value']:.3g}",
            )
        yield compared
    if result["missing"]:
        yield Text(f"{len(result['missing'])} classifiers had not been taught when it was cancelled.")
    for caveat in result["caveats"]:
        yield Text(f"• {caveat}")


def _interval(found: dict[str, float] | None) -> str:
    if found is None:
        return ""
    return f"{found['estimate']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _metrics_table(title: str, metrics: dict[str, Any]) -> Table:
    table = Table("metric", title=Text(title))
    for heading in ("value", AT_FLOOR_IMAGES, "floor"):
        table.add_column(heading, justify="right")
    table.add_column("meaning")
    for name, measurement in metrics.items():
        _add_figures(table, figures(name, measurement))
    return table


def _add_figures(table: Table, shown: Iterable[Figure]) -> None:
    for figure in shown:
        numbers = (figure.value, figure.at_floor_images, figure.floor)
        table.add_row(Text(figure.name), *map(number, numbers), figure.meaning)
    table.add_section()


def listing(title: str, rows: list[dict[str, Any]], columns: dict[str, Callable[[dict[str, Any]], str]]) -> Table:
    """A table of things, a row each."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(show(row) for show in columns.values()))
    return table
