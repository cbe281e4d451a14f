"""The DCGAN of the 2018 chest X-ray study at 64x64."""

from typing import ClassVar

from worker.models.base import DEFAULT, REFERENCE, CommonHyperparameters
from worker.models.dcgan_family import ConditionalDcganFamily, DcganFamily, as_published


class Dcgan64(DcganFamily):
    """From 8x8: three doublings."""

    name = "dcgan64"
    title = "DCGAN, 64x64"
    image_size = 64
    presets: ClassVar = {
        DEFAULT: CommonHyperparameters(),
        REFERENCE: as_published(dropout=0.2),
    }
    start = (8, 256)
    generator_blocks = ((128, 2), (64, 2), (32, 2))
    discriminator_blocks = ((64, 2), (128, 2), (256, 2), (512, 1))


class ConditionalDcgan64(ConditionalDcganFamily, Dcgan64):
    """The same, of several classes."""

    name = "dcgan64-conditional"
    title = "Conditional DCGAN, 64x64"
