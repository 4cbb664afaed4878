"""Where training runs and in what precision: Lightning Fabric, and what makes runs repeatable."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

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
    accelerator, index = _resolve(device)
    if precision is None:
        precision = "bf16" if accelerator == "cuda" else "fp32"
    devices: Any = [index] if accelerator == "cuda" else 1
    with _quiet():
        fabric: Fabric = _fabric()(
            accelerator=accelerator,
            devices=devices,
            precision="bf16-mixed" if precision == "bf16" else "32-true",
        )
    return fabric


def _fabric() -> Any:
    """Lightning Fabric from its own package, or the same from `lightning`."""
    try:
        from lightning_fabric import Fabric
    except ImportError:
        from lightning.fabric import Fabric  # type: ignore[import-not-found, no-redef]
    return Fabric


def _resolve(device: str) -> tuple[str, int]:
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
def _quiet() -> Iterator[None]:
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
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
        torch.use_deterministic_algorithms(strict, warn_only=lenient)
        memory.fill_uninitialized_memory = filled


def _deterministic_settings() -> Any:
    import torch.utils.deterministic

    return torch.utils.deterministic
