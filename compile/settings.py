"""What is asked of a compilation, beside the network: precision, batch sizes, device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from archspec.compile.errors import CompileError
from archspec.errors import brief

Precision = Literal["fp32", "tf32", "bf16", "fp16", "int8", "fp8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LARGEST = 65_536
"""Images in a batch."""


@dataclass(frozen=True)
class Batch:
    """The batch sizes that an artefact takes: `min` to `max`, made to be fastest at `opt`."""

    min: int
    opt: int
    max: int

    @classmethod
    def parse(cls, text: str) -> Batch:
        """`8`, or `1:8:64` (min:opt:max).

        Raises:
            CompileError: it is neither.
        """
        parts = text.split(":")
        if len(parts) not in (1, 3) or not all(re.fullmatch("0*[1-9][0-9]{0,8}", p) for p in parts):
            raise CompileError(
                f"--batch takes a number of images or min:opt:max, found {brief(text)}",
                hint="such as --batch 8, or --batch 1:8:64",
            )
        sizes = [int(part) for part in parts]
        batch = cls(sizes[0], sizes[len(sizes) // 2], sizes[-1])
        if not batch.min <= batch.opt <= batch.max <= LARGEST:
            raise CompileError(
                f"--batch {text}: expected min ≤ opt ≤ max ≤ {LARGEST:,}",
                hint="such as --batch 1:8:64",
            )
        return batch

    @property
    def is_fixed(self) -> bool:
        return self.min == self.max

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that are looked at: smallest, best, largest."""
        return tuple(dict.fromkeys((self.min, self.opt, self.max)))

    def __str__(self) -> str:
        return str(self.opt) if self.is_fixed else f"{self.min}:{self.opt}:{self.max}"


def full_batches(count: int, size: int) -> list[list[int]]:
    """Which of `count` images stand in each batch of `size`; the first fill up the last one."""
    starts = range(0, count, size)
    return [[(start + place) % count for place in range(size)] for start in starts]


@dataclass(frozen=True)
class Settings:
    """How a network is compiled."""

    image: tuple[int, int, int]
    """Channels, height, width."""
    batch: Batch = Batch(1, 1, 1)
    precision: Precision = "fp32"
    device: str = "cpu"
    """`cpu`, `cuda`, `cuda:1`: as PyTorch calls it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The backend's own, each checked by it."""

    @property
    def device_kind(self) -> str:
        return self.device.partition(":")[0]


def as_precision(text: str) -> Precision:
    """A precision by its name.

    Raises:
        CompileError: there is none of that name.
    """
    if text not in PRECISIONS:
        raise CompileError(
            f"there is no precision {brief(text)}", hint=f"known: {', '.join(PRECISIONS)}"
        )
    return text
