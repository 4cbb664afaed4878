"""ONNX: a file for any runtime, run here with ONNX Runtime."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from archspec.compile import exported
from archspec.compile.backends.base import FOLDS, Backend, Form, Job, Runner
from archspec.compile.errors import CompileError, first_line
from archspec.compile.settings import Precision, Settings

MODEL = "model.onnx"
LARGEST = 2**31 - 2**20
"""Bytes that one ONNX file can hold; above, weights stand in a second file."""


class Onnx(Backend):
    """`torch.onnx.export`, with a batch dimension called `batch`, `images` in and `logits` out."""

    name: ClassVar[str] = "onnx"
    about: ClassVar[str] = "an ONNX file, run with ONNX Runtime"
    extra: ClassVar[str | None] = "onnx"
    precisions: ClassVar[Mapping[str, tuple[Precision, ...]]] = {
        "cpu": ("fp32",), "cuda": ("fp32", "fp16"),
    }  # fmt: skip
    files: ClassVar[tuple[str, ...]] = (MODEL,)
    packages: ClassVar[tuple[str, ...]] = ("torch", "onnx", "onnxscript", "onnxruntime")

    @classmethod
    def missing(cls, settings: Settings) -> list[str]:
        names = ("onnx", "onnxscript", "onnxruntime")
        lacks = [f"the package {name}" for name in names if not importlib.util.find_spec(name)]
        if not lacks and settings.device_kind == "cuda":
            onnxruntime: Any = importlib.import_module("onnxruntime")
            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                lacks.append("ONNX Runtime for CUDA (the package onnxruntime-gpu)")
        return lacks

    @classmethod
    def form(cls, settings: Settings) -> Form:
        return Form((*FOLDS, "split-concat"))

    @classmethod
    def compile(cls, job: Job) -> dict[str, Any]:
        module = exported.module_of(job.network, job.settings, cls.form(job.settings).pointwise)
        write(module, job.settings, job.folder / MODEL)
        return {}

    @classmethod
    def load(cls, folder: Path, settings: Settings, facts: Mapping[str, Any]) -> Runner:
        path = folder / MODEL
        try:
            return runner(path, settings.device_kind)
        except Exception as error:
            raise CompileError(f"{path} cannot be loaded: {error}") from error


def runner(path: Path, device_kind: str = "cpu") -> Runner:
    """An ONNX file with `images` in and `logits` out, in ONNX Runtime.

    Raises:
        Exception: whatever ONNX Runtime raises on a file that it does not take.
    """
    onnxruntime: Any = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # its threads would go on looking for work, and keep others in this process from theirs
    options.add_session_config_entry("session.force_spinning_stop", "1")
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[device_kind]
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider])

    def run(images_BCHW: Tensor) -> Tensor:
        (logits_BK,) = session.run(["logits"], {"images": images_BCHW.cpu().numpy()})
        return torch.from_numpy(logits_BK).to(images_BCHW.device)

    return run


def write(module: torch.nn.Module, settings: Settings, path: Path) -> None:
    """Write a module as an ONNX file.

    Raises:
        CompileError: PyTorch's exporter refuses it.
        OSError: the file cannot be written.
    """
    program = exported.export(module, settings)
    size = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            made: Any = torch.onnx.export(
                program, dynamo=True, input_names=["images"], output_names=["logits"],
                dynamic_shapes=None if settings.batch.is_fixed else ({0: "batch"},),  # its name
                verbose=False, optimize=True,
            )  # fmt: skip
            made.save(str(path), external_data=size > LARGEST)
    except OSError:
        raise  # a full disk
    except Exception as error:
        raise CompileError(f"PyTorch's ONNX exporter refuses it: {first_line(error)}") from error


@contextlib.contextmanager
def _quiet() -> Any:
    """Without the exporter's announcements."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
