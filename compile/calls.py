"""The calls that a user makes from Python; `archspec.compile` exports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archspec.compile import backends
from archspec.compile.artefact import Artefact, load
from archspec.compile.device import resolve
from archspec.compile.job import Bench, Request, check, compile_network
from archspec.compile.rewriting import check_names, find_all
from archspec.compile.settings import Batch, Settings, as_precision
from archspec.compile.speed import SECONDS
from archspec.compile.subject import find
from archspec.spec import Spec

FOLDER = Path("runs", "compiled")


def compile(  # noqa: A001 - as re.compile and torch.compile are called
    spec: Spec | str | Path | None = None,
    *,
    backend: str = "aoti",
    weights: str | Path | None = None,
    interpolate: bool = False,
    study: str | None = None,
    precision: str | None = None,
    batch: str | int = 1,
    device: str = "auto",
    output: str | Path | None = None,
    rewrites: str | Sequence[str] = "auto",
    options: Mapping[str, Any] | None = None,
    benchmark: bool = False,
    seconds: float = SECONDS,
    use_cache: bool = True,
) -> Artefact:
    """Compile a network, compare it with the float64 network, and load what came out.

    Args:
        spec: a Spec, a path, a shipped spec's name, a folder of a training; None: the winner of
            the last search, or of `study`.
        backend: `eager`, `inductor`, `aoti`, `onnx`, `openvino`, `tensorrt`.
        weights: a checkpoint, or the name of public weights of the spec; without either the
            weights are random, always the same.
        interpolate: whether position embeddings of another image size are resized.
        precision: `fp32`, `tf32`, `bf16`, `fp16`, `int8`; the backend's usual one if None.
        batch: a number of images, or `min:opt:max`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`.
        output: the artefact's folder; `runs/compiled/NAME-BACKEND-PRECISION-bBATCH` if None.
        rewrites: `all`, `none`, or names of rewrites; `auto`: those that pay with the backend.
        options: the backend's own.
        benchmark: whether to time it, for `seconds`, beside eager mode.
        use_cache: whether the same compilation, made before, is copied.

    Raises:
        CompileError: it cannot be compiled; UnavailableError, if that is for want of a package or
            device; UnfitError: the logits are not close enough to the float64 network's.
        SpecError, WeightsError: as `archspec.build`.
    """
    kind = backends.find(backend)
    given = str(spec) if isinstance(spec, Path) else spec
    subject = find(given, study=study, weights=weights, interpolate=interpolate)
    place = place_for(kind, device)
    settings = Settings(
        subject.spec.image, Batch.parse(str(batch)), choose_precision(kind, precision, place),
        place, options or {},
    )  # fmt: skip
    chosen = choose_rewrites(rewrites) if isinstance(rewrites, str) else tuple(rewrites)
    request = Request(kind, settings, chosen, benchmark, seconds, use_cache)
    check([request])
    target = Path(output) if output is not None else default_output(subject.spec.name, request)
    done = compile_network(Bench.of(subject), request, target, lambda _: None)
    return load(done.folder, device=place)


def place_for(backend: type[backends.Backend], device: str) -> str:
    """The device that is compiled for; `auto` leaves out what the backend does not serve.

    Raises:
        ArchspecError: there is no such device.
    """
    place = resolve(device)
    if device == "auto" and place.partition(":")[0] not in backend.precisions:
        return "cpu" if "cpu" in backend.precisions else place
    return place


def choose_precision(backend: type[backends.Backend], given: str | None, device: str) -> Any:
    """The precision that was asked for, or the backend's usual one on the device."""
    if given is not None:
        return as_precision(given)
    offered = backend.precisions.get(device.partition(":")[0])
    return offered[0] if offered else "fp32"  # that the device does not suit is said by check()


def choose_rewrites(text: str) -> tuple[str, ...] | None:
    """The rewrites that `auto`, `all`, `none` or a list of names means; None: the backend's own.

    Raises:
        CompileError: there is no rewrite of that name.
    """
    if text == "auto":
        return None
    if text in ("all", "none"):
        return tuple(find_all()) if text == "all" else ()
    names = tuple(part.strip() for part in text.split(","))
    check_names(names, "auto", "all", "none")
    return names


def default_output(name: str, request: Request) -> Path:
    """`runs/compiled/NAME-BACKEND-PRECISION-bBATCH`."""
    batch = str(request.settings.batch).replace(":", "-")
    what = (request.backend.name, request.settings.precision, f"b{batch}")
    return FOLDER / "-".join((name, *what))
