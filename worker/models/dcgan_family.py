"""What the DCGAN families share: a family is then its sizes and its channels."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from worker.models.base import CommonHyperparameters, Family

if TYPE_CHECKING:
    import keras


def as_published(dropout: float) -> CommonHyperparameters:
    """The preset `reference`: the recipe of the 2018 chest X-ray study, without an average of the generator."""
    return CommonHyperparameters(learning_rate_d=2e-4, learning_rate_g=1e-4, dropout=dropout, ema_decay=0)


class DcganFamily(Family[CommonHyperparameters]):
    """The networks of `worker.models.networks.dcgan`.

    Blocks are pairs of channels and of a factor of enlargement or reduction.
    """

    reference = (
        "A. Radford, L. Metz, S. Chintala: Unsupervised Representation Learning with Deep Convolutional Generative "
        "Adversarial Networks. ICLR 2016. arXiv:1511.06434"
    )
    hyperparameters = CommonHyperparameters

    @property
    @abstractmethod
    def start(self) -> tuple[int, int]:
        """Pixels on a side, and channels, of the generator's first feature map."""

    @property
    @abstractmethod
    def generator_blocks(self) -> Sequence[tuple[int, int]]:
        """Of the generator, after the first feature map and before the last convolution."""

    @property
    @abstractmethod
    def discriminator_blocks(self) -> Sequence[tuple[int, int]]:
        """Of the discriminator, before its dense layer."""

    def generator(self, hyperparameters: CommonHyperparameters, classes: int) -> "keras.Model":
        from worker.models.networks import dcgan

        return dcgan.generator(
            latent_size=self.latent_size,
            start=self.start,
            blocks=self.generator_blocks,
            width=hyperparameters.width,
            dropout=hyperparameters.dropout,
            classes=classes,
        )

    def discriminator(self, hyperparameters: CommonHyperparameters, classes: int) -> "keras.Model":
        from worker.models.networks import dcgan

        return dcgan.discriminator(
            image_size=self.image_size,
            blocks=self.discriminator_blocks,
            width=hyperparameters.width,
            dropout=hyperparameters.dropout,
            classes=classes,
        )


class ConditionalDcganFamily(DcganFamily):
    """The same networks, told the class of an image; a family has it as its first base, before the one it is of."""

    reference = (
        f"{DcganFamily.reference}; M. Mirza, S. Osindero: Conditional Generative Adversarial Nets. 2014. "
        "arXiv:1411.1784; T. Miyato, M. Koyama: cGANs with Projection Discriminator. ICLR 2018. arXiv:1802.05637"
    )
    takes_labels = True
