"""Counting and picking within ranges of a sequence, for very many questions at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class RangeSelect:
    """A permutation of 0 … n − 1, ready to be asked about the values in stretches of it.

    A wavelet matrix (Claude, Navarro, Ordóñez, https://doi.org/10.1016/j.is.2014.06.002): one
    stable partition by each bit, from the highest. A question takes log₂ n steps whatever the
    length of its stretch, and all questions take each step together.
    """

    def __init__(self, values: Ints) -> None:
        n = len(values)
        self._levels: list[tuple[int, Ints]] = []
        for bit in reversed(range(max(n - 1, 1).bit_length())):
            is_one = (values >> bit) & 1 == 1
            zeros = np.zeros(n + 1, np.int64)
            np.cumsum(~is_one, out=zeros[1:])
            self._levels.append((bit, zeros))
            values = np.concatenate([values[~is_one], values[is_one]])

    def count_below(self, start: Ints, stop: Ints, limit: Ints) -> Ints:
        """How many of the values at `start` … `stop` - 1 are below `limit`."""
        everything = stop - start
        highest = limit >> len(self._levels) > 0  # more bits than any value has
        found = np.zeros_like(everything)
        for bit, zeros in self._levels:
            low, high = zeros[start], zeros[stop]
            one = (limit >> bit) & 1 == 1
            found += np.where(one, high - low, 0)
            start = np.where(one, zeros[-1] + start - low, low)
            stop = np.where(one, zeros[-1] + stop - high, high)
        return np.where(highest, everything, found)

    def smallest(self, start: Ints, stop: Ints, k: Ints) -> Ints:
        """The k-th smallest (from 0) of the values at `start` … `stop` - 1."""
        found = np.zeros_like(start)
        for bit, zeros in self._levels:
            low, high = zeros[start], zeros[stop]
            one = k >= high - low
            k = np.where(one, k - (high - low), k)
            found |= np.where(one, 1 << bit, 0)
            start = np.where(one, zeros[-1] + start - low, low)
            stop = np.where(one, zeros[-1] + stop - high, high)
        return found
