import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from worker.contract.resources import Kind
from worker.snapshots import publish_snapshot, withdraw_snapshots_after
from worker.sources.pixels import SEPARATOR


def test_a_snapshot_is_four_by_four_in_one_fixed_grey_window(job_context: Callable[..., Any]) -> None:
    context = job_context(Kind.TRAINING.new_id())
    # Each tile is flat, and darker than the whole range: a stretch, of a tile or of the grid, would change its grey.
    greys = np.linspace(0.1, 0.4, 16, dtype=np.float32)
    publish_snapshot(np.tile(greys[:, None, None], (1, 5, 5)), 30, context, {"Synthetic": "true"})

    file = context.store.folder(context.resource_id) / "snapshots" / "00000030.png"
    with Image.open(io.BytesIO(file.read_bytes())) as image:
        assert image.mode == "L"
        assert image.info["Synthetic"] == "true"
        grid = np.asarray(image)
    side = 4 * 5 + 3 * SEPARATOR
    assert grid.shape == (side, side)
    centres = grid[2 :: 5 + SEPARATOR, 2 :: 5 + SEPARATOR]
    np.testing.assert_array_equal(centres.ravel(), np.rint(greys * 255))
    assert context.reporter.events == [("snapshot", {"step": 30})]


def test_values_beyond_the_window_are_black_and_white(job_context: Callable[..., Any]) -> None:
    context = job_context(Kind.TRAINING.new_id())
    publish_snapshot(np.tile(np.array([[-1.0, 2.0]], np.float32), (16, 1, 1)), 0, context, {})
    with Image.open(context.store.folder(context.resource_id) / "snapshots" / "00000000.png") as image:
        assert np.asarray(image)[0, :2].tolist() == [0, 255]


def test_snapshots_of_steps_to_be_taken_again_go(job_context: Callable[..., Any]) -> None:
    context = job_context(Kind.TRAINING.new_id())
    withdraw_snapshots_after(0, context)
    for step in (0, 10, 20):
        publish_snapshot(np.zeros((16, 2, 2), np.float32), step, context, {})
    withdraw_snapshots_after(10, context)
    left = sorted(file.name for file in (context.store.folder(context.resource_id) / "snapshots").iterdir())
    assert left == ["00000000.png", "00000010.png"]
