"""Draws how a rate follows what it may depend on, a panel for each curve; equal numbers make equal files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("docs/benchmarks")
"""Where the pictures are that the documentation shows."""
BLUE, GREY = "#1f4e79", "#8a8a8a"
PANEL_INCHES = (2.7, 2.5)


@dataclass(frozen=True)
class Curve:
    """Rates at some values of `label`."""

    label: str
    points: Sequence[tuple[float, float]]


def draw(curves: Sequence[Curve], rate: str, path: Path) -> None:
    """One panel beside the other, each with an axis of its own from zero on, and each point with its rate."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    width, height = PANEL_INCHES
    with mpl.rc_context({"svg.hashsalt": "ragan", "font.size": 8, "svg.fonttype": "none", "axes.edgecolor": GREY}):
        figure = Figure(figsize=(width * len(curves), height), layout="constrained")
        for axes, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
            places = range(len(curve.points))
            rates = [y for _, y in curve.points]
            axes.plot(places, rates, marker="o", markersize=4, color=BLUE)
            for place, y in zip(places, rates, strict=True):
                text = f"{y:,.0f}" if y >= 100 else f"{y:.3g}"
                axes.annotate(text, (place, y), (0, 6), textcoords="offset points", ha="center", color=BLUE)
            axes.set_xticks(places, [f"{x:,}" for x, _ in curve.points])
            axes.set_xlim(-0.5, len(curve.points) - 0.5)
            axes.set_ylim(0, 1.2 * max(rates))
            axes.set_xlabel(curve.label)
            axes.tick_params(color=GREY)
            axes.spines[["top", "right"]].set_visible(False)
        figure.axes[0].set_ylabel(rate)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
