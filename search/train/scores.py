"""Training-free scores: how a network looks before its first step, from one batch.

N images, C channels, H height, W width.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from archspec.search.train.outcomes import OutOfMemory, is_out_of_memory

RECTIFIERS: frozenset[Any] = frozenset(
    (
        F.celu, F.elu, F.gelu, F.hardswish, F.leaky_relu, F.mish, F.prelu, F.relu, F.relu6,
        F.selu, F.silu, F.softplus, torch.relu, Tensor.relu,
    )
)  # fmt: skip
"""Activations that let positive numbers through and hold negative ones back."""
NORMS: frozenset[Any] = frozenset(
    (F.batch_norm, F.group_norm, F.instance_norm, F.layer_norm, F.rms_norm)
)


def scores(model: nn.Module, images_NCHW: Tensor, labels_N: Tensor) -> dict[str, float]:
    """`naswot`, `synflow` and `grad_norm` of an untrained network; NaN where one is not finite.

    The model, its gradients and buffers, and torch's generators are left as they were. Batch norm
    uses the statistics of the batch (but see `synflow`); dropout and its like are off.

    Args:
        images_NCHW: one batch as in training, normalised, on the model's device.
        labels_N: their classes.

    Raises:
        OutOfMemory: the batch does not fit.
    """
    found: dict[str, float] = {}
    try:
        found["naswot"] = naswot(model, images_NCHW)
        found["synflow"] = synflow(model, images_NCHW.shape[1:])
        found["grad_norm"] = grad_norm(model, images_NCHW, labels_N)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory("out of memory while scoring an untrained network") from None
    return {name: value if math.isfinite(value) else math.nan for name, value in found.items()}


def naswot(model: nn.Module, images_NCHW: Tensor) -> float:
    """log |det K|, K[i, j] = activations with the same sign before them in images i and j.

    Mellor, Turner, Storkey, Crowley: Neural Architecture Search without Training
    (arXiv 2006.04647). There activations are ReLUs; here they are all of `RECTIFIERS`. −∞ if two
    images have one pattern, or nothing is an activation.
    """
    mode = _Patterns(len(images_NCHW))
    with torch.no_grad(), mode:
        _fresh(model)(images_NCHW)
    sign, logarithm = torch.linalg.slogdet(mode.kernel_NN)
    return float(logarithm) if sign else -math.inf


def synflow(model: nn.Module, shape: tuple[int, ...] | torch.Size) -> float:
    """Natural logarithm of Σ |θ · ∂R/∂θ| over weights θ of two or more axes; R = Σ outputs.

    Tanaka, Kunin, Yamins, Ganguli: Pruning neural networks without any data by iteratively
    conserving synaptic flow (arXiv 2006.05467). The network is made linear: all parameters are
    |θ|, the input is ones, activations of `RECTIFIERS` let everything through, and so do norms, as
    in Abdelfattah et al. (arXiv 2101.08134) and NASLib. The sum grows with the product of all
    widths: it is computed in float64, and its logarithm is what is returned.

    Args:
        shape: of one image (C, H, W).
    """
    linear = _fresh(model).double().eval()
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.abs_()
    device = next((parameter.device for parameter in linear.parameters()), None)
    with torch.enable_grad(), _Linear():
        flow = linear(torch.ones(1, *shape, dtype=torch.float64, device=device)).sum()
        pairs = _slopes(flow, linear)
    total = sum(float((weight.detach() * slope).abs().sum()) for weight, slope in pairs)
    return math.log(total) if total > 0 else -math.inf


def grad_norm(model: nn.Module, images_NCHW: Tensor, labels_N: Tensor) -> float:
    """Σ ‖∂L/∂θ‖₂ over weights θ of two or more axes; L is the batch's mean cross entropy.

    Abdelfattah, Mehrotra, Dudziak, Lane: Zero-Cost Proxies for Lightweight NAS (arXiv 2101.08134).
    """
    fresh = _fresh(model)
    with torch.enable_grad():
        loss = F.cross_entropy(fresh(images_NCHW), labels_N)
        pairs = _slopes(loss, fresh)
    return sum(float(slope.norm()) for _, slope in pairs)


def _fresh(model: nn.Module) -> nn.Module:
    """A copy without gradients in which nothing is random and batch norm uses the batch."""
    fresh = copy.deepcopy(model).eval()
    for parameter in fresh.parameters():
        parameter.grad = None
        parameter.requires_grad_(True)
    for module in fresh.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
    return fresh


def _slopes(value: Tensor, model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Each weight of two or more axes that has a part in a value, and its gradient."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    if not weights:
        return []
    slopes = torch.autograd.grad(value, weights, allow_unused=True)
    return [(w, slope) for w, slope in zip(weights, slopes, strict=True) if slope is not None]


class _Patterns(TorchFunctionMode):
    """Adds up, over all activations, in how many of their inputs' signs two images agree."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.kernel_NN = torch.zeros(images, images, dtype=torch.float64)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in RECTIFIERS:
            x = _input(args, kwargs)
            # ±1, whose products sum to (same − different): exact in fp32 up to 2²⁴ of them
            signs_NF = (x > 0).flatten(1).float().mul_(2).sub_(1)
            same_NN = (signs_NF @ signs_NF.T).double().add_(signs_NF.shape[1]).div_(2)
            self.kernel_NN += same_NN.cpu()
        return func(*args, **(kwargs or {}))


class _Linear(TorchFunctionMode):
    """Lets everything through activations and norms."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in RECTIFIERS or func in NORMS:
            return _input(args, kwargs)
        return func(*args, **(kwargs or {}))


def _input(args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Tensor:
    found = args[0] if args else (kwargs or {})["input"]
    assert isinstance(found, Tensor)
    return found
