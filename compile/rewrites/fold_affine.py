"""`affine` and `scale` are one multiply-add a channel, which a neighbour can do."""

from __future__ import annotations

from typing import ClassVar

from archspec.compile.rewrites.fold_batch_norm import FoldBatchNorm
from archspec.ops.base import Op
from archspec.ops.norm import Affine, Scale


class FoldAffine(FoldBatchNorm):
    """Into the product, norm or multiply-add before it, else into the products after it."""

    name: ClassVar[str] = "fold-affine"
    about: ClassVar[str] = "multiply an affine or a scale into the linear map beside it"
    precondition: ClassVar[str] = (
        "as for fold-batch-norm; a scale alone also passes padding and linear maps without bias "
        "along other axes"
    )
    rank: ClassVar[int] = 30
    ops: ClassVar[tuple[type[Op], ...]] = (Affine, Scale)
