"""PyTorch on the same networks.

`example`: the step of the DCGAN example that comes with PyTorch, as people copy it. `best`: what can reasonably be made
of it: up-sampling and 5x5 convolution rewritten as a 3x3 one, real and generated images in one pass, one pass of the
generator for both updates, the discriminator frozen while the generator learns; on a GPU, the images kept there, the
fastest kernels looked for, and TensorFloat-32 as TensorFlow takes it. `best-bf16`: that under autocast.
"""

import itertools

import numpy as np
import torch
from peers.serving import Task, one_by_one, read_arguments, serve
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
        covers = COVERS.to(self.weight.device)
        small = torch.einsum("pak,qbl,oikl->opqiab", covers, covers, self.weight)
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

    def __init__(self, task: Task, device: torch.device, precision: torch.dtype, *, rewritten: bool) -> None:
        torch.manual_seed(0)
        self.batch, self.latent = task.batch_size, task.latent_size
        self.device, self.precision = device, precision
        self.g = generator(task, rewritten).to(device, memory_format=torch.channels_last)
        self.d = discriminator(task).to(device, memory_format=torch.channels_last)
        self.g_optimizer = torch.optim.RMSprop(self.g.parameters(), task.learning_rate_g, alpha=0.9)
        self.d_optimizer = torch.optim.RMSprop(self.d.parameters(), task.learning_rate_d, alpha=0.9)
        images = np.random.default_rng(0).integers(0, 256, (1024, task.image_size, task.image_size), np.uint8)
        self.images = torch.from_numpy(images)[:, None]
        self.resident = self.images.to(device)
        self.real_targets = torch.ones(self.batch, 1, device=device)
        self.fake_targets = torch.zeros(self.batch, 1, device=device)

    def latents(self) -> torch.Tensor:
        return torch.rand(self.batch, self.latent, device=self.device) * 2 - 1

    def example(self) -> None:
        """https://github.com/pytorch/examples/blob/main/dcgan/main.py, its loop."""
        criterion = functional.binary_cross_entropy_with_logits
        real = self.images[torch.randint(len(self.images), (self.batch,))].to(self.device).float() / 255
        self.d.zero_grad()
        criterion(self.d(real), self.real_targets).backward()
        fake = self.g(self.latents())
        criterion(self.d(fake.detach()), self.fake_targets).backward()
        self.d_optimizer.step()
        self.g.zero_grad()
        criterion(self.d(fake), self.real_targets).backward()
        self.g_optimizer.step()

    def best(self) -> None:
        criterion = functional.binary_cross_entropy_with_logits
        real = self.resident[torch.randint(len(self.resident), (self.batch,), device=self.device)].float() / 255
        with self.autocast():
            fake = self.g(self.latents())
            logits = self.d(torch.cat([real.to(fake.dtype), fake.detach()]))
        self.d.zero_grad()
        criterion(logits.float(), torch.cat([self.real_targets, self.fake_targets])).backward()
        self.d_optimizer.step()
        self.d.requires_grad_(False)
        with self.autocast():
            logits = self.d(fake)
        self.g.zero_grad()
        criterion(logits.float(), self.real_targets).backward()
        self.g_optimizer.step()
        self.d.requires_grad_(True)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32)


def main() -> None:
    task, variant = read_arguments(("example", "best", "best-bf16"))
    torch.set_num_threads(task.threads)
    device = torch.device("cuda" if task.hardware == "GPU" else "cpu")
    precision = torch.bfloat16 if variant == "best-bf16" else torch.float32
    if variant != "example" and device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    pair = Pair(task, device, precision, rewritten=variant != "example")
    parameters = sum(weight.numel() for weight in itertools.chain(pair.g.parameters(), pair.d.parameters()))
    finish = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    serve(
        one_by_one(pair.example if variant == "example" else pair.best, finish),
        parameters,
        f"PyTorch {torch.__version__}, channels last, {str(precision).removeprefix('torch.')}, {device.type}",
    )


if __name__ == "__main__":
    main()
