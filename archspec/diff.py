"""How two specs differ: in what they cost, stage by stage, and in what they say."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from archspec.counting import count
from archspec.expansion import expand
from archspec.report import facts
from archspec.spec import Spec
from archspec.written import complete, sections

FIGURES = ("params", "flops", "macs", "activation_bytes")
CONTEXT = 2
"""Unchanged lines around a change."""


@dataclass(frozen=True)
class Pair:
    """A value in the first spec and in the second; None where there is none."""

    first: Any
    second: Any

    @property
    def differs(self) -> bool:
        return bool(self.first != self.second)

    def to_dict(self) -> dict[str, Any]:
        """Both, and of numbers their difference and ratio: second less, and over, first."""
        found: dict[str, Any] = {"first": self.first, "second": self.second}
        if isinstance(self.first, int | float) and isinstance(self.second, int | float):
            found["difference"] = self.second - self.first
            found["ratio"] = self.second / self.first if self.first else None
        return found


@dataclass(frozen=True)
class StagePair:
    """A stage, or stem or head: what `archspec cost` says of it in either network."""

    name: str
    """`stage1`; `layer1 | stage1` where the two call it differently."""
    first: Mapping[str, Any] | None
    second: Mapping[str, Any] | None


@dataclass(frozen=True)
class PartChange:
    """A block, stage, stem or head that is not the same in both."""

    name: str
    """`blocks.cross`, `stages.stage1`, `stem`, `head`."""
    kind: Literal["changed", "added", "removed"]
    lines: tuple[str, ...]
    """A unified diff of its YAML, without heading; of what is added or removed, all lines."""


@dataclass(frozen=True)
class Difference:
    """All that `archspec diff` knows. `first` is what was, `second` what is instead."""

    first: str
    second: str
    figures: Mapping[str, Pair] = field(default_factory=dict)
    """`params`, `flops`, `macs`, `activation_bytes`, exact; empty if one is no single network."""
    stages: tuple[StagePair, ...] = ()
    header: Mapping[str, Pair] = field(default_factory=dict)
    """`input`, `classes` and published `top1`."""
    variables: Mapping[str, Pair] = field(default_factory=dict)
    """Variables that something reads, where they differ; None for one that a spec has not."""
    parts: tuple[PartChange, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether both are the same network: nothing that `archspec build` reads differs."""
        shape = any(self.header[key].differs for key in ("input", "classes"))
        return not (shape or self.variables or self.parts)

    def to_dict(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "second": self.second,
            "same": self.is_same,
            "figures": {key: pair.to_dict() for key, pair in self.figures.items()},
            "header": {key: pair.to_dict() for key, pair in self.header.items()},
            "stages": [asdict(stage) for stage in self.stages],
            "variables": {key: pair.to_dict() for key, pair in self.variables.items()},
            "parts": [asdict(part) for part in self.parts],
        }


def difference(first: Spec, second: Spec, names: tuple[str, str] | None = None) -> Difference:
    """Compare two specs, with all that they extend and import.

    Args:
        first: what was.
        second: what is instead.
        names: what to call them, unless by their own names.

    Raises:
        SpecError: one of them cannot be expanded.
    """
    costs = [_facts(spec) for spec in (first, second)]
    figures: dict[str, Pair] = {}
    stages: tuple[StagePair, ...] = ()
    if costs[0] is not None and costs[1] is not None:
        figures = {key: Pair(costs[0][key], costs[1][key]) for key in FIGURES}
        stages = tuple(_stages(costs[0]["stages"], costs[1]["stages"]))
    variables, parts = _variables(first, second), tuple(_parts(first, second))
    return Difference(
        *(names or (first.name, second.name)), figures, stages, _header(first, second), variables,
        parts,
    )  # fmt: skip


def _facts(spec: Spec) -> dict[str, Any] | None:
    """What `archspec cost` says of a network; None of a space or of blocks alone."""
    if spec.holes or not spec.is_network:
        return None
    graph = expand(spec)
    return facts(spec, graph, count(graph))


def _header(first: Spec, second: Spec) -> dict[str, Pair]:
    return {
        "input": Pair(list(first.image), list(second.image)),
        "classes": Pair(first.classes, second.classes),
        "top1": Pair(first.header.published.top1, second.header.published.top1),
    }


def _stages(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]
) -> Iterator[StagePair]:
    """Stages of the same name stand together; those of other names by their place, if as many."""
    ours, theirs = ({stage["name"]: stage for stage in stages} for stages in (first, second))
    ends = ("stem", "head")
    left, right = ([name for name in names if name not in ends] for names in (ours, theirs))
    if "stem" in ours or "stem" in theirs:
        yield StagePair("stem", ours.get("stem"), theirs.get("stem"))
    if len(left) == len(right) and not set(left) & set(right):
        for one, other in zip(left, right, strict=True):
            yield StagePair(f"{one} | {other}", ours[one], theirs[other])
    else:
        for name in _merged(left, right):
            yield StagePair(name, ours.get(name), theirs.get(name))
    if "head" in ours or "head" in theirs:
        yield StagePair("head", ours.get("head"), theirs.get("head"))


def _merged(left: Sequence[str], right: Sequence[str]) -> list[str]:
    """All names of both, each once, in an order that both agree with where they can."""
    found: list[str] = []
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for _, start, end, begin, stop in matcher.get_opcodes():
        found += [*left[start:end], *(name for name in right[begin:stop] if name not in left)]
    return list(dict.fromkeys(found))


def _variables(first: Spec, second: Spec) -> dict[str, Pair]:
    """Variables that differ, in the order of the second spec, then of the first."""
    ours, theirs = (complete(spec).get("vars", {}) for spec in (first, second))
    pairs = {name: Pair(ours.get(name), theirs.get(name)) for name in (*theirs, *ours)}
    return {name: pair for name, pair in pairs.items() if pair.differs}


def _parts(first: Spec, second: Spec) -> Iterator[PartChange]:
    ours, theirs = (sections(spec) for spec in (first, second))
    for name in _merged(list(ours), list(theirs)):
        if name == "vars" or ours.get(name) == theirs.get(name):
            continue
        before, after = (texts.get(name, "").splitlines() for texts in (ours, theirs))
        kind: Literal["added", "removed"] = "removed" if name in ours else "added"
        if name not in ours or name not in theirs:
            sign = "-" if name in ours else "+"
            yield PartChange(name, kind, tuple(f"{sign}{line}" for line in before or after))
        else:
            lines = list(difflib.unified_diff(before, after, n=CONTEXT, lineterm=""))[2:]
            yield PartChange(name, "changed", tuple(lines))
