"""AOTInductor: machine code in a package, made once and loaded without a compiler."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from archspec.compile import exported
from archspec.compile.backends.base import TORCH_PRECISIONS, Backend, Form, Job, Runner, fused
from archspec.compile.errors import CompileError
from archspec.compile.settings import Precision, Settings

PACKAGE = "model.pt2"


class AOTInductor(Backend):
    """`torch._inductor.aoti_compile_and_package`, with the weights folded in ("frozen")."""

    name: ClassVar[str] = "aoti"
    about: ClassVar[str] = "AOTInductor: machine code ahead of time"
    precisions: ClassVar[Mapping[str, tuple[Precision, ...]]] = TORCH_PRECISIONS
    files: ClassVar[tuple[str, ...]] = (PACKAGE,)
    is_bound: ClassVar[bool] = True
    runs_code: ClassVar[bool] = True

    @classmethod
    def missing(cls, settings: Settings) -> list[str]:
        return exported.lacks_compiler(settings)

    @classmethod
    def form(cls, settings: Settings) -> Form:
        return fused(settings)

    @classmethod
    def missing_to_run(cls, settings: Settings) -> list[str]:
        return []

    @classmethod
    def compile(cls, job: Job) -> dict[str, Any]:
        module = exported.module_of(job.network, job.settings, cls.form(job.settings).pointwise)
        program = exported.export(module, job.settings)
        inductor: Any = torch._inductor
        options = {"freezing": True}
        if job.settings.device_kind == "cuda":
            options["max_autotune"] = True
        try:
            with (
                exported.tf32(job.settings), exported.quiet(), warnings.catch_warnings(),
                torch.no_grad(),  # with gradients, it would not freeze
            ):  # fmt: skip
                warnings.simplefilter("ignore")
                inductor.aoti_compile_and_package(
                    program, package_path=str(job.folder / PACKAGE), inductor_configs=options
                )
        except Exception as error:
            reason = str(error).strip().splitlines()[-1]
            raise CompileError(f"AOTInductor cannot compile it: {reason}") from error
        return {}

    @classmethod
    def load(cls, folder: Path, settings: Settings, facts: Mapping[str, Any]) -> Runner:
        inductor: Any = torch._inductor
        try:
            package = inductor.aoti_load_package(str(folder / PACKAGE))
        except Exception as error:
            raise CompileError(f"{folder / PACKAGE} cannot be loaded: {error}") from error

        def run(images_BCHW: Tensor) -> Tensor:
            logits_BK: Tensor = package(images_BCHW)
            return logits_BK

        return run
