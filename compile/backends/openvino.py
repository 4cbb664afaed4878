"""OpenVINO: an intermediate representation that Intel's runtime compiles for the CPU it finds."""

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
from archspec.compile.settings import Precision, Settings, full_batches

MODEL = "model.xml"
MANY = 4
"""Images in a batch, from which on the concatenated tensor is dearer than more products."""
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}
"""What OpenVINO computes in, where nothing is quantised."""


class OpenVINO(Backend):
    """`openvino.convert_model`; the precision is the runtime's to apply, the file has float32."""

    name: ClassVar[str] = "openvino"
    about: ClassVar[str] = "OpenVINO, on the CPU"
    extra: ClassVar[str | None] = "openvino"
    precisions: ClassVar[Mapping[str, tuple[Precision, ...]]] = {"cpu": ("fp32", "bf16", "int8")}
    files: ClassVar[tuple[str, ...]] = (MODEL, "model.bin")
    packages: ClassVar[tuple[str, ...]] = ("torch", "openvino")

    @classmethod
    def missing(cls, settings: Settings) -> list[str]:
        names = ("openvino", "nncf") if settings.precision == "int8" else ("openvino",)
        return [f"the package {name}" for name in names if not importlib.util.find_spec(name)]

    @classmethod
    def form(cls, settings: Settings) -> Form:
        # several small products pay where each has several images to work on
        return Form((*FOLDS, "split-concat") if settings.batch.opt >= MANY else FOLDS)

    @classmethod
    def compile(cls, job: Job) -> dict[str, Any]:
        openvino: Any = importlib.import_module("openvino")
        settings = Settings(job.settings.image, job.settings.batch, "fp32", "cpu")
        module = exported.module_of(job.network, settings, cls.form(settings).pointwise)
        program = exported.export(module, settings)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = openvino.convert_model(program)
        except Exception as error:
            raise CompileError(f"OpenVINO cannot convert it: {first_line(error)}") from error
        if job.settings.precision == "int8":
            model = _quantised(model, job)
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
            raise CompileError(f"{folder / MODEL} cannot be loaded: {first_line(error)}") from error

        def run(images_BCHW: Tensor) -> Tensor:
            return torch.from_numpy(compiled(images_BCHW.numpy())[0].copy())

        return run


def _quantised(model: Any, job: Job) -> Any:
    """The model with int8 pointwise and grouped products, ranges from the job's images (NNCF).

    Products along other axes stay: they are small, and converting for them costs more than they
    take. NNCF's bias correction is off, since it fails on biases of such products (3.4).
    """
    nncf: Any = importlib.import_module("nncf")
    size, images = job.settings.batch.opt, job.images_BCHW
    count = max(len(images) // size, 1)  # batches of different images, if there are as many
    batches = [images[index].numpy() for index in full_batches(len(images), size)[:count]]
    nncf.set_log_level(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return nncf.quantize(
                model, nncf.Dataset(batches), preset=nncf.QuantizationPreset.MIXED,
                subset_size=count,
                ignored_scope=nncf.IgnoredScope(types=["MatMul"], validate=False),
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    disable_bias_correction=True
                ),
            )  # fmt: skip
    except Exception as error:
        raise CompileError(f"NNCF cannot quantise it: {first_line(error)}") from error
