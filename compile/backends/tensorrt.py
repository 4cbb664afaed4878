"""TensorRT through torch-tensorrt: an engine that is built ahead of time and saved.

Networks are strongly typed: what the weights and activations are in PyTorch is what TensorRT
computes in, with float32 at both ends. int8 and fp8 are not offered.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import inspect
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from archspec.compile import dry_run, exported
from archspec.compile.backends.base import Backend, Job, Runner
from archspec.compile.cache import folder as cache_folder
from archspec.compile.errors import CompileError, UnavailableError, first_line
from archspec.compile.settings import Batch, Precision, Settings
from archspec.errors import brief, did_you_mean

PROGRAM = "model.pt2"
TENSORRT = {"2.11": "10.15", "2.13": "11.0", "2.14": "11.1"}
"""Version of torch and torch-tensorrt → the TensorRT that belongs to them."""
OURS = frozenset({
    "attn_bias_is_causal", "cache_built_engines", "device", "disable_tf32", "dryrun",
    "enable_autocast", "lazy_engine_init", "min_block_size", "offload_module_to_cpu",
    "require_full_compilation", "reuse_cached_engines", "timing_cache_path", "truncate_double",
    "use_explicit_typing",
})  # fmt: skip
"""Settings of torch-tensorrt that are not the user's: they would change what is promised here.

Its own engine cache is off because its key leaves out the wiring and the sizes of weights. It takes
the bias of attention for a causal mask unless it is told otherwise."""


class TensorRT(Backend):
    """One engine for the whole network, or none."""

    name: ClassVar[str] = "tensorrt"
    about: ClassVar[str] = "TensorRT through torch-tensorrt, ahead of time"
    extra: ClassVar[str | None] = "tensorrt"
    precisions: ClassVar[Mapping[str, tuple[Precision, ...]]] = {
        "cuda": ("fp32", "tf32", "bf16", "fp16"),
    }  # fmt: skip
    files: ClassVar[tuple[str, ...]] = (PROGRAM,)
    packages: ClassVar[tuple[str, ...]] = ("torch", "torch_tensorrt", "tensorrt")
    is_bound: ClassVar[bool] = True
    runs_code: ClassVar[bool] = True

    @classmethod
    def missing(cls, settings: Settings) -> list[str]:
        lacks = packages_missing()
        if not lacks and settings.device_kind == "cuda" and not torch.cuda.is_available():
            lacks = ["a CUDA device (PyTorch finds none)"]
        return lacks

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        if not packages_missing():  # which is said next
            checked_options(options)

    @classmethod
    def dry_run(cls, network: Any, settings: Settings) -> dry_run.Coverage:
        """Which operators have a converter, and whether they become one engine; needs no GPU.

        Raises:
            UnavailableError: torch-tensorrt or TensorRT cannot be used here.
            CompileError: torch-tensorrt cannot lower the network.
        """
        if lacks := packages_missing():
            raise UnavailableError(
                f"a dry run of {cls.name!r} cannot be made here: it needs {'; '.join(lacks)}",
                hint=cls.install(),
            )
        return dry_run.dry_run(network, settings, cls.form(settings).pointwise)

    @classmethod
    def compile(cls, job: Job) -> dict[str, Any]:
        torch_tensorrt: Any = importlib.import_module("torch_tensorrt")
        settings = job.settings
        options = checked_options(settings.options)
        gpu = dry_run.gpu(settings)
        module = exported.module_of(job.network, settings, cls.form(settings).pointwise)
        # the dry run may change the program that it is given, and its ranges
        first = dry_run.program_of(module, settings)
        dry_run.coverage(first, settings, job.network.places).check()
        program = dry_run.program_of(module, settings)
        with _timing_cache(gpu) as timing_cache, dry_run.quiet() as said, _current(settings):
            try:
                compiled = torch_tensorrt.dynamo.compile(
                    program, inputs=[dry_run.inputs(settings)],
                    device=torch_tensorrt.Device(gpu_id=gpu),
                    require_full_compilation=True, min_block_size=1,
                    disable_tf32=settings.precision == "fp32",
                    cache_built_engines=False, reuse_cached_engines=False,
                    attn_bias_is_causal=False,
                    timing_cache_path=str(timing_cache), **options,
                )  # fmt: skip
            except Exception as error:
                # TensorRT logs what is wrong, and gives nothing
                reason = said[-1] if said else first_line(error)
                raise CompileError(
                    f"TensorRT cannot build the engine: {reason}",
                    hint="'--dry-run' says what torch-tensorrt makes of the network",
                ) from error
            batch = engine_batch(compiled)
            check_batch(batch, settings.batch)
            # without retracing, which runs the engine and could narrow its range
            path = str(job.folder / PROGRAM)
            torch_tensorrt.save(compiled, path, retrace=False, pickle_protocol=4)
        return {"engine_batch": [batch.min, batch.opt, batch.max]}

    @classmethod
    def load(cls, folder: Path, settings: Settings, facts: Mapping[str, Any]) -> Runner:
        path = folder / PROGRAM
        try:
            torch_tensorrt: Any = importlib.import_module("torch_tensorrt")
            # what torch-tensorrt tries after a failure, it prints as a traceback
            with dry_run.quiet(), contextlib.redirect_stderr(io.StringIO()) as said:
                try:
                    module = torch_tensorrt.load(str(path)).module()
                except Exception as error:
                    reasons = [line for line in said.getvalue().splitlines() if line.strip()]
                    raise CompileError(
                        f"{path} cannot be loaded: "
                        f"{reasons[-1].strip() if reasons else first_line(error)}",
                        hint="an engine runs on the GPU model and TensorRT version that built it",
                    ) from error
        except ImportError as error:
            raise UnavailableError(f"torch-tensorrt does not load: {error}") from error

        def run(images_BCHW: Tensor) -> Tensor:
            found = module(images_BCHW)
            logits_BK: Tensor = found if isinstance(found, Tensor) else found[0]
            return logits_BK

        return run


def packages_missing() -> list[str]:
    """What of PyTorch with CUDA, torch-tensorrt and TensorRT is missing, or does not fit."""
    if torch.version.cuda is None:
        return [f"PyTorch with CUDA (this is {torch.__version__})"]
    short = ".".join(torch.__version__.split(".")[:2])
    if importlib.util.find_spec("torch_tensorrt") is None:
        return [f"the package torch-tensorrt {short}"]
    found = _installed("torch_tensorrt")
    if found is not None and ".".join(found.split(".")[:2]) != short:
        return [f"torch-tensorrt {short}, which belongs to torch {short} (this is {found})"]
    wanted = TENSORRT.get(short)
    if importlib.util.find_spec("tensorrt") is None:
        return [f"the package tensorrt {wanted}" if wanted else "the package tensorrt"]
    try:
        tensorrt: Any = importlib.import_module("tensorrt")
    except Exception as error:  # noqa: BLE001 - a missing libnvinfer shows in several ways
        return [f"TensorRT's libraries, which do not load: {first_line(error)}"]
    version = str(tensorrt.__version__)
    if wanted is not None and ".".join(version.split(".")[:2]) != wanted:
        return [f"tensorrt {wanted}, which belongs to torch {short} (this is {version})"]
    return []


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The user's options for torch-tensorrt, which itself accepts misspelt ones without a word.

    Raises:
        CompileError: there is none of that name, it is not the user's, or its value does not fit.
    """
    dynamo: Any = importlib.import_module("torch_tensorrt.dynamo")
    taken = set(inspect.signature(dynamo.compile).parameters)
    kinds: dict[str, Any] = {
        field.name: field.type
        for field in dataclasses.fields(dynamo.CompilationSettings)
        if field.name in taken and field.type in _PLAIN
    }
    for name, value in options.items():
        if name in OURS:
            raise CompileError(
                f"the option {name!r} of the backend 'tensorrt' is not to be changed",
                hint=f"known: {', '.join(sorted(kinds.keys() - OURS))}",
            )
        if name not in kinds:
            raise CompileError(
                f"the backend 'tensorrt' has no option {brief(name)}",
                hint=did_you_mean(name, kinds.keys() - OURS),
            )
        try:
            TypeAdapter(kinds[name]).validate_python(value, strict=True)
        except ValidationError:
            wanted = _PLAIN[kinds[name]]
            raise CompileError(
                f"the option {name!r} of the backend 'tensorrt' takes {wanted}, "
                f"found {brief(value)}"
            ) from None
    return dict(options)


_PLAIN: dict[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text",
    int | None: "a whole number",
}  # fmt: skip
"""Types of options that can be given on a command line."""


def engine_batch(compiled: torch.nn.Module) -> Batch:
    """The batch sizes that an engine was built for, as the engine itself says.

    Raises:
        CompileError: it is not one engine.
    """
    tensorrt: Any = importlib.import_module("tensorrt")
    logger = importlib.import_module("torch_tensorrt.logging").TRT_LOGGER
    parts = dict(compiled.named_children())
    contents = [getattr(part, "serialized_engine", None) for part in parts.values()]
    if len(contents) != 1 or contents[0] is None:
        names = ", ".join(parts) or "none"
        raise CompileError(f"expected one engine for the whole network, found the parts {names}")
    engine = tensorrt.Runtime(logger).deserialize_cuda_engine(contents[0])
    name = next(
        name for name in map(engine.get_tensor_name, range(engine.num_io_tensors))
        if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
    )  # fmt: skip
    if engine.get_tensor_shape(name)[0] != -1:
        size = int(engine.get_tensor_shape(name)[0])
        return Batch(size, size, size)
    return Batch(*(int(shape[0]) for shape in engine.get_tensor_profile_shape(name, 0)))


def check_batch(found: Batch, wanted: Batch) -> None:
    """Refuse an engine that does not take every batch size that was asked for.

    Raises:
        CompileError: its range is narrower.
    """
    if found.min <= wanted.min and wanted.max <= found.max:
        return
    raise CompileError(
        f"the engine takes batches of {found.min} to {found.max} images, asked for were "
        f"{wanted.min} to {wanted.max}: torch-tensorrt narrowed the range",
        hint=f"ask for --batch {wanted.max}, or for a range inside {found.min}:{found.max}",
    )


def _current(settings: Settings) -> contextlib.AbstractContextManager[object]:
    """TensorRT builds for the GPU that is current."""
    if settings.device_kind != "cuda":
        return contextlib.nullcontext()
    device: contextlib.AbstractContextManager[object] = torch.cuda.device(settings.device)
    return device


@contextlib.contextmanager
def _timing_cache(gpu: int) -> Iterator[Path]:
    """TensorRT's measurements of kernels, kept from one build to the next.

    A build works on a copy, so that builds side by side do not disturb each other; a cache that
    cannot be read or written only costs time.
    """
    major, minor = torch.cuda.get_device_capability(gpu)
    name = f"timing-{_installed('tensorrt')}-sm{major}{minor}.cache"
    kept = cache_folder().parent / "tensorrt" / name
    with tempfile.TemporaryDirectory() as place:
        working = Path(place) / "timing.cache"
        with contextlib.suppress(OSError):
            shutil.copyfile(kept, working)
        yield working
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            beside = kept.with_suffix(f".{os.getpid()}")
            shutil.copyfile(working, beside)
            beside.replace(kept)
