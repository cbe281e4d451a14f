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
    "CPU": frozenset(_EVERYWHERE | {FastPath.TOOM_COOK}),
    # GPUs have this kind of convolution built in. Whether XLA wins was never measured on one, so it is off.
    "GPU": frozenset(_EVERYWHERE | {FastPath.RESIDENT_DATA}),
}
"""By kind of device."""
_active: ContextVar[FastPaths] = ContextVar("fast_paths", default=PLAIN)


def choose(wanted: FastPaths | None, device: str) -> FastPaths:
    """The fast paths to take on a device such as `CPU:0`: those that are wanted, else what is best there."""
    return DEFAULTS[device.partition(":")[0]] if wanted is None else wanted


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
