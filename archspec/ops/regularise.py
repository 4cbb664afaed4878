"""Ops that act while training only."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from archspec.ops.base import Op
from archspec.sizes import Real

if TYPE_CHECKING:
    from archspec.program import Builder, Value


class Dropout(Op):
    """Zero each element with probability `rate` while training, and scale up the rest."""

    name: ClassVar[str] = "dropout"
    shorthand: ClassVar[str | None] = "rate"
    is_view: ClassVar[bool] = True

    rate: Real = Field(ge=0, lt=1)

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        # an op that never acts would still become a clone in some compilers
        return b.layer(x, "nn.Dropout", order=x.order, p=self.rate) if self.rate else x


class StochasticDepth(Op):
    """Zero the whole branch of an image with probability `rate` while training (arXiv 1603.09382).

    With the `linear` schedule, as in the paper, `rate` is the last layer's: layer l of L (counted
    over all repeats of the network) has rate · l / (L − 1).
    """

    name: ClassVar[str] = "stochastic_depth"
    shorthand: ClassVar[str | None] = "rate"
    is_view: ClassVar[bool] = True

    rate: Real = Field(ge=0, lt=1)
    schedule: Literal["linear", "constant"] = "linear"

    def lower(self, b: Builder, *xs: Value) -> Value:
        (x,) = xs
        rate = self.rate
        if self.schedule == "linear":
            rate = rate * b.layer_index / (b.layer_count - 1) if b.layer_count > 1 else 0.0
        # the first layer's rate is 0; it keeps its module, so that all layers are alike
        return b.layer(x, "StochasticDepth", order=x.order, p=round(rate, 6)) if self.rate else x
