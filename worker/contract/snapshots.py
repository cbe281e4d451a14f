"""How the picture grids of a training lie in the store: a PNG file for each step at which one was drawn."""

from pathlib import Path

SNAPSHOT_DIGITS = 8
SNAPSHOT_STEPS = 10**SNAPSHOT_DIGITS
"""Steps from here on have no name in the store; one of hundreds of digits would be none on any disk."""


def snapshot_name(step: int) -> str:
    """Where the snapshot at a step is, below a training's folder."""
    return f"snapshots/{step:0{SNAPSHOT_DIGITS}d}.png"


def snapshot_steps(training: Path) -> list[int]:
    """The steps of the snapshots in a training's folder, in their order."""
    return sorted(int(file.stem) for file in (training / "snapshots").glob("[0-9]*.png"))
