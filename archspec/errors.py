"""Every way in which archspec refuses, as data: where, what was wrong, what to do."""

from __future__ import annotations

import difflib
import re
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
        return visible(f"{place}{self.message}{hint}")

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


def visible(text: str) -> str:
    """Text without what a terminal would obey: control characters and changes of direction."""
    return OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Control characters but for the line feed and the tab, halves of characters, and what turns the
direction of the text after it, which then reads as something else."""


LISTED = 60
"""How many names a message lists at most."""
SHOWN = 80
"""How many characters of a value a message shows at most."""


def brief(value: object) -> str:
    """A value as a message shows it: its repr, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out whole numbers of thousands of digits
        return "a number of thousands of digits"
    return cut(text)


def cut(text: str) -> str:
    """A long text as a message shows it: its beginning, and how long it is."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """`did you mean 'linear'?`, where one of the known words is near."""
    known = sorted(known)
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.65)
    if not found:
        # PyTorch's spellings (Conv2d, LayerNorm) and cut ones (mul, cat)
        plain = word.removeprefix("nn.").lower()
        found = [name for name in known if len(plain) > 2 and name.startswith(plain)]
        found = found or difflib.get_close_matches(plain, known, n=1, cutoff=0.65)
    return f"did you mean {found[0]!r}?" if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known word that is near, or a list of what is known when none is."""
    known = sorted(known)
    if not known:
        return "none is known here"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return suggestion(word, known) or "known: " + ", ".join(known[:LISTED]) + more
