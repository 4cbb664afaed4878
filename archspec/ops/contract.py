"""Products of two tensors, summed over axes that they share: what attention is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from archspec.errors import ShapeError
from archspec.ops.base import Axis, Op, unless_default
from archspec.shape import Shape
from archspec.sizes import equal, show

if TYPE_CHECKING:
    from archspec.program import Builder, Value


class Contract(Op):
    """Σ a · b over the axes `over`, which both tensors have: an einsum by names.

    Any other axis that both have (heads, windows) is kept, each position on its own; axes of one
    tensor alone are kept too. With `scaled`, divided by the square root of the number of terms
    in a sum: `contract: {over: channels, scaled: true, from: [q, k]}` gives the scores of
    scaled dot-product attention (arXiv 1706.03762).
    """

    name: ClassVar[str] = "contract"
    inputs: ClassVar[tuple[int, int | None]] = (2, 2)
    is_product: ClassVar[bool] = True
    other: ClassVar[str | None] = "scaling"

    over: Axis | tuple[Axis, ...] = Field(min_length=1)
    scaled: bool = False

    def _over(self) -> tuple[str, ...]:
        return (self.over,) if isinstance(self.over, str) else self.over

    def _union(self, a: Shape, b: Shape) -> Shape:
        """All axes of both; those that they share must be of one size."""
        for axis in self._over():
            a.size(axis)
            b.size(axis)
        for axis in a:
            if axis in b and not equal(a[axis], b[axis]):
                raise ShapeError(
                    f"'contract' cannot join {a} and {b}: {axis} is {show(a[axis])} in one and "
                    f"{show(b[axis])} in the other",
                    hint="axes of one name are the same axis; 'rename' tells them apart",
                )
        return Shape({**a, **b})

    def infer(self, *xs: Shape) -> Shape:
        a, b = xs
        if len(set(self._over())) != len(self._over()):
            raise ShapeError("'contract' names an axis twice")
        return self._union(a, b).without(*self._over())

    def flops(self, *xs: Shape) -> Any:
        a, b = xs
        return self._union(a, b).numel()

    def other_operations(self, *xs: Shape) -> Any:
        return xs[0].numel() if self.scaled else 0  # the first tensor is scaled, not the product

    def lower(self, b: Builder, *xs: Value) -> Value:
        left, right = xs
        over = self._over()
        kept = [axis for axis in left.order[1:] if axis not in over]
        shared = [axis for axis in kept if axis in right.shape]
        own = [axis for axis in kept if axis not in shared]
        others = [axis for axis in right.order[1:] if axis not in (*shared, *over)]
        terms: Any = 1
        for axis in over:
            terms = terms * left.shape[axis]
        extra = unless_default({"scale": 1.0}, scale=terms**-0.5 if self.scaled else 1.0)
        return b.join(
            (b.order(left, ("batch", *shared, *own, *over)),
             b.order(right, ("batch", *shared, *over, *others))),
            "Contract", order=("batch", *shared, *own, *others),
            shape=self.infer(left.shape, right.shape), shared=len(shared), over=len(over), **extra,
        )  # fmt: skip
