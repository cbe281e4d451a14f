"""The DCGAN of the 2018 chest X-ray study at 64x64."""

from typing import TYPE_CHECKING, ClassVar

from worker.models.base import DEFAULT, REFERENCE, CommonHyperparameters, Family

if TYPE_CHECKING:
    import keras


class Hyperparameters(CommonHyperparameters):
    """Those that all families have."""


class Dcgan64(Family[Hyperparameters]):
    """From 8x8: three doublings."""

    name = "dcgan64"
    title = "DCGAN, 64x64"
    reference = (
        "A. Radford, L. Metz, S. Chintala: Unsupervised Representation Learning with Deep Convolutional Generative "
        "Adversarial Networks. ICLR 2016. arXiv:1511.06434"
    )
    image_size = 64
    hyperparameters = Hyperparameters
    presets: ClassVar = {DEFAULT: Hyperparameters(), REFERENCE: Hyperparameters(dropout=0.2, ema_decay=0)}

    def generator(self, hyperparameters: Hyperparameters) -> "keras.Model":
        from worker import dcgan

        return dcgan.generator(
            latent_size=self.latent_size,
            start=(8, 256),
            blocks=[(128, 2), (64, 2), (32, 2)],
            width=hyperparameters.width,
            dropout=hyperparameters.dropout,
        )

    def discriminator(self, hyperparameters: Hyperparameters) -> "keras.Model":
        from worker import dcgan

        return dcgan.discriminator(
            image_size=self.image_size,
            blocks=[(64, 2), (128, 2), (256, 2), (512, 1)],
            width=hyperparameters.width,
            dropout=hyperparameters.dropout,
        )
