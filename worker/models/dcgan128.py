"""The DCGAN of the 2018 chest X-ray study at 128x128."""

from typing import ClassVar

from worker.models.base import DEFAULT, REFERENCE, CommonHyperparameters
from worker.models.dcgan_family import ConditionalDcganFamily, DcganFamily, as_published


class Dcgan128(DcganFamily):
    """From 8x8: four doublings, and a discriminator that narrows at its end."""

    name = "dcgan128"
    title = "DCGAN, 128x128"
    image_size = 128
    presets: ClassVar = {
        DEFAULT: CommonHyperparameters(),
        REFERENCE: as_published(dropout=0.2),
    }
    start = (8, 256)
    generator_blocks = ((256, 2), (128, 2), (64, 2), (32, 2))
    discriminator_blocks = ((64, 2), (128, 2), (256, 2), (128, 1))


class ConditionalDcgan128(ConditionalDcganFamily, Dcgan128):
    """The same, of several classes."""

    name = "dcgan128-conditional"
    title = "Conditional DCGAN, 128x128"
