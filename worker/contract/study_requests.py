"""What can be asked of a study: the body of its POST, with every default."""

from itertools import pairwise
from typing import Annotated, Literal, Self, get_args

from pydantic import ConfigDict, Field, field_validator, model_validator

from worker.contract.requests import MAX_STEPS, ClassChoice, ClassicalPreset, ModelChoice, Request

StudyArm = Literal[
    "real", "real_oversampled", "real_classical", "real_synthetic", "real_classical_synthetic", "synthetic"
]
"""What a classifier of a study learns from."""
STUDY_ARMS: tuple[StudyArm, ...] = get_args(StudyArm)
SYNTHETIC_ARMS: tuple[StudyArm, ...] = ("real_synthetic", "real_classical_synthetic", "synthetic")
"""Those that learn from synthetic images, too, or from nothing else."""
MIN_FOLDS, MAX_FOLDS = 3, 20
"""One part of a fold is tested on, one is validated with, and at least one is learnt from."""
MAX_AMOUNTS = 20
MAX_SYNTHETIC = 100_000
"""Synthetic images of a class that a classifier of a study may learn from."""


class StudyGenerator(Request):
    """The generator that a study trains for each class of each fold, on images of the fold's training part alone."""

    model: ModelChoice = ModelChoice()
    steps: int = Field(2000, ge=1, le=MAX_STEPS)
    batch_size: int = Field(64, ge=1, le=65_536, description="Real images per step.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    classical_augmentation: ClassicalPreset | None = Field(
        "chest", description="How the images that it learns from are varied; null: not at all."
    )


class StudyClassifier(Request):
    """How each classifier of a study is taught; the defaults are the paper's."""

    epochs: int = Field(150, ge=1, le=10_000)
    batch_size: int = Field(64, ge=1, le=65_536)
    optimizer: Literal["sgd", "adam"] = Field("sgd", description="`sgd` is with Nesterov momentum of 0.9.")
    learning_rate: float = Field(1e-3, gt=0, le=1)
    patience: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="After so many epochs without a lower loss on the validation part no more follow, and the best one "
        "counts; null: all epochs, and the last one counts.",
    )


class StudyRequest(Request):
    """Find out whether synthetic images help a classifier, on patients that no network has learnt from."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dataset": "ds_01k00000000000000000000000",
                    "classes": {"by": "labels", "only": ["No Finding", "Infiltration"]},
                    "folds": 5,
                    "amounts": [0, 500, 1000],
                    "generator": {"model": {"family": "dcgan64"}, "steps": 800},
                    "classifier": {"epochs": 30, "optimizer": "adam"},
                    "seed": 7,
                }
            ]
        }
    )

    dataset: str
    classes: ClassChoice = Field(ClassChoice(), description="What the classifiers learn to tell apart.")
    folds: int | None = Field(
        5,
        ge=MIN_FOLDS,
        le=MAX_FOLDS,
        description="Parts of all images, by patient, each of which is tested on once; null: the dataset's own parts.",
    )
    arms: tuple[StudyArm, ...] = Field(
        STUDY_ARMS, min_length=1, description="What classifiers learn from; `real` is always among them."
    )
    amounts: tuple[Annotated[int, Field(ge=0, le=MAX_SYNTHETIC)], ...] = Field(
        (0, 500, 1000, 2000, 3000, 5000),
        min_length=1,
        max_length=MAX_AMOUNTS,
        description="Synthetic images of each class, in rising order; 0 is the arm without them.",
    )
    generator: StudyGenerator = StudyGenerator()
    classifier: StudyClassifier = StudyClassifier()
    classical: ClassicalPreset = Field("chest", description="How the real images of the `…_classical` arms are varied.")
    seed: int = Field(0, ge=0, le=2**32 - 1)

    @field_validator("arms")
    @classmethod
    def _each_once_in_order(cls, arms: tuple[StudyArm, ...]) -> tuple[StudyArm, ...]:
        if len(set(arms)) < len(arms):
            raise ValueError("an arm is named twice: name each once")
        return tuple(arm for arm in STUDY_ARMS if arm == "real" or arm in arms)

    @field_validator("amounts")
    @classmethod
    def _rising(cls, amounts: tuple[int, ...]) -> tuple[int, ...]:
        for before, after in pairwise(amounts):
            if before >= after:
                raise ValueError(f"{after} follows {before}: name the numbers in rising order, each once")
        return amounts

    @model_validator(mode="after")
    def _something_synthetic(self) -> Self:
        if self.amounts == (0,) and (synthetic := [arm for arm in self.arms if arm in SYNTHETIC_ARMS]):
            raise ValueError(
                f"amounts has nothing but 0, and {', '.join(synthetic)} learn from synthetic images: name an amount "
                "above 0, or arms without them"
            )
        return self

    @property
    def needs_generators(self) -> bool:
        """Whether anything learns from synthetic images; if not, `generator` and `amounts` are of no account."""
        return any(arm in SYNTHETIC_ARMS for arm in self.arms)
