"""One compilation, from a spec with weights to an artefact that was compared and timed."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from archspec.compile import cache, manifest, parity, speed
from archspec.compile.artefact import version
from archspec.compile.backends.base import Backend, Job, Runner
from archspec.compile.device import describe
from archspec.compile.errors import CompileError, UnavailableError
from archspec.compile.exported import DTYPES
from archspec.compile.manifest import Manifest, Parity, Preprocessing, Timing
from archspec.compile.network import Network, inline
from archspec.compile.output import check as check_output
from archspec.compile.output import filling
from archspec.compile.pictures import CALIBRATION, Pictures, pictures, preprocessing
from archspec.compile.rewriting import check_names, rewrite
from archspec.compile.settings import Precision, Settings, full_batches
from archspec.compile.subject import Subject
from archspec.graph import Graph
from archspec.search.train.outcomes import is_out_of_memory

Step = Callable[[str], None]
"""Told what is being done, in a phrase."""


@dataclass(frozen=True)
class Request:
    """One artefact that is asked for."""

    backend: type[Backend]
    settings: Settings
    rewrites: tuple[str, ...] | None = None
    """None: those that pay with the backend."""
    benchmark: bool = True
    seconds: float = speed.SECONDS
    """How long each runner is timed, about."""
    use_cache: bool = True

    @property
    def chosen(self) -> tuple[str, ...]:
        """The rewrites that are run."""
        if self.rewrites is not None:
            return self.rewrites
        return self.backend.form(self.settings).rewrites


@dataclass(frozen=True)
class Done:
    """An artefact that was made."""

    folder: Path
    manifest: Manifest
    from_cache: bool


def check(requests: Sequence[Request]) -> None:
    """Refuse what cannot be compiled here, before any work.

    Raises:
        CompileError: a precision, an option or a rewrite that there is not.
        UnavailableError: a backend that cannot be used here; with what is missing.
    """
    for request in requests:
        check_settings(request)
        backend = request.backend
        if missing := lacks(backend, request.settings):
            raise UnavailableError(
                f"the backend {backend.name!r} cannot be used here: it needs {'; '.join(missing)}",
                hint=backend.install() or "'archspec compile --list' says what can be used here",
            )


def check_settings(request: Request) -> None:
    """Refuse what a backend does not have, whether or not it can be used here.

    Raises:
        CompileError: a precision, an option or a rewrite that there is not.
    """
    backend, settings = request.backend, request.settings
    offered = backend.precisions.get(settings.device_kind)
    if offered is not None and settings.precision not in offered:
        raise CompileError(
            f"the backend {backend.name!r} has no {settings.precision} on {settings.device_kind}",
            hint=f"it has {', '.join(offered)}",
        )
    if offered is not None:
        backend.check_options(settings.options)
    check_names(request.chosen)


def lacks(backend: type[Backend], settings: Settings) -> list[str]:
    """What keeps a backend from being used here, each as a phrase; empty if nothing does."""
    missing = backend.missing(settings)
    if settings.device_kind in backend.precisions:
        return missing
    kinds = " or ".join(backend.precisions)
    return [f"a device of kind {kinds} (this is {settings.device_kind})", *missing]


@dataclass(frozen=True)
class Bench:
    """A network with its weights, on which artefacts are made: what they share is made once."""

    subject: Subject
    graph: Graph
    module: nn.Module
    """As the spec describes it, in float32 and eval mode, on the CPU."""
    _expected: dict[tuple[Precision, str], list[parity.Expected]] = field(default_factory=dict)

    @classmethod
    def of(cls, subject: Subject) -> Bench:
        """Build the network; without a checkpoint its weights are random, always the same.

        Raises:
            SpecError, WeightsError: as `archspec.build`.
        """
        from archspec.api import build
        from archspec.expansion import expand
        from archspec.search.train.device import seeded

        graph = expand(subject.spec)
        with seeded(0):
            module = build(subject.spec, weights=subject.weights, interpolate=subject.interpolate)
        return cls(subject, graph, module.float().eval())

    @cached_property
    def network(self) -> Network:
        return inline(self.graph, self.module)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        return preprocessing(self.subject)

    @cached_property
    def pictures(self) -> Pictures:
        return pictures(self.subject, self.preprocessing)

    @cached_property
    def weights_sha256(self) -> str:
        digest = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def expected(self, precision: Precision, device: str) -> list[parity.Expected]:
        """The float64 network's logits on random and on real images, and their bounds."""
        known = self._expected.get((precision, device))
        if known is None:
            size = self.subject.spec.input
            shape = (parity.LOOKED_AT, size["channels"], size["height"], size["width"])
            inputs = {
                "random": torch.randn(shape, generator=torch.Generator().manual_seed(0)),
                self.pictures.name: self.pictures.images_NCHW[: parity.LOOKED_AT],
            }
            known = parity.expect(self.module, inputs, precision, device)
            self._expected[precision, device] = known
        return known


def compile_network(bench: Bench, request: Request, output: Path, step: Step) -> Done:
    """Make an artefact in `output`: rewrite, compile, load it again, compare, time.

    However it ends, `output` is a whole artefact or what it was before.

    Args:
        output: the folder that is to hold it; an artefact that is there is replaced.
        step: told what is being done.

    Raises:
        CompileError: it cannot be compiled, the folder cannot be written, or memory runs out.
    """
    check_output(output)
    _check_logits(bench)
    try:
        return _made(bench, request, output, step)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    size, settings = bench.subject.spec.input, request.settings
    raise CompileError(
        f"out of memory on {settings.device}: {bench.subject.spec.name} at batch "
        f"{settings.batch.max}, image {size['channels']}×{size['height']}×{size['width']}",
        hint="smaller images (--input) or batches (--batch) may fit",
    )


def _made(bench: Bench, request: Request, output: Path, step: Step) -> Done:
    name = cache.key(identity(bench, request))
    if request.use_cache and (known := cache.look_up(name, request.benchmark)) is not None:
        step("copying from the cache")
        told = _told(bench.subject, bench.preprocessing)
        with contextlib.suppress(cache.Gone), filling(output) as folder:
            written = manifest.write(cache.copy(known, folder).model_copy(update=told), folder)
            return Done(output, written, from_cache=True)
    with filling(output) as folder:
        written = manifest.write(_compile(bench, request, folder, step), folder)
        if request.use_cache and written.fit:
            cache.keep(name, folder)
    return Done(output, written, from_cache=False)


def _check_logits(bench: Bench) -> None:
    shape = bench.graph.output_shape
    if shape.others:
        raise CompileError(
            f"{bench.subject.spec.name} gives {shape} for an image, expected a number for each "
            "class",
            hint="a 'head:' with global_pool and a linear ends a network in classes; "
            "'archspec export' writes any network",
        )


def identity(bench: Bench, request: Request) -> dict[str, Any]:
    """Everything that decides what comes out."""
    backend, settings = request.backend, request.settings
    return {
        "spec": bench.subject.spec.digest,
        "weights": bench.weights_sha256,
        "has_trained_weights": bench.subject.weights is not None,
        "images": bench.pictures.digest,
        "preprocessing": bench.preprocessing.model_dump(),
        "backend": backend.name,
        "rewrites": list(request.chosen),
        "precision": settings.precision,
        "batch": str(settings.batch),
        "options": dict(settings.options),
        "device": describe(settings.device).model_dump(),
        "threads": torch.get_num_threads(),
        "versions": {package: version(package) for package in backend.packages},
    }


def _told(subject: Subject, how: Preprocessing) -> dict[str, Any]:
    """What an artefact says of where it comes from, which does not decide what it computes."""
    return {
        "name": subject.spec.name, "origin": subject.origin, "classes": subject.classes,
        "preprocessing": how,
    }  # fmt: skip


def _compile(bench: Bench, request: Request, folder: Path, step: Step) -> Manifest:
    backend, settings, subject = request.backend, request.settings, bench.subject
    step("rewriting the network")
    rewritten = rewrite(bench.network, request.chosen)
    notes: list[str] = []
    step(f"compiling with {backend.name}")
    start = time.perf_counter()
    calibration_NCHW = bench.pictures.images_NCHW[:CALIBRATION]
    job = Job(rewritten.network, settings, folder, calibration_NCHW, notes.append)
    try:
        facts = backend.compile(job)
    except RuntimeError:  # what a library written in C++ may say of a full disk
        (folder / "probe").write_bytes(bytes(2**20))
        raise
    seconds = time.perf_counter() - start
    files = manifest.seal(folder)
    step("loading it again")
    batches = [_images(bench, size).to(settings.device) for size in settings.batch.sizes]
    runner, peaks = speed.hold(lambda: backend.load(folder, settings, facts), batches)
    step("comparing its logits with the float64 network's")
    compared = _compare(bench, settings, runner)
    timings = None
    if request.benchmark:
        timings = _time(bench, request, (runner, peaks), batches, step)
    fired: dict[str, int] = {}
    for one in rewritten.fired:
        fired[one.rewrite] = fired.get(one.rewrite, 0) + 1
    return Manifest(
        **_told(subject, bench.preprocessing), backend=backend.name, precision=settings.precision,
        batch=(settings.batch.min, settings.batch.opt, settings.batch.max), image=settings.image,
        device=describe(settings.device), class_count=compared.logits,
        spec_sha256=subject.spec.digest, weights_sha256=bench.weights_sha256,
        has_trained_weights=subject.weights is not None, rewrites=fired,
        options=dict(settings.options), facts=facts, notes=tuple(notes),
        versions={package: version(package) or "" for package in backend.packages},
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=seconds, files=files, parity=compared.parity, speed=timings,
    )  # fmt: skip


@dataclass(frozen=True)
class _Compared:
    parity: Parity
    logits: int
    """Classes."""


def _compare(bench: Bench, settings: Settings, runner: Runner) -> _Compared:
    expected = bench.expected(settings.precision, settings.device)
    found = parity.compare(
        runner, expected, settings.batch.sizes, settings.precision, settings.device
    )
    labels_N = bench.pictures.labels_N
    # what int8 was calibrated with is left out, where there is more
    is_calibrated = settings.precision not in DTYPES
    seen = CALIBRATION if is_calibrated and len(bench.pictures.images_NCHW) > CALIBRATION else 0
    if labels_N is not None and bench.subject.weights is not None:
        accuracy = parity.accuracy(
            bench.module, runner, bench.pictures.images_NCHW[seen:], labels_N[seen:], settings
        )
        found = found.model_copy(update={"accuracy": accuracy})
    return _Compared(found, expected[0].logits_NK.shape[1])


_Held = tuple[Runner, dict[int, int | None]]


def _time(
    bench: Bench, request: Request, artefact: _Held, batches: Sequence[Tensor], step: Step
) -> tuple[Timing, ...]:
    settings = request.settings
    rivals: tuple[Precision, ...] = ("fp32",)
    if settings.precision in DTYPES and DTYPES[settings.precision] != torch.float32:
        rivals += (settings.precision,)
    held = {speed.ARTEFACT: artefact}
    for rival in rivals:
        make = partial(parity.eager, bench.module, rival, settings.device)
        held[f"eager {rival}"] = speed.hold(make, batches)
    found: list[Timing] = []
    for images_BCHW in batches:
        size = len(images_BCHW)
        step(f"timing at batch {size}")
        found += speed.measure(
            {name: runner for name, (runner, _) in held.items()}, images_BCHW,
            seconds=request.seconds, peaks={name: peaks[size] for name, (_, peaks) in held.items()},
        )  # fmt: skip
    return tuple(found)


def _images(bench: Bench, size: int) -> Tensor:
    images_NCHW = bench.pictures.images_NCHW
    return images_NCHW[full_batches(len(images_NCHW), size)[0]]
