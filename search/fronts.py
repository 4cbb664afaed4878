"""Fronts of points in several objectives: those that no other beats, then the next ones, …"""

from __future__ import annotations

import bisect

import numpy as np
from numpy.typing import NDArray


def fronts(losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """For each point, how many fronts of points that no other beats are peeled off before it.

    Points are taken by their first loss, then by their second, …: none is beaten by a later one,
    and each belongs to the first front that has nothing that beats it. (Zhang et al., "An Efficient
    Approach to Nondominated Sorting for Evolutionary Multiobjective Optimization", IEEE TEC 2015.)

    Args:
        losses: a row for each point, a column for each objective, lower is better; no NaN.
    """
    points, which = np.unique(losses, axis=0, return_inverse=True)  # equal ones do not beat another
    columns = losses.shape[1]
    if columns == 1:
        places = np.arange(len(points))
    elif columns == 2:
        places = _of_pairs(points)
    else:
        places = _of_points(points)
    return places[which.ravel()].astype(np.int64)


def _of_pairs(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """The fronts of different points, in order: a front's last point has its lowest second loss."""
    lowest: list[float] = []
    """Of each front; they rise from front to front."""
    places = np.empty(len(points), np.int64)
    for i, second in enumerate(points[:, 1].tolist()):
        place = bisect.bisect_right(lowest, second)
        lowest[place : place + 1] = [second]
        places[i] = place
    return places


def _of_points(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """The fronts of different points, in order. What a front beats, those before it beat too."""
    members: list[list[int]] = []
    places = np.empty(len(points), np.int64)
    for i, point in enumerate(points):
        places[i] = place = _first_not_beating(members, points, point)
        if place == len(members):
            members.append([])
        members[place].append(i)
    return places


def _first_not_beating(
    members: list[list[int]], points: NDArray[np.float64], point: NDArray[np.float64]
) -> int:
    def does_not(front: list[int]) -> bool:
        return not (points[front] <= point).all(axis=1).any()

    return bisect.bisect_left(members, True, key=does_not)
