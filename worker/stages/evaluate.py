"""Compares synthetic images of a training with real ones of its dataset: how near, how varied, and whether copied.

Every metric is told beside its floor, what real images have among themselves, and once more of as many images as that
has, to be compared with it. All that makes a number doubtful is told in a sentence. A training is compared with images
of its classes alone; where it has learnt to tell them apart, the synthetic images have the same mix of classes as the
real ones, and what each class comes to is told, too.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.context import JobContext, StopRequested
from worker.contract.checkpoints import best_of, list_records, read_record
from worker.contract.compared_part import check_reference, part_to_compare_with
from worker.contract.errors import CheckpointMissing
from worker.contract.requests import MIN_EVALUATED, ClassChoice, ClassicalPreset, EvaluationRequest
from worker.contract.results import EvaluationResult, FeatureInfo, Measurement
from worker.contract.space import evaluation_bytes
from worker.dataset import Dataset
from worker.extractors import extractor_named
from worker.measurement import Metric, over_features, over_images
from worker.metrics.feature_proximity import feature_proximity
from worker.metrics.features import FeatureExtractor, Features
from worker.metrics.floor import floor
from worker.metrics.memorisation import memorisation, worst_pairs_grid
from worker.population import kept_to, labels_of
from worker.sources.base import SPLITS
from worker.sources.pixels import encode_png, tile
from worker.synthetic_images import synthetic_images

TAKEN_AT_ONCE = 256
"""Images whose features are computed between two looks whether to stop."""
GRID_IMAGES, GRID_COLUMNS = 32, 8
"""Of each kind in the picture: synthetic ones above, real ones below."""
SEARCHED_FOR = 2_000
"""Synthetic images whose nearest training image is looked for, and as many held-out ones: all training images are."""
SEARCHED_BY_FEATURES = 5_000
"""Training images that features are computed of for that, at the most: a sample serves, for the held-out ones too."""


def evaluate(
    request: EvaluationRequest,
    dataset: Dataset,
    context: JobContext,
    *,
    classes: ClassChoice | None = None,
    classical_augmentation: ClassicalPreset | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> EvaluationResult:
    """Draw images, compare them, and publish two pictures: a grid, and the pairs that look most like copies.

    Args:
        request: What to compare.
        dataset: That of the training.
        context: The job.
        classes: Those that the training was kept to, as it was asked for.
        classical_augmentation: What the training was shown in place of its images.
        clock: Seconds.

    Raises:
        InvalidRequest: the reference has too few images, or they are too small.
        DiskFull: there is no room for the pictures.
        CheckpointMissing: the checkpoint is not kept any more.
        StopRequested: the job was told to stop.
    """
    if not isinstance(request.checkpoint, int):
        raise CheckpointMissing("The checkpoint was not resolved when the evaluation was asked for.")
    began = clock()
    record = read_record(context.store.folder(request.training), request.checkpoint)
    dataset = kept_to(dataset, classes, record.classes)
    check_reference(request, dataset.image_size, len(dataset.indices(request.reference)))
    context.need_room(evaluation_bytes(dataset.image_size))
    chosen = _chosen_real(request, dataset)
    real, labels = np.asarray(dataset.images[chosen]), labels_of(dataset, record.classes, chosen)
    synthetic = synthetic_images(request.training, record, labels, request.count, request.seed, context)
    extractor = _extractor(request, dataset, context)
    measured, caveats = _measure(real, synthetic, extractor, request.seed, context)
    if not extractor.comparable_with_published:
        caveats.insert(0, _ONLY_AMONG_EACH_OTHER.format(extractor.name))
    caveats += extractor.caveats
    if _chosen_by_reference(request, dataset, context):
        caveats.append(_CHOSEN_HERE.format(request.reference))
    subgroups, more = _subgroups(record.classes.names, real, synthetic, labels or (), extractor, request.seed, context)
    copied = _copies(request, dataset, synthetic, extractor, caveats, context)
    if copied is not None and classical_augmentation is not None:
        caveats.append(_VARIANTS_UNSEARCHED.format(classical_augmentation))
    _publish_grid(synthetic, real, context)
    return EvaluationResult(
        checkpoint=request.checkpoint,
        image_size=dataset.image_size,
        synthetic=len(synthetic),
        real=len(real),
        reference=request.reference,
        features=FeatureInfo(
            extractor=extractor.name,
            dimensions=extractor.dimensions,
            fitted_on=extractor.fitted_on,
            comparable_with_published=extractor.comparable_with_published,
        ),
        metrics=measured,
        subgroups=subgroups,
        memorisation=copied,
        caveats=(*caveats, *more),
        seconds=round(clock() - began, 3),
    )


def _chosen_by_reference(request: EvaluationRequest, dataset: Dataset, context: JobContext) -> bool:
    """Whether the checkpoint is the best by evaluations on the way with the very part that it is compared with now."""
    best = best_of(list_records(context.store.folder(request.training)))
    if best is None or best.step != request.checkpoint:
        return False
    return request.reference == part_to_compare_with(
        dataset.image_size, {part: len(dataset.indices(part)) for part in SPLITS}
    )


def _chosen_real(request: EvaluationRequest, dataset: Dataset) -> NDArray[np.int64]:
    """Places of up to `count` images of the reference, in the order in which the seed draws them.

    Whatever follows that order, such as the labels of synthetic images, has the mix of all wherever it ends.
    """
    return np.random.default_rng(request.seed).permutation(dataset.indices(request.reference))[: request.count]


def _extractor(request: EvaluationRequest, dataset: Dataset, context: JobContext) -> FeatureExtractor:
    """The one that is asked for; fitting it can be watched, and stopped between epochs."""

    def tell(done: int, epochs: int) -> None:
        context.progress("fit", done, epochs, "epochs")
        _stop_if_told(context)

    _stop_if_told(context)
    weights = context.settings.inception_weights
    return extractor_named(request.features, dataset, seed=request.seed, inception_weights=weights, on_epoch=tell)


def _features(
    extractor: FeatureExtractor, sets: Sequence[NDArray[np.uint8]], phase: str, context: JobContext
) -> list[Features]:
    """Those of each set, in blocks between which a stop is heard."""
    done, total = 0, sum(map(len, sets))
    features = [np.empty((len(images), extractor.dimensions)) for images in sets]
    for images, computed in zip(sets, features, strict=True):
        for first in range(0, len(images), TAKEN_AT_ONCE):
            _stop_if_told(context)
            block = slice(first, first + TAKEN_AT_ONCE)
            computed[block] = extractor(images[block])
            done += len(images[block])
            context.progress(phase, done, total, "images")
    return features


def _measure(
    real: NDArray[np.uint8],
    synthetic: NDArray[np.uint8],
    extractor: FeatureExtractor,
    seed: int,
    context: JobContext,
    phase: str = "evaluate",
) -> tuple[dict[str, Measurement], list[str]]:
    """Every metric with its floor, and the warnings that they gave."""
    among_features, among_images = over_features(seed), over_images(seed)
    measured: dict[str, Measurement] = {}
    caveats = []
    compared = _features(extractor, (real, synthetic), "features", context)
    everything = len(among_features) + len(among_images)
    for metrics, sets in ((among_features, compared), (among_images, (real, synthetic))):
        for name, metric in metrics.items():
            _stop_if_told(context)
            context.progress(phase, len(measured), everything, "metrics")
            value = asdict(metric(*sets))
            if warning := value.pop("warning", None):
                caveats.append(str(warning))
            measured[name] = _with_floor(value, sets[0], sets[1], metric, seed)
    context.progress(phase, everything, everything, "metrics")
    return measured, caveats


def _subgroups(
    names: Sequence[str],
    real: NDArray[np.uint8],
    synthetic: NDArray[np.uint8],
    labels: Sequence[str],
    extractor: FeatureExtractor,
    seed: int,
    context: JobContext,
) -> tuple[dict[str, dict[str, Measurement]], list[str]]:
    """The metrics of each class alone, where there are enough images of both kinds; `labels` are of the real ones."""
    measured: dict[str, dict[str, Measurement]] = {}
    caveats, left_out = [], []
    for name in names:
        of_real = np.array([label == name for label in labels])
        of_synthetic = np.resize(of_real, len(synthetic))  # they take the labels of the real ones in turn
        ours, theirs = synthetic[of_synthetic], real[of_real]
        if min(len(ours), len(theirs)) < MIN_EVALUATED:
            left_out.append(f"{name} ({len(theirs)})")
            continue
        measured[name], warnings = _measure(theirs, ours, extractor, seed, context, f"evaluate {name}")
        caveats += [f"Of {name}: {warning}" for warning in warnings]
    if left_out:
        caveats.append(
            f"What these classes come to alone is not told, for it takes {MIN_EVALUATED} real images: "
            f"{', '.join(left_out)}."
        )
    return measured, caveats


def _with_floor(
    value: dict[str, Any], real: NDArray[Any], synthetic: NDArray[Any], metric: Metric, seed: int
) -> Measurement:
    """A metric's value beside its floor and, since few images inflate it, the metric of as few; both are mixed."""
    if len(real) < 2 * MIN_EVALUATED:
        return Measurement(value=value, floor=None, floor_images=None)
    among_real = floor(real, metric, seed=seed, images=len(synthetic))
    few = among_real.images
    of_as_few, lowest = asdict(metric(real[:few], synthetic[:few])), asdict(among_real.result)
    for each in (of_as_few, lowest):
        each.pop("warning", None)
    return Measurement(value=value, value_at_floor_images=of_as_few, floor=lowest, floor_images=few)


def _copies(
    request: EvaluationRequest,
    dataset: Dataset,
    synthetic: NDArray[np.uint8],
    extractor: FeatureExtractor,
    caveats: list[str],
    context: JobContext,
) -> dict[str, Any] | None:
    """Whether synthetic images are copies of training images, and the picture of the pairs that look most like it.

    Real images are told by their places in the dataset, which items.csv has as `index`.
    """
    held_out = dataset.indices("validation" if request.reference == "train" else request.reference)
    if len(held_out) < MIN_EVALUATED:
        caveats.append(
            f"Whether training images were copied is not told: {len(held_out)} held-out images are too few to say how "
            "near real images come to them."
        )
        return None
    _stop_if_told(context)
    context.progress("memorisation", 0, None, "blocks")

    def tell(done: int, blocks: int) -> None:
        context.progress("memorisation", done, blocks, "blocks")
        _stop_if_told(context)

    chance = np.random.default_rng(request.seed)
    others, training = np.sort(chance.permutation(held_out)[:SEARCHED_FOR]), dataset.indices("train")
    some, images = synthetic[:SEARCHED_FOR], dataset.images
    found = memorisation(
        some, images, images, seed=request.seed, training_rows=training, held_out_rows=others, on_block=tell
    )
    grid = worst_pairs_grid(found.worst, some, images)
    context.store.publish_bytes(encode_png(grid, _TEXT), context.resource_id, "nearest.png")
    sample = training[np.sort(chance.permutation(len(training))[:SEARCHED_BY_FEATURES])]
    worst = some[[pair.image for pair in found.worst]], images[[pair.training_image for pair in found.worst]]
    sets = (some, images[sample], images[others], *worst)
    ours, seen, unseen, *pairs = _features(extractor, sets, "proximity", context)
    told = asdict(found)
    told["in_features"] = asdict(feature_proximity(ours, seen, unseen, (pairs[0], pairs[1])))
    if warning := told.pop("warning"):
        caveats.append(str(warning))
    return told


_ONLY_AMONG_EACH_OTHER = (
    "Distances are over the features {!r}, not over those of published ones: compare them with each other and with "
    "their floor alone."
)
_CHOSEN_HERE = (
    "The checkpoint was chosen as the best by images of the part {!r}, the same that it is compared with here, which "
    'flatters it. Take `"reference": "test"`.'
)
_VARIANTS_UNSEARCHED = (
    "The training was shown variants of its images (classical augmentation, {!r}), and the search for copies compares "
    "with the unchanged images alone: many copies of variants pass unseen."
)
_TEXT = {"Synthetic": "in part", "Software": "RaGAN"}


def _publish_grid(synthetic: NDArray[np.uint8], real: NDArray[np.uint8], context: JobContext) -> None:
    rows = min(GRID_IMAGES, len(real), len(synthetic)) // GRID_COLUMNS * GRID_COLUMNS
    images = np.concatenate([synthetic[:rows], real[:rows]])
    context.store.publish_bytes(encode_png(tile(images, GRID_COLUMNS), _TEXT), context.resource_id, "grid.png")


def _stop_if_told(context: JobContext) -> None:
    if context.should_stop():
        raise StopRequested
