"""The calls that a user makes from Python; `archspec` exports them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archspec.counting import CostTable, count
from archspec.errors import SpecError
from archspec.expansion import expand
from archspec.spec import Spec, as_spec

if TYPE_CHECKING:
    import torch
    from torch import nn


def cost(spec: Spec | str | Path) -> CostTable:
    """Parameters, FLOPs and activations, exactly, without torch.

    FLOPs are multiply-adds of one image at the spec's input size, in fvcore's convention.
    """
    return count(expand(as_spec(spec)))


def build(
    spec: Spec | str | Path,
    *,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    weights: str | Path | None = None,
    interpolate: bool = False,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> nn.Module:
    """The network as a plain `nn.Module`: (batch, channels, height, width) in, logits out.

    Args:
        spec: a Spec, a path, or the name of a shipped spec.
        features_only: leave the head out, and give a list with the output of each stage as
            (batch, channels, height, width); the module's `feature_info` says what they are.
        out_indices: of which stages, counted from 0; or a number of last ones; all if None.
        weights: a checkpoint to load, under our names or those of a mapping in the spec; or that
            mapping's name, whose public file is downloaded once.
        interpolate: whether position embeddings of another image size are resized on loading.
        dtype: of the parameters; torch's default if None.
        device: to build on; the CPU if None.

    Raises:
        SpecError: the spec has unfilled holes, or describes no network that can exist here; or
            its stages have no such outputs.
        WeightsError: the checkpoint is not this network's.
        DownloadError: it cannot be downloaded.
    """
    if out_indices is not None and not features_only:
        raise SpecError("out_indices chooses stage outputs: it needs features_only=True")
    from archspec.checkpoints import resolve
    from archspec.lower import lower
    from archspec.memory import check_memory
    from archspec.module import to_module

    spec = as_spec(spec)
    graph = expand(spec)
    check_memory(graph)
    file = None if weights is None else resolve(spec, weights)
    module = to_module(lower(graph)).to(dtype=dtype, device=device)
    if file is not None:
        from archspec.weights import load_weights

        load_weights(module, spec, graph, file, interpolate=interpolate)
    if features_only:
        from archspec.backbone import Backbone

        return Backbone(module, graph, out_indices)
    return module


def emit(spec: Spec | str | Path) -> str:
    """The network as the text of one PyTorch source file that imports torch only."""
    from archspec.codegen import emit as emit_program
    from archspec.lower import lower

    spec = as_spec(spec)
    return emit_program(lower(expand(spec)), about=spec.header.about or "")
