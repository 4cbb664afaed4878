"""sMLPNet-S and -B and the networks that the paper compares with, all compiled alike."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import compile as compiling
from benchmarks.registry import Benchmark, Device, Findings

NETWORKS = ("smlpnet_t", "swin_t", "smlpnet_s", "swin_s", "smlpnet_b", "swin_b", "mixer_b16")
BATCHES = (1, 256)


def run(device: Device) -> Iterator[Findings]:
    return compiling.measured(NETWORKS, device, [("aoti", "bf16")], BATCHES)


BENCHMARK = Benchmark(
    "rivals",
    "sMLPNet against Swin and MLP-Mixer, all as archspec compiles them",
    ("cuda",),
    run,
    compiling.lacks,
    is_long=True,
)
