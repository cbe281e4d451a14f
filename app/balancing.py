"""What the classes of a dataset lack to be as large as the largest, and which training draws it."""

from app.checkpoints import chosen_checkpoint
from worker.contract.checkpoints import CheckpointRecord
from worker.contract.errors import InvalidRequest
from worker.contract.requests import MAX_COUNT, ClassDraw, GenerationRequest, TrainingRequest
from worker.contract.store import Store
from worker.sources.items import class_counts
from worker.sources.names import no_such


def complete_balance(
    store: Store, request: GenerationRequest, dataset: str
) -> tuple[GenerationRequest, CheckpointRecord]:
    """The request with the training, step and count of each class that lacks images, and one of the checkpoints.

    Trainings of classes that lack none are left out.

    Args:
        store: where the dataset and the trainings are.
        request: names trainings by classes.
        dataset: the one to balance, which is ready.

    Raises:
        NotFound: there is no such training.
        WrongState: a training has no checkpoint yet.
        InvalidRequest: there is no such class; or one lacks images and has no training, or one that has not learnt it
            from this dataset; or nothing is lacking, or too much.
    """
    sizes = class_counts(store.folder(dataset), request.by, "train")
    for name in request.trainings:
        if name not in sizes:
            raise InvalidRequest.at(_pointer(name), no_such("class", name, sizes))
    largest = max(sizes.values(), default=0)
    lacking = {name: largest - size for name, size in sorted(sizes.items()) if size < largest}
    if unnamed := [f"{name!r} ({lacked:,})" for name, lacked in lacking.items() if name not in request.trainings]:
        raise InvalidRequest.at(
            "#/trainings",
            f"Classes that lack images have no training: {', '.join(unnamed)} to reach {largest:,}. Name one for each.",
        )
    chosen = {
        name: (request.trainings[name], count)
        for name in sorted(request.trainings)
        if (count := request.trainings[name].count or lacking.get(name, 0))
    }
    if not chosen:
        raise InvalidRequest.at("#/balance", f"No class of {dataset} lacks images: each has {largest:,} to train on.")
    if (total := sum(count for _, count in chosen.values())) > MAX_COUNT:
        raise InvalidRequest.at(
            "#/balance", f"The classes lack {total:,} images, and {MAX_COUNT:,} is the most that one generation draws."
        )
    records = {name: _checkpoint_of(store, request, dataset, name) for name in chosen}
    settled = {
        name: ClassDraw(training=draw.training, checkpoint=records[name].step, count=count)
        for name, (draw, count) in chosen.items()
    }
    return request.model_copy(update={"trainings": settled, "count": total}), next(iter(records.values()))


def _checkpoint_of(store: Store, request: GenerationRequest, dataset: str, name: str) -> CheckpointRecord:
    """The checkpoint that draws a class; InvalidRequest unless it has learnt that, and from this dataset."""
    draw = request.trainings[name]
    training = TrainingRequest.model_validate(store.read_request(draw.training).request)
    if training.dataset != dataset:
        raise InvalidRequest.at(
            _pointer(name), f"{draw.training} is a training on {training.dataset}: name one on {dataset}."
        )
    record = chosen_checkpoint(store, draw.training, request.checkpoint if draw.checkpoint is None else draw.checkpoint)
    alone = training.classes.only if training.classes else None
    learnt, by = record.classes.names or alone, record.classes.by or (training.classes and training.classes.by)
    if by == request.by and (alone == (name,) or name in record.classes.names):
        return record
    told = f"the classes {', '.join(learnt)} by {by}" if learnt else "all images, without classes"
    raise InvalidRequest.at(
        _pointer(name),
        f"{draw.training} has learnt {told}: name a training of {name!r} by {request.by} alone, or one with labels.",
    )


def _pointer(name: str) -> str:
    """Where a class stands in the request (RFC 6901)."""
    return f"#/trainings/{name.replace('~', '~0').replace('/', '~1')}"
