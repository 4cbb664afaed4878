"""Every way in which archspec refuses, as data: where, what was wrong, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file. Lines and columns count from 1, as editors show them."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class ArchspecError(Exception):
    """A refusal that the user can act on: one message, no traceback, exit code 2."""

    exit_code = 2

    def __init__(self, message: str, *, mark: Mark | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.mark = mark
        self.hint = hint

    def at(self, mark: Mark | None) -> ArchspecError:
        """The same refusal with its place filled in, unless an inner caller knew it better."""
        if self.mark is None:
            self.mark = mark
        return self

    def __str__(self) -> str:
        place = f"{self.mark}: " if self.mark is not None else ""
        hint = f"\n  {self.hint}" if self.hint else ""
        return f"{place}{self.message}{hint}"

    def __reduce__(self) -> tuple[object, ...]:
        # keyword-only arguments do not survive Exception's own pickling
        return (_rebuild, (type(self), self.message, self.mark, self.hint))


def _rebuild(
    kind: type[ArchspecError], message: str, mark: Mark | None, hint: str | None
) -> ArchspecError:
    return kind(message, mark=mark, hint=hint)


class SpecError(ArchspecError):
    """The spec is wrong, or asks for a network that cannot exist."""


class ShapeError(SpecError):
    """Tensors do not meet."""


class WeightsError(ArchspecError):
    """A checkpoint cannot be read, or is not this network's."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'linear'?`, or the whole (short) list when nothing is near."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    if not known:
        return "nothing may stand here"
    return "known: " + ", ".join(known)
