"""RaGAN itself, served as its peers are: the same numbers of channels, batch and rates, by the product's own trainer.

`default`: as a worker trains. `plain`: in float32, without any fast path. The others are a precision, with XLA or not.
"""

import math

from builders import build_trainer
from peers.serving import read_arguments, serve

from worker.contract.fast_paths import FastPath
from worker.devices import device_names
from worker.fast_paths import PLAIN, for_training
from worker.precision import resolve

VARIANTS = ("default", "plain", "float32", "float32-xla", "bfloat16", "bfloat16-xla")


def main() -> None:
    task, variant = read_arguments(VARIANTS)
    device = device_names(task.devices)[0]
    name, _, compiled = variant.partition("-")
    paths = PLAIN if variant == "plain" else for_training(None, device)
    trainer = build_trainer(
        task.family,
        task.batch_size,
        hyperparameters={"width": task.width},
        precision=resolve({"default": "auto", "plain": "float32"}.get(name, name), device),
        fast_paths=paths | {FastPath.XLA} if compiled else paths,
        devices=task.devices,
    )
    state = trainer.state()
    networks = (state.generator, state.discriminator)
    parameters = sum(math.prod(weight.shape) for network in networks for weight in network.trainable_weights)
    chosen = ", ".join(sorted(trainer.plan.fast_paths)) or "no fast paths"
    serve(trainer.advance, parameters, f"RaGAN, {trainer.plan.precision}, {chosen}")


if __name__ == "__main__":
    main()
