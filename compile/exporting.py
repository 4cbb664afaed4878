"""A network as a file for other tools: as its spec says, without rewrites, in float32.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import torch
from torch import nn

from archspec.compile import exported, parity
from archspec.compile.backends import onnx
from archspec.compile.backends.base import Runner
from archspec.compile.errors import CompileError, UnavailableError, UnfitError, first_line
from archspec.compile.job import Bench
from archspec.compile.settings import Batch, Settings
from archspec.compile.subject import Subject
from archspec.errors import brief, did_you_mean
from archspec.files import replacing

Format = Literal["onnx", "torch-export", "safetensors"]
SUFFIXES: Mapping[Format, str] = {
    "onnx": ".onnx", "torch-export": ".pt2", "safetensors": ".safetensors",
}  # fmt: skip
LOOKED_AT = 2
"""Random images that an exported network is compared on; larger batches repeat them."""


@dataclass(frozen=True)
class Exported:
    """A file that was written, and what it was seen to compute."""

    files: tuple[Path, ...]
    """The network; then the weights, where they need a file of their own."""
    size: int
    """Bytes of all."""
    checked_with: str | None
    """What read the file again and ran it; None: nothing here can."""
    relative_error: float | None
    """Of its logits on random images against the float64 network's."""
    bound: float | None
    """What that may be: twice the error of eager float32."""


def as_format(text: str) -> Format:
    """A format by its name.

    Raises:
        CompileError: there is none of that name.
    """
    if text in SUFFIXES:
        return cast("Format", text)
    raise CompileError(
        f"there is no format {brief(text)}", hint=did_you_mean(text, get_args(Format))
    )


def check(form: Format, batch: Batch | None, output: Path | None) -> None:
    """Refuse what cannot be exported, before any work.

    Raises:
        CompileError: options that do not go together.
        UnavailableError: packages are missing.
    """
    if form == "safetensors" and batch is not None:
        raise CompileError(
            "--batch: weights alone have no batch size", hint="leave it out, or take another format"
        )
    suffix = SUFFIXES[form]
    if output is not None and output.suffix != suffix:
        raise CompileError(
            f"--output takes a file that ends in {suffix} for {form}, found {str(output)!r}"
        )
    lacks = [name for name in ("onnx", "onnxscript") if not importlib.util.find_spec(name)]
    if form == "onnx" and lacks:
        raise UnavailableError(
            f"the format onnx cannot be written here: it needs the package {' and '.join(lacks)}",
            hint="pip install 'archspec-vision[onnx]'",
        )


def export(
    subject: Subject,
    form: Format,
    output: Path | None = None,
    *,
    batch: Batch | None = None,
) -> Exported:
    """Write a network as a file, read it again and compare it with the network.

    However it ends, `output` is a whole file or what it was before.

    Args:
        subject: the network; without weights they are random, always the same.
        output: the file; NAME.onnx, .pt2 or .safetensors in the current folder if None.
        batch: the batch sizes that it is to take; 1 if None. Weights alone have none.

    Raises:
        CompileError: it cannot be exported, or `output` cannot be written.
        UnavailableError: packages are missing.
        UnfitError: the file does not compute the network; it was not written.
        SpecError, WeightsError: as `archspec.build`.
    """
    check(form, batch, output)
    path = output or Path(subject.spec.name + SUFFIXES[form])
    size = subject.spec.input
    image = (size["channels"], size["height"], size["width"])
    settings = Settings(image, batch or Batch(1, 1, 1))
    with replacing(path) as unfinished:
        if unfinished == path.resolve():
            raise CompileError(f"cannot write {path}: it is no regular file")
        final = path.resolve() if path.is_symlink() else path
        bench = Bench.of(subject)
        with tempfile.TemporaryDirectory(dir=unfinished.parent, prefix=".export-") as place:
            draft = Path(place, final.name)  # an ONNX file names the one with its weights
            _write(bench.module, form, settings, draft)
            runner, checked_with = _reader(subject, form, settings, draft)
            error, bound = None, None
            if runner is not None:
                error, bound = _compare(bench.module, runner, settings, path)
            files = [path]
            total = draft.stat().st_size
            for other in sorted(Path(place).iterdir()):
                if other != draft:
                    total += other.stat().st_size
                    files.append(final.with_name(other.name))
                    with replacing(files[-1]) as target:
                        other.replace(target)
            draft.replace(unfinished)
    return Exported(tuple(files), total, checked_with, error, bound)


def _write(module: nn.Module, form: Format, settings: Settings, path: Path) -> None:
    try:
        if form == "onnx":
            onnx.write(module, settings, path)
        elif form == "torch-export":
            exported.save(exported.export(module, settings), path)
        else:
            from safetensors.torch import save_file

            tensors = {name: value.contiguous() for name, value in module.state_dict().items()}
            save_file(tensors, path)
    except (CompileError, OSError):
        raise
    except Exception as error:  # a full disk is a RuntimeError to PyTorch's writer
        raise CompileError(f"cannot write {path.name}: {first_line(error)}") from error


def _reader(
    subject: Subject, form: Format, settings: Settings, path: Path
) -> tuple[Runner | None, str | None]:
    """What the file computes, and what ran it; None where nothing here can."""
    if form == "safetensors":
        from archspec.api import build

        return build(subject.spec, weights=path).float().eval(), "a network built anew"
    if form == "torch-export":
        return exported.load(path).module(), "PyTorch"
    from onnx import checker

    try:
        checker.check_model(str(path), full_check=True)
    except Exception as error:
        raise UnfitError(f"the ONNX file is not valid: {first_line(error)}") from error
    if not importlib.util.find_spec("onnxruntime"):
        return None, None
    try:
        return onnx.runner(path), "ONNX Runtime"
    except Exception as error:
        raise UnfitError(f"ONNX Runtime refuses the ONNX file: {first_line(error)}") from error


def _compare(
    module: nn.Module, runner: Runner, settings: Settings, path: Path
) -> tuple[float, float]:
    """The largest relative error, and what it may be.

    Raises:
        UnfitError: it is more than that.
    """
    images_NCHW = torch.randn(
        LOOKED_AT, *settings.image, generator=torch.Generator().manual_seed(0)
    )
    expected = parity.expect(module, {"random": images_NCHW}, "fp32", "cpu")
    sizes = tuple(dict.fromkeys((settings.batch.min, settings.batch.opt)))
    found = parity.compare(runner, expected, sizes, "fp32", "cpu")
    errors = [case.relative_error for case in found.cases]
    worst = max((error for error in errors if error is not None), default=0.0)
    if not found.passed:
        told = f"{worst:.1e}" if None not in errors else "its logits are not finite"
        raise UnfitError(
            f"{path} was not written: read again, it does not compute the network (relative error "
            f"{told}, at most {expected[0].bound:.1e} expected)"
        )
    return worst, expected[0].bound
