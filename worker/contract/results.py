"""What a job leaves behind: the `result` of each kind, and what the store holds of families and checkpoints."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from worker.contract.resources import Timestamp


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class AttritionStep(_Result):
    """One box of a flow diagram: what was taken away, and what remained."""

    step: str
    removed: int
    left: int


class Counts(_Result):
    """Images by each field; an image with two labels counts under both."""

    label: dict[str, int]
    view: dict[str, int]
    sex: dict[str, int]
    age_decade: dict[str, int] = Field(examples=[{"20-29": 12}])
    split: dict[str, int]


class SkippedImage(_Result):
    """An image that was selected and could not be used."""

    file: str
    reason: str


class Skipped(_Result):
    """`items` is capped; `total` is not."""

    total: int
    items: tuple[SkippedImage, ...]


class DatasetResult(_Result):
    """A dataset; in a dry run the last three fields are not known yet."""

    images: int
    patients: int
    patients_known: bool = Field(
        True, description="False: the source names no patients, so that each image counts as one."
    )
    counts: Counts
    attrition: tuple[AttritionStep, ...]
    licence: str | None = Field(
        None, description="Of the source when the dataset was made; null if nobody had said what may be done with it."
    )
    citation: str | None = Field(None, description="Whom to cite for the source; null if nobody had said so.")
    skipped: Skipped | None = None
    bytes: int | None = None
    sha256: str | None = None


class CheckpointInfo(_Result):
    """A named state of a training."""

    step: int
    created_at: Timestamp
    bytes: int
    best: bool = Field(description="Whether it was nearest to real images when the training was evaluated on the way.")


class BestCheckpoint(_Result):
    """The step at which a training was nearest to real images, by a metric of which less is better."""

    step: int
    metric: str = Field(examples=["frechet_distance"])
    value: float


class SnapshotInfo(_Result):
    """A picture grid of the same latent points."""

    step: int
    link: str


class TrainingResult(_Result):
    """How a training went, so far or to its end. Seconds are spent in training steps, over all runs."""

    steps: int
    images_seen: int
    seconds: float
    images_per_second: float | None
    final: dict[str, int | float] = Field(description="The last row of metrics.")
    devices: tuple[str, ...]
    precision: str
    fast_paths: tuple[str, ...] = Field(description="The faster ways of computing that were taken.")
    checkpoints: tuple[int, ...]
    best: BestCheckpoint | None = Field(description="Null unless the training was evaluated on the way.")


class MemoryForecast(_Result):
    """Bytes on each device while a training runs: an estimate, without what the libraries themselves need."""

    total: int
    weights: int
    optimizers: int
    gradients: int = Field(description="Of the larger network; the two are taught in turn.")
    activations: int = Field(description="What else a step holds when it holds most, of a device's share.")
    average: int = Field(description="The averaged generator; 0 without one.")
    data: int = Field(description="The images, where the whole dataset is kept on the device, else 0.")


class TrainingForecast(_Result):
    """What a training would take, as far as it can be known without a step: the result of its dry run."""

    steps: int
    images_seen: int = Field(description="Real images, over all steps.")
    parameters: dict[str, int] = Field(description="Of these hyper-parameters, by network.")
    flops_per_step: int = Field(description="Over all devices; 2 for a multiplication with its addition.")
    flops_per_step_plain: int = Field(description="The same without any fast path.")
    memory_bytes: MemoryForecast
    devices: int
    precision: str
    fast_paths: tuple[str, ...] = Field(description="The faster ways of computing that would be taken.")


class GenerationResult(_Result):
    """What was drawn, and its provenance."""

    count: int
    image_size: int
    seconds: float
    images_per_second: float
    fast_paths: tuple[str, ...] = Field(description="The faster ways of computing that were taken.")
    provenance: dict[str, str]


class EvaluationForecast(_Result):
    """What an evaluation would compare: the result of its dry run."""

    image_size: int
    synthetic: int = Field(description="Images that would be drawn.")
    real: int = Field(description="Images they would be compared with.")


class FeatureInfo(_Result):
    """What images were compared by."""

    extractor: str = Field(examples=["pixels"])
    dimensions: int
    fitted_on: str
    comparable_with_published: bool = Field(description="Whether distances may stand beside those in papers.")


class Measurement(_Result):
    """A metric's numbers, beside those that real images have among themselves.

    No generator can be asked for less than the floor, of as many images: it is `value_at_floor_images` to compare.
    """

    value: dict[str, Any]
    value_at_floor_images: dict[str, Any] | None = Field(
        None, description="The metric of as many images as the floor has, to compare with it; null where the floor is."
    )
    floor: dict[str, Any] | None = Field(
        description="Between two halves of the real images, null where there are too few of them."
    )
    floor_images: int | None = Field(description="Images in each of the halves.")


class EvaluationResult(_Result):
    """How synthetic images compare with real ones. Lower is better for distances, higher for shares."""

    checkpoint: int
    image_size: int
    synthetic: int = Field(description="Images compared.")
    real: int = Field(description="Images they were compared with.")
    reference: str
    features: FeatureInfo
    metrics: dict[str, Measurement]
    subgroups: dict[str, dict[str, Measurement]] = Field(
        {}, description="Of a training with labels, the metrics of each class that has enough images of both kinds."
    )
    memorisation: dict[str, Any] | None = Field(description="Null where there are too few real images to tell.")
    caveats: tuple[str, ...] = Field(description="What to know before any of it is repeated.")
    seconds: float


class ReaderStudyForecast(_Result):
    """What a reader study would show: the result of its dry run."""

    image_size: int
    synthetic: int = Field(description="Images that would be drawn.")
    real: int = Field(description="Images that would be taken from the dataset.")
    classes: tuple[str, ...] = Field(description="Those that readers would choose from; empty without that task.")


class ReaderStudyResult(ReaderStudyForecast):
    """What a reader study shows, all but which image is which."""

    checkpoint: int
    reference: str
    seconds: float


class StudyFold(_Result):
    """Images of each class that are learnt from, validated with and tested on, where one part is tested on."""

    train: dict[str, int]
    validation: dict[str, int]
    test: dict[str, int]


class StudyForecast(_Result):
    """What a study would take: the result of its dry run."""

    classes: tuple[str, ...]
    folds: tuple[StudyFold, ...] = Field(description="One, where the dataset's own parts are taken.")
    generators: int
    generator_steps: int = Field(description="Over all generators.")
    synthetic_images: int = Field(description="That they would draw, over all generators.")
    classifiers: int = Field(description="That would be taught.")
    bytes: int = Field(description="In the store, at the most.")


class Interval(_Result):
    """An estimate with its 95 % confidence interval: percentiles of a bootstrap over patients."""

    estimate: float
    low: float
    high: float


class StudyScores(_Result):
    """How well classes are told; null is what these images cannot say, such as the sensitivity of a class without any.

    `confusion` has a row for each true class and a column for each class told, in the order of the study's `classes`.
    """

    images: int
    accuracy: Interval
    balanced_accuracy: Interval
    auc: Interval | None = Field(
        description="Of two classes that of the second; of more, the mean of one against rest. Of pairs within a fold."
    )
    sensitivity: dict[str, Interval | None]
    specificity: dict[str, Interval | None]
    confusion: tuple[tuple[int, ...], ...]


class StudyChoice(_Result):
    """What was chosen on a fold's validation part, before anything was tested."""

    fold: int = Field(description="From 1.")
    amount: int = Field(description="Synthetic images of each class.")
    threshold: float | None = Field(
        description="From which probability on the second of two classes is told; null: the likeliest class is."
    )


class StudyArmResult(_Result):
    """What came of an arm over its folds, with what was chosen in each."""

    arm: str
    chosen: tuple[StudyChoice, ...]
    validation: StudyScores = Field(description="Of what was chosen on these very images, so that it flatters.")
    test: StudyScores


class StudyComparison(_Result):
    """Whether two arms, at what was chosen, tell the same test images equally well."""

    first: str
    second: str
    difference: float = Field(description="Of the accuracies, the second less the first.")
    p_value: float
    adjusted_p_value: float = Field(description="By Holm's method, over all comparisons of the study.")
    test: str = Field(
        examples=["mcnemar"], description="`mcnemar`, exact; `permutation` by patient where some have more images."
    )


class StudyPoint(_Result):
    """A point of the curve: what an amount of synthetic images came to."""

    arm: str
    amount: int
    validation: StudyScores
    test: StudyScores


class MissingCell(_Result):
    """A classifier that had not been taught when the study was cancelled."""

    fold: int
    arm: str
    amount: int


class StudyResult(_Result):
    """Whether synthetic images helped: every arm on validation and test, with what was chosen on validation alone."""

    classes: tuple[str, ...]
    images: int
    patients: int
    folds: tuple[StudyFold, ...]
    arms: tuple[StudyArmResult, ...] = Field(description="Those that have a fold without a missing cell.")
    comparisons: tuple[StudyComparison, ...] = Field(description="Over the folds that all of these arms have.")
    curve: tuple[StudyPoint, ...]
    missing: tuple[MissingCell, ...] = Field(description="Empty unless the study was cancelled.")
    caveats: tuple[str, ...] = Field(description="What to know before any of it is repeated.")
    seconds: float = Field(description="That the generators and classifiers took which are kept.")


class FamilyDescription(_Result):
    """What a worker publishes of a family, so that the front end can offer it and check requests against it."""

    family: str
    title: str
    reference: str
    image_sizes: tuple[int, ...]
    takes_labels: bool
    parameters: dict[str, int] = Field(
        description="Of the reference preset, by network; of two classes if the family takes labels."
    )
    presets: dict[str, dict[str, Any]] = Field(description="Every hyper-parameter's value, by preset.")
    hyperparameters: dict[str, Any] = Field(description="JSON Schema.")
    published_at: Timestamp
