"""How near synthetic images come to training images among features, beside how near other real images come.

Features find copies that pixels do not, such as warped ones, and take for alike what only looks alike to them: this
stands beside `worker.metrics.memorisation` and does not decide.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it ships no types

from worker.metrics.features import Features, check_features
from worker.metrics.neighbours import nearest_distances


@dataclass(frozen=True)
class FeatureProximity:
    """Distances are Euclidean, in units of the features.

    `training_images`: how many were compared with. `synthetic`, `held_out`: the median distance of an image to its
    nearest training image. `nearer_than_held_out`, in [0, 1]: how probable it is that a synthetic image is nearer to
    its one than a held-out image; the statistic of Meehan et al. 2020, section 3. One half is expected; well above it,
    the generator leans on its training images; well below, its images are unlike real ones. `worst_pairs`: the
    distances within pairs of a synthetic and a training image that were found by other means, in their order.
    """

    training_images: int
    synthetic: float
    held_out: float
    nearer_than_held_out: float
    worst_pairs: tuple[float, ...]


def feature_proximity(
    synthetic: Features, training: Features, held_out: Features, worst_pairs: tuple[Features, Features]
) -> FeatureProximity:
    """Compare distances to the nearest training image; a few duplicates of these move no median.

    Args:
        synthetic: (M, D).
        training: (N, D), of training images or a sample of them.
        held_out: (H, D), of real images that the generator has not seen.
        worst_pairs: the synthetic and the training images of the pairs, (P, D) each.

    Raises:
        InvalidRequest: a set is empty.
        ValueError: the sets cannot be compared, see `check_features`.
    """
    check_features(training, synthetic, at_least=1)
    check_features(training, held_out, at_least=1)
    ours, theirs = nearest_distances(synthetic, training), nearest_distances(held_out, training)
    # The number of pairs in which the held-out image is further away; a tie counts as half.
    nearer = stats.mannwhitneyu(theirs, ours, method="asymptotic").statistic
    first, second = worst_pairs
    return FeatureProximity(
        training_images=len(training),
        synthetic=float(np.median(ours)),
        held_out=float(np.median(theirs)),
        nearer_than_held_out=float(nearer / (len(ours) * len(theirs))),
        worst_pairs=tuple(np.linalg.norm(first - second, axis=1).tolist()),
    )
