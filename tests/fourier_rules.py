"""Rules for Fourier transforms: how a random step with each of them is written."""

from __future__ import annotations

from typing import Any

from tests.writer import CHANGE, Piece, Sizes, Step, Writer, rule


def _axes(w: Writer, x: Sizes) -> list[str]:
    others = [axis for axis in x if axis != "complex"]
    return w.subset(others, 1, min(3, len(others)))


def _norm(w: Writer) -> dict[str, Any]:
    return w.some(norm=lambda: w.pick(["backward", "ortho", "forward"]))


def _made_complex(w: Writer, x: Sizes) -> Piece | None:
    """Steps after which `x` holds complex numbers; None if its axis `complex` is another thing."""
    if "complex" in x:
        return ([], x) if x["complex"] == 2 and len(x) > 1 else None
    return [Step("fft", {"axes": _axes(w, x), **_norm(w)})], {**x, "complex": 2}


@rule(CHANGE)
def rfft(w: Writer, x: Sizes) -> Piece | None:
    if "complex" in x:
        return None
    axes = _axes(w, x)
    size = x[axes[-1]] // 2 + 1
    return [Step("rfft", {"axes": axes, **_norm(w)}, w.flip())], {**x, axes[-1]: size, "complex": 2}


@rule(CHANGE)
def irfft(w: Writer, x: Sizes) -> Piece | None:
    """Of any complex numbers, whether or not they are half of a real signal's."""
    made = _made_complex(w, x)
    if made is None:
        return None
    steps, y = made
    axes = _axes(w, y)
    half = y[axes[-1]]
    size = w.pick(size for size in (2 * half - 2, 2 * half - 1) if size > 0)
    rest = {axis: n for axis, n in y.items() if axis != "complex"}
    steps.append(Step("irfft", {"axes": axes, "size": w.size(size, y), **_norm(w)}))
    return steps, {**rest, axes[-1]: size}


@rule(CHANGE, "fft", "ifft")
def _full(w: Writer, x: Sizes, name: str) -> Piece | None:
    if x.get("complex", 2) != 2 or set(x) == {"complex"}:
        return None
    return [Step(name, {"axes": _axes(w, x), **_norm(w)}, w.flip())], {**x, "complex": 2}


@rule(CHANGE)
def complex_multiply(w: Writer, x: Sizes) -> Piece | None:
    """With a learnable filter along some of the axes, or with a function of itself."""
    made = _made_complex(w, x)
    if made is None:
        return None
    steps, y = made
    before, start = w.named(y)
    steps += before
    other = w.fresh("filter")
    if w.flip():
        rest = [axis for axis in y if axis != "complex"]
        axes = {axis: w.pick([y[axis], 1]) for axis in w.subset(rest, 0, len(rest))}
        steps.append(Step("param", {"axes": {**axes, "complex": 2}, "id": other}))
    else:
        steps.append(Step("tanh", {"id": other}))
    return [*steps, Step("complex_multiply", {"from": w.shuffle([start, other])})], y
