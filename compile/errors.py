"""How compiling refuses."""

from __future__ import annotations

from archspec.errors import ArchspecError


class CompileError(ArchspecError):
    """Something that cannot be compiled, or an artefact that cannot be used."""


class UnavailableError(CompileError):
    """A backend that cannot be used here, said before any work; exit code 3."""

    exit_code = 3


class UnfitError(CompileError):
    """An artefact that does not compute its network closely enough; exit code 1."""

    exit_code = 1
