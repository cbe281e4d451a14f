"""What can be asked for: the bodies of the POST routes, with every default."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

MAX_COUNT = 1_000_000
"""Images that one generation may ask for."""
MAX_STEPS = 10_000_000
"""Steps that one training may have."""
MAX_LIMIT = 10_000_000
"""Images that the limit of a dataset may be; the largest collections have a tenth of it."""
MIN_EVALUATED, MAX_EVALUATED = 40, 50_000
"""Images of either kind that an evaluation may compare: with fewer, no distance says anything."""
MIN_EVALUATED_PIXELS = 16
"""On a side: of smaller images there is no texture to compare."""
MIN_READ, MAX_READ = 10, 500
"""Images of either kind in a reader study: fewer say nothing, and nobody reads more in one go."""
ClassField = Literal["labels", "view", "sex", "age_decade"]
"""By what images are told apart: their whole list of findings, joined with |, or one of the other fields."""
OLDEST_POSSIBLE_AGE = 120
"""Years; early editions of the NIH metadata list ages such as 414."""
NamedCheckpoint = Literal["latest", "best"]
"""Which step `best` is, `evaluate_every` of the training has found out."""
TrackedMetric = Literal[
    "frechet_distance", "kernel_distance", "sliced_wasserstein_distance", "precision", "recall", "density", "coverage"
]
"""What a training can be followed by while it runs: `worker.measurement`."""
DISTANCES: frozenset[TrackedMetric] = frozenset({"frechet_distance", "kernel_distance", "sliced_wasserstein_distance"})
"""Of these, less is better."""
FeatureKind = Literal["pixels", "classifier", "inception"]
"""Vectors that images are compared by: `worker.extractors`."""
ClassicalPreset = Literal["chest", "paper"]
"""How images are rotated, moved, scaled and perhaps flipped: `worker.classical_augmentation`."""
ReadingTask = Literal["origin", "class"]
"""What readers are asked of an image: whether it is real or synthetic, and which class it shows."""


class Request(BaseModel):
    """A body of a POST, or a part of one: fields that it does not have are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AgeRange(Request):
    """Years, both ends included."""

    min: int | None = Field(None, ge=0, le=OLDEST_POSSIBLE_AGE)
    max: int | None = Field(None, ge=0, le=OLDEST_POSSIBLE_AGE)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max}): swap them or widen the range")
        return self


class Where(Request):
    """A filter over a source's rows. An empty list does not filter."""

    labels: tuple[str, ...] = Field((), description="Findings, as the source spells them.")
    label_match: Literal["exact", "any", "all"] = Field(
        "exact",
        description="`exact`: the findings are these and nothing else; `any`: at least one; `all`: all, maybe more.",
    )
    view: tuple[str, ...] = Field((), description="View positions, such as PA and AP.")
    sex: tuple[str, ...] = Field((), description="M and F.")
    age: AgeRange = AgeRange()


class Split(Request):
    """Fractions of the selected images; one patient is never on two sides."""

    train: float = Field(0.8, gt=0, le=1)
    validation: float = Field(0.1, ge=0, lt=1)
    test: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _omitted_parts_are_empty(cls, given: Any) -> Any:
        if isinstance(given, dict) and given:
            return {"train": 0.0, "validation": 0.0, "test": 0.0} | given
        return given

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the fractions add up to {total:g}: they must add up to 1")
        return self


class DatasetRequest(Request):
    """Select images of a source and prepare them for training."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "phantom",
                    "where": {"labels": ["No Finding"], "view": ["PA"], "age": {"min": 20, "max": 70}},
                    "image_size": 64,
                    "limit": 200,
                }
            ]
        }
    )

    source: str = Field(min_length=1)
    where: Where = Where()
    exclude: tuple[str, ...] = Field(
        ("inverted", "not_frontal", "rotated"),
        description="Flags of the source's outlier list, and of the checks made on reading, that exclude an image.",
    )
    image_size: int = Field(64, ge=8, le=1024, description="Pixels on a side of the prepared, square images.")
    fit: Literal["pad", "crop"] = Field("pad", description="How an image that is not square is made so.")
    limit: int | None = Field(None, ge=1, le=MAX_LIMIT, description="At most so many images, drawn by `seed`.")
    split: Split | Literal["source"] = Field(
        Split(), description="Fractions, or `source`: as the source itself divides its images, if it does."
    )
    seed: int = Field(0, ge=0, le=2**32 - 1)


class ModelChoice(Request):
    """A family and its hyper-parameters; what is not named is taken from the preset."""

    family: str = "minuscule28"
    preset: str = Field("default", description="Where hyper-parameters that are not named come from.")
    hyperparameters: dict[str, Any] = {}


class ClassChoice(Request):
    """Which images to train on, by their classes; for a family that takes labels, also which classes to learn."""

    by: ClassField = Field("labels", description="`labels`: the findings of an image, together, are its class.")
    only: tuple[str, ...] | None = Field(
        None, min_length=1, description="Classes, as in `Effusion|Infiltration` or `20-29`; null: all there are."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if self.only is not None and len(set(self.only)) < len(self.only):
            twice = next(name for name in self.only if self.only.count(name) > 1)
            raise ValueError(f"only names {twice!r} more than once: name each class once")
        return self


class TrainingRequest(Request):
    """Train a family on a dataset."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dataset": "ds_01k00000000000000000000000",
                    "model": {"family": "dcgan64", "hyperparameters": {"width": 0.5}},
                    "steps": 800,
                    "batch_size": 64,
                }
            ]
        }
    )

    dataset: str
    model: ModelChoice = ModelChoice()
    steps: int = Field(2000, ge=1, le=MAX_STEPS)
    batch_size: int = Field(256, ge=1, le=65_536, description="Real images per step, over all devices.")
    devices: Literal["all"] | int = Field("all", description="How many devices of the worker, or all of them.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    seed: int = Field(0, ge=0, le=2**32 - 1)
    snapshot_every: int = Field(10, ge=1, le=MAX_STEPS, description="Steps from one picture grid to the next.")
    checkpoint_every: int = Field(200, ge=1, le=MAX_STEPS, description="Steps from one checkpoint to the next.")
    keep_checkpoints: int = Field(3, ge=1, le=1000, description="The newest so many are kept, and the best.")
    evaluate_every: int | None = Field(
        None,
        ge=1,
        le=MAX_STEPS,
        description="Steps from one comparison with real images to the next; null: none, and no best checkpoint.",
    )
    evaluate_metrics: tuple[TrackedMetric, ...] = Field(
        ("frechet_distance",),
        min_length=1,
        description="What then goes into the row of metrics. The first is a distance: where it is least is the best "
        "checkpoint.",
    )
    classical_augmentation: ClassicalPreset | None = Field(
        None,
        description="Train on random variants of the real images. `chest`: rotated by up to 10°, perhaps moved or "
        "scaled a little; `paper`: rotated by up to 180°, perhaps flipped, moved or scaled; null: as they are.",
    )
    classes: ClassChoice | None = Field(
        None, description="Null: every image; for families that take labels, every class of findings."
    )

    @field_validator("evaluate_metrics")
    @classmethod
    def _led_by_a_distance(cls, metrics: tuple[TrackedMetric, ...]) -> tuple[TrackedMetric, ...]:
        if metrics[0] not in DISTANCES:
            raise ValueError(f"the first is {metrics[0]}: name a distance first, one of {', '.join(sorted(DISTANCES))}")
        if len(set(metrics)) < len(metrics):
            raise ValueError("a metric is named twice: name each once")
        return metrics

    @model_validator(mode="after")
    def _shared_out(self) -> Self:
        if isinstance(self.devices, int):
            if self.devices < 1:
                raise ValueError(f"devices is {self.devices}: ask for 1 or more, or for 'all'")
            if self.batch_size % self.devices:
                raise ValueError(
                    f"batch_size {self.batch_size} cannot be shared out evenly over {self.devices} devices: "
                    f"take a multiple of {self.devices}"
                )
        return self


class ResumeRequest(Request):
    """Carry a training further."""

    steps: int | None = Field(None, ge=1, le=MAX_STEPS, description="The new total; null keeps the old one.")


class ClassDraw(Request):
    """What is drawn of one class of a dataset that is to be balanced; the id of the training alone will do."""

    training: str = Field(description="One that has learnt this class of the dataset, or this class alone.")
    checkpoint: NamedCheckpoint | int | None = Field(None, description="Null: that of the request.")
    count: int | None = Field(
        None, ge=1, le=MAX_COUNT, description="Null: what the class lacks to be as large as the largest."
    )


def _as_class_draw(given: Any) -> Any:
    return {"training": given} if isinstance(given, str) else given


_ClassDraw = Annotated[ClassDraw, BeforeValidator(_as_class_draw, json_schema_input_type=str | ClassDraw)]


class GenerationRequest(Request):
    """Draw synthetic images from a training, or what the classes of a dataset lack from one for each class."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"training": "tr_01k00000000000000000000000", "checkpoint": "latest", "count": 64, "seed": 7},
                {
                    "balance": "ds_01k00000000000000000000000",
                    "trainings": {"Pneumonia": "tr_01k00000000000000000000000"},
                    "seed": 7,
                },
            ]
        }
    )

    training: str | None = Field(None, description="What draws all images; null with `balance`.")
    checkpoint: NamedCheckpoint | int = Field("latest", description="A step, the newest, or the best.")
    count: int = Field(64, ge=1, le=MAX_COUNT, description="With `balance`: what all classes lack together.")
    seed: int = Field(0, ge=0, le=2**32 - 1)
    labels: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Classes of a training with labels, which images take in turn; null: all that it has learnt.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16 is faster where the hardware has it, and some grey levels off."
    )
    balance: str | None = Field(
        None, description="A dataset; drawn is what the classes of its `train` part lack to be as large as the largest."
    )
    by: ClassField = Field("labels", description="With `balance`: what its classes are.")
    trainings: dict[str, _ClassDraw] = Field({}, description="With `balance`: what draws each class that lacks images.")

    @property
    def all_labels(self) -> tuple[str, ...] | None:
        """The labels that images may have; None where they have none, or the training has not been asked yet."""
        return self.labels if self.balance is None else tuple(sorted(self.trainings))

    @model_validator(mode="after")
    def _drawn_one_way(self) -> Self:
        """A request that is settled has the count of each class, and of all together."""
        if (self.training is None) == (self.balance is None):
            raise ValueError("either training names what draws all images, or balance a dataset: name one of them")
        if self.balance is None and (self.trainings or self.by != "labels"):
            raise ValueError("trainings and by go with balance: leave them out, or name a dataset to balance")
        if self.balance is not None:
            if not self.trainings:
                raise ValueError("trainings is empty: name a training for each class that lacks images")
            if self.labels is not None:
                raise ValueError("labels goes with training: of a dataset to balance, the classes are the labels")
            counts = [draw.count or 0 for draw in self.trainings.values()]
            if "count" in self.model_fields_set and not (all(counts) and sum(counts) == self.count):
                raise ValueError("count goes with training: of a dataset to balance, it is what the classes lack")
        return self


class EvaluationRequest(Request):
    """Compare synthetic images of a training with real ones of its dataset."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"training": "tr_01k00000000000000000000000", "count": 2048, "reference": "validation", "seed": 7}
            ]
        }
    )

    training: str
    checkpoint: NamedCheckpoint | int = Field("latest", description="A step, the newest, or the best.")
    count: int = Field(
        2048, ge=MIN_EVALUATED, le=MAX_EVALUATED, description="Synthetic images, and real ones at the most."
    )
    reference: Literal["train", "validation", "test"] = Field(
        "validation", description="The part of the dataset that the synthetic images are compared with."
    )
    features: FeatureKind = Field(
        "pixels",
        description="What distances are taken over. `pixels`: principal components of the training images, which need "
        "no file, no labels and no training, whatever the dataset, but hardly see noise and slight blur; `classifier`: "
        "a small network, taught on the training images in half a minute, by their labels if there are two classes or "
        "more; `inception`: InceptionV3, where the worker has its weights.",
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Draws the synthetic images, and samples of real ones.")


class ReaderStudyRequest(Request):
    """Have people tell synthetic images of a training from real ones, without knowing which is which."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"training": "tr_01k00000000000000000000000", "count": 50, "tasks": ["origin"], "seed": 7}]
        }
    )

    training: str
    checkpoint: NamedCheckpoint | int = Field("latest", description="A step, the newest, or the best.")
    count: int = Field(50, ge=MIN_READ, le=MAX_READ, description="Synthetic images, and as many real ones.")
    reference: Literal["validation", "test"] = Field(
        "test", description="The part of the dataset that the real images are from; none that was learnt from."
    )
    tasks: tuple[ReadingTask, ...] = Field(
        ("origin",),
        min_length=1,
        description="`origin`: real or synthetic; `class`: which of the classes that the training tells apart.",
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Draws the images of either kind, not their order.")

    @field_validator("tasks")
    @classmethod
    def _each_task_once(cls, tasks: tuple[ReadingTask, ...]) -> tuple[ReadingTask, ...]:
        if len(set(tasks)) < len(tasks):
            raise ValueError("a task is named twice: name each once")
        return tasks
