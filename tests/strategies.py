"""Hypothesis strategies for whole specs: random, small, always valid.

`networks()` draws the YAML text of a network that must load, expand, build and run. The rules of
single ops stand in `tests.op_rules`; here are those that arrange steps: branches and joins,
residuals, repeats, conditions, blocks, and the network around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import strategies as st

import tests.attention_rules
import tests.fourier_rules  # noqa: F401 - both register their rules
from tests.op_rules import linear_step, short_axes
from tests.writer import CHANGE, KEEP, Piece, Sizes, Step, Writer, rule

# -- several tensors -----------------------------------------------------------------------------


def _branches(w: Writer, x: Sizes, count: int) -> tuple[list[Step], list[str]]:
    """One tensor, and `count` chains of the same shape that read it; the names of all."""
    steps, start = w.named(x)
    names = [start]
    for _ in range(count):
        chain, name = w.chain(start, x)
        steps += chain
        names.append(name)
    return steps, names


@rule(KEEP, "add", "subtract", "multiply")
def join(w: Writer, x: Sizes, name: str) -> Piece:
    steps, names = _branches(w, x, 1 if name == "subtract" else w.whole(1, 3))
    return [*steps, Step(name, {"from": w.shuffle(names)})], x


@rule(KEEP)
def divide(w: Writer, x: Sizes) -> Piece:
    """By what is far from 0."""
    steps, (start, other) = _branches(w, x, 1)
    below = w.fresh("below")
    steps += [Step("tanh", {"from": other}), Step("sigmoid", {"id": below})]
    eps = w.some(eps=lambda: w.pick([0, 1e-6, 0.5]))
    return [*steps, Step("divide", {**eps, "from": [start, below]})], x


@rule(KEEP)
def pooled_gate(w: Writer, x: Sizes) -> Piece | None:
    """A gate that lacks some axes, or has them with size 1 (squeeze-and-excitation)."""
    if len(x) < 2:
        return None
    steps, start = w.named(x)
    gate = w.fresh("gate")
    pool = {"axes": w.subset(x, 1, len(x) - 1), "keep": w.flip(), "from": start}
    steps += [Step("global_pool", pool), Step("sigmoid", {"id": gate})]
    names = w.shuffle([start, gate])
    return [*steps, Step(w.pick(["multiply", "add", "subtract"]), {"from": names})], x


@rule(KEEP)
def concat(w: Writer, x: Sizes) -> Piece | None:
    """Branches of different sizes along one axis, concatenated and mapped back."""
    axes = short_axes(x)
    if not axes:
        return None
    axis = w.pick(axes)
    steps, (start, *rest) = _branches(w, x, 1)
    total, names = 2 * x[axis], [start, *rest]
    if w.flip():
        other, size = w.fresh("z"), w.whole(1, 8)
        steps.append(linear_step(w, x, axis, size).given(**{"from": start, "id": other}))
        total, names = total + size, [*names, other]
    joined = {**x, axis: total}
    steps.append(Step("concat", {"from": w.shuffle(names), "axis": axis}))
    return [*steps, linear_step(w, joined, axis, x[axis])], x


@rule(KEEP)
def split(w: Writer, x: Sizes) -> Piece:
    """Parts of unequal sizes, each with a chain of its own, concatenated in another order."""
    axis = w.pick([axis for axis in x if x[axis] > 1] or list(x))
    into = w.pick([n for n in (1, 2, 3) if x[axis] % n == 0])
    if into > 1 and w.flip():
        sizes = [x[axis] // into] * into
        args: dict[str, Any] = {"into": into}
    else:
        first = w.whole(1, max(1, x[axis] - 1))
        sizes = [first, x[axis] - first] if first < x[axis] else [first]
        args = {"sizes": [w.size(size, x) for size in sizes]}
    if len(sizes) == 1:
        return [Step("identity")], x  # a split into one part is an identity with extra words
    named = {} if axis == "channels" and w.flip() else {"axis": axis}
    parts = [w.fresh("part") for _ in sizes]
    steps, names = [Step("split", {**args, **named, "id": parts})], []
    for part, size in zip(parts, sizes, strict=True):
        chain, name = w.chain(part, {**x, axis: size})
        steps += chain
        names.append(name)
    return [*steps, Step("concat", {"from": w.shuffle(names), **named})], x


# -- bodies in bodies ----------------------------------------------------------------------------


@rule(KEEP)
def expansion(w: Writer, x: Sizes) -> Piece | None:
    """Wider, an activation, and back, as the expressions of an MLP."""
    if "channels" not in x:
        return None
    factor = w.pick([2, 3, "3 / 2"]) if x["channels"] % 2 == 0 else w.pick([2, 3])
    up, down = Step("linear", {"out": f"C * {factor}"}), f"C / ({factor})"
    return [up, Step("gelu"), Step("linear", {"out": down, **w.some(bias=w.flip)}, w.flip())], x


@rule(KEEP)
def tokens(w: Writer, x: Sizes) -> Piece | None:
    """To tokens and back; a square grid is found again without being told."""
    if set(x) != {"channels", "height", "width"}:
        return None
    inside = {"channels": x["channels"], "tokens": x["height"] * x["width"]}
    steps, _ = w.body(inside, keep=True, most=2)
    into = {"into": {"height": w.size(x["height"], inside), "width": x["width"]}}
    back = Step("unflatten", {} if x["height"] == x["width"] and w.flip() else into)
    return [Step("flatten"), *steps, back], x


@rule(KEEP)
def residual(w: Writer, x: Sizes) -> Piece:
    steps, _ = w.body(x, keep=True)
    return [Step("residual", {"body": steps}, w.flip())], x


@rule(KEEP)
def repeat(w: Writer, x: Sizes) -> Piece:
    steps, _ = w.body(x, keep=True, most=2)
    if w.flip():
        steps.append(Step("dropout", {"rate": "index / 10"}))
    if w.flip() and "channels" in x:
        axis = "channels"
        steps.append(Step("linear", {"out": "C + index + 1", "axis": axis}))
        steps.append(Step("linear", {"out": "C - index - 1"}))
    return [Step("repeat", {"times": w.whole(0, 3), "body": steps})], x


@rule(CHANGE)
def growth(w: Writer, x: Sizes) -> Piece | None:
    """Repeated layers of which each has another shape."""
    if x.get("channels", 99) > MOST_GROWN:
        return None
    times = w.whole(1, 3)
    grown = x["channels"] + sum(range(times))
    body = [Step("linear", {"out": "C + index"}), Step("relu")]
    return [Step("repeat", {"times": times, "body": body})], {**x, "channels": grown}


MOST_GROWN = 16


@rule(CHANGE)
def condition(w: Writer, x: Sizes) -> Piece:
    """A condition that the shape decides; what is not chosen need not fit."""
    letter, axis = w.pick([("C", "channels"), ("H", "height"), ("classes", None)])
    size = 5 if axis is None else x.get(axis)
    if size is None:
        letter, size = "classes", 5
    chosen, after = w.body(x, keep=False, most=2)
    other = [Step("linear", {"out": "C / 1000", "axis": "nowhere"})]
    true, false = f"{letter} >= {size}", f"{letter} < {size}"
    if w.flip():
        true, false = f"{letter} == {size} and 1 < 2", f"not {letter} == {size}"
    if w.flip():
        return [Step("if", {"condition": true, "then": chosen, "else": other})], after
    if w.flip():
        return [Step("if", {"condition": false, "then": other, "else": chosen})], after
    return [Step("if", {"condition": false, "then": other})], x


@rule(CHANGE)
def call(w: Writer, x: Sizes) -> Piece:
    """A block with arguments; some are left to their defaults."""
    steps, after = w.body(x, keep=False, most=2)
    name = w.fresh("block")
    if "channels" not in after:
        w.blocks[name] = {"about": "No arguments.", "body": [step.yaml() for step in steps]}
        return [Step(name)], after
    wide, back = w.fresh("wide"), w.fresh("back")
    first = {letter: x[axis] for letter, axis in (("C", "channels"), ("H", "height")) if axis in x}
    default = w.pick([*first, 6])
    width = first.get(default, 6) if isinstance(default, str) else default
    steps += [Step("linear", {"out": wide}), Step("linear", {"out": back})]
    size = w.whole(1, 8)
    args = {wide: default, back: None}
    w.blocks[name] = {"args": args, "body": [step.yaml() for step in steps]}
    given = {back: size} if w.flip() and width <= 32 else {back: size, wide: 4}
    return [Step(name, given)], {**after, "channels": size}


@rule(KEEP)
def two_inputs(w: Writer, x: Sizes) -> Piece:
    """A block that reads two tensors."""
    a, b, name = w.fresh("a"), w.fresh("b"), w.fresh("block")
    steps, last = w.chain(b, x)
    joined = Step(w.pick(["add", "multiply", "subtract"]), {"from": w.shuffle([a, last])})
    body = [step.yaml() for step in [*steps, joined]]
    w.blocks[name] = {"inputs": [a, b], "body": body}
    before, sources = _branches(w, x, 1)
    return [*before, Step(name, {"from": w.shuffle(sources)})], x


@rule(KEEP)
def use(w: Writer, x: Sizes) -> Piece:
    """A block that a variable names."""
    steps, _ = w.body(x, keep=True, most=2)
    name, variable = w.fresh("mixer"), w.fresh("choice")
    w.blocks[name] = [step.yaml() for step in steps]
    w.pick(w.tables)[variable] = name
    return [Step("use", {"block": variable})], x


# -- whole networks ------------------------------------------------------------------------------

CLASSES = 5


def _head(w: Writer, x: Sizes) -> list[Step]:
    """Whatever the shape, one value per class in the end."""
    steps = []
    if "channels" not in x:
        steps.append(Step("rename", {"axes": {next(iter(x)): "channels"}}))
    if len(x) > 1:
        steps.append(Step("global_pool"))
    return [*steps, Step("linear", {"out": "classes"}, w.flip())]


def _texts(value: Any) -> Iterator[str]:
    """Every text in a document that is not a key."""
    if isinstance(value, str):
        yield value
    for item in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from _texts(item)


@st.composite
def networks(draw: st.DrawFn, must: str | None = None, parts: bool = True) -> str:
    """The YAML text of a network.

    Args:
        must: the rule (an op's name, or one of this module) that the first step follows.
        parts: whether to add stages and a head to the stem.
    """
    w = Writer(draw)
    x: Sizes = {
        "channels": w.whole(2, 4), "height": w.whole(8, 20), "width": w.pick([8, 9, 12, 16]),
    }  # fmt: skip
    document: dict[str, Any] = {"name": "random", "input": dict(x), "classes": CLASSES}
    stem, x = w.body(x, keep=False, must=must)
    document["stem"] = [step.yaml() for step in stem]
    stages: dict[str, Any] = {}
    for index in range(w.whole(0, 2) if parts else 0):
        stage: dict[str, Any] = {"vars": {}}
        w.tables = [w.vars, stage["vars"]]
        if w.flip():
            enter, x = w.body(x, keep=False, most=2)
            stage["enter"] = [step.yaml() for step in enter]
        times = w.whole(1, 3)
        body, x = w.body(x, keep=times > 1, most=2)
        stage |= {"repeat": times, "body": [step.yaml() for step in body]}
        stages[f"stage{index}"] = stage
        w.tables = [w.vars]
    if parts:
        document |= {"stages": stages, "head": [step.yaml() for step in _head(w, x)]}
    document |= {"vars": w.vars, "blocks": w.blocks}
    words = set(re.findall(r"\w+", yaml.safe_dump([*_texts(document)])))
    for table in (w.vars, *(stage["vars"] for stage in stages.values())):
        for name in set(table) - words:  # written for a body that was dropped
            del table[name]
    return yaml.safe_dump(document, sort_keys=False)
