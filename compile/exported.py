"""Exported programs (`torch.export`): how backends receive a network, and how one is kept safely.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from archspec.compile import untrusted
from archspec.compile.errors import CompileError, first_line
from archspec.compile.settings import Precision, Settings
from archspec.program import Pointwise

if TYPE_CHECKING:
    from archspec.compile.network import Network

DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16,
}  # fmt: skip
"""What weights and activations are kept in."""


class FloatInterface(nn.Module):
    """A network of any precision that takes float32 images (B, C, H, W), gives float32 logits."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.to(self.dtype))
        return logits.float()


def module_of(network: Network, settings: Settings, pointwise: Pointwise = "conv") -> nn.Module:
    """The network in the precision that is asked for, on its device, in eval mode."""
    dtype = DTYPES[settings.precision]
    module = network.module(dtype, pointwise=pointwise)
    if dtype != torch.float32:
        module = FloatInterface(module, dtype)
    return module.to(settings.device).eval()


def example(settings: Settings) -> Tensor:
    """Images (B, C, H, W) of the best batch size, to trace a network with."""
    # a dynamic dimension of size 1 would be taken for a constant
    size = settings.batch.opt if settings.batch.is_fixed else max(2, settings.batch.opt)
    return torch.zeros(size, *settings.image, device=settings.device)


def export(module: nn.Module, settings: Settings) -> ExportedProgram:
    """The program of a module for the batch sizes that are asked for.

    Raises:
        CompileError: torch.export refuses it.
    """
    batch = settings.batch
    dynamic: Any = None
    if not batch.is_fixed:
        dynamic = ({0: Dim("batch", min=batch.min, max=batch.max)},)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(module, (example(settings),), dynamic_shapes=dynamic)
    except Exception as error:
        raise CompileError(f"torch.export refuses the network: {first_line(error)}") from error


def save(program: ExportedProgram, path: Path) -> None:
    """Write a program as a `.pt2` file.

    Raises:
        OSError: it cannot be written.
    """
    # PyTorch's own writer of files ends the process when the disk is full
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, content)
    path.write_bytes(content.getbuffer())


def load(path: Path) -> ExportedProgram:
    """Read a `.pt2` file, which may come from anywhere: one that could run anything is refused.

    Raises:
        CompileError: no such file, no exported program, or one that could run code.
    """
    untrusted.check(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(path)
    except Exception as error:
        raise CompileError(f"{path} is not an exported program that can be read here") from error


def lacks_compiler(settings: Settings) -> list[str]:
    """What PyTorch's own compiler lacks here."""
    if settings.device_kind == "cpu":
        wanted = os.environ.get("CXX", "g++")
        return [] if shutil.which(wanted) or shutil.which("clang++") else ["a C++ compiler (g++)"]
    return [] if importlib.util.find_spec("triton") else ["the package triton"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what Inductor prints of the kernels that it tries: tables of many pages on CUDA."""
    config: Any = torch._inductor.config
    wanted = {"autotune_num_choices_displayed": 0, "max_autotune_report_choices_stats": False}
    known = {name: value for name, value in wanted.items() if hasattr(config, name)}
    logger = logging.getLogger("torch._inductor.select_algorithm")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # kernels that do not fit the device are errors to it
    try:
        with config.patch(known):
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def tf32(settings: Settings) -> Iterator[None]:
    """Let CUDA's products of float32 take TF32, if that is the precision asked for."""
    if settings.device_kind != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if settings.precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
