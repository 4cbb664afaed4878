"""The rewrites, found by scanning their folder, and run in order until none fires any more."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from archspec.compile import rewrites
from archspec.compile.errors import CompileError
from archspec.compile.network import Network
from archspec.compile.rewrites.base import Fired, Rewrite
from archspec.compile.traffic import Traffic, traffic
from archspec.counting import count
from archspec.errors import brief, did_you_mean

MOST_ROUNDS = 100
"""Rounds over all rewrites; more means that two of them undo each other."""


@dataclass(frozen=True)
class Saving:
    """What one rewrite saved, all its firings together; negative where it cost."""

    times: int
    flops: int
    """Of one image, by archspec's counting rules."""
    traffic: Traffic
    """Bytes of a batch, op by op."""


@dataclass(frozen=True)
class Rewritten:
    """A network after its rewrites, and what they did."""

    network: Network
    fired: tuple[Fired, ...]
    """Each place where a rewrite fired, in the order in which they did."""
    before: Traffic
    after: Traffic
    flops_before: int
    """Of one image."""
    flops_after: int
    by_rewrite: Mapping[str, Saving]
    """The rewrites that were asked for, in the order in which they run; the savings add up."""


@dataclass(frozen=True)
class Firings:
    """One thing that a rewrite did, in all layers that are alike."""

    rewrite: str
    place: str
    """`stage*.layers.*.cross.fuse`: `*` stands for what differs."""
    what: str
    times: int


def find_all() -> dict[str, type[Rewrite]]:
    """Every rewrite by its name, in the order in which they run."""
    classes = []
    for info in pkgutil.iter_modules(rewrites.__path__):
        module = importlib.import_module(f"{rewrites.__name__}.{info.name}")
        classes += [
            value for _, value in inspect.getmembers(module, inspect.isclass)
            if issubclass(value, Rewrite) and value.__module__ == module.__name__
            and "name" in vars(value)
        ]  # fmt: skip
    return by_name(classes)


def by_name(classes: Iterable[type[Rewrite]]) -> dict[str, type[Rewrite]]:
    """Rewrites by their names, in the order of their ranks. A name taken twice is an error."""
    found: dict[str, type[Rewrite]] = {}
    for cls in sorted(classes, key=lambda cls: (cls.rank, cls.name)):
        if cls.name in found:
            raise RuntimeError(f"two rewrites are called {cls.name!r}: {found[cls.name]} and {cls}")
        found[cls.name] = cls
    return found


def rewrite(
    network: Network, names: Sequence[str], *, batch: int = 1, element_bytes: int = 4
) -> Rewritten:
    """The network after the named rewrites, which run by rank until none of them fires.

    Args:
        names: of rewrites, in any order.
        batch: images for which traffic is reported; it changes nothing else.
        element_bytes: bytes of one number, likewise.

    Raises:
        CompileError: there is no rewrite of that name.
    """
    check_names(names)
    known = find_all()
    return run(network, [cls for name, cls in known.items() if name in names],
               batch=batch, element_bytes=element_bytes)  # fmt: skip


def check_names(names: Iterable[str], *words: str) -> None:
    """Refuse names that no rewrite has.

    Args:
        words: what else could have been meant, for the hint.

    Raises:
        CompileError: at the first of them.
    """
    known = find_all()
    for name in names:
        if name not in known:
            raise CompileError(
                f"there is no rewrite {brief(name)}", hint=did_you_mean(name, [*known, *words])
            )


def run(
    network: Network, classes: Sequence[type[Rewrite]], *, batch: int = 1, element_bytes: int = 4
) -> Rewritten:
    """As `rewrite`, with the rewrites themselves, in this order."""

    def measured(network: Network) -> tuple[int, Traffic]:
        return int(count(network.graph).flops), traffic(network.graph, batch, element_bytes)

    start = now = measured(network)
    savings = {cls.name: Saving(0, 0, Traffic(0, 0, 0)) for cls in classes}
    fired: list[Fired] = []
    for _ in range(MOST_ROUNDS):
        done = len(fired)
        for cls in classes:
            network, found = cls.apply(network)
            if not found:
                continue
            fired += found
            then, now = now, measured(network)
            old = savings[cls.name]
            savings[cls.name] = Saving(
                old.times + len(found), old.flops + then[0] - now[0],
                old.traffic + (then[1] - now[1]),
            )  # fmt: skip
        if len(fired) == done:
            return Rewritten(network, tuple(fired), start[1], now[1], start[0], now[0], savings)
    names = ", ".join(cls.name for cls in classes)
    raise RuntimeError(f"the rewrites {names} do not come to an end")


def collapsed(fired: Iterable[Fired]) -> list[Firings]:
    """Where rewrites fired, layers that are alike in one line: `stage*.layers.*.cross.fuse`."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[list[str]]] = {}
    for one in fired:
        parts = one.place.split(".")
        # layers count by number, stages have it at the end of their name
        like = (re.sub(r"\d+$", "*", parts[0]), *(re.sub(r"^\d+$", "*", p) for p in parts[1:]))
        groups.setdefault((one.rewrite, one.what, like), []).append(parts)
    found = []
    for (name, what, like), places in groups.items():
        columns = zip(like, zip(*places, strict=True), strict=True)
        shown = [parts[0] if len(set(parts)) == 1 else star for star, parts in columns]
        found.append(Firings(name, ".".join(shown), what, len(places)))
    return found
