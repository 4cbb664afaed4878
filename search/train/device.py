"""Where training runs and in what precision: Lightning Fabric, and what makes runs repeatable."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import logging
import os
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel

from archspec.errors import ArchspecError
from archspec.search.train.recipe import Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def open_fabric(device: str = "auto", precision: Precision | None = None) -> Fabric:
    """A Fabric for one device.

    Args:
        device: `auto` (CUDA if there is one, else the CPU), `cpu`, `cuda` or `cuda:1`.
        precision: None is bf16 on CUDA and fp32 elsewhere.

    Raises:
        ArchspecError: there is no such device.
    """
    kind, index = resolve(device)
    # one device is one device, whatever torchrun or Slurm say in the environment
    alone = _fabric("plugins.environments").LightningEnvironment()
    return _made(kind, precision, devices=[index] if kind == "cuda" else 1, plugins=alone)


def joint_fabric(
    kind: str, precision: Precision | None, devices: int, machines: int, *, is_ours: bool
) -> Fabric:
    """A Fabric for one of several processes, each with a device; `launch()` joins them.

    Args:
        kind: `cpu` or `cuda`.
        devices: on each machine.
        is_ours: LOCAL_RANK and NODE_RANK in the environment say which process this is; else,
            what torchrun or Slurm put there.
    """
    # buffers stay what they are in each process: Exchange looks after those of batch norm
    newer = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    strategy = _fabric("strategies").DDPStrategy(
        gradient_as_bucket_view=True,
        **{"forward_sync_buffers" if newer else "broadcast_buffers": False},
    )
    ours = _fabric("plugins.environments").LightningEnvironment() if is_ours else None
    return _made(
        kind, precision, devices=devices, num_nodes=machines, strategy=strategy, plugins=ours
    )


def _made(kind: str, precision: Precision | None, **more: Any) -> Fabric:
    if precision is None:
        precision = "bf16" if kind == "cuda" else "fp32"
    numbers = "bf16-mixed" if precision == "bf16" else "32-true"
    with quiet():
        fabric: Fabric = _fabric().Fabric(accelerator=kind, precision=numbers, **more)
    return fabric


def _fabric(module: str | None = None) -> Any:
    """Lightning Fabric, or a module of it, from its own package or the same from `lightning`."""
    inner = f".{module}" if module else ""
    try:
        return importlib.import_module(f"lightning_fabric{inner}")
    except ModuleNotFoundError:
        return importlib.import_module(f"lightning.fabric{inner}")


def resolve(device: str) -> tuple[str, int]:
    """`cpu` or `cuda`, and which one, of a device as users name it.

    Raises:
        ArchspecError: there is no such device.
    """
    match = re.fullmatch(r"(auto|cpu|cuda)(?::(\d{1,4}))?", device)
    if not match or (match[2] and match[1] != "cuda"):
        raise ArchspecError(
            f"there is no device {device!r}", hint="known: auto, cpu, cuda, cuda:0, cuda:1, …"
        )
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind = match[1] if match[1] != "auto" else "cuda" if there else "cpu"
    index = int(match[2] or 0)
    if kind == "cuda" and index >= there:
        raise ArchspecError(
            f"there is no device {device!r}: PyTorch finds {there} CUDA devices here",
            hint="'auto' takes what there is",
        )
    return kind, index


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Fabric's announcements of what it uses."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def seed_of(*parts: int) -> int:
    """One seed of several: near ones give unrelated streams (numpy.random.SeedSequence)."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


@contextlib.contextmanager
def seeded(*parts: int) -> Iterator[None]:
    """Run with torch's generators seeded by `parts`, and leave them as they were.

    `with seeded(seed): model = archspec.build(spec)` gives the same weights every time.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(*parts))
        yield


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """Let the same inputs give the same bits, on one device and one version of PyTorch.

    On CUDA, ops without a deterministic kernel still run. On the CPU, the number of threads is
    part of what must be the same.
    """
    # cuBLAS reads it when it starts; without it, its sums may differ from run to run
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cudnn, memory = torch.backends.cudnn, _deterministic_settings()
    filled = memory.fill_uninitialized_memory
    before = (cudnn.deterministic, cudnn.benchmark)
    strict = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        cudnn.deterministic, cudnn.benchmark = True, False
        torch.use_deterministic_algorithms(True, warn_only=True)
        memory.fill_uninitialized_memory = False  # it costs a pass over memory
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deterministic")
            # of gradients whose memory is channels-last, among several devices
            warnings.filterwarnings("ignore", message="Grad strides do not match")
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
        torch.use_deterministic_algorithms(strict, warn_only=lenient)
        memory.fill_uninitialized_memory = filled


def _deterministic_settings() -> Any:
    import torch.utils.deterministic

    return torch.utils.deterministic
