"""How compiling refuses."""

from __future__ import annotations

from archspec.errors import ArchspecError


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class CompileError(ArchspecError):
    """Something that cannot be compiled, or an artefact that cannot be used."""


class UnavailableError(CompileError):
    """A backend that cannot be used here, said before any work; exit code 3."""

    exit_code = 3


class UnfitError(CompileError):
    """An artefact that does not compute its network closely enough; exit code 1."""

    exit_code = 1
