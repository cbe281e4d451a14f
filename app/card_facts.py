"""What a data card tells of an evaluation, collected from the records in the store."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.measures import Figure, Measure, figures, measure, memorisation_figures, number, spoken
from worker.contract.checkpoints import CheckpointRecord, best_of, list_records
from worker.contract.resources import Kind, Manifest, RequestRecord, Resource
from worker.contract.snapshots import snapshot_name, snapshot_steps
from worker.contract.store import Store

LISTED_CHARACTERS = 400
"""Of a list of names, so that a filter of hundreds of labels does not fill pages."""
_TOLD = frozenset(
    {
        *("checkpoint", "image_size", "synthetic", "real", "reference", "features"),
        *("metrics", "subgroups", "memorisation", "caveats", "seconds"),
    }
)
"""Fields of a result that have a place of their own on a card."""

Rows = list[tuple[str, str]]
"""Lines of a table with two columns: a name, and what there is to say."""
Metrics = Sequence[tuple[Measure, Sequence[Figure]]]
"""Each in words, with its numbers."""


@dataclass(frozen=True)
class Picture:
    """A picture by its address, and the file that has it."""

    title: str
    address: str
    file: Path


@dataclass(frozen=True)
class ShownRequest:
    """A request that made something, to be sent again."""

    path: str
    body: str


@dataclass(frozen=True)
class CardFacts:
    """One evaluation with all that it is about, in words and numbers to be shown as they are."""

    id: str
    created_at: str
    image_size: int
    synthetic: int
    real: int
    reference: str
    classes: str
    """Those that the training was kept to, empty if it was not."""
    dataset: Rows
    attrition: Sequence[Mapping[str, Any]]
    counts: Rows
    training: Rows
    hyperparameters: Rows
    features: Rows
    metrics: Metrics
    subgroups: Sequence[tuple[str, Metrics]]
    """Of each class that was compared alone."""
    memorisation: Sequence[Figure] | None
    others: Rows
    caveats: Sequence[str]
    pictures: Sequence[Picture]
    licence: str | None
    citation: str | None
    requests: Sequence[ShownRequest]
    versions: Rows


def collect(store: Store, evaluation: Resource) -> CardFacts:
    """The facts of an evaluation that succeeded; NotFound if its training or its dataset is gone.

    Fields that a record is too old to have are left out.
    """
    training = store.read_request(evaluation.request["training"])
    dataset = store.read_request(training.request["dataset"])
    result, ended = evaluation.result or {}, store.read_manifest(evaluation.id)
    selected, trained = _result_of(store.read_manifest(dataset.id)), _result_of(store.read_manifest(training.id))
    records = list_records(store.folder(training.id))
    checkpoint = next((each for each in records if each.step == result["checkpoint"]), None)
    classes = _classes(training, checkpoint)
    return CardFacts(
        id=evaluation.id,
        created_at=evaluation.model_dump(mode="json")["created_at"],
        image_size=result["image_size"],
        synthetic=result["synthetic"],
        real=result["real"],
        reference=result["reference"],
        classes=classes,
        dataset=_dataset_rows(dataset, selected),
        attrition=selected.get("attrition", ()),
        counts=_rows(selected.get("counts", {})),
        training=_training_rows(store, training, trained, result["checkpoint"], checkpoint)
        + _rows({"classes": classes, **_choice(training, records)}),
        hyperparameters=[
            (name, _in_words(value)) for name, value in training.request["model"]["hyperparameters"].items()
        ],
        features=_rows(result["features"]),
        metrics=_metrics(result["metrics"]),
        subgroups=[(name, _metrics(found)) for name, found in result.get("subgroups", {}).items()],
        memorisation=list(memorisation_figures(result["memorisation"])) if result["memorisation"] else None,
        others=_rows({name: value for name, value in result.items() if value and name not in _TOLD}),
        caveats=result["caveats"],
        pictures=list(_pictures(store, evaluation.id, training.id, result["checkpoint"])),
        licence=selected.get("licence"),
        citation=selected.get("citation"),
        requests=[_shown(each) for each in (dataset, training, evaluation)],
        versions=_rows(
            {
                "trained with": checkpoint.versions if checkpoint else {},
                "evaluated with": ended.versions if ended else {},
            }
        ),
    )


def _result_of(manifest: Manifest | None) -> Mapping[str, Any]:
    return (manifest and manifest.result) or {}


def _dataset_rows(dataset: RequestRecord, selected: Mapping[str, Any]) -> Rows:
    request = dict(dataset.request)
    told = {
        "id": dataset.id,
        "source": request.pop("source", None),
        "images": selected.get("images"),
        "patients": selected.get("patients") if selected.get("patients_known", True) else "not known",
        "SHA-256 of the images": selected.get("sha256"),
        **{name: value for name, value in request.pop("where", {}).items() if value},
    }
    return _rows(told | request | {"seed": str(request.get("seed", ""))})


def _training_rows(
    store: Store, training: RequestRecord, trained: Mapping[str, Any], step: int, checkpoint: CheckpointRecord | None
) -> Rows:
    """How it was trained, up to the checkpoint if that is still kept, else altogether."""
    request = training.request
    family = store.families().get(request["model"]["family"])
    return _rows(
        {
            "id": training.id,
            "family": request["model"]["family"],
            "title": family.title if family else None,
            "reference": family.reference if family else None,
            "preset": request["model"].get("preset"),
            "checkpoint": f"step {step:,} of {request['steps']:,}",
            "batch size": request.get("batch_size"),
            "classical augmentation": request.get("classical_augmentation"),
            "real images seen": checkpoint.images_seen if checkpoint else trained.get("images_seen"),
            "seconds in training steps": round(checkpoint.seconds, 1) if checkpoint else trained.get("seconds"),
            "devices": trained.get("devices"),
            "precision": trained.get("precision"),
            "fast paths": trained.get("fast_paths"),
            "seed": str(request.get("seed", "")),
        }
    )


def _classes(training: RequestRecord, checkpoint: CheckpointRecord | None) -> str:
    """Those that a training has learnt to tell apart, else those that it was asked to keep to."""
    asked = (training.request.get("classes") or {}).get("only")
    return _in_words((checkpoint and checkpoint.classes.names) or asked)


def _choice(training: RequestRecord, records: Sequence[CheckpointRecord]) -> Mapping[str, Any]:
    """How the best checkpoint was found, of a training that was evaluated on the way."""
    every, best = training.request.get("evaluate_every"), best_of(records)
    if every is None:
        return {}
    metrics = _in_words([spoken(name) for name in training.request.get("evaluate_metrics", ())])
    return {
        "evaluated on the way": f"every {number(every)} steps: {metrics}",
        "best checkpoint": best and f"step {number(best.step)}, by {spoken(best.metric)}",
    }


def _metrics(measured: Mapping[str, Any]) -> Metrics:
    return [(measure(name), list(figures(name, found))) for name, found in measured.items()]


def _pictures(store: Store, evaluation: str, training: str, step: int) -> Iterator[Picture]:
    """Those that there are: of an evaluation that looked for no copies there are no pairs."""
    folder = store.folder(evaluation)
    for name, title in (
        ("grid.png", "Synthetic images above, real ones below"),
        (
            "nearest.png",
            "Synthetic images, below each the training image it is nearest to; the likeliest copies first",
        ),
    ):
        if (folder / name).exists():
            yield Picture(title, _address(evaluation, name), folder / name)
    shown = [each for each in snapshot_steps(store.folder(training)) if each <= step]
    if shown:
        name = f"snapshots/{shown[-1]}.png"
        file = store.folder(training) / snapshot_name(shown[-1])
        yield Picture(f"The last snapshot of the training, at step {shown[-1]:,}", _address(training, name), file)


def _address(resource_id: str, below: str) -> str:
    return f"/v1/{Kind.of(resource_id).collection}/{resource_id}/{below}"


def _shown(made: RequestRecord | Resource) -> ShownRequest:
    return ShownRequest(f"/v1/{made.kind.collection}", json.dumps(made.request, indent=2))


def _rows(values: Mapping[str, Any]) -> Rows:
    """Names and values as a person would write them; what there is nothing to say of is left out."""
    told = ((spoken(name), _in_words(value)) for name, value in values.items())
    return [(name, text) for name, text in told if text]


def _in_words(value: Any) -> str:
    """A value of JSON on one line; empty for null and for what is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        parts = [f"{name}: {text}" for name, each in value.items() if (text := _in_words(each))]
    elif isinstance(value, str):
        return value
    elif isinstance(value, Sequence):
        parts = [text for each in value if (text := _in_words(each))]
    else:
        return number(value)
    text = ", ".join(parts)
    return text if len(text) <= LISTED_CHARACTERS else f"{text[:LISTED_CHARACTERS]} …"
