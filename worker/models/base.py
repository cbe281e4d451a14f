"""What a family of models is. One module makes one: its `Hyperparameters`, and a subclass of `Family`.

A module put into this package is found by `worker.models.registry`; so is a class that an installed distribution
names under the entry-point group `ragan.models`. At its top level it imports neither TensorFlow nor Keras, so that
families can be listed, and requests checked, where there is no TensorFlow.
"""

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from worker.contract.errors import FieldError, InvalidRequest
from worker.sources.names import no_such

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from worker.adversarial import Batch, Networks

DEFAULT = "default"
REFERENCE = "reference"
Loss = Literal["bce", "hinge", "lsgan"]
Augmentation = Literal["brightness", "contrast", "translation", "cutout"]


class CommonHyperparameters(BaseModel):
    """What can be set of every family. A family may add fields, or change defaults; its own are the default preset."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        # The front end checks requests by the schema alone.
        json_schema_extra={
            "if": {"properties": {"loss": {"const": "hinge"}}, "required": ["loss"]},
            "then": {"properties": {"label_smoothing": {"const": 0}}},
        },
    )

    d_steps: int = Field(1, ge=1, le=10, description="Updates of the discriminator for each of the generator.")
    loss: Loss = Field(
        "bce",
        description="`bce`: binary cross-entropy (Goodfellow et al. 2014); `hinge` (Lim and Ye 2017); `lsgan`: least "
        "squares to 0 and 1 (Mao et al. 2017).",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="One-sided: the discriminator's target for real images is 1 minus this (Salimans et al. 2016); "
        "not with the loss `hinge`, which has no target.",
    )
    diff_augment: tuple[Augmentation, ...] = Field(
        (),
        description="Random changes of all images that the discriminator sees while training, for small datasets "
        "(DiffAugment, Zhao et al. 2020).",
        json_schema_extra={"uniqueItems": True},
    )
    spectral_norm: bool = Field(
        False, description="Divide the discriminator's weights by their spectral norm (Miyato et al. 2018)."
    )
    r1_weight: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="Of the R1 penalty: half of it times the mean squared norm of the discriminator's gradient at real "
        "images joins its loss (Mescheder et al. 2018), the mean over real and generated images, where the paper has "
        "the sum: w is the paper's gamma of 2w. 0: no penalty, and no metric `r1`.",
    )
    r1_every: int = Field(
        16,
        ge=1,
        le=1000,
        description="The R1 penalty is taken at the first step and then every so many steps, times their number "
        "(Karras et al. 2020): in the mean the same gradient, but not the same updates, which optimizers normalise.",
    )
    optimizer: Literal["rmsprop", "adam"] = Field(
        "rmsprop", description="Of both networks; `adam` with beta_1 = 0.5 (Radford et al. 2016)."
    )
    learning_rate_d: float = Field(4e-4, gt=0, le=1, description="Of the discriminator.")
    learning_rate_g: float = Field(2e-4, gt=0, le=1, description="Of the generator.")
    dropout: float = Field(0.0, ge=0, le=0.9, description="Share of the activations dropped while training.")
    width: float = Field(
        1.0, gt=0, le=4, description="Times the reference number of channels, rounded, at least one channel."
    )
    ema_decay: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Images are drawn from an exponential moving average of the generator, batch-norm statistics "
        "included; the decay grows as (1 + t) / (10 + t) up to this. 0: from the generator itself.",
    )

    @field_validator("label_smoothing")
    @classmethod
    def _has_a_target(cls, smoothing: float, others: ValidationInfo) -> float:
        if smoothing and others.data.get("loss") == "hinge":
            raise ValueError("the loss hinge has no target to smooth: set it to 0, or take the loss bce or lsgan")
        return smoothing

    @field_validator("diff_augment")
    @classmethod
    def _named_once(cls, chosen: tuple[Augmentation, ...]) -> tuple[Augmentation, ...]:
        if len(set(chosen)) < len(chosen):
            raise ValueError("name each change once")
        return chosen


H = TypeVar("H", bound=CommonHyperparameters)


class Family(ABC, Generic[H]):
    """A kind of generator and discriminator with a training step of its own. Holds no state.

    The networks are built inside a `tf.distribute` scope after Keras was seeded, so layers need no seeds.
    """

    name: ClassVar[str]
    """As requests name it: lower-case letters, digits, `-` and `_`."""
    title: ClassVar[str]
    """One line for people."""
    reference: ClassVar[str]
    """What to cite."""
    image_size: ClassVar[int]
    """Pixels on a side of the images it makes."""
    takes_labels: ClassVar[bool] = False
    """Whether it learns classes of images, so that one can be asked for."""
    latent_size: ClassVar[int] = 100
    hyperparameters: ClassVar[type[CommonHyperparameters]]
    presets: ClassVar[Mapping[str, CommonHyperparameters]]
    """`default`: what to use; `reference`: as it was published, whose parameters are counted; and any others."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not inspect.isabstract(cls):
            _check(cls)

    @abstractmethod
    def generator(self, hyperparameters: H, classes: int) -> "keras.Model":
        """Latent points (B, latent_size) in [-1, 1] to images (B, image_size, image_size, 1) in [0, 1], float32.

        `classes` is 0 for a family that takes no labels. The network of one that does has the inputs [latent points,
        class codes], these int32 (B,) from 0 to `classes` - 1.
        """

    @abstractmethod
    def discriminator(self, hyperparameters: H, classes: int) -> "keras.Model":
        """Images (B, image_size, image_size, 1) in [0, 1] to logits (B, 1), positive for real, float32.

        Of a family that takes labels, [images, class codes] to logits, as for the generator.
        """

    def step(self, networks: "Networks", batch: "Batch", hyperparameters: H) -> "dict[str, tf.Tensor]":
        """Update the networks with one device's share of a batch; traced once into a graph.

        Override it for another way to train. The networks' optimisers sum gradients over the devices.

        Returns:
            This device's share of each metric, a float32 scalar; their sum over the devices goes into the metrics. A
            training that tells an evaluation by the same name (`worker.contract.requests.TrackedMetric`) is refused.
        """
        from worker.adversarial import alternating_step

        return alternating_step(networks, batch, hyperparameters)

    def configure(self, preset: str, chosen: Mapping[str, Any]) -> H:
        """A preset's hyper-parameters with those that were chosen in their place.

        Raises:
            InvalidRequest: there is no such preset or hyper-parameter, or a value is out of bounds.
        """
        if preset not in self.presets:
            raise InvalidRequest.at("#/model/preset", no_such("preset", preset, self.presets))
        try:
            hyperparameters = self.hyperparameters.model_validate(self.presets[preset].model_dump() | dict(chosen))
        except ValidationError as error:
            wrong = [_field_error(each["loc"], each["msg"]) for each in error.errors()]
            field = wrong[0].pointer.rpartition("/")[2]
            raise InvalidRequest(f"The hyper-parameter {field} is wrong: {wrong[0].detail}", errors=wrong) from error
        return cast("H", hyperparameters)


def _check(family: type[Family[Any]]) -> None:
    """TypeError for a family that would only fail later, and less clearly."""
    needed = ("name", "title", "reference", "image_size", "hyperparameters", "presets")
    if missing := [attribute for attribute in needed if not hasattr(family, attribute)]:
        raise TypeError(f"{family.__qualname__} lacks {', '.join(missing)}, which every family has")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", family.name):
        raise TypeError(f"{family.__qualname__} has the name {family.name!r}: take lower-case letters, digits, - and _")
    for preset in (DEFAULT, REFERENCE):
        if not isinstance(family.presets.get(preset), family.hyperparameters):
            raise TypeError(f"{family.__qualname__} needs a preset {preset!r} of its own hyper-parameters")


def _field_error(location: tuple[int | str, ...], message: str) -> FieldError:
    path = "/".join(str(part) for part in location)
    sentence = message.removeprefix("Value error, ")
    return FieldError(pointer=f"#/model/hyperparameters/{path}".rstrip("/"), detail=f"{sentence}.")
