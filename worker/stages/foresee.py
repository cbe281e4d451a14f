"""Says beforehand what a training would take: its networks are built and its step is traced, but no step is taken."""

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

from worker.adversarial import Batch, Networks
from worker.contract.fast_paths import FastPath
from worker.contract.requests import TrainingRequest
from worker.contract.results import MemoryForecast, TrainingForecast
from worker.contract.settings import Settings
from worker.dataset import Dataset
from worker.devices import device_names
from worker.differentiable_augmentation import NUMBERS
from worker.fast_paths import PLAIN, for_training
from worker.feasibility import check_metric_names, compared_on_the_way, devices_to_share
from worker.models import registry
from worker.models.base import CommonHyperparameters, Family
from worker.population import Population, population_of
from worker.precision import LOSS_SCALE, resolve
from worker.trainer import Plan, Trainer, variable_bytes

VIEWS = {"ExpandDims", "Identity", "IdentityN", "Reshape", "Squeeze", "StopGradient"}
"""Operations whose outputs are the memory of their inputs."""
HELD_ANYWAY = {"Const", "Placeholder", "ReadVariableOp"}
"""Operations whose output is a constant, a weight, or the batch."""
PRODUCTS = {"BatchMatMulV2", "Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput", "MatMul"}
"""Operations that need one of their operands in another order, and have a copy of it while they run."""


@dataclass(frozen=True)
class _Cost:
    """What one step takes of one device, of operations in the mean and of memory at most; and what it tells."""

    parameters: dict[str, int]
    flops: int
    memory: MemoryForecast
    metrics: tuple[str, ...]


def foresee(request: TrainingRequest, dataset: Dataset, settings: Settings) -> TrainingForecast:
    """What a training would take on the devices that this worker has.

    Operations are counted in the graph of one step: 2 for a multiplication with its addition, without those whose
    result nothing depends on, for TensorFlow leaves them out, too. Those of a penalty that not every step takes are
    shared out over the steps. In a family with a step of its own, what is within loops is not seen.

    Raises:
        InvalidRequest: the family is unknown here, or family, hyper-parameters, dataset, classes, batch size, devices
            and evaluations do not go together.
        DevicesUnavailable: this worker has fewer devices.
    """
    family = registry.family(request.model.family)
    hyperparameters = family.configure(request.model.preset, request.model.hyperparameters)
    names = device_names(settings.cpu_devices)
    devices = devices_to_share(request, dataset, family, names)
    population = population_of(request, dataset, family)
    if request.evaluate_every is not None:
        compared_on_the_way(request, dataset, population.classes)
    share = Plan(
        batch_size=request.batch_size // devices,
        seed=request.seed,
        precision=resolve(request.precision, names[0]),
        fast_paths=for_training(
            settings.fast_paths,
            names[0],
            devices=devices,
            data_bytes=population.bytes,
            varied=request.classical_augmentation is not None,
        ),
        classical_augmentation=request.classical_augmentation,
    )
    cost = _cost(family, hyperparameters, population, share)
    check_metric_names(request, family, cost.metrics)
    plain_cost = _cost(family, hyperparameters, population, replace(share, fast_paths=PLAIN))
    return TrainingForecast(
        steps=request.steps,
        images_seen=request.steps * request.batch_size * hyperparameters.d_steps,
        parameters=cost.parameters,
        flops_per_step=devices * cost.flops,
        flops_per_step_plain=devices * plain_cost.flops,
        memory_bytes=cost.memory,
        devices=devices,
        precision=share.precision,
        fast_paths=tuple(sorted(share.fast_paths)),
    )


@contextmanager
def _graphs_let_go() -> Iterator[None]:
    """Free the graphs that were made within, and the weights that they refer to.

    TensorFlow registers every custom gradient that it meets, such as that of a sum over devices, for the life of the
    process, and with it the graph that it is in. There is no public way to take it back.
    """
    kept = set(gradient_registry.list())
    try:
        yield
    finally:
        for name in set(gradient_registry.list()) - kept:
            del gradient_registry._registry[name]  # noqa: SLF001
        gc.collect()  # graphs and networks refer to themselves


@_graphs_let_go()
def _cost(family: Family[Any], hyperparameters: CommonHyperparameters, population: Population, plan: Plan) -> _Cost:
    networks, traced = _trace(family, hyperparameters, population, plan)
    first = traced(1)
    flops = _flops(first)
    if hyperparameters.r1_weight and hyperparameters.r1_every > 1:
        flops += (hyperparameters.r1_every - 1) * _flops(traced(2))
        flops //= hyperparameters.r1_every
    return _Cost(
        parameters={
            "generator": networks.generator.count_params(),
            "discriminator": networks.discriminator.count_params(),
        },
        flops=flops,
        memory=_memory(
            networks,
            first,
            averaged=hyperparameters.ema_decay > 0,
            data_bytes=population.bytes if FastPath.RESIDENT_DATA in plan.fast_paths else 0,
        ),
        metrics=tuple(first.structured_outputs),
    )


def _trace(
    family: Family[Any], hyperparameters: CommonHyperparameters, population: Population, plan: Plan
) -> tuple[Networks, Callable[[int], tf.Graph]]:
    """The networks of a training on one device, and what gives the graph of a step; none takes more than the first."""
    # A GPU keeps its memory for what it draws: in a graph, shapes are all there is of a batch.
    with tf.device("CPU:0"):
        # Nor is an average needed, which has the weights of the generator once more.
        unaveraged = hyperparameters.model_copy(update={"ema_decay": 0.0})
        unfilled = replace(plan, fast_paths=plan.fast_paths - {FastPath.RESIDENT_DATA})
        state = Trainer(family, unaveraged, tf.distribute.get_strategy(), population, unfilled).state()
    networks = Networks(
        generator=state.generator,
        discriminator=state.discriminator,
        generator_optimizer=state.generator_optimizer,
        discriminator_optimizer=state.discriminator_optimizer,
        loss_scale=LOSS_SCALE[plan.precision],
        fast_paths=plan.fast_paths,
        r1=getattr(state, "r1", None),
    )
    updates, size = hyperparameters.d_steps, family.image_size
    changes = tf.TensorSpec((updates + 1, plan.batch_size, 2, NUMBERS)) if hyperparameters.diff_augment else None
    classes = tf.TensorSpec((updates, plan.batch_size), tf.int32) if population.classes.names else None

    def traced(step: int) -> tf.Graph:
        def take(
            real: tf.Tensor, latents: tf.Tensor, augmentations: tf.Tensor | None, codes: tf.Tensor | None
        ) -> dict[str, tf.Tensor]:
            batch = Batch(real, latents, plan.batch_size, step, augmentations, codes)
            return family.step(networks, batch, hyperparameters)

        function = tf.function(take, autograph=False).get_concrete_function(
            tf.TensorSpec((updates, plan.batch_size, size, size, 1)),
            tf.TensorSpec((updates + 1, plan.batch_size, family.latent_size)),
            changes,
            classes,
        )
        return function.graph

    return networks, traced


def _flops(graph: tf.Graph) -> int:
    """Floating-point operations of one run."""
    options = tf.compat.v1.profiler.ProfileOptionBuilder
    silent = options(options.float_operation()).with_empty_output().build()
    profile = tf.compat.v1.profiler.profile(graph, options=silent)
    needed = {operation.name for operation in _needed(graph)}
    return sum(int(node.float_ops) for node in _nodes(profile) if node.name in needed)


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _needed(graph: tf.Graph) -> dict[tf.Operation, list[tf.Operation]]:
    """What the results and the changed variables depend on, each operation with those that it waits for."""
    waiting = [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    needed: dict[tf.Operation, list[tf.Operation]] = {}
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed[operation] = [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
            waiting += needed[operation]
    return needed


def _memory(networks: Networks, step: tf.Graph, *, averaged: bool, data_bytes: int) -> MemoryForecast:
    """An estimate: `activations` are what a step holds beside the gradients when it holds most."""
    both = (networks.generator, networks.discriminator)
    gradients = max(variable_bytes(network.trainable_weights) for network in both)
    parts = {
        "weights": sum(variable_bytes(network.weights) for network in both),
        "optimizers": variable_bytes(networks.generator_optimizer.variables)
        + variable_bytes(networks.discriminator_optimizer.variables),
        "gradients": gradients,
        "activations": max(0, _held_bytes(step) - gradients),
        "average": variable_bytes(networks.generator.weights) if averaged else 0,
        "data": data_bytes,
    }
    return MemoryForecast(total=sum(parts.values()), **parts)


def _size(value: Any) -> int:
    """Bytes; 0 where the shape is not known before a step."""
    return int((value.shape.num_elements() or 0) * value.dtype.size)


def _held_bytes(graph: tf.Graph) -> int:
    """The most that is held at once of what is computed, if each operation runs as soon as it can.

    That is how TensorFlow runs them: not in the order in which they were written, but first all that depend on the
    weights alone, and when the gradients are there, the changes of all weights side by side.
    """
    operations = list(TopologicalSorter(_needed(graph)).static_order())
    last_readers = {_memory_of(tensor).ref(): reader for reader in operations for tensor in reader.inputs}
    let_go: Counter[tf.Operation] = Counter()
    held = most = 0
    for operation in operations:
        if operation.type not in HELD_ANYWAY | VIEWS:
            for output in operation.outputs:
                if output.ref() in last_readers:
                    held += _size(output)
                    let_go[last_readers[output.ref()]] += _size(output)
        copied = max(map(_size, operation.inputs)) if operation.type in PRODUCTS else 0
        most = max(most, held + copied)
        held -= let_go[operation]
    return most


def _memory_of(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor whose memory this one is."""
    while tensor.op.type in VIEWS:
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor
