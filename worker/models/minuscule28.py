"""A DCGAN for 28x28 images, small enough to try things out on a CPU."""

from typing import ClassVar

from worker.models.base import DEFAULT, REFERENCE, CommonHyperparameters
from worker.models.dcgan_family import ConditionalDcganFamily, DcganFamily, as_published


class Minuscule28(DcganFamily):
    """From 7x7: two doublings and one more convolution."""

    name = "minuscule28"
    title = "Minuscule DCGAN, 28x28"
    image_size = 28
    presets: ClassVar = {
        DEFAULT: CommonHyperparameters(),
        REFERENCE: as_published(dropout=0.4),
    }
    start = (7, 256)
    generator_blocks = ((128, 2), (64, 2), (32, 1))
    discriminator_blocks = ((64, 2), (128, 2), (256, 2), (512, 1))


class ConditionalMinuscule28(ConditionalDcganFamily, Minuscule28):
    """The same, of several classes."""

    name = "minuscule28-conditional"
    title = "Conditional minuscule DCGAN, 28x28"
