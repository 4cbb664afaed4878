"""OpenVINO: an intermediate representation that Intel's runtime compiles for the CPU it finds."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from archspec.compile import exported
from archspec.compile.backends.base import Backend, Job, Runner
from archspec.compile.errors import CompileError
from archspec.compile.settings import Precision, Settings

MODEL = "model.xml"
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "bf16"}
"""What OpenVINO computes in."""


class OpenVINO(Backend):
    """`openvino.convert_model`; the precision is the runtime's to apply, the file has float32."""

    name: ClassVar[str] = "openvino"
    about: ClassVar[str] = "OpenVINO, on the CPU"
    extra: ClassVar[str | None] = "openvino"
    precisions: ClassVar[Mapping[str, tuple[Precision, ...]]] = {"cpu": ("fp32", "bf16")}
    files: ClassVar[tuple[str, ...]] = (MODEL, "model.bin")
    packages: ClassVar[tuple[str, ...]] = ("torch", "openvino")

    @classmethod
    def missing(cls, settings: Settings) -> list[str]:
        return [] if importlib.util.find_spec("openvino") else ["the package openvino"]

    @classmethod
    def compile(cls, job: Job) -> dict[str, Any]:
        openvino: Any = importlib.import_module("openvino")
        settings = Settings(job.settings.image, job.settings.batch, "fp32", "cpu")
        module = exported.module_of(job.network, settings, cls.pointwise)
        program = exported.export(module, settings)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = openvino.convert_model(program)
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise CompileError(f"OpenVINO cannot convert it: {reason}") from error
        openvino.save_model(model, str(job.folder / MODEL), compress_to_fp16=False)
        return {}

    @classmethod
    def load(cls, folder: Path, settings: Settings, facts: Mapping[str, Any]) -> Runner:
        openvino: Any = importlib.import_module("openvino")
        options = {
            "INFERENCE_PRECISION_HINT": HINTS[settings.precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            compiled: Any = openvino.Core().compile_model(str(folder / MODEL), "CPU", options)
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise CompileError(f"{folder / MODEL} cannot be loaded: {reason}") from error

        def run(images_BCHW: Tensor) -> Tensor:
            return torch.from_numpy(compiled(images_BCHW.numpy())[0].copy())

        return run
