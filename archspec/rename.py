"""Foreign checkpoint names to ours, by the templates that a spec declares.

A template is a dotted name. `{i}` stands for a number and `*` for one word between dots:

    "token_mix.{k}.1.BN.*": "{k.stage}.layers.{k.layer}.cross.batch_norm.*"

On the right side `{…}` is an expression over the numbers, or `{k.stage}` and `{k.layer}`: the
stage that the k-th repeated layer of the network (counted from 0) stands in, and its place there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from archspec import expr
from archspec.errors import SpecError, brief, did_you_mean
from archspec.graph import CallNode, Graph, RepeatNode

_PARTS = ("stage", "layer")
_PLACE = re.compile(r"\{([^{}]*)\}|\*")


@dataclass(frozen=True)
class Position:
    """Where a layer stands: the stage's name, and its index within the stage."""

    stage: str
    layer: int


def positions(graph: Graph) -> tuple[Position, ...]:
    """The position of every repeated layer of a network, in order."""
    return tuple(
        Position(stage.id, index)
        for stage in graph.nodes
        if isinstance(stage, CallNode)
        for node in stage.graph.nodes
        if isinstance(node, RepeatNode)
        for index in range(int(node.times))
    )


def matcher(template: str) -> re.Pattern[str]:
    """A pattern for the names that a template's left side covers.

    Raises:
        SpecError: a place that is not `{name}` or `*`, or one that has no end of its own: where
            the next one begins would have to be guessed, and guesses multiply.
    """
    pattern, end = "", 0
    for number, place in enumerate(_PLACE.finditer(template)):
        between = template[end : place.start()]
        if number and (not between or between[0].isdigit() or between[-1].isdigit()):
            raise SpecError(f"in {brief(template)}: letters or a dot must stand between two places")
        pattern += re.escape(between)
        end = place.end()
        if place[0] == "*":
            if template[end : end + 1] not in ("", "."):
                raise SpecError(f"in {brief(template)}: after * a dot must stand, or nothing")
            pattern += f"(?P<_{number}>[^.]+)"
        elif place[1].isidentifier() and place[1].isascii() and place[1][0] != "_":
            seen = f"(?P<{place[1]}>" in pattern
            pattern += f"(?P={place[1]})" if seen else f"(?P<{place[1]}>[0-9]+)"
        else:
            raise SpecError(f"in {brief(template)}: {{{place[1]}}} must be a name such as {{i}}")
    return re.compile(pattern + re.escape(template[end:]))


def check_template(left: str, right: str) -> None:
    """Refuse a pair of templates that could never give a name.

    Raises:
        SpecError: a place that cannot be read, or one on the right that the left does not fill.
    """
    known = set(matcher(left).groupindex)
    places = list(_PLACE.finditer(right))
    for place in places:
        key, dot, part = (place[1] or "").partition(".")
        if place[0] == "*" or (dot and key in known and part in _PARTS):
            continue
        missing = sorted(expr.parse(place[1]).names - known)
        if missing:
            raise SpecError(
                f"in {brief(right)}: {missing[0]!r} does not stand on the other side",
                hint=did_you_mean(missing[0], (name for name in known if name[0] != "_")),
            )
    if sum(place[0] == "*" for place in places) > left.count("*"):
        raise SpecError(f"in {brief(right)}: more * than on the other side")


def renamer(
    names: Mapping[str, str], ignore: Iterable[str], where: tuple[Position, ...]
) -> _Renamer:
    """A function from a foreign name to ours."""
    rules = [(matcher(left), right) for left, right in names.items()]
    return _Renamer(rules, [matcher(template) for template in ignore], where)


@dataclass(frozen=True)
class _Renamer:
    rules: list[tuple[re.Pattern[str], str]]
    ignored: list[re.Pattern[str]]
    where: tuple[Position, ...]

    def ignores(self, name: str) -> bool:
        return any(pattern.fullmatch(name) for pattern in self.ignored)

    def __call__(self, name: str) -> str | None:
        """Our name for a foreign one, by the first template that matches; None where none does.

        Raises:
            SpecError: a template counts a layer that the network does not have.
        """
        for pattern, right in self.rules:
            match = pattern.fullmatch(name)
            if match:
                return self._fill(name, right, match)
        return None

    def _fill(self, name: str, right: str, match: re.Match[str]) -> str:
        groups = match.groupdict()
        words = iter([text for key, text in groups.items() if key.startswith("_")])
        numbers = {key: int(text) for key, text in groups.items() if not key.startswith("_")}

        def place(found: re.Match[str]) -> str:
            if found[0] == "*":
                word = next(words, None)
                if word is None:
                    raise SpecError(f"in {brief(right)}: more * than on the other side")
                return word
            key, _, part = found[1].partition(".")
            if part in _PARTS and key in numbers:
                index = numbers[key]
                if index >= len(self.where):
                    raise SpecError(
                        f"{name!r} counts layer {index}, and the network has {len(self.where)}"
                    )
                return str(getattr(self.where[index], part))
            return str(expr.parse(found[1])(numbers))

        return _PLACE.sub(place, right)
