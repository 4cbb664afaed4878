"""Which images are trained on and which are held out: by class, and by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archspec.errors import brief
from archspec.search.data.errors import DataError

Rows = NDArray[np.intp]


def choose(
    labels_N: NDArray[np.int64],
    classes: Sequence[str],
    *,
    share: float | None,
    limit: int | None,
    seed: int,
    unreadable: frozenset[int] = frozenset(),
) -> tuple[Rows, Rows]:
    """The places of the training and of the held-out images, ascending.

    Every class keeps its share in both, and at least one image in each. Which images are held out
    does not depend on the limit, so scores under different limits can be compared.

    Args:
        share: of the images that are held out, above 0 and below 1; None where the data set has
            a validation split of its own: then nothing is held out here.
        limit: the most images to train on.
        unreadable: places of images that are known to be of no use.

    Raises:
        DataError: fewer than two classes, a class that cannot be split, or a limit below the
            number of classes.
    """
    order = np.random.default_rng(seed).permutation(len(labels_N))
    if unreadable:
        order = order[~np.isin(order, list(unreadable))]
    order = order[np.argsort(labels_N[order], kind="stable")]
    labels = labels_N[order]
    count_C = np.bincount(labels, minlength=len(classes))
    _check(count_C, classes, split=share is not None, lost=bool(unreadable))
    place = np.arange(len(order)) - (np.cumsum(count_C) - count_C)[labels]
    held_C = np.zeros_like(count_C)
    if share is not None:
        total = math.ceil(round(len(order) * share, 6))  # 0.07 × 100 is a little above 7
        held_C = apportion(total, count_C, count_C - 1)
    train_C = count_C - held_C
    if limit is not None and limit < train_C.sum():
        present = int((count_C > 0).sum())
        if limit < present:
            raise DataError(
                f"the limit on training images is {limit}, below the {present} classes",
                hint="every class needs at least one image to train on",
            )
        train_C = apportion(limit, train_C, train_C)
    is_held = place < held_C[labels]
    is_train = ~is_held & (place < (held_C + train_C)[labels])
    return np.sort(order[is_train]), np.sort(order[is_held])


def apportion(total: int, count_C: NDArray[np.int64], most_C: NDArray[np.int64]) -> Rows:
    """Whole numbers in proportion to `count_C` that add up to `total`, as far as they can.

    Each is at least 1 and at most `most_C`, or 0 where that is 0 or less.
    """
    most_C = np.maximum(most_C, 0)
    least_C = np.minimum(most_C, 1)
    quota_C = count_C * (total / count_C.sum())
    share_C: Rows = np.clip(np.floor(quota_C).astype(np.intp), least_C, most_C)
    while share_C.sum() < min(total, most_C.sum()):
        lack = np.where(share_C < most_C, quota_C - share_C, -np.inf)
        share_C[np.argmax(lack)] += 1
    while share_C.sum() > max(total, least_C.sum()):
        surplus = np.where(share_C > least_C, share_C - quota_C, -np.inf)
        share_C[np.argmax(surplus)] -= 1
    return share_C


def _check(count_C: NDArray[np.int64], classes: Sequence[str], *, split: bool, lost: bool) -> None:
    readable = "readable " if lost else ""
    present = np.flatnonzero(count_C).tolist()
    if len(present) == 1:
        only = classes[present[0]]
        raise DataError(
            f"all {count_C.sum():,} {readable}images are of one class, {brief(only)}",
            hint="training needs at least two classes",
        )
    single = [classes[label] for label in present if count_C[label] == 1]
    if split and single:
        more = f" (and {len(single) - 1} more)" if len(single) > 1 else ""
        raise DataError(
            f"the class {brief(single[0])} has one {readable}image only{more}: "
            "it cannot be both trained on and held out",
            hint="add images, remove the class, or give the data set a validation split",
        )
