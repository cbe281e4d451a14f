"""PyTorch on the same networks.

`example`: the step of the DCGAN example that comes with PyTorch, as people copy it. `best`: what can reasonably be made
of it: up-sampling and 5x5 convolution rewritten as a 3x3 one, real and generated images in one pass, one pass of the
generator for both updates, the discriminator frozen while the generator learns. `best-bf16`: that under autocast.
"""

import itertools

import numpy as np
import torch
from serving import Task, one_by_one, read_arguments, serve
from torch import nn
from torch.nn import functional

COVERS = torch.tensor(
    [
        [[1.0, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]],
        [[1.0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]],
    ]
)


class Doubling(nn.Conv2d):
    """Nearest-neighbour doubling and a 5x5 convolution, as a 3x3 convolution onto four times the channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small = torch.einsum("pak,qbl,oikl->opqiab", COVERS, COVERS, self.weight)
        small = small.reshape(4 * self.out_channels, self.in_channels, 3, 3)
        return functional.pixel_shuffle(functional.conv2d(x, small, padding=1), 2) + self.bias[:, None, None]


def generator(task: Task, rewritten: bool) -> nn.Module:
    side, channels = task.start
    features = side * side * channels
    layers: list[nn.Module] = [
        nn.Linear(task.latent_size, features),
        nn.BatchNorm1d(features, eps=1e-3),
        nn.ReLU(),
        nn.Unflatten(1, (channels, side, side)),
    ]
    for filters, enlargement in task.generator_blocks:
        if enlargement == 2 and rewritten:
            layers.append(Doubling(channels, filters, 5, padding=2))
        else:
            layers += [nn.Upsample(scale_factor=2)] * (enlargement == 2)
            layers.append(nn.Conv2d(channels, filters, 5, padding=2))
        layers += [nn.BatchNorm2d(filters, eps=1e-3), nn.ReLU()]
        channels = filters
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 5, padding=2), nn.Sigmoid())


def discriminator(task: Task) -> nn.Module:
    layers: list[nn.Module] = []
    channels, side = 1, task.image_size
    for filters, stride in task.discriminator_blocks:
        layers += [nn.Conv2d(channels, filters, 5, stride, padding=2), nn.LeakyReLU(0.2)]
        channels, side = filters, -(-side // stride)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(side * side * channels, 1))


class Pair:
    """The two networks, and what both kinds of step need."""

    def __init__(self, task: Task, rewritten: bool, precision: torch.dtype) -> None:
        torch.manual_seed(0)
        self.batch, self.latent = task.batch_size, task.latent_size
        self.g = generator(task, rewritten).to(memory_format=torch.channels_last)
        self.d = discriminator(task).to(memory_format=torch.channels_last)
        self.g_optimizer = torch.optim.RMSprop(self.g.parameters(), task.learning_rate_g, alpha=0.9)
        self.d_optimizer = torch.optim.RMSprop(self.d.parameters(), task.learning_rate_d, alpha=0.9)
        self.images = np.random.default_rng(0).integers(0, 256, (1024, task.image_size, task.image_size), np.uint8)
        self.draws = np.random.default_rng(1)
        self.precision = precision

    def real(self) -> torch.Tensor:
        chosen = self.images[self.draws.integers(len(self.images), size=self.batch)]
        return torch.from_numpy(chosen)[:, None].float() / 255

    def latents(self) -> torch.Tensor:
        return torch.rand(self.batch, self.latent) * 2 - 1

    def example(self) -> None:
        """https://github.com/pytorch/examples/blob/main/dcgan/main.py, its loop."""
        criterion = functional.binary_cross_entropy_with_logits
        ones, zeros = torch.ones(self.batch, 1), torch.zeros(self.batch, 1)
        self.d.zero_grad()
        criterion(self.d(self.real()), ones).backward()
        fake = self.g(self.latents())
        criterion(self.d(fake.detach()), zeros).backward()
        self.d_optimizer.step()
        self.g.zero_grad()
        criterion(self.d(fake), ones).backward()
        self.g_optimizer.step()

    def best(self) -> None:
        criterion = functional.binary_cross_entropy_with_logits
        targets = torch.cat([torch.ones(self.batch, 1), torch.zeros(self.batch, 1)])
        with torch.autocast("cpu", self.precision, enabled=self.precision is not torch.float32):
            fake = self.g(self.latents())
            logits = self.d(torch.cat([self.real().to(fake.dtype), fake.detach()]))
        self.d.zero_grad()
        criterion(logits.float(), targets).backward()
        self.d_optimizer.step()
        self.d.requires_grad_(False)
        with torch.autocast("cpu", self.precision, enabled=self.precision is not torch.float32):
            logits = self.d(fake)
        self.g.zero_grad()
        criterion(logits.float(), targets[: self.batch]).backward()
        self.g_optimizer.step()
        self.d.requires_grad_(True)


def main() -> None:
    task, variant = read_arguments(("example", "best", "best-bf16"))
    torch.set_num_threads(task.threads)
    precision = torch.bfloat16 if variant == "best-bf16" else torch.float32
    pair = Pair(task, rewritten=variant != "example", precision=precision)
    parameters = sum(weight.numel() for weight in itertools.chain(pair.g.parameters(), pair.d.parameters()))
    step = pair.example if variant == "example" else pair.best
    serve(
        one_by_one(step),
        parameters,
        f"PyTorch {torch.__version__}, channels last, {str(precision).removeprefix('torch.')}",
    )


if __name__ == "__main__":
    main()
