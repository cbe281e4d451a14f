"""Says beforehand what a training would take: its networks are built and its step is traced, but no step is taken."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import tensorflow as tf

from worker.adversarial import Batch, Networks
from worker.contract.fast_paths import FastPath
from worker.contract.requests import TrainingRequest
from worker.contract.results import MemoryForecast, TrainingForecast
from worker.contract.settings import Settings
from worker.dataset import Dataset
from worker.devices import device_names
from worker.fast_paths import PLAIN, for_training
from worker.models import registry
from worker.models.base import CommonHyperparameters, Family
from worker.precision import LOSS_SCALE, resolve
from worker.trainer import Plan, Population, Trainer

BACKWARD = "gradient_tape/"
"""How TensorFlow begins the name of every operation of a backward pass, if the forward one has a scope."""
VIEWS = {"ExpandDims", "Identity", "Reshape", "Squeeze", "StopGradient"}
"""Operations whose output is the memory of their input."""
HELD_ANYWAY = {"Const", "Placeholder", "ReadVariableOp", "Unpack"}
"""Operations whose output is a constant, a weight, or the batch."""
SHAPE_READERS = {"Shape", "ShapeN", "Size"}
"""Operations that are worked out before a step, from shapes alone."""


def foresee(request: TrainingRequest, dataset: Dataset, settings: Settings) -> TrainingForecast:
    """What a training would take on the devices that this worker has.

    Operations are counted in the graph of one step: 2 for a multiplication with its addition, without those whose
    result nothing depends on, for TensorFlow leaves them out, too. In a family with a step of its own, what is within
    loops is not seen.

    Raises:
        InvalidRequest: the family is unknown here, or does not take the hyper-parameters.
    """
    family = registry.family(request.model.family)
    hyperparameters = family.configure(request.model.preset, request.model.hyperparameters)
    names = device_names(settings.cpu_devices)
    devices = len(names) if request.devices == "all" else request.devices
    population = Population(dataset.images, dataset.indices("train"))
    share = Plan(
        batch_size=-(-request.batch_size // devices),
        seed=request.seed,
        precision=resolve(request.precision, names[0]),
        fast_paths=for_training(settings.fast_paths, names[0], devices=devices, data_bytes=population.bytes),
    )
    state, step = _trace(family, hyperparameters, population, share)
    _, plain_step = _trace(family, hyperparameters, population, replace(share, fast_paths=PLAIN))
    return TrainingForecast(
        steps=request.steps,
        images_seen=request.steps * request.batch_size * hyperparameters.d_steps,
        parameters={"generator": state.generator.count_params(), "discriminator": state.discriminator.count_params()},
        flops_per_step=devices * _flops(step),
        flops_per_step_plain=devices * _flops(plain_step),
        memory_bytes=_memory(state, step, population.bytes if FastPath.RESIDENT_DATA in share.fast_paths else 0),
        devices=devices,
        precision=share.precision,
        fast_paths=tuple(sorted(share.fast_paths)),
    )


def _trace(
    family: Family[Any], hyperparameters: CommonHyperparameters, population: Population, plan: Plan
) -> tuple[tf.train.Checkpoint, tf.Graph]:
    """The state of a trainer on one device, and the graph of its step."""
    # A GPU keeps its memory for what it draws: in a graph, shapes are all there is of a batch.
    with tf.device("CPU:0"):
        unfilled = replace(plan, fast_paths=plan.fast_paths - {FastPath.RESIDENT_DATA})
        state = Trainer(family, hyperparameters, tf.distribute.get_strategy(), population, unfilled).state()
    networks = Networks(
        generator=state.generator,
        discriminator=state.discriminator,
        generator_optimizer=state.generator_optimizer,
        discriminator_optimizer=state.discriminator_optimizer,
        loss_scale=LOSS_SCALE[plan.precision],
        fast_paths=plan.fast_paths,
    )

    def step(real: tf.Tensor, latents: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.name_scope("step"):  # BACKWARD says why
            return family.step(networks, Batch(real, latents, plan.batch_size), hyperparameters)

    updates, size = hyperparameters.d_steps, family.image_size
    traced = tf.function(step, autograph=False).get_concrete_function(
        tf.TensorSpec((updates, plan.batch_size, size, size, 1)),
        tf.TensorSpec((updates + 1, plan.batch_size, family.latent_size)),
    )
    return state, traced.graph


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


def _needed(graph: tf.Graph) -> list[tf.Operation]:
    """What the results and the changed variables depend on, each operation after those whose results it takes."""
    waiting = [*(tensor.op for tensor in graph.outputs), *graph.control_outputs]
    needed: set[tf.Operation] = set()
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed.add(operation)
            waiting += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return [operation for operation in graph.get_operations() if operation in needed]


def _memory(state: tf.train.Checkpoint, step: tf.Graph, data_bytes: int) -> MemoryForecast:
    """An estimate: of temporary values only those that wait for a backward pass, and the gradients, are counted."""
    networks = (state.generator, state.discriminator)
    average = getattr(state, "average", None)
    parts = {
        "weights": sum(_bytes(network.weights) for network in networks),
        "optimizers": _bytes(state.generator_optimizer.variables) + _bytes(state.discriminator_optimizer.variables),
        "gradients": max(_bytes(network.trainable_weights) for network in networks),
        "activations": _kept_bytes(step),
        "average": _bytes(average.weights) if average else 0,
        "data": data_bytes,
    }
    return MemoryForecast(total=sum(parts.values()), **parts)


def _bytes(variables: list[Any]) -> int:
    return sum(_size(variable.value) for variable in variables)


def _size(value: Any) -> int:
    """Bytes; 0 where the shape is not known before a step."""
    return int((value.shape.num_elements() or 0) * value.dtype.size)


def _kept_bytes(graph: tf.Graph) -> int:
    """The most that is held at once of what forward passes compute and backward passes read later."""
    operations = _needed(graph)
    place = {operation: index for index, operation in enumerate(operations)}
    backward: set[tf.Operation] = set()
    last_reads: dict[Any, int] = {}
    for operation in operations:
        of_forward = [tensor for tensor in operation.inputs if tensor.op not in backward]
        if operation.name.startswith(BACKWARD):
            backward.add(operation)
            if operation.type not in SHAPE_READERS:
                last_reads |= {_memory_of(tensor).ref(): place[operation] for tensor in of_forward}
        elif len(of_forward) < len(operation.inputs):
            backward.add(operation)  # such as a sum of gradients, or the change of a weight
    changes = []
    for reference, last in last_reads.items():
        tensor = reference.deref()
        if tensor.op.type not in HELD_ANYWAY:
            changes += [(place[tensor.op], _size(tensor)), (last, -_size(tensor))]
    held = most = 0
    for _, change in sorted(changes):
        held += change
        most = max(most, held)
    return most


def _memory_of(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor whose memory this one is."""
    while tensor.op.type in VIEWS:
        tensor = tensor.op.inputs[0]
    return tensor
