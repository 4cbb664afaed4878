"""The calls that a user makes from Python; `archspec` exports them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from archspec.counting import CostTable, count
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
    weights: str | Path | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> nn.Module:
    """The network as a plain `nn.Module`: (batch, channels, height, width) in, logits out.

    Args:
        spec: a Spec, a path, or the name of a shipped spec.
        weights: a checkpoint to load, under our names or those of a mapping in the spec.
        dtype: of the parameters; torch's default if None.
        device: to build on; the CPU if None.

    Raises:
        SpecError: the spec has unfilled holes, or describes no network that can exist here.
        WeightsError: the checkpoint is not this network's.
    """
    from archspec.lower import lower
    from archspec.memory import check_memory
    from archspec.module import to_module

    spec = as_spec(spec)
    graph = expand(spec)
    check_memory(graph)
    module = to_module(lower(graph)).to(dtype=dtype, device=device)
    if weights is not None:
        from archspec.weights import load_weights

        load_weights(module, spec, graph, Path(weights))
    return module


def emit(spec: Spec | str | Path) -> str:
    """The network as the text of one PyTorch source file that imports torch only."""
    from archspec.codegen import emit as emit_program
    from archspec.lower import lower

    spec = as_spec(spec)
    return emit_program(lower(expand(spec)), about=spec.header.about or "")
