"""One rule for each op: how a random step with that op is written.

Every rule applies to every image of at least 8×8 pixels and 2 channels, so that each op can be
asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tests.writer import AXES, CHANGE, KEEP, MOST, Piece, Sizes, Step, Writer, divisors, rule

# -- one op each, shape kept ---------------------------------------------------------------------


@rule(
    KEEP,
    "relu",
    "relu6",
    "silu",
    "hardswish",
    "hardsigmoid",
    "sigmoid",
    "tanh",
    "identity",
)
def _plain_op(w: Writer, x: Sizes, name: str) -> Piece:
    return [Step(name)], x


@rule(KEEP, "sin", "cos")
def _periodic(w: Writer, x: Sizes, name: str) -> Piece:
    """Of no large values, whose rounding alone would decide what comes out."""
    return [Step(w.pick(["tanh", "relu6"])), Step(name)], x


@rule(KEEP)
def gelu(w: Writer, x: Sizes) -> Piece:
    return [Step("gelu", w.some(approximate=lambda: w.pick(["none", "tanh"])))], x


@rule(KEEP)
def leaky_relu(w: Writer, x: Sizes) -> Piece:
    return [Step("leaky_relu", w.some(negative_slope=lambda: w.real(0, 0.5)))], x


@rule(KEEP)
def factor(w: Writer, x: Sizes) -> Piece:
    return [Step("factor", {"by": w.real(-2, 2)}, w.flip())], x


@rule(KEEP)
def softmax(w: Writer, x: Sizes) -> Piece:
    return [Step("softmax", {"axis": w.pick(x)}, w.flip())], x


@rule(KEEP)
def dropout(w: Writer, x: Sizes) -> Piece:
    return [Step("dropout", {"rate": w.real(0, 0.9)}, w.flip())], x


@rule(KEEP)
def stochastic_depth(w: Writer, x: Sizes) -> Piece:
    schedule = w.some(schedule=lambda: w.pick(["linear", "constant"]))
    return [Step("stochastic_depth", {"rate": w.real(0, 0.9), **schedule}, w.flip())], x


def _norm_arguments(w: Writer) -> dict[str, Any]:
    return w.some(eps=lambda: w.pick([1e-6, 1e-5, 0.001]), affine=w.flip)


def _image_norm_arguments(w: Writer) -> dict[str, Any]:
    return _norm_arguments(w) | w.some(bias=w.flip)


@rule(KEEP)
def batch_norm(w: Writer, x: Sizes) -> Piece | None:
    if "channels" not in x:
        return None
    return [Step("batch_norm", _norm_arguments(w) | w.some(momentum=lambda: 0.2))], x


@rule(KEEP)
def layer_norm(w: Writer, x: Sizes) -> Piece:
    axis = w.pick(x)
    named = {} if axis == "channels" and w.flip() else {"axis": axis}
    return [Step("layer_norm", named | _image_norm_arguments(w))], x


@rule(KEEP)
def group_norm(w: Writer, x: Sizes) -> Piece | None:
    if "channels" not in x:
        return None
    counts = [n for n in divisors(x["channels"]) if n < math.prod(x.values())]
    if not counts:
        return None
    groups = {"groups": w.size(w.pick(counts), x)} if w.flip() else {}
    return [Step("group_norm", groups | _image_norm_arguments(w), w.flip())], x


@rule(KEEP)
def affine(w: Writer, x: Sizes) -> Piece | None:
    return ([Step("affine")], x) if "channels" in x else None


@rule(KEEP)
def scale(w: Writer, x: Sizes) -> Piece | None:
    if "channels" not in x:
        return None
    return [Step("scale", w.some(init=lambda: w.real(0.1, 2)), w.flip())], x


@rule(KEEP)
def shift(w: Writer, x: Sizes) -> Piece:
    axis = w.pick(x)
    reach = x[axis] - 1
    grouping = w.some(grouping=lambda: w.pick(["chunk", "cycle"]))

    def by() -> Any:
        offset = w.whole(-reach, reach)
        c = 0 if axis == "channels" else x.get("channels", 0)
        if grouping.get("grouping") == "cycle":
            counts = [n for n in range(2, 6) if n <= c]
        else:
            # each group has ⌈C / n⌉ channels and the last the rest, which must not be nothing
            counts = [n for n in range(2, 6) if (n - 1) * math.ceil(c / n) < c]
        if not counts or w.flip():
            return offset
        return [offset, *(w.whole(-reach, reach) for _ in range(w.pick(counts) - 1))]

    given = {"by": by()} if reach < 1 else w.some(by=by)
    mode = w.some(mode=lambda: w.pick(["circular", "zero", "replicate"]))
    return [Step("shift", {"axis": axis, **given, **mode, **grouping})], x


# -- one op each, shape changed ------------------------------------------------------------------


def linear_step(w: Writer, x: Sizes, axis: str, out: int | None) -> Step:
    named = {} if axis == "channels" and w.flip() else {"axis": axis}
    size = {} if out is None else {"out": w.size(out, x)}
    return Step("linear", {**size, **named, **w.some(bias=w.flip)}, w.flip())


def short_axes(x: Sizes) -> list[str]:
    return [axis for axis, size in x.items() if size <= MOST.get(axis, 32)]


@rule(CHANGE)
def linear(w: Writer, x: Sizes) -> Piece | None:
    axes = short_axes(x)
    if not axes:
        return None
    axis = w.pick(axes)
    out = w.whole(1, min(MOST.get(axis, 32), 2 * x[axis]))
    return [linear_step(w, x, axis, out)], {**x, axis: out}


def _is_grid(x: Sizes) -> bool:
    return set(x) == {"channels", "height", "width"}


def _has_grid(x: Sizes) -> bool:
    return {"channels", "height", "width"} <= set(x)


def _pair(w: Writer, make: Callable[[], int]) -> tuple[Any, tuple[int, int]]:
    """A number or a list of two, and the two numbers that it means."""
    first = make()
    if w.flip():
        return first, (first, first)
    second = make()
    return [first, second], (first, second)


def _window(
    w: Writer, x: Sizes, *, dilated: bool = True, pool: bool = False
) -> tuple[dict[str, Any], Sizes]:
    """Arguments of a window that fits, and the grid after it."""
    kernel, k = _pair(w, lambda: w.whole(1, 5))
    stride, s = _pair(w, lambda: w.whole(1, 3))
    dilation, d = _pair(w, lambda: w.whole(1, 2)) if dilated else (1, (1, 1))
    if w.flip() and all(a % 2 == 1 or (a == b and c == 1) for a, b, c in zip(k, s, d, strict=True)):
        padding: Any = "same"
        patches = [a == b and c == 1 for a, b, c in zip(k, s, d, strict=True)]
        p = tuple(
            0 if patch else c * (a - 1) // 2 for a, c, patch in zip(k, d, patches, strict=True)
        )
    else:
        padding, p = _pair(w, lambda: w.whole(0, 2))
    args = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    grid = {}
    for axis, kk, ss, pp, dd in zip(("height", "width"), k, s, p, d, strict=True):
        room = x[axis] + 2 * pp - dd * (kk - 1) - 1
        cuts = kk == ss and pp == 0 and dd == 1 and x[axis] % kk != 0
        if room < 0 or cuts or (pool and pp > kk // 2):
            return {"kernel": 3}, x  # this window does not fit; the plain one always does
        grid[axis] = room // ss + 1
    defaults = {"stride": 1, "padding": "same", "dilation": 1}
    return {k: v for k, v in args.items() if k not in defaults or v != defaults[k]}, {**x, **grid}


@rule(CHANGE)
def conv(w: Writer, x: Sizes) -> Piece | None:
    if not _has_grid(x):
        return None
    window, y = _window(w, x)
    groups = w.pick(divisors(x["channels"]))
    out = x["channels"] if w.flip() else groups * w.whole(1, max(1, MOST["channels"] // groups))
    given = {} if out == x["channels"] and w.flip() else {"out": w.size(out, x)}
    args = {**given, **window, **w.some(bias=w.flip)}
    if groups > 1:
        args["groups"] = w.size(groups, x)
    return [Step("conv", args)], {**y, "channels": out}


@rule(CHANGE)
def avg_pool(w: Writer, x: Sizes) -> Piece | None:
    if not _has_grid(x):
        return None
    window, y = _window(w, x, dilated=False, pool=True)
    return [Step("avg_pool", {**window, **w.some(count_include_pad=w.flip)}, w.flip())], y


@rule(CHANGE)
def max_pool(w: Writer, x: Sizes) -> Piece | None:
    if not _has_grid(x):
        return None
    window, y = _window(w, x, pool=True)
    return [Step("max_pool", window, w.flip())], y


@rule(CHANGE)
def global_pool(w: Writer, x: Sizes) -> Piece | None:
    if len(x) < 2:
        return None
    args = w.some(kind=lambda: w.pick(["average", "max"]))
    axes = [axis for axis in x if axis != "channels"]
    if "channels" not in x or w.flip():
        axes = w.subset(x, 1, len(x) - 1)
        args["axes"] = axes
    if w.flip():
        return [Step("global_pool", {**args, "keep": True})], {**x, **dict.fromkeys(axes, 1)}
    return [Step("global_pool", args, w.flip())], {a: n for a, n in x.items() if a not in axes}


@rule(CHANGE)
def flatten(w: Writer, x: Sizes) -> Piece | None:
    if len(x) < 2:
        return None
    if _is_grid(x) and w.flip():
        return [Step("flatten")], {"channels": x["channels"], "tokens": x["height"] * x["width"]}
    axes = w.subset(x, 2, 3)
    rest = {axis: size for axis, size in x.items() if axis not in axes}
    into = w.pick([axis for axis in AXES if axis not in rest])
    return (
        [Step("flatten", {"axes": axes, "into": into})],
        {**rest, into: math.prod(x[axis] for axis in axes)},
    )


@rule(CHANGE)
def unflatten(w: Writer, x: Sizes) -> Piece | None:
    if len(x) > 4:
        return None
    axis = w.pick(x)
    rest = {other: size for other, size in x.items() if other != axis}
    names = w.shuffle(name for name in AXES if name not in rest)
    first = w.pick(divisors(x[axis]))
    into = {names[0]: w.size(first, x), names[1]: w.size(x[axis] // first, x)}
    named = {} if axis == "tokens" and w.flip() else {"axis": axis}
    return (
        [Step("unflatten", {**named, "into": into})],
        {**rest, names[0]: first, names[1]: x[axis] // first},
    )


@rule(CHANGE)
def rename(w: Writer, x: Sizes) -> Piece:
    old = w.subset(x, 1, 2)
    rest = {axis: size for axis, size in x.items() if axis not in old}
    new = w.shuffle(axis for axis in AXES if axis not in rest)
    axes = dict(zip(old, new, strict=False))
    return (
        [Step("rename", {"axes": axes}, w.flip())],
        {**rest, **{axes[axis]: x[axis] for axis in old}},
    )
