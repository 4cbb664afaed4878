"""Where names stand in a crowded plot: near their points, on nothing else.

All is in points of the sheet, from the lower left corner. A label takes the first of its candidate
places that costs least: on no other label and on no marker, across few lines, near its own point.
Labels are placed in turn, and then each again, now that the others are known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

XY = tuple[float, float]
Floats: TypeAlias = "NDArray[np.float64]"
Truths: TypeAlias = "NDArray[np.bool_]"
ROUNDS = 8
"""How often every label is placed anew."""
DIRECTIONS = 16
DISTANCES = (5.0, 9.0, 14.0, 20.0, 28.0, 38.0, 50.0, 66.0)
LINE_FREE = 10.0
"""Up to this distance a label is seen to belong to its point; beyond, a line leads to it."""
_LIMIT = 20.0
"""An optional label that costs more is left out."""
_NOWHERE = (-1e6, -1e6)
_LABEL, _MARKER, _LINE, _OWN_LINE, _LEADER = 1000.0, 300.0, 70.0, 15.0, 40.0
"""What it costs to stand on another label, on a marker, across a line, across one's own line, or
to lead a line across a label, marker or line."""


@dataclass(frozen=True)
class Label:
    """A text, and the points that it may stand at."""

    width: float
    height: float
    anchors: tuple[XY, ...]
    """Its own points, the preferred one first."""
    is_optional: bool = False
    """Whether it is left out where there is no free place close by."""


@dataclass(frozen=True)
class Place:
    """Where a label stands: its lower left corner, and the point that it belongs to."""

    x: float
    y: float
    anchor: XY
    leader: XY | None
    """Where the line from the point ends, where one is needed."""


def place(
    labels: Sequence[Label],
    size: XY,
    markers: Sequence[XY],
    segments: Sequence[tuple[int, XY, XY]],
    *,
    radius: float = 3.5,
) -> list[Place | None]:
    """Find a place for every label; None for an optional one that has none.

    Args:
        labels: the important ones first.
        size: width and height of the plot, outside of which no label stands.
        markers: centres of all markers.
        segments: lines to keep clear of, each with the number of the label whose own it is, or -1.
        radius: of a marker.
    """
    marks = np.array(markers or [_NOWHERE])
    owners = np.array([owner for owner, _, _ in segments] or [-1])
    starts = np.array([start for _, start, _ in segments] or [_NOWHERE])
    ends = np.array([end for _, _, end in segments] or [_NOWHERE])
    around = np.concatenate([marks - radius, marks + radius], axis=1)
    places, boxes, prices = [], [], []
    for index, label in enumerate(labels):
        candidates = _candidates(label, size)
        corners = np.array([(at.x, at.y) for at, _ in candidates]).reshape(-1, 2)
        box = np.concatenate([corners, corners + np.array([label.width, label.height])], axis=1)
        across = np.where(owners == index, _OWN_LINE, _LINE)
        price = np.array([price for _, price in candidates])
        price += _MARKER * _overlap(box, around).sum(axis=1)
        price += (_crossed(box, starts, ends) * across).sum(axis=1)
        places.append([at for at, _ in candidates])
        boxes.append(box)
        prices.append(price)
    found: list[Place | None] = [None] * len(labels)
    taken = np.full((len(labels), 4), _NOWHERE[0])
    leaders = np.full((len(labels), 4), _NOWHERE[0])
    for _ in range(ROUNDS):
        before = taken.copy()
        for index, label in enumerate(labels):
            taken[index] = leaders[index] = _NOWHERE[0]  # of itself it is free
            total = prices[index] + _LABEL * _overlap(boxes[index], taken).sum(axis=1)
            total += _LINE * _crossed(boxes[index], leaders[:, :2], leaders[:, 2:]).sum(axis=1)
            best, cost = -1, _LIMIT if label.is_optional else math.inf
            for number in np.argsort(total, kind="stable"):
                if total[number] >= cost:
                    break
                at, paid = places[index][number], float(total[number])
                if at.leader is not None:
                    lines = (
                        np.concatenate([starts, leaders[:, :2]]),
                        np.concatenate([ends, leaders[:, 2:]]),
                    )
                    paid += _LEADER * _on_the_way(at.anchor, at.leader, taken, marks, *lines)
                if paid < cost:
                    best, cost = int(number), paid
            if best < 0:
                found[index] = None
            else:
                found[index] = at = places[index][best]
                taken[index] = boxes[index][best]
                if at.leader is not None:
                    leaders[index] = (*at.anchor, *at.leader)
        if np.array_equal(before, taken):
            break
    return found


def _candidates(label: Label, size: XY) -> list[tuple[Place, float]]:
    """Places inside the plot around each anchor, with what they cost alone."""
    found = []
    distances = DISTANCES[:1] if label.is_optional else DISTANCES
    for rank, anchor in enumerate(label.anchors):
        for step in range(DIRECTIONS):
            angle = 2 * math.pi * step / DIRECTIONS
            across, up = math.cos(angle), math.sin(angle)
            for distance in distances:
                # the box touches the circle around the anchor in that direction
                x = anchor[0] + across * distance - label.width * (1 - across) / 2
                y = anchor[1] + up * distance - label.height * (1 - up) / 2
                if not (0 <= x <= size[0] - label.width and 0 <= y <= size[1] - label.height):
                    continue
                leader = None
                if distance > LINE_FREE:
                    leader = (
                        min(max(anchor[0], x), x + label.width),
                        min(max(anchor[1], y), y + label.height),
                    )
                price = distance + 3 * rank + (0 if across > 0.9 else 2) + 2 * (abs(up) < 0.9)
                found.append((Place(x, y, anchor, leader), price + (8 if leader else 0)))
    return found


def _overlap(boxes: Floats, others: Floats) -> Truths:
    """Which of the boxes (left, bottom, right, top) meet which others; shape (boxes, others)."""
    left, bottom, right, top = boxes.T[:, :, None]
    apart_across = (others[:, 0] > right) | (others[:, 2] < left)
    return np.asarray(~(apart_across | (others[:, 1] > top) | (others[:, 3] < bottom)))


def _crossed(boxes: Floats, starts: Floats, ends: Floats) -> Truths:
    """Which boxes which segments enter (Liang and Barsky's clipping); shape (boxes, segments)."""
    delta = ends - starts
    delta = np.where(delta == 0, 1e-12, delta)
    low, high = np.zeros((len(boxes), len(starts))), np.ones((len(boxes), len(starts)))
    for axis in (0, 1):
        first = (boxes[:, axis, None] - starts[:, axis]) / delta[:, axis]
        second = (boxes[:, axis + 2, None] - starts[:, axis]) / delta[:, axis]
        low = np.maximum(low, np.minimum(first, second))
        high = np.minimum(high, np.maximum(first, second))
    return low <= high


def _on_the_way(
    anchor: XY, to: XY, boxes: Floats, marks: Floats, starts: Floats, ends: Floats
) -> float:
    """How many labels, markers and lines (each half) a line from a point to its label meets."""
    start, end = np.array(anchor), np.array(to)
    length = max(math.dist(anchor, to), 1e-9)
    start = start + (end - start) * min(1.0, 4.0 / length)  # out of its own marker and lines
    along = end - start
    labels = _crossed(boxes, start[None], end[None]).sum()
    share = np.clip(((marks - start) @ along) / max(float(along @ along), 1e-9), 0, 1)
    off = marks - start - share[:, None] * along
    near = (np.hypot(off[:, 0], off[:, 1]) < 3.0).sum()
    return float(labels + near + 0.5 * _meet(start, end, starts, ends).sum())


def _meet(start: Floats, end: Floats, starts: Floats, ends: Floats) -> Truths:
    """Which segments cross the one from `start` to `end`."""
    apart = _side(start, end, starts) * _side(start, end, ends) < 0
    return np.asarray(apart & (_side(starts, ends, start) * _side(starts, ends, end) < 0))


def _side(a: Floats, b: Floats, c: Floats) -> Floats:
    """Positive where c lies to the left of the line from a to b."""
    first, second = b - a, c - a
    return np.asarray(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])
