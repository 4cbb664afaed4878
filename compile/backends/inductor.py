"""torch.compile: the network is kept as an exported program and compiled when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from archspec.compile import exported
from archspec.compile.backends.base import FUSED, Backend, Form, Job, Runner
from archspec.compile.settings import Precision, Settings

PROGRAM = "model.pt2"


class Inductor(Backend):
    """Machine code is made in the process that runs it, from PyTorch's cache where it is there."""

    name: ClassVar[str] = "inductor"
    about: ClassVar[str] = "torch.compile, when the artefact is loaded"
    precisions: ClassVar[Mapping[str, tuple[Precision, ...]]] = {
        "cpu": ("fp32", "bf16", "fp16"), "cuda": ("fp32", "tf32", "bf16", "fp16"),
    }  # fmt: skip
    files: ClassVar[tuple[str, ...]] = (PROGRAM,)

    @classmethod
    def missing(cls, settings: Settings) -> list[str]:
        return exported.lacks_compiler(settings)

    @classmethod
    def form(cls, settings: Settings) -> Form:
        # oneDNN's float32 convolution is faster than its product, in lower precisions it is not
        is_float = settings.device_kind == "cpu" and settings.precision == "fp32"
        return Form(FUSED, "conv" if is_float else "linear")

    @classmethod
    def compile(cls, job: Job) -> dict[str, Any]:
        module = exported.module_of(job.network, job.settings, cls.form(job.settings).pointwise)
        exported.save(exported.export(module, job.settings), job.folder / PROGRAM)
        return {}

    @classmethod
    def load(cls, folder: Path, settings: Settings, facts: Mapping[str, Any]) -> Runner:
        module = exported.load(folder / PROGRAM).module().to(settings.device)
        with torch._inductor.config.patch(freezing=True):
            compiled = torch.compile(
                module, fullgraph=True, dynamic=not settings.batch.is_fixed,
                mode="max-autotune" if settings.device_kind == "cuda" else None,
            )  # fmt: skip

        def run(images_BCHW: Tensor) -> Tensor:
            # the option must hold while it compiles, which the first call does
            with torch._inductor.config.patch(freezing=True), torch.inference_mode():
                logits_BK: Tensor = compiled(images_BCHW)
            return logits_BK

        run(exported.example(settings))
        return run
