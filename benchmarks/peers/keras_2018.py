"""The training loop of the 2018 chest X-ray DCGAN, written anew for Keras 3: `predict`, then `train_on_batch` twice.

As in that script, the discriminator's weights are trained while the generator's are, too.
"""

import keras
import numpy as np
from keras import layers
from peers.serving import Task, one_by_one, read_arguments, serve


def generator(task: Task) -> keras.Model:
    side, channels = task.start
    network = [
        keras.Input((task.latent_size,)),
        layers.Dense(side * side * channels),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.Reshape((side, side, channels)),
    ]
    for filters, enlargement in task.generator_blocks:
        network += [layers.UpSampling2D()] * (enlargement == 2)
        network += [
            layers.Conv2DTranspose(filters, 5, padding="same"),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
        ]
    return keras.Sequential([*network, layers.Conv2DTranspose(1, 5, padding="same"), layers.Activation("sigmoid")])


def discriminator(task: Task) -> keras.Model:
    network = [keras.Input((task.image_size, task.image_size, 1))]
    for filters, stride in task.discriminator_blocks:
        network += [layers.Conv2D(filters, 5, strides=stride, padding="same"), layers.LeakyReLU(negative_slope=0.2)]
    return keras.Sequential([*network, layers.Flatten(), layers.Dense(1), layers.Activation("sigmoid")])


def main() -> None:
    task, _ = read_arguments(("plain",))
    keras.utils.set_random_seed(0)
    g, d = generator(task), discriminator(task)
    adversarial = keras.Sequential([g, d])
    for model, rate in ((d, task.learning_rate_d), (adversarial, task.learning_rate_g)):
        model.compile(
            loss="binary_crossentropy",
            optimizer=keras.optimizers.RMSprop(rate),
            metrics=["accuracy"],
            jit_compile=False,
        )
    images = np.random.default_rng(0).integers(0, 256, (1024, task.image_size, task.image_size, 1), np.uint8) / 255
    images = images.astype(np.float32)
    draws = np.random.default_rng(1)
    batch = task.batch_size
    targets = np.concatenate([np.ones((batch, 1)), np.zeros((batch, 1))])

    def latents() -> np.ndarray:
        return draws.uniform(-1, 1, (batch, task.latent_size)).astype(np.float32)

    def step() -> None:
        real = images[draws.integers(len(images), size=batch)]
        fake = g.predict(latents(), batch_size=batch, verbose=0)
        d.train_on_batch(np.concatenate([real, fake]), targets)
        adversarial.train_on_batch(latents(), targets[:batch])

    parameters = sum(int(np.prod(weight.shape)) for weight in [*g.trainable_weights, *d.trainable_weights])
    serve(one_by_one(step), parameters, f"Keras {keras.__version__}, float32")


if __name__ == "__main__":
    main()
