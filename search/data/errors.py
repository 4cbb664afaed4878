"""How a data set refuses."""

from __future__ import annotations

from archspec.errors import ArchspecError


class DataError(ArchspecError):
    """A data set that cannot be found, read or trained on."""
