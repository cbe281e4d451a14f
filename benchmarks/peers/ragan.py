"""RaGAN itself, served as its peers are: the same numbers of channels, batch and rates, by the product's own trainer.

`default`: as a worker trains. `plain`: without any fast path. `bfloat16`: by default, in that precision.
"""

import numpy as np
from serving import read_arguments, serve

from worker.contract.fast_paths import FastPath
from worker.devices import device_names, open_strategy
from worker.fast_paths import PLAIN, for_training
from worker.models.registry import families
from worker.precision import resolve
from worker.trainer import Plan, Population, Trainer


def main() -> None:
    task, variant = read_arguments(("default", "plain", "float32", "bfloat16", "xla"))
    (kind,) = [each for each in families().values() if each.image_size == task.image_size]
    device = device_names(task.devices)[0]
    paths = PLAIN if variant == "plain" else for_training(None, device)
    if variant == "xla":
        paths |= {FastPath.XLA}
    wanted = variant if variant in ("float32", "bfloat16") else "float32" if variant == "plain" else "auto"
    precision = resolve(wanted, device)
    images = np.random.default_rng(0).integers(0, 256, (1024, task.image_size, task.image_size), np.uint8)
    chosen = kind.configure(
        "default",
        {"learning_rate_d": task.learning_rate_d, "learning_rate_g": task.learning_rate_g, "width": task.width},
    )
    trainer = Trainer(
        kind,
        chosen,
        open_strategy("all", task.devices),
        Population(images, np.arange(len(images))),
        Plan(batch_size=task.batch_size, seed=0, precision=precision, fast_paths=paths),
    )
    networks = (kind.generator(chosen), kind.discriminator(chosen))
    parameters = sum(int(np.prod(weight.shape)) for network in networks for weight in network.trainable_weights)
    serve(trainer.advance, parameters, f"RaGAN, {precision}, {', '.join(sorted(paths)) or 'no fast paths'}")


if __name__ == "__main__":
    main()
