"""Fourier transforms, and the product of what they give.

Complex numbers are pairs of real ones, the real and the imaginary part, along an axis `complex` of
size 2. fvcore counts all of this as zero.

The other operations of a fast Fourier transform of n complex numbers are taken as 5 n log₂ n, of n
real ones as half of that, as FFT libraries state their speed (https://www.fftw.org/speed/method.html).
What a given library does is less or more, and the factors of `norm` are not in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from archspec.errors import ShapeError
from archspec.ops.base import Axis, Op, unless_default
from archspec.ops.combine import Elementwise
from archspec.shape import GRID, Shape
from archspec.sizes import Size, equal, is_symbol, log2, show

if TYPE_CHECKING:
    from archspec.program import Builder, Value

COMPLEX = "complex"
"""The axis of real and imaginary parts."""


def need_complex(x: Shape, who: str) -> None:
    """Refuse a tensor of real numbers."""
    if COMPLEX not in x or not equal(x[COMPLEX], 2):
        raise ShapeError(
            f"'{who}' works on complex numbers, found {x}",
            hint="real and imaginary part lie along an axis 'complex' of size 2, which 'rfft' and "
            "'fft' make",
        )


def half(size: Any) -> Any:
    """Frequencies of a real signal; the others are their conjugates."""
    return size // 2 + 1


class _Transform(Op):
    axes: tuple[Axis, ...] = Field(default=GRID, min_length=1)
    norm: Literal["backward", "ortho", "forward"] = "backward"

    def _check_axes(self, x: Shape) -> None:
        for axis in self.axes:
            x.size(axis)
        if COMPLEX in self.axes:
            raise ShapeError(f"'{self.name}' cannot transform along the axis of complex numbers")
        if len(set(self.axes)) != len(self.axes):
            raise ShapeError(f"'{self.name}' names an axis twice")

    def _operations(self, signal: Shape, *, is_real: bool) -> Any:
        """Of all transforms, of which each is rounded to a whole number, by the signal's shape."""
        n = Shape({axis: signal[axis] for axis in self.axes}).numel()
        each = 5 * n * log2(n) / (2 if is_real else 1)
        times = signal.without(*self.axes, COMPLEX).numel()
        return times * (each if is_symbol(each) else round(each))

    def _lower(self, b: Builder, x: Value, shape: Shape, **extra: Any) -> Value:
        rest = tuple(axis for axis in x.order if axis != COMPLEX)
        order = (*rest, COMPLEX) if COMPLEX in shape else rest
        read = (*rest, COMPLEX) if COMPLEX in x.shape else rest
        return b.join(
            (b.order(x, read),), "Fourier", order=order, shape=shape,
            kind=self.name, dim=tuple(rest.index(axis) for axis in self.axes),
            **unless_default({"norm": "backward"}, norm=self.norm), **extra,
        )  # fmt: skip


class RFFT(_Transform):
    """The Fourier transform of real numbers along `axes`, of the last one the half that differs.

    n positions of that axis become n // 2 + 1 frequencies. Real and imaginary part lie along a
    new axis `complex`. `norm` is that of torch.fft: `backward` divides only on the way back.
    """

    name: ClassVar[str] = "rfft"
    shorthand: ClassVar[str | None] = "axes"

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        if COMPLEX in x:
            raise ShapeError(
                f"'rfft' works on real numbers, found {x}", hint="'fft' transforms complex ones"
            )
        self._check_axes(x)
        last = self.axes[-1]
        return x.replace(**{last: half(x[last]), COMPLEX: 2})

    def other_operations(self, *xs: Shape) -> Any:
        return self._operations(xs[0], is_real=True)

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        return self._lower(b, x, self.infer(x.shape))


class IRFFT(_Transform):
    """The way back from `rfft` with the same `axes` and `norm`: real numbers.

    `size` is how many positions the last axis has then: n // 2 + 1 frequencies do not tell.
    """

    name: ClassVar[str] = "irfft"

    size: Size

    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        need_complex(x, self.name)
        self._check_axes(x)
        last = self.axes[-1]
        there, wanted = x[last], half(self.size)
        symbolic = is_symbol(there) or is_symbol(wanted)
        if not symbolic and not equal(there, wanted):
            raise ShapeError(
                f"'irfft' to {last} {show(self.size)} needs {show(wanted)} frequencies along "
                f"{last}, found {show(there)}",
                hint=f"'size' is what {last} was before 'rfft'",
            )
        return x.without(COMPLEX).replace(**{last: self.size})

    def other_operations(self, *xs: Shape) -> Any:
        return self._operations(self.infer(*xs), is_real=True)

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        return self._lower(b, x, self.infer(x.shape), size=self.size)


class _Full(_Transform):
    def infer(self, *xs: Shape) -> Shape:
        (x,) = xs
        if COMPLEX in x:
            need_complex(x, self.name)
        self._check_axes(x)
        return x.replace(**{COMPLEX: 2})

    def other_operations(self, *xs: Shape) -> Any:
        return self._operations(xs[0], is_real=COMPLEX not in xs[0])

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        extra = unless_default({"is_complex": True}, is_complex=COMPLEX in x.shape)
        return self._lower(b, x, self.infer(x.shape), **extra)


class FFT(_Full):
    """The Fourier transform of real or complex numbers along `axes`; it gives complex ones.

    Real and imaginary part lie along an axis `complex`; `select: {axis: complex}` is the real
    part. `norm` is that of torch.fft.
    """

    name: ClassVar[str] = "fft"
    shorthand: ClassVar[str | None] = "axes"


class IFFT(_Full):
    """The inverse of `fft` with the same `axes` and `norm`; it gives complex numbers."""

    name: ClassVar[str] = "ifft"
    shorthand: ClassVar[str | None] = "axes"


class ComplexMultiply(Elementwise):
    """The product of complex numbers along the axis `complex`, such as frequencies and a filter.

    Otherwise as `multiply`: an axis that one of the two lacks, or has with size 1, is repeated.
    """

    name: ClassVar[str] = "complex_multiply"
    inputs: ClassVar[tuple[int, int | None]] = (2, 2)

    def infer(self, *xs: Shape) -> Shape:
        for x in xs:
            need_complex(x, self.name)
        return super().infer(*xs)

    def other_operations(self, *xs: Shape) -> Any:
        return 3 * self.infer(*xs).numel()  # four products and two sums for two numbers

    def lower(self, b: Builder, *xs: Value) -> Value:
        order = (*(axis for axis in self.order(*xs) if axis != COMPLEX), COMPLEX)
        laid = tuple(b.broadcast(x, order) for x in xs)
        shape = self.infer(*(x.shape for x in xs))
        return b.join(laid, "ComplexMultiply", order=order, shape=shape)
