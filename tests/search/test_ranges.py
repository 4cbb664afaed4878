"""Counting and picking within stretches of a permutation, against doing so one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from archspec.search.ranges import RangeSelect


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int, int]]]:
    """A permutation, and stretches of it with a limit each, which may be above all values."""
    values = draw(st.permutations(range(draw(st.integers(1, 40)))))
    place = st.integers(0, len(values))
    asked = draw(st.lists(st.tuples(place, place, st.integers(0, 2 * len(values))), max_size=9))
    return values, [(min(a, b), max(a, b), limit) for a, b, limit in asked]


@given(questions())
def test_stretches_are_counted_and_sorted(
    drawn: tuple[list[int], list[tuple[int, int, int]]],
) -> None:
    values, asked = drawn
    found = RangeSelect(np.array(values))
    start, stop, limit = np.array(asked, np.int64).reshape(-1, 3).T
    below = [sum(v < m for v in values[a:b]) for a, b, m in asked]
    assert found.count_below(start, stop, limit).tolist() == below
    each = [(a, b, k) for a, b, _ in asked for k in range(b - a)]
    starts, stops, k = np.array(each, np.int64).reshape(-1, 3).T
    assert found.smallest(starts, stops, k).tolist() == [sorted(values[a:b])[k] for a, b, k in each]
