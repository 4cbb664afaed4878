"""A tensor's shape: named axes and their sizes, without the batch and without a memory layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from archspec.errors import ShapeError, did_you_mean
from archspec.sizes import equal, is_symbol, multiply, show

CHANNELS, HEIGHT, WIDTH, TOKENS = "channels", "height", "width", "tokens"
GRID = (HEIGHT, WIDTH)

# The letters that specs, formulas and drawings use for the usual axes.
LETTERS = {CHANNELS: "C", HEIGHT: "H", WIDTH: "W", TOKENS: "N"}


class Shape(Mapping[str, Any]):
    """Axis name → size, e.g. `Shape(channels=80, height=56, width=56)`.

    The order of the axes means nothing: two shapes with the same axes and sizes are the same.
    Sizes are ints, or arrays or symbols (see `archspec.sizes`).
    """

    __slots__ = ("_sizes",)

    def __init__(self, sizes: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        self._sizes: dict[str, Any] = {**(sizes or {}), **named}

    def __getitem__(self, axis: str) -> Any:
        return self._sizes[axis]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def size(self, axis: str) -> Any:
        """The size along an axis.

        Raises:
            ShapeError: there is no such axis.
        """
        if axis not in self._sizes:
            raise ShapeError(
                f"there is no axis {axis!r} in {self}", hint=did_you_mean(axis, self._sizes)
            )
        return self._sizes[axis]

    @property
    def channels(self) -> Any:
        return self.size(CHANNELS)

    @property
    def others(self) -> tuple[str, ...]:
        """All axes but channels, in an order that depends on their names alone.

        The grid, tokens, then the rest by name: equal shapes have the same order, however they
        were made, so that what one layer hands on is what the next expects.
        """
        usual = (*GRID, TOKENS)
        rest = sorted(axis for axis in self._sizes if axis not in (CHANNELS, *usual))
        return (*(axis for axis in usual if axis in self._sizes), *rest)

    @property
    def is_grid(self) -> bool:
        return set(self._sizes) == {CHANNELS, HEIGHT, WIDTH}

    def numel(self) -> Any:
        """Elements for one image."""
        total: Any = 1
        for size in self._sizes.values():
            total = multiply(total, size)
        return total

    def replace(self, /, **sizes: Any) -> Shape:
        return Shape({**self._sizes, **sizes})

    def without(self, *axes: str) -> Shape:
        return Shape({axis: size for axis, size in self._sizes.items() if axis not in axes})

    def same(self, other: Shape) -> bool:
        return set(self) == set(other) and all(equal(self[axis], other[axis]) for axis in self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shape) and self.same(other)

    def __hash__(self) -> int:
        return hash(frozenset(self._sizes))

    def __str__(self) -> str:
        """`80×56×56 (channels, height, width)` reads badly in prose, so: `C80 H56 W56`."""
        axes = [axis for axis in (CHANNELS, *self.others) if axis in self._sizes]
        parts = (
            _letter(axis, self[axis]) if axis in LETTERS else f"{axis} {show(self[axis])}"
            for axis in axes
        )
        return " ".join(parts) or "scalar"

    def __repr__(self) -> str:
        return f"Shape({', '.join(f'{axis}={show(size)}' for axis, size in self._sizes.items())})"

    def names(self) -> dict[str, Any]:
        """The implicit names of expressions: C, H, W, and N for the number of positions."""
        names = {LETTERS[axis]: size for axis, size in self._sizes.items() if axis in LETTERS}
        if TOKENS not in self._sizes and HEIGHT in self._sizes and WIDTH in self._sizes:
            names["N"] = multiply(self[HEIGHT], self[WIDTH])
        return names


def _letter(axis: str, size: Any) -> str:
    """`C80`; of symbols `C`, or `C=2*C`."""
    letter, text = LETTERS[axis], show(size)
    return text if text == letter else f"{letter}={text}" if is_symbol(size) else letter + text
