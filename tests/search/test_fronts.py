"""Fronts of points, held against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from archspec.search.fronts import fronts


def peeled(points: NDArray[np.float64]) -> list[int]:
    """By the definition: take away what nothing beats, again and again."""
    places = [-1] * len(points)
    front = 0
    while -1 in places:
        left = [i for i, place in enumerate(places) if place < 0]
        for i in left:
            others = points[left]
            beats = (others <= points[i]).all(axis=1) & (others < points[i]).any(axis=1)
            if not beats.any():
                places[i] = front
        front += 1
    return places


def test_fronts_are_peeled_off() -> None:
    points = np.array([[0, 3], [1, 1], [3, 0], [1, 3], [2, 2], [4, 4], [1, 1]], float)
    assert fronts(points).tolist() == [0, 0, 0, 1, 1, 2, 0]
    assert fronts(np.array([[2.0], [1.0], [2.0]])).tolist() == [1, 0, 1]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("values", [3, 1000])
def test_they_are_those_of_the_definition(objectives: int, values: int) -> None:
    """Also where many points are equal, or equal in one objective."""
    random = np.random.default_rng(7)
    for count in (0, 1, 2, 60):
        points = random.integers(0, values, (count, objectives)).astype(float)
        points[: count // 10, 0] = 1e300  # an infinite loss, as samplers see it
        assert fronts(points).tolist() == peeled(points)
