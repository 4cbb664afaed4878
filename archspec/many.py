"""The cost of very many variants of one spec, in one call and exactly.

    space = load("smlpnet_space")
    rng = np.random.default_rng(0)
    depths = [rng.integers(1, 33, 1_000_000) for _ in range(4)]
    found = costs(space, {"dim": 8 * rng.integers(6, 21, 1_000_000), "depths": depths, …})
    found.flops[found.flops <= 5_000_000_000]

The rules are those of the ops and no others: the spec is expanded and counted once, with
`archspec.columns.Column` standing where one network has an int.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from archspec.columns import IntArray, Table
from archspec.counting import count
from archspec.errors import Mark, SpecError
from archspec.expansion import expand
from archspec.spec import Spec, as_spec

CHUNK = 1 << 20
"""Networks that are counted together, to bound the memory that intermediate figures take."""


@dataclass(frozen=True)
class Costs:
    """One figure per network in each array (int64, exact), as in `archspec.counting.CostTable`."""

    params: IntArray
    flops: IntArray
    macs: IntArray
    activations: IntArray

    def __len__(self) -> int:
        return len(self.params)


FIGURES = ("params", "flops", "macs", "activations")


def costs(spec: Spec | str | Path, values: Mapping[str, Any]) -> Costs:
    """The costs of many networks.

    Args:
        spec: with or without holes.
        values: by a variable's name or a dotted path, as `Spec.with_values` takes them. Wherever
            a whole number may stand, `input` and `classes` apart, so may a one-dimensional integer
            array with one value per network (`{"depths": [2, 2, array, 2]}` too). All arrays are
            of one length; what is not an array holds for all networks.

    Raises:
        SpecError: with the first network that is refused and why, or for arrays that are not
            usable, conditions that differ between networks, and figures beyond 64 bits. A layer
            is checked even in networks that repeat it 0 times.
    """
    spec = as_spec(spec)
    rows = _rows(values)
    if rows:
        spec.with_values(_single(values, 0), origin="values")  # unknown names, before all else
    results = {name: np.empty(rows, np.int64) for name in FIGURES}
    for start in range(0, rows, CHUNK):
        stop = min(start + CHUNK, rows)
        try:
            figures = _count(spec, values, start, stop)
        except SpecError as error:
            raise _blamed(spec, values, start, stop, error) from None
        for name, figure in zip(FIGURES, figures, strict=True):
            results[name][start:stop] = figure
    return Costs(**results)


def _count(spec: Spec, values: Mapping[str, Any], start: int, stop: int) -> list[IntArray]:
    """The figures of the networks from `start` to `stop`."""
    table = Table(stop - start)

    def column(array: IntArray) -> Any:
        return table.add(array[start:stop].astype(np.int64, copy=False))

    filled = {name: _map_arrays(value, column) for name, value in values.items()}
    costed = count(expand(spec.with_values(filled, origin="values")))
    return table.values(*(getattr(costed, name) for name in FIGURES))


def _blamed(
    spec: Spec, values: Mapping[str, Any], start: int, stop: int, error: SpecError
) -> SpecError:
    """`error` as the first network that is refused on its own would have it."""
    low, high = start, stop  # the networks from `start` to `low` are fine, those to `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _count(spec, values, start, middle)
            low = middle
        except SpecError:
            high = middle
    alone = _single(values, low)
    try:
        _count(spec, alone, 0, 1)
    except SpecError as refused:
        settings = ", ".join(f"{name}={value}" for name, value in alone.items())
        return SpecError(
            f"network {low} ({settings}): {refused.message}", mark=refused.mark, hint=refused.hint
        )
    return error  # nothing is wrong with any one of them, but they cannot be counted together


def _single(values: Mapping[str, Any], row: int) -> dict[str, Any]:
    """The values of one network."""
    return {name: _map_arrays(value, lambda a: int(a[row])) for name, value in values.items()}


def _map_arrays(value: Any, function: Any) -> Any:
    """`value` with every array in it replaced by what `function` makes of it."""
    if isinstance(value, np.ndarray) and value.ndim:
        return function(value)
    if isinstance(value, list | tuple):
        return [_map_arrays(item, function) for item in value]
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


def _rows(values: Mapping[str, Any]) -> int:
    """How many networks there are: the length that all arrays share, 1 where there are none."""
    lengths: dict[int, str] = {}
    for name, value in values.items():

        def note(array: np.ndarray[Any, Any], name: str = name) -> None:
            mark = Mark(f"values {name}")
            if array.ndim != 1 or array.dtype.kind not in "iu":
                raise SpecError(
                    "expected a one-dimensional array of integers, found "
                    f"{array.ndim} dimensions of {array.dtype}",
                    mark=mark,
                )
            if array.dtype.kind == "u" and array.size and int(array.max()) >= 1 << 63:
                raise SpecError(f"{array.max():,} does not fit into 64 bits", mark=mark)
            lengths.setdefault(len(array), name)

        _map_arrays(value, note)
    if len(lengths) > 1:
        listed = ", ".join(f"{name} has {length:,}" for length, name in lengths.items())
        raise SpecError(f"the arrays differ in length: {listed}")
    return next(iter(lengths), 1)
