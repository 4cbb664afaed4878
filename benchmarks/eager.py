"""Eager throughput of the built sMLPNet-T against the same network written by hand in NCHW."""

from __future__ import annotations

import contextlib
from functools import partial

import torch
from torch import nn

import archspec
from archspec.clock import clock_for
from benchmarks import timing
from benchmarks.environment import cores
from benchmarks.plain import PlainSMLPNet, copy_weights
from benchmarks.registry import Benchmark, Device, Row

ROUNDS = {"cpu": 11, "cuda": 31}
BATCHES = {"cpu": (1, 8), "cuda": (1, 8, 64)}
TOLERANCE = 1e-4
"""Largest difference of the logits, relative to the largest logit, in fp32."""
CALLS = {1: 10, 8: 5, 64: 2}
"""Forward passes in one CUDA timing, so that it is long against the clock's resolution."""


def make(spec: archspec.Spec) -> tuple[nn.Module, PlainSMLPNet]:
    """The built network and the plain one, with the same weights, in eval mode."""
    built = archspec.build(spec).eval()
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics that a swapped tensor would not share
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    values = spec.to_dict()["vars"]
    plain = PlainSMLPNet(
        values["dim"], tuple(values["depths"]), values["alpha"],
        (spec.input["height"], spec.input["width"]), spec.classes,
    ).eval()  # fmt: skip
    copy_weights(built, plain)
    return built, plain


def disagreement(built: nn.Module, plain: nn.Module, image: torch.Tensor) -> float:
    """The largest difference of the two outputs, relative to the largest output."""
    with torch.inference_mode():
        expected, found = plain(image), built(image)
    return float((found - expected).abs().max() / expected.abs().max())


def run(device: Device) -> list[Row]:
    torch.manual_seed(0)
    built, plain = (network.to(device) for network in make(archspec.load("smlpnet_t")))
    images = torch.randn(max(BATCHES[device]), 3, 224, 224, device=device)
    _set_tf32(False)
    error = disagreement(built, plain, images[:2])
    if not error < TOLERANCE:
        raise RuntimeError(f"the two networks differ by {error:.1e}: there is nothing to compare")
    rows: list[Row] = []
    if device == "cpu":
        torch.set_num_threads(cores())
        for batch in BATCHES[device]:
            rows += _compare(f"batch {batch}, fp32", built, plain, images[:batch])
        return rows
    for precision in ("fp32", "tf32", "bf16 autocast"):
        _set_tf32(precision != "fp32")
        cast: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if precision == "bf16 autocast":
            cast = torch.autocast("cuda", torch.bfloat16)
        with cast:
            for batch in BATCHES[device]:
                rows += _compare(f"batch {batch}, {precision}", built, plain, images[:batch])
    _set_tf32(False)
    return rows


def _set_tf32(allowed: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def _compare(case: str, built: nn.Module, plain: nn.Module, images: torch.Tensor) -> list[Row]:
    device, batch = images.device.type, len(images)
    calls = CALLS[batch] if device == "cuda" else 1

    def forward(network: nn.Module) -> None:
        for _ in range(calls):
            network(images)

    tasks = {"built": partial(forward, built), "plain": partial(forward, plain)}
    clock = clock_for(device)
    with torch.inference_mode():
        seconds = timing.interleave(tasks, ROUNDS[device], warmup=2, clock=clock)
    return [
        Row(case, "archspec", timing.rate(seconds["built"], batch * calls), "images/s"),
        Row(case, "plain NCHW", timing.rate(seconds["plain"], batch * calls), "images/s"),
        Row(case, "archspec / plain", timing.ratio(seconds["plain"], seconds["built"]), "×"),
    ]


BENCHMARK = Benchmark(
    "eager",
    "throughput of the built sMLPNet-T against a plain NCHW module with the same weights",
    ("cpu", "cuda"),
    run,
)
