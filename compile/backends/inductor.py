"""torch.compile: the network is kept as an exported program and compiled when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from archspec.compile import exported
from archspec.compile.backends.base import Form, Runner, fused
from archspec.compile.backends.eager import PROGRAM, Eager
from archspec.compile.settings import Settings


class Inductor(Eager):
    """Kept as `eager` keeps it; machine code is made in the process that runs it.

    What PyTorch's own cache has of it is not made again.
    """

    name: ClassVar[str] = "inductor"
    about: ClassVar[str] = "torch.compile, when the artefact is loaded"

    @classmethod
    def missing(cls, settings: Settings) -> list[str]:
        return exported.lacks_compiler(settings)

    @classmethod
    def form(cls, settings: Settings) -> Form:
        return fused(settings)

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
            with (
                torch._inductor.config.patch(freezing=True), exported.quiet(),
                torch.inference_mode(),
            ):  # fmt: skip
                logits_BK: Tensor = compiled(images_BCHW)
            return logits_BK

        run(exported.example(settings))
        return run
