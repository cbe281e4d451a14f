"""Which of the faster ways to compute the same are taken: chosen here and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from worker.contract.fast_paths import FastPath

FastPaths = frozenset[FastPath]
PLAIN: FastPaths = frozenset()
_EVERYWHERE = {
    FastPath.SMALL_KERNELS,
    FastPath.MIRRORED_KERNELS,
    FastPath.ONE_GENERATOR_PASS,
    FastPath.FOLDED_BATCH_NORM,
}
DEFAULTS: dict[str, FastPaths] = {
    # Compiled, a step takes three times as long here.
    "CPU": frozenset(_EVERYWHERE | {FastPath.TOOM_COOK, FastPath.SINGLE_FILTER}),
    # GPUs have this kind of convolution built in. Whether XLA wins was never measured on one, so it is off.
    "GPU": frozenset(_EVERYWHERE | {FastPath.RESIDENT_DATA}),
}
"""By kind of device."""
RESIDENT_BYTES = 2**31
"""Of a dataset that is kept on a GPU: all of ChestX-ray14 at 128x128, and a fraction of what a GPU to train on has."""

_active: ContextVar[FastPaths] = ContextVar("fast_paths", default=PLAIN)


def choose(wanted: FastPaths | None, device: str, data_bytes: int = 0) -> FastPaths:
    """The fast paths to take: those that are wanted, else what is best on a device such as `CPU:0` for so much data."""
    if wanted is not None:
        return wanted
    best = DEFAULTS[device.partition(":")[0]]
    return best if data_bytes <= RESIDENT_BYTES else best - {FastPath.RESIDENT_DATA}


@contextmanager
def taking(paths: FastPaths) -> Iterator[None]:
    """Layers that are made within take these paths, for as long as they live."""
    token = _active.set(paths)
    try:
        yield
    finally:
        _active.reset(token)


def active() -> FastPaths:
    """The paths of the innermost `taking`; none outside of one."""
    return _active.get()
