"""How many variants of a network are counted in a second, and how long fvcore takes for one."""

from __future__ import annotations

from typing import Any

from benchmarks.registry import Benchmark, Device, Row
from benchmarks.timing import Quartiles, interleave, rate, ratio

NETWORKS = 1_000_000
ROUNDS = 9


def candidates(n: int) -> dict[str, Any]:
    """Networks of the space around sMLPNet-T, drawn uniformly: width, depths, α of each stage."""
    import numpy as np

    rng = np.random.default_rng(0)
    values = {"dim": 8 * rng.integers(6, 21, n)}
    values |= {f"depths[{i}]": rng.integers(1, 33, n) for i in range(4)}
    values |= {f"stages.stage{i}.vars.alpha": rng.integers(2, 5, n) for i in range(1, 5)}
    return values


def run(device: Device) -> list[Row]:
    import torch
    from fvcore.nn.flop_count import FlopCountAnalysis

    import archspec
    from archspec.many import costs

    space, values = archspec.load("smlpnet_space"), candidates(NETWORKS)
    network = archspec.build("smlpnet_t").eval()
    image = torch.zeros(1, 3, 224, 224)

    def fvcore() -> None:
        analysis = FlopCountAnalysis(network, image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        analysis.tracer_warnings("none")
        with torch.no_grad():
            analysis.total()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one core for both
    try:
        seconds = interleave({"ours": lambda: costs(space, values), "fvcore": fvcore}, ROUNDS)
    finally:
        torch.set_num_threads(threads)
    one = [each / NETWORKS for each in seconds["ours"]]
    case = "sMLPNet variants, one core"
    return [
        Row(case, f"archspec, {NETWORKS:,} in one call", rate(seconds["ours"], NETWORKS / 1e6),
            "million networks/s"),
        Row(case, "fvcore, one network (sMLPNet-T)", Quartiles.of(seconds["fvcore"]), "s"),
        Row(case, "archspec / fvcore", ratio(seconds["fvcore"], one), "times as many networks/s"),
    ]  # fmt: skip


BENCHMARK = Benchmark(
    "costs",
    "exact costs of a million variants of sMLPNet in one call, against fvcore's time for one",
    ("cpu",),
    run,
)
