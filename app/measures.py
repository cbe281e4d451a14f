"""The numbers of an evaluation in words: what each is called, what it says, and where it is from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """A metric for people: `meanings` has, by field of its result, what the number is called and what it means."""

    title: str
    sentence: str
    source: str
    meanings: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Figure:
    """One number of a result; `floor` is what real images give among themselves, None if that is not known.

    `at_floor_images` is the number of as few images as the floor has: the one to compare with it.
    """

    name: str
    value: Any
    at_floor_images: Any
    floor: Any
    meaning: str


FLOOR = (
    "The floor is what a metric gives between two halves of the real images: no generator can be asked for better. Few "
    "images inflate most metrics, so compare it with the value of as few images, which stands before it."
)
AT_FLOOR_IMAGES = "of as few as the floor"
"""What the column of such values is called."""

MEASURES: Mapping[str, Measure] = {
    "frechet_distance": Measure(
        "Fréchet distance",
        "How far apart the two sets are, each taken as one normal distribution of features. Few images make it larger.",
        "Heusel et al. 2017",
        {"distance": ("Fréchet distance", "0 is best; of as few images near the floor: as good as real")},
    ),
    "kernel_distance": Measure(
        "Kernel distance",
        "How far apart the two sets are, whatever their distributions; few images do not make it larger.",
        "Bińkowski et al. 2018",
        {
            "mean": ("kernel distance", "0 is best; may fall a little below"),
            "standard_deviation": ("its spread between subsets", "how much the distance varies by chance"),
        },
    ),
    "precision_recall": Measure(
        "Precision and recall",
        "Precision is the share of synthetic images that lie where real ones do, recall that of real images that lie "
        "where synthetic ones do. Neither says anything without the other.",
        "Kynkäänniemi et al. 2019",
        {
            "precision": ("precision", "synthetic images that look real; 1 is best"),
            "recall": ("recall", "kinds of real image that are drawn; 1 is best"),
        },
    ),
    "density_coverage": Measure(
        "Density and coverage",
        "The same two questions, answered so that a few outliers do not decide. Density has no upper bound.",
        "Naeem et al. 2020",
        {
            "density": ("density", "how densely real images surround synthetic ones; 1 is usual"),
            "coverage": ("coverage", "real images with a synthetic one nearby; 1 is best"),
        },
    ),
    "sliced_wasserstein_distance": Measure(
        "Sliced Wasserstein distance",
        "How far apart small patches are, over all sizes of detail, whatever the brightness and contrast of a set.",
        "Karras et al. 2018",
        {"mean": ("sliced Wasserstein distance, x 1,000", "texture and detail; 0 is best")},
    ),
    "diversity": Measure(
        "Diversity",
        "How alike two images of one set look on average (MS-SSIM). Where synthetic images are more alike than real "
        "ones, the generator may draw only a few kinds. The floor has one half of the real images in each row.",
        "Odena et al. 2017",
        {
            "real": ("similarity of two real images", "what synthetic ones should have, too"),
            "synthetic": ("similarity of two synthetic images", "above the real one: less variety"),
        },
    ),
    "intensity_distance": Measure(
        "Grey levels",
        "How far apart the grey levels are, wherever in the images they stand: brightness and contrast.",
        "Endres and Schindelin 2003, of the Jensen-Shannon distance",
        {
            "wasserstein": ("grey levels to move, of 255", "brightness and contrast; 0 is best"),
            "jensen_shannon": ("Jensen-Shannon distance", "the same, level by level; 0 is best, 1 is worst"),
        },
    ),
    "spectral_distance": Measure(
        "Power spectrum",
        "How the power at each spatial frequency differs, in decibels. Up-sampling in a generator leaves traces here.",
        "Durall et al. 2020",
        {
            "log_spectral_distance": ("spectral distance, dB", "over all frequencies; 0 is best"),
            "high_frequency_excess": ("excess of high frequencies, dB", "below 0: blurred; above 0: noisy"),
            "peak_excess": ("highest excess, dB", "far above the line before: a pattern repeats"),
        },
    ),
}
"""By name in an evaluation's result. Others are shown by their own names."""

MEMORISATION = Measure(
    "Copies of training images",
    "A synthetic image counts as a copy if it is nearer to a training image than any held-out image is, both measured "
    "against held-out images. That no copies are found is no proof that there are none.",
    "after Meehan et al. 2020",
    {
        "images": ("synthetic images looked at", ""),
        "training_images": ("training images", "without duplicates"),
        "held_out_images": ("held-out images", "without duplicates"),
        "copies": ("copies", "synthetic images that are suspiciously near"),
        "share": ("their share", ""),
        "share_by_chance": ("share by chance", "what real images would have"),
        "p_value": ("p-value", "small: so many copies are hardly chance"),
        "nearer_to_training": (
            "nearer to training than to held-out",
            "0.5 is expected; far above: leans on them",
        ),
        "held_out_nearer_to_training": ("the same of held-out images", "to compare with"),
    },
)


def measure(name: str) -> Measure:
    """The words for a metric, its own name if there are none."""
    return MEASURES.get(name) or Measure(spoken(name), "", "", {})


def figures(name: str, measurement: Mapping[str, Any]) -> Iterator[Figure]:
    """The numbers of a metric that are worth telling, beside their floors; all numbers of one without words."""
    of_as_few, floor = measurement.get("value_at_floor_images") or {}, measurement["floor"] or {}
    yield from _figures(measure(name), measurement["value"], of_as_few, floor, prefix=name)


def memorisation_figures(found: Mapping[str, Any]) -> Iterator[Figure]:
    """The numbers of the search for copies, which have no floor."""
    yield from _figures(MEMORISATION, found, {}, {}, prefix="")


def spoken(name: str) -> str:
    """The name of a field as a person would write it."""
    return name.replace("_", " ")


def number(value: Any) -> str:
    """A number to be read: whole ones in full, others to four digits; `n/a` if there is none."""
    if value is None:
        return "n/a"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _figures(
    words: Measure, value: Mapping[str, Any], of_as_few: Mapping[str, Any], floor: Mapping[str, Any], prefix: str
) -> Iterator[Figure]:
    for field, (name, meaning) in words.meanings.items():
        if field in value:
            yield Figure(name, value[field], of_as_few.get(field), floor.get(field), meaning)
    if not words.meanings:
        for field, each in value.items():
            if isinstance(each, int | float):
                yield Figure(spoken(f"{prefix} {field}"), each, of_as_few.get(field), floor.get(field), "")
