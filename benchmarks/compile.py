"""What each runtime makes of sMLPNet-T as archspec gives it, and of the network written by hand.

Per runtime, precision and batch size, on the same weights: the plain NCHW module (`plain.py`)
exported to that runtime as it is, and ours, rewritten for it. All are timed in turns in one run.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

import archspec
from archspec.clock import Task, clock_for
from archspec.compile import backends, parity
from archspec.compile.backends.base import Backend, Job, Runner
from archspec.compile.network import Network, inline
from archspec.compile.rewriting import rewrite
from archspec.compile.settings import Batch, Precision, Settings
from archspec.expansion import expand
from benchmarks import timing
from benchmarks.eager import make
from benchmarks.environment import cores
from benchmarks.registry import Benchmark, Device, Findings, Row

CASES: dict[Device, list[tuple[str, Precision]]] = {
    "cpu": [
        ("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"),
        ("inductor", "fp32"), ("aoti", "fp32"), ("aoti", "bf16"),
    ],
    "cuda": [("aoti", "bf16"), ("tensorrt", "bf16")],  # torch.compile is the compiler of aoti
}  # fmt: skip
BATCHES: dict[Device, tuple[int, ...]] = {"cpu": (1, 8), "cuda": (64, 1, 256)}
ROUNDS: dict[Device, dict[int, int]] = {
    "cpu": {1: 31, 8: 11}, "cuda": {1: 101, 64: 31, 256: 11},
}  # fmt: skip
BASE = "eager fp32"
"""The plain module, where there is one; else ours."""


@dataclass(frozen=True)
class Plain:
    """Stands for a network: the module written by hand, whatever form a backend asks for."""

    network: nn.Module

    def module(self, dtype: torch.dtype, **_: Any) -> nn.Module:
        return copy.deepcopy(self.network).to(dtype).eval()


@dataclass(frozen=True)
class Made:
    """A compiled network."""

    runner: Runner
    seconds: float
    size: int
    """Bytes."""


def run(device: Device) -> Iterator[Findings]:
    if device == "cpu":
        torch.set_num_threads(cores())
    return measured(["smlpnet_t"], device, CASES[device], BATCHES[device])


def measured(
    names: Sequence[str],
    device: Device,
    cases: Sequence[tuple[str, Precision]],
    batches: Sequence[int],
) -> Iterator[Findings]:
    """Networks at batch sizes, by backends in precisions: ours, and the plain module if any is."""
    rows: list[Row] = []
    skipped = []
    for name in names:
        torch.manual_seed(0)
        spec = archspec.load(name)
        plain: nn.Module | None = None
        if name.startswith("smlpnet"):  # of the others there is no plain module
            built, plain = make(spec)
        else:
            built = archspec.build(spec).eval()
        ours = inline(expand(spec), built)
        for batch in batches:
            images_BCHW = torch.randn(batch, 3, 224, 224)
            with torch.inference_mode():
                exact_BK = copy.deepcopy(built).double()(images_BCHW.double())
            tasks: dict[str, Runner] = {BASE: copy.deepcopy(plain or built).to(device)}
            for kind, precision in cases:
                backend = backends.find(kind)
                settings = Settings((3, 224, 224), Batch(batch, batch, batch), precision, device)
                if missing := backend.missing(settings):
                    skipped.append(f"{kind}: needs {'; '.join(missing)}")
                    continue
                network = rewrite(ours, backend.form(settings).rewrites).network
                pair = {"ours": network}
                if plain is not None:
                    pair = {"plain": cast("Network", Plain(plain)), "ours": network}
                for who, given in pair.items():
                    made = compiled(backend, given, settings)
                    label, case = f"{who}, {kind} {precision}", f"{name}, batch {batch}"
                    tasks[label] = made.runner
                    with torch.inference_mode():
                        logits_BK = made.runner(images_BCHW.to(device)).cpu().double()
                    error = parity.relative_error(logits_BK, exact_BK)
                    rows += [
                        Row(case, f"{label}: compile time", once(made.seconds), "s"),
                        Row(case, f"{label}: size", once(made.size / 2**20), "MiB"),
                        Row(case, f"{label}: relative error", once(error), ""),
                    ]
            rows += timed(f"{name}, batch {batch}", tasks, images_BCHW.to(device), device, batch)
            yield Findings(rows, {"skipped": sorted(set(skipped))})


def once(value: float) -> timing.Quartiles:
    """A figure that was taken once."""
    return timing.Quartiles.of([value])


def compiled(backend: type[Backend], network: Network, settings: Settings) -> Made:
    """A network by a backend, through a folder, as a user's would be."""
    folder = Path(tempfile.mkdtemp(prefix="archspec-benchmark-"))
    images_NCHW = torch.randn(16, *settings.image)
    start = time.perf_counter()
    facts = backend.compile(Job(network, settings, folder, images_NCHW, _ignore))
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Made(backend.load(folder, settings, facts), seconds, size)


_ignore: Callable[[str], None] = lambda _: None  # noqa: E731


def timed(
    case: str, runners: dict[str, Runner], images_BCHW: Tensor, device: Device, batch: int
) -> list[Row]:
    """Images a second, how often as fast as eager each is, and ours against the plain module's."""
    tasks: dict[str, Task] = {
        name: partial(runner, images_BCHW) for name, runner in runners.items()
    }
    clock = clock_for(device)
    with torch.inference_mode():
        seconds = timing.interleave(tasks, ROUNDS[device][batch], warmup=3, clock=clock)
    rows = []
    for name, each in seconds.items():
        rows.append(Row(case, name, timing.rate(each, batch), "images/s"))
        if name != BASE:
            rows.append(Row(case, f"{name} / {BASE}", timing.ratio(seconds[BASE], each), "×"))
        theirs = seconds.get(name.replace("ours", "plain", 1))
        if name.startswith("ours") and theirs is not None:
            rows.append(Row(case, f"{name} / plain", timing.ratio(theirs, each), "×"))
    return rows


def lacks(device: Device) -> str | None:
    """A compiled benchmark without a compiler says nothing."""
    settings = Settings((3, 224, 224), device=device)
    usable = [kind for kind, _ in CASES[device] if not backends.find(kind).missing(settings)]
    return None if usable else "needs a backend of archspec compile"


BENCHMARK = Benchmark(
    "compile",
    "sMLPNet as archspec compiles it against the plain NCHW module by the same runtimes",
    ("cpu", "cuda"),
    run,
    lacks,
    is_long=True,
)
