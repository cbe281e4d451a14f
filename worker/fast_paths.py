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
    # Compiled, a step takes longer here.
    "CPU": frozenset(_EVERYWHERE | {FastPath.TOOM_COOK, FastPath.SINGLE_FILTER}),
    # GPUs have this kind of convolution built in. Whether XLA wins was never measured on one, so it is off.
    "GPU": frozenset(_EVERYWHERE | {FastPath.RESIDENT_DATA}),
}
"""By kind of device."""
_OF_DRAWING = {
    FastPath.SMALL_KERNELS,
    FastPath.MIRRORED_KERNELS,
    FastPath.TOOM_COOK,
    FastPath.SINGLE_FILTER,
    FastPath.FOLDED_BATCH_NORM,
}
RESIDENT_BYTES = 2**31
"""Of a dataset that is kept on a GPU: all of ChestX-ray14 at 128x128, and a fraction of what a GPU to train on has."""

_active: ContextVar[FastPaths] = ContextVar("fast_paths", default=PLAIN)


def for_training(
    wanted: FastPaths | None, device: str, *, devices: int = 1, data_bytes: int = 0, varied: bool = False
) -> FastPaths:
    """The fast paths to train by on some devices of the kind of `device`, such as `CPU:0`.

    Those that are wanted, else the best for so much data; without those that cannot be taken. `varied` data are not
    shown as they are, but in variants that are made on the host.
    """
    chosen = _choose(wanted, device) - {FastPath.FOLDED_BATCH_NORM}
    if varied or (wanted is None and data_bytes > RESIDENT_BYTES):
        chosen -= {FastPath.RESIDENT_DATA}
    # Compiled, devices cannot exchange what batch norm needs to know of the others.
    return chosen - {FastPath.XLA} if devices > 1 else chosen


def for_drawing(wanted: FastPaths | None, device: str) -> FastPaths:
    """The fast paths to draw images by: those that are wanted, else the best on a device such as `CPU:0`."""
    return _choose(wanted, device) & _OF_DRAWING


def _choose(wanted: FastPaths | None, device: str) -> FastPaths:
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
