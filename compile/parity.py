"""Whether an artefact computes its network: its logits against the float64 network's.

The bound follows from what the precision itself loses: the same network in eager mode and the same
precision has an error too, and an artefact may have a small multiple of that.

Shapes: B batch, N images looked at, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from archspec.compile.backends.base import Runner
from archspec.compile.exported import DTYPES, FloatInterface
from archspec.compile.manifest import Parity, ParityCase
from archspec.compile.settings import Precision, Settings, full_batches

LOOKED_AT = 8
"""Different images of each kind; larger batches repeat them."""

MULTIPLE: dict[Precision, float] = {"fp32": 2, "tf32": 3, "bf16": 3, "fp16": 3}
"""How many times eager's error in the same precision an artefact's may be."""
FLOOR: dict[Precision, float] = {"fp32": 8, "tf32": 2, "bf16": 2, "fp16": 2}
"""Machine epsilons that are always allowed: in a small network, eager's own error is luck."""
COSINE: dict[Precision, float] = {
    "fp32": 0.9999, "tf32": 0.999, "bf16": 0.999, "fp16": 0.999, "int8": 0.99, "fp8": 0.99,
}  # fmt: skip
"""The least cosine between an image's logits and those of the float64 network."""
QUANTISED = 0.15
"""The largest relative error of int8 and fp8, which have no eager mode to be compared with."""


@dataclass(frozen=True)
class Expected:
    """What an artefact is held against, for one kind of inputs."""

    inputs: str
    images_NCHW: Tensor
    logits_NK: Tensor
    """Of the float64 network."""
    bound: float
    """The largest relative error."""


def expect(
    network: nn.Module, inputs: Mapping[str, Tensor], precision: Precision, device: str
) -> list[Expected]:
    """The float64 network's logits on each kind of inputs, and how far one may be from them.

    Args:
        network: as its spec describes it, without rewrites; any dtype. It is not changed.
        inputs: kind → normalised images (N, C, H, W), float32.
        device: where eager mode computes in `precision`.
    """
    exact = copy.deepcopy(network).to("cpu", torch.float64).eval()
    same = None if precision not in DTYPES else eager(network, precision, device)
    found = []
    with torch.inference_mode():
        for kind, images_NCHW in inputs.items():
            logits_NK = exact(images_NCHW.double())
            bound = QUANTISED
            if same is not None:
                error = relative_error(same(images_NCHW.to(device)).double().cpu(), logits_NK)
                least = FLOOR[precision] * _epsilon(precision)
                bound = max(MULTIPLE[precision] * error, least) if math.isfinite(error) else least
            found.append(Expected(kind, images_NCHW, logits_NK, bound))
    return found


def eager(network: nn.Module, precision: Precision, device: str) -> Runner:
    """The network in eager mode: a copy in a precision, on a device."""
    dtype = DTYPES[precision]
    module = copy.deepcopy(network).to(device, dtype).eval()
    return module if dtype == torch.float32 else FloatInterface(module, dtype).eval()


def _epsilon(precision: Precision) -> float:
    if precision == "tf32":
        return 2.0**-10
    return torch.finfo(DTYPES[precision]).eps


def compare(
    runner: Runner,
    expected: Sequence[Expected],
    sizes: Sequence[int],
    precision: Precision,
    device: str,
) -> Parity:
    """Run an artefact at each batch size on each kind of inputs."""
    cases = []
    for case in expected:
        for size in sizes:
            found, exact = [], []
            for index in full_batches(len(case.images_NCHW), size):  # every image is looked at
                with torch.inference_mode():
                    found.append(runner(case.images_NCHW[index].to(device)).double().cpu())
                exact.append(case.logits_NK[index])
            logits_NK = torch.cat(found)
            cases.append(_case(case, size, logits_NK, torch.cat(exact), COSINE[precision]))
    return Parity(rule=_rule(precision), cases=tuple(cases))


def _case(
    expected: Expected, size: int, logits_NK: Tensor, exact_NK: Tensor, least: float
) -> ParityCase:
    if logits_NK.shape != exact_NK.shape or not bool(logits_NK.isfinite().all()):
        return ParityCase(
            inputs=expected.inputs, batch=size, relative_error=None, bound=expected.bound,
            worst_logit=None, cosine=-1.0, top1=0.0, passed=False,
        )  # fmt: skip
    error = relative_error(logits_NK, exact_NK)
    worst = float((logits_NK - exact_NK).abs().max())
    cosine = float(torch.cosine_similarity(logits_NK, exact_NK, dim=1).min())
    top1 = float((logits_NK.argmax(1) == exact_NK.argmax(1)).double().mean())
    return ParityCase(
        inputs=expected.inputs, batch=size, relative_error=error, bound=expected.bound,
        worst_logit=worst, cosine=cosine, top1=top1,
        passed=error <= expected.bound and cosine >= least,
    )  # fmt: skip


def relative_error(found: Tensor, exact: Tensor) -> float:
    """‖found − exact‖ / ‖exact‖; infinite where something is not finite."""
    error = float((found - exact).norm() / exact.norm().clamp(min=1e-300))
    return error if math.isfinite(error) else math.inf


def accuracy(
    network: nn.Module, runner: Runner, images_NCHW: Tensor, labels_N: Tensor, settings: Settings
) -> dict[str, float]:
    """The share of labelled images that network (eager, float32) and artefact get right."""
    size = settings.batch.opt
    count = len(images_NCHW)
    right = {"eager fp32": 0, "artefact": 0}
    with torch.inference_mode():
        for number, index in enumerate(full_batches(count, size)):
            whole = min(size, count - number * size)  # the others were counted already
            images_BCHW, labels_B = images_NCHW[index], labels_N[index][:whole]
            for name, run in (("eager fp32", network), ("artefact", runner)):
                place = "cpu" if run is network else settings.device
                best_B = run(images_BCHW.to(place)).argmax(1).cpu()[:whole]
                right[name] += int((best_B == labels_B).sum())
    return {name: found / count for name, found in right.items()} | {"images": count}


def _rule(precision: Precision) -> str:
    if precision not in MULTIPLE:
        return f"relative error ≤ {QUANTISED} and cosine ≥ {COSINE[precision]}"
    return (
        f"relative error against float64 ≤ {MULTIPLE[precision]:g} × that of eager {precision} "
        f"(or {FLOOR[precision]:g} ε), and cosine ≥ {COSINE[precision]}"
    )
