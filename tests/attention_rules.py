"""Rules for the ops that attention is made of: how a random step with each of them is written."""

from __future__ import annotations

import math
from typing import Any

from tests.op_rules import linear_step
from tests.writer import AXES, CHANGE, KEEP, Piece, Sizes, Step, Writer, divisors, rule

MOST_ELEMENTS = 20_000
"""In the product of two tensors."""


@rule(CHANGE)
def contract(w: Writer, x: Sizes) -> Piece:
    """A tensor with itself, after some of its axes got other names in one of the two."""
    first, a = w.named(x)
    free = w.shuffle(axis for axis in AXES if axis not in x)
    fits = [axis for axis in x if len(x) < 5 and math.prod(x.values()) * x[axis] <= MOST_ELEMENTS]
    renamed = {w.pick(fits): free[0]} if len(x) > 1 and free and fits and w.flip() else {}
    other, b = {renamed.get(axis, axis): size for axis, size in x.items()}, w.fresh("b")
    steps = [
        *first,
        Step("rename", {"axes": renamed, "id": b}) if renamed else Step("tanh", {"id": b}),
    ]
    shared = [axis for axis in x if axis in other]
    over = w.subset(shared, 1, len(shared) if renamed else max(1, len(shared) - 1))
    args: dict[str, Any] = {"over": over[0] if len(over) == 1 and w.flip() else over}
    steps.append(Step("contract", {**args, **w.some(scaled=w.flip), "from": w.shuffle([a, b])}))
    left = {axis: size for axis, size in {**x, **other}.items() if axis not in over}
    if left:
        return steps, left
    return first, x  # nothing would be left of it


@rule(CHANGE, "slice")
def slice_(w: Writer, x: Sizes, name: str) -> Piece:
    axis = w.pick(x)
    start = w.whole(0, x[axis] - 1)
    size = w.whole(1, x[axis] - start)
    args = {"axis": axis} if axis != "channels" or w.flip() else {}
    if start or w.flip():
        args["start"] = start
    if size < x[axis] - start or w.flip():
        args["size"] = w.size(size, x)
    return [Step(name, args)], {**x, axis: size}


@rule(CHANGE)
def select(w: Writer, x: Sizes) -> Piece | None:
    if len(x) < 2:
        return None
    axis = w.pick(x)
    index = w.some(index=lambda: w.whole(0, x[axis] - 1))
    return [Step("select", {"axis": axis, **index}, w.flip())], {
        other: size for other, size in x.items() if other != axis
    }


@rule(CHANGE)
def pad(w: Writer, x: Sizes) -> Piece:
    axis = w.pick(x)
    most = 2 if math.prod(x.values()) <= MOST_ELEMENTS else 0
    mode = w.pick(["constant", "circular", "replicate", "reflect"])
    if mode in ("circular", "reflect"):
        most = min(most, x[axis] - (mode == "reflect"))
    added = w.some(before=lambda: w.whole(0, most), after=lambda: w.whole(0, most))
    filled = w.some(value=lambda: w.real(-1, 1)) if mode == "constant" else {"mode": mode}
    return (
        [Step("pad", {"axis": axis, **added, **filled})],
        {**x, axis: x[axis] + sum(added.values())},
    )


@rule(KEEP)
def param(w: Writer, x: Sizes) -> Piece:
    """A learnable tensor along some of the axes, joined to the tensor that gave their sizes."""
    steps, start = w.named(x)
    name = w.fresh("p")
    axes = {axis: w.pick([w.size(x[axis], x), 1]) for axis in w.subset(x, 0, len(x))}
    start_values = w.some(init=lambda: w.real(-1, 1), std=lambda: w.real(0.1, 1))
    steps.append(Step("param", {"axes": axes, "id": name, **start_values}))
    return [*steps, Step(w.pick(["add", "multiply"]), {"from": w.shuffle([start, name])})], x


def _scores(w: Writer, x: Sizes) -> tuple[list[Step], dict[str, int], list[str], Any] | None:
    """A tensor whose last two of three axes are the positions of windows; the window."""
    if len(x) < 3 or len(x) > 4:
        return None
    names = w.subset(x, 3, 3)
    if any(x[axis] > 144 for axis in names):
        return None
    window = [w.whole(1, 3), w.whole(1, 3)]
    positions = window[0] * window[1]
    steps, y = [], dict(x)
    for axis in names[1:]:
        steps.append(linear_step(w, y, axis, positions))
        y[axis] = positions
    return steps, y, names, window


def _window(w: Writer, window: list[int]) -> Any:
    return window[0] if window[0] == window[1] and w.flip() else window


@rule(CHANGE)
def relative_position_bias(w: Writer, x: Sizes) -> Piece | None:
    made = _scores(w, x)
    if made is None:
        return None
    steps, y, (heads, queries, keys), window = made
    before, start = w.named(y)
    name = w.fresh("bias")
    axes = {"heads": heads, "queries": queries, "keys": keys}
    args = {"window": _window(w, window), "id": name, **axes}
    bias = Step("relative_position_bias", args)
    return [*steps, *before, bias, Step("add", {"from": w.shuffle([start, name])})], y


@rule(CHANGE)
def shifted_window_mask(w: Writer, x: Sizes) -> Piece | None:
    made = _scores(w, x)
    if made is None:
        return None
    steps, y, (grid, queries, keys), window = made
    first = w.pick(divisors(y[grid]))
    rows, columns = [axis for axis in AXES if axis not in y or axis == grid][:2]
    into = {rows: first, columns: y[grid] // first}
    steps.append(Step("unflatten", {"axis": grid, "into": into}))
    y = {**{axis: size for axis, size in y.items() if axis != grid}, **into}
    before, start = w.named(y)
    name, by = w.fresh("mask"), [w.whole(1 - size, size - 1) for size in window]
    axes = {"rows": rows, "columns": columns, "queries": queries, "keys": keys}
    args = {"window": window, "by": _window(w, by), "id": name, **axes}
    mask = Step("shifted_window_mask", args)
    return [*steps, *before, mask, Step("add", {"from": w.shuffle([start, name])})], y
