"""How a search refuses."""

from __future__ import annotations

from archspec.errors import ArchspecError


class BudgetError(ArchspecError):
    """A budget that cannot be read, or that no network of the space meets."""


class SpaceError(ArchspecError):
    """A spec that is no space to search: nothing is left open, or no network can exist."""


class StudyError(ArchspecError):
    """A study that cannot be opened, or is another one's."""


class MissingError(ArchspecError):
    """An optional dependency that is not installed, said before any work; exit code 3."""

    exit_code = 3
