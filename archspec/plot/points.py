"""What is drawn: points in series, each on the data set that its accuracy is of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from archspec.figures import Row

IMAGENET = "ImageNet-1k"
"""The data set of published accuracies: one panel's, to which no other accuracy is added."""


@dataclass(frozen=True)
class Point:
    """One network."""

    label: str
    """What is written beside it when there is room: its size, or its whole name."""
    params: int
    flops: int
    accuracy: float
    """Top-1, in percent."""


@dataclass(frozen=True)
class Series:
    """Networks that belong together."""

    name: str
    points: tuple[Point, ...]
    """From the cheapest on."""
    group: str = ""
    """What decides its colour: the folder of a family."""
    kind: Literal["family", "own", "run", "trials", "winner"] = "family"
    data: str = IMAGENET
    """The data set that the accuracies are of."""


def of_rows(rows: Iterable[Row]) -> list[Series]:
    """Published networks as families; what has no figures or no accuracy is left out."""
    families: dict[tuple[str, str], list[Point]] = {}
    for row in rows:
        params, flops, top1 = row["params"], row["flops"], row["top1"]
        if params is not None and flops is not None and top1 is not None:
            is_size = row["name"].startswith(row["family"])  # or a variant, such as an ablation
            family = row["family"] if is_size else row["name"]
            size = row["name"].removeprefix(family).strip("_") or row["name"]
            point = Point(size, params, flops, top1)
            families.setdefault((row["folder"], family), []).append(point)
    return [
        Series(family, tuple(sorted(points, key=lambda point: point.flops)), folder)
        for (folder, family), points in families.items()
    ]
