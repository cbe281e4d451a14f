"""The curve of a study: how good classifiers are, by how many synthetic images they have learnt from."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from matplotlib.typing import RcKeyType

from worker.study.scores import Interval, Scores

Measure = Literal["accuracy", "balanced_accuracy"]

INCHES = (7.1, 3.7)
"""The text width of most journals (180 mm), so that the letters keep their size in print."""
DOTS_PER_INCH = 300
LEVELS_AT = 1.05
"""Where the intervals of arms without synthetic images begin, in lengths of the axis from 0 to the largest amount."""
LEVEL_STEP = 0.045
PANELS: Mapping[Measure, str] = {
    "accuracy": "Accuracy on test (%)",
    "balanced_accuracy": "Balanced accuracy on test (%)",
}
AMOUNT = "Synthetic images per class"

_STYLE: Mapping[RcKeyType, Any] = {
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.wspace": 0.06,
    "font.size": 8,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "svg.hashsalt": "RaGAN",  # else the names in an SVG are random
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@dataclass(frozen=True)
class CurvePoint:
    """What an arm came to with so many synthetic images of each class; 0 for arms without any."""

    arm: str
    amount: int
    validation: Scores
    test: Scores


@dataclass(frozen=True)
class Chart:
    """One picture in two formats: the bytes of the files."""

    png: bytes
    svg: bytes


@dataclass(frozen=True)
class _Look:
    """How an arm is drawn: by colour, and in grey by marker and dashes."""

    label: str
    colour: str
    marker: str
    dashes: Any = "-"


LOOKS: Mapping[str, _Look] = {
    "real": _Look("real", "#000000", "D", (0, (1, 1.5))),
    "real_oversampled": _Look("real, oversampled", "#CC79A7", "v", (0, (5, 1.5, 1, 1.5))),
    "real_classical": _Look("real + classical", "#009E73", "P", (0, (5, 2))),
    "real_synthetic": _Look("real + synthetic", "#D55E00", "o"),
    "real_classical_synthetic": _Look("real + classical + synthetic", "#0072B2", "s"),
    "synthetic": _Look("synthetic alone", "#E69F00", "^"),
}
"""By arm. The colours are told apart by colour-blind people, too (Okabe & Ito 2008, "Color Universal Design")."""


def draw_curve(points: Sequence[CurvePoint], chosen: Mapping[str, Sequence[int]]) -> Chart:
    """Accuracy and balanced accuracy on test, in percent, against the number of synthetic images per class.

    An arm with several amounts is a line, its 95 % intervals a band around it. An arm without synthetic images is a
    level to compare these with, its interval a bar at the right end. The same points give the same bytes, with one
    version of matplotlib; no display is needed.

    Args:
        points: of the arms in LOOKS, in any order.
        chosen: by arm, the amount that each fold has chosen on validation; these are ringed.

    Raises:
        KeyError: an arm is not in LOOKS.
        ValueError: there is no point.
    """
    if not points:
        raise ValueError("without points there is no curve")
    arms = [arm for arm in LOOKS if any(point.arm == arm for point in points)]
    if unknown := {point.arm for point in points} - set(arms):
        raise KeyError(f"no look for {', '.join(sorted(unknown))}")
    by_arm = {arm: sorted((each for each in points if each.arm == arm), key=lambda each: each.amount) for arm in arms}
    with _style_of_our_own():
        figure = Figure(INCHES, dpi=DOTS_PER_INCH, layout="constrained")
        panels = figure.subplots(1, len(PANELS), sharex=True, sharey=True)
        for axes, (measure, label) in zip(panels, PANELS.items(), strict=True):
            _draw_panel(axes, measure, by_arm, chosen)
            axes.set(xlabel=AMOUNT, ylabel=label)
            axes.yaxis.set_tick_params(labelleft=True)
        _draw_legend(figure, arms)
        return Chart(
            png=_file(figure, "png", {"Software": None}), svg=_file(figure, "svg", {"Date": None, "Creator": None})
        )


@contextmanager
def _style_of_our_own() -> Iterator[None]:
    """Whatever the machine's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def _draw_panel(
    axes: Axes, measure: Measure, by_arm: Mapping[str, Sequence[CurvePoint]], chosen: Mapping[str, Sequence[int]]
) -> None:
    largest = max(point.amount for line in by_arm.values() for point in line) or 1
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    levels = 0
    for arm, line in by_arm.items():
        amounts = [point.amount for point in line]
        intervals = [_percent(getattr(point.test, measure)) for point in line]
        if amounts == [0]:
            _draw_level(axes, LOOKS[arm], intervals[0], (LEVELS_AT + LEVEL_STEP * levels) * largest)
            levels += 1
            continue
        _draw_line(axes, LOOKS[arm], amounts, intervals)
        for amount, interval in zip(amounts, intervals, strict=True):
            if amount in chosen.get(arm, ()):
                axes.plot(amount, interval.estimate, **_ring(LOOKS[arm].colour))
    axes.set_xlim(-0.03 * largest, (LEVELS_AT + LEVEL_STEP * max(levels - 0.4, 0)) * largest)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _draw_line(axes: Axes, look: _Look, amounts: Sequence[int], intervals: Sequence[Interval]) -> None:
    if len(amounts) == 1:  # a band would have no width
        _draw_bar(axes, look, amounts[0], intervals[0])
        return
    low, high = [each.low for each in intervals], [each.high for each in intervals]
    axes.fill_between(amounts, low, high, color=look.colour, alpha=0.15, linewidth=0)
    estimates = [each.estimate for each in intervals]
    axes.plot(amounts, estimates, color=look.colour, linestyle=look.dashes, marker=look.marker, zorder=3)


def _draw_level(axes: Axes, look: _Look, interval: Interval, at: float) -> None:
    axes.plot([0, at], [interval.estimate] * 2, color=look.colour, linestyle=look.dashes, linewidth=1)
    _draw_bar(axes, look, at, interval)


def _draw_bar(axes: Axes, look: _Look, at: float, interval: Interval) -> None:
    axes.plot([at, at], [interval.low, interval.high], color=look.colour, linewidth=1)
    axes.plot(at, interval.estimate, color=look.colour, marker=look.marker, zorder=3)


def _draw_legend(figure: Figure, arms: Sequence[str]) -> None:
    looks = [LOOKS[arm] for arm in arms]
    handles: list[Artist] = [
        *(Line2D([], [], c=look.colour, ls=look.dashes, marker=look.marker, label=look.label) for look in looks),
        Patch(color="0.8", label="95 % interval by patient (band, bar)"),
        Line2D([], [], linestyle="", label="amount chosen on validation", **_ring("0.3")),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, handlelength=3.5)


def _ring(colour: str) -> dict[str, Any]:
    return {
        "marker": "o",
        "markersize": 10,
        "markerfacecolor": "none",
        "markeredgecolor": colour,
        "markeredgewidth": 1,
        "zorder": 4,
    }


def _percent(share: Interval) -> Interval:
    return Interval(100 * share.estimate, 100 * share.low, 100 * share.high)


def _file(figure: Figure, kind: str, metadata: Mapping[str, None]) -> bytes:
    """`metadata` takes away what would be written of the time and of matplotlib's version."""
    file = io.BytesIO()
    figure.savefig(file, format=kind, metadata=metadata)
    return file.getvalue()
