"""PyTorch as it is: the reference, as an exported program that loads without our source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from archspec.compile import exported
from archspec.compile.backends.base import TORCH_PRECISIONS, Backend, Form, Job, Runner
from archspec.compile.settings import Precision, Settings

PROGRAM = "model.pt2"


class Eager(Backend):
    """Nothing is compiled and nothing is rewritten."""

    name: ClassVar[str] = "eager"
    about: ClassVar[str] = "PyTorch, uncompiled: the reference"
    precisions: ClassVar[Mapping[str, tuple[Precision, ...]]] = TORCH_PRECISIONS
    files: ClassVar[tuple[str, ...]] = (PROGRAM,)

    @classmethod
    def form(cls, settings: Settings) -> Form:
        return Form(rewrites=())

    @classmethod
    def compile(cls, job: Job) -> dict[str, Any]:
        module = exported.module_of(job.network, job.settings, cls.form(job.settings).pointwise)
        exported.save(exported.export(module, job.settings), job.folder / PROGRAM)
        return {}

    @classmethod
    def load(cls, folder: Path, settings: Settings, facts: Mapping[str, Any]) -> Runner:
        runner: Runner = exported.load(folder / PROGRAM).module().to(settings.device)
        return runner
