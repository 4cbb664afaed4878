"""What a rewrite is: a file of this folder with one class, found by scanning.

A rewrite takes a network and gives one that computes the same function (in exact arithmetic), with
the weights changed to suit. It never looks at what the ops are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from archspec.compile.network import Network


@dataclass(frozen=True)
class Fired:
    """One place where a rewrite found its pattern."""

    rewrite: str
    node: str
    """The node of the network *before* the rewrite that it is about."""
    place: str
    """Where that stands in the spec: `stage1.layers.0.cross.fuse`."""
    what: str
    """What was done, in a phrase: `batch_norm into conv`."""


class Rewrite:
    """One rule. Subclass it in a file of `compile/rewrites/` to add one."""

    name: ClassVar[str]
    """As `--rewrites` names it: `fold-batch-norm`."""
    about: ClassVar[str]
    """What it does, in a sentence."""
    precondition: ClassVar[str]
    """When it may fire, in a sentence."""
    rank: ClassVar[int] = 0
    """Rewrites run in the order of their ranks, until nothing fires any more."""

    @classmethod
    def apply(cls, network: Network) -> tuple[Network, Sequence[Fired]]:
        """The network after it, and where it fired; the same network if nowhere."""
        raise NotImplementedError
