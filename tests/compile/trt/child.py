"""What tests do beside the stand-in for TensorRT, in a process of its own.

    python -m tests.compile.trt.child COPY TASK [ARGUMENT …]

COPY is a stripped copy of torch-tensorrt (`standin.strip`). A task prints one JSON value.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.compile.trt import standin

standin.install(Path(sys.argv[1]))

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from archspec import catalog  # noqa: E402
from archspec.compile import dry_run, exported  # noqa: E402
from archspec.compile.backends.base import Job  # noqa: E402
from archspec.compile.backends.tensorrt import OURS, TensorRT  # noqa: E402
from archspec.compile.errors import CompileError  # noqa: E402
from archspec.compile.network import Network, inline  # noqa: E402
from archspec.compile.rewriting import find_all, rewrite  # noqa: E402
from archspec.compile.settings import Batch, Precision, Settings, as_precision  # noqa: E402
from archspec.expansion import expand  # noqa: E402
from archspec.graph import Graph  # noqa: E402
from archspec.ops import Op  # noqa: E402
from archspec.spec import Spec, load  # noqa: E402
from tests.built import SMALL, Built, brief, built, enlivened, thin  # noqa: E402

TASKS: dict[str, Callable[..., Any]] = {}


def task(function: Callable[..., Any]) -> Callable[..., Any]:
    TASKS[function.__name__] = function
    return function


# -- which operators have a converter ------------------------------------------------------------


def shallow(spec: Spec) -> Spec:
    """A spec with as few layers as have all its operators: one a stage, two where every second
    one differs."""
    values: dict[str, Any] = {}
    if "depth" in spec.vars:
        values["depth"] = 1
    if "depths" in spec.vars:
        alternates = spec.name.startswith("swin")
        values["depths"] = [2 if alternates and stage == 1 else 1 for stage in range(4)]
    return spec.with_values(values)


def operators(graph: Graph) -> frozenset[tuple[str, ...]]:
    """The ops of a network without their sizes."""
    fields = ("axis", "axes", "bias", "mode", "keep", "approximate", "padding")

    def value(op: Op, field: str) -> str:
        found = getattr(op, field, None)
        return str(list(found) if isinstance(found, dict) else found)  # names of axes, no sizes

    return frozenset(
        (leaf.node.op.name, *(str(len(shape)) for shape in leaf.node.input_shapes),
         *(value(leaf.node.op, field) for field in fields))
        for leaf, _ in graph.walk()
    )  # fmt: skip


def covering(sets: Mapping[str, frozenset[tuple[str, ...]]]) -> list[str]:
    """Few networks that have all ops of all networks between them."""
    left, chosen = frozenset[tuple[str, ...]]().union(*sets.values()), []
    while left:
        best = max(sets, key=lambda name: len(sets[name] & left))
        chosen.append(best)
        left -= sets[best]
    return chosen


def network_of(network: Built) -> Network:
    return inline(network.graph, network.module)


def settings_of(network: Built, batch: str, precision: Precision = "fp32") -> Settings:
    return Settings(network.image, Batch.parse(batch), precision, "cpu")


def found(name: str, how: str, network: Network, settings: Settings) -> dict[str, Any]:
    about = {"spec": name, "how": how, "batch": str(settings.batch)}
    about["complex"] = any("complex" in shape for n in network.nodes for shape in n.outputs)
    try:
        return about | dry_run.dry_run(network, settings).to_dict()
    except CompileError as refused:
        return about | {"refused": str(refused)}


@task
def every_op() -> dict[str, Any]:
    """Dry runs of few small networks that have all ops of the shipped ones.

    As they are, with a static batch; and rewritten, with a dynamic one, which takes twice as long,
    those that have all ops that rewriting brings. What is missing in them is given by the name of
    the network.
    """
    small = {name: brief(name) for name in SMALL}
    plain = {name: operators(network.graph) for name, network in small.items()}
    rewritten = {
        name: rewrite(network_of(network), list(find_all())).network
        for name, network in small.items()
    }
    known = frozenset[tuple[str, ...]]().union(*plain.values())
    new = {name: operators(network.graph) - known for name, network in rewritten.items()}
    rows = [
        found(name, "as it is", network_of(small[name]), settings_of(small[name], "8"))
        for name in covering(plain)
    ] + [
        found(name, "rewritten", rewritten[name], settings_of(small[name], "2:8:64"))
        for name in covering(new)
    ]
    missing = {}
    for name in catalog.shipped():
        spec = load(name)
        if spec.is_network and not spec.holes:
            left = operators(expand(shallow(spec))) - known
            if left:
                missing[name] = sorted(map(list, left))
    return {"rows": rows, "missing": missing}


class Fourier(nn.Module):
    """A mixer that multiplies in the frequency domain, as GFNet's."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(3, 8, 5, dtype=torch.complex64))

    def forward(self, images: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(images, norm="ortho") * self.filter
        return torch.fft.irfft2(spectrum, s=images.shape[2:], norm="ortho").mean((2, 3))


class Bessel(nn.Module):
    """Two layers without a converter among others that have one."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, images: Tensor) -> Tensor:
        found = torch.special.i0(self.linear(images))
        return torch.special.i0(found.relu()).mean((2, 3))


class OnlyBessel(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.special.i0(images)


@task
def refusals() -> dict[str, Any]:
    """What is said of modules that torch-tensorrt cannot take whole."""
    settings = Settings((3, 8, 8), Batch(2, 2, 2))
    said: dict[str, Any] = {}
    for module in (Fourier(), Bessel(), OnlyBessel()):
        program = dry_run.program_of(module.eval(), settings)
        places = {"linear": "stage1.mixer"}
        try:
            coverage = dry_run.coverage(program, settings, places)
            coverage.check()
        except CompileError as error:
            said[type(module).__name__] = str(error)
            continue
        said[type(module).__name__] = coverage.to_dict()
    # what our own token mixing needs rewritten, without that
    mixer = small_mixer()
    settings = settings_of(mixer, "1")
    network = network_of(mixer)
    program = exported.export(exported.module_of(network, settings), settings)
    return said | {"baddbmm": dry_run.coverage(program, settings, network.places).to_dict()}


def small_mixer() -> Built:
    return built("mixer_s16", depth=1, dim=16, tokens_hidden=8, channels_hidden=16, patch=56)


# -- converted networks compute the same ---------------------------------------------------------


def job_of(network: Network, settings: Settings, folder: Path) -> Job:
    images_BCHW = torch.zeros(1, *settings.image)
    return Job(network, settings, folder, images_BCHW, lambda text: None)


@task
def converted(folder: str, *cases: str) -> list[dict[str, Any]]:
    """Compile with our backend, each case into a folder of its own, with what eager mode computes.

    Args:
        cases: SPEC BATCH PRECISION REWRITES, the last `as it is` or `rewritten`.
    """
    rows = []
    for index, case in enumerate(cases):
        name, batch, precision, how = case.split(" ", maxsplit=3)
        network = thin(name, **SMALL[name])
        enlivened(network)
        flat = network_of(network)
        if how == "rewritten":
            flat = rewrite(flat, list(find_all())).network
        settings = settings_of(network, batch, as_precision(precision))
        place = Path(folder) / str(index)
        place.mkdir()
        facts = TensorRT.compile(job_of(flat, settings, place))
        eager = exported.module_of(network_of(network), settings)
        with torch.inference_mode():
            images = {size: network.images(size, torch.float32) for size in settings.batch.sizes}
            torch.save(
                {size: (images_BCHW, eager(images_BCHW)) for size, images_BCHW in images.items()},
                place.with_suffix(".pt"),
            )
        registry: Any = importlib.import_module("torch_tensorrt.dynamo.conversion")
        used, config = registry.DYNAMO_CONVERTERS.compilation_settings, standin.Builder.last
        rows.append(
            facts
            | {"cleared": config.cleared, "known_timings": len(config.cache)}
            | {name: str(getattr(used, name)) for name in OURS if hasattr(used, name)}
        )
    return rows


@task
def loaded(folder: str) -> dict[str, float]:
    """Load the artefacts that another process made; their largest relative errors."""
    standin.evaluate_engines()
    errors = {}
    for place in sorted(Path(folder).glob("*.pt")):
        runner = TensorRT.load(place.with_suffix(""), Settings((3, 224, 224)), {})
        with torch.inference_mode():
            for images_BCHW, logits_BK in torch.load(place).values():
                found_BK = runner(images_BCHW)
                assert found_BK.dtype == torch.float32
                error = float((found_BK - logits_BK).norm() / logits_BK.norm())
                errors[place.stem] = max(error, errors.get(place.stem, 0.0))
    return errors


@task
def faults(folder: str) -> dict[str, str]:
    """What is said of options and engines that are not to be had."""
    network = small_mixer()
    flat = network_of(network)
    said: dict[str, str] = {}

    def tell(name: str, options: dict[str, Any], batch: str = "2") -> None:
        settings = Settings(network.image, Batch.parse(batch), "fp32", "cpu", options)
        try:
            TensorRT.compile(job_of(flat, settings, Path(folder)))
        except CompileError as error:
            said[name] = str(error)
        else:
            said[name] = "compiled"

    tell("misspelt", {"optimisation_level": 5})
    tell("ours", {"cache_built_engines": True})
    tell("of another type", {"optimization_level": "high"})
    tell("known", {"optimization_level": 5, "sparse_weights": True})
    _narrow()
    tell("narrowed", {}, "1:8:64")
    standin.Builder.build_engine_with_config = _refuse
    tell("refused", {}, "2")
    (Path(folder) / "model.pt2").write_bytes(b"no engine")
    try:
        TensorRT.load(Path(folder), Settings(network.image), {})
    except CompileError as error:
        said["no engine"] = str(error)
    return said


def _narrow() -> None:
    """torch-tensorrt 2.13 builds engines for fewer images than asked for, for some networks."""
    set_shape = standin.Profile.set_shape

    def narrowed(profile: standin.Profile, name: str, *shapes: Iterable[int]) -> None:
        low, best, high = (list(shape) for shape in shapes)
        set_shape(profile, name, low, best, [15, *high[1:]])

    standin.Profile.set_shape = narrowed


def _refuse(*_: Any) -> None:
    """What TensorRT does when it cannot build: it logs why, and gives nothing."""
    logger: Any = importlib.import_module("torch_tensorrt.logging").TRT_LOGGER
    severity = sys.modules["tensorrt"].ILogger.Severity
    logger.log(severity.ERROR, "[optimizer] no implementation for node x")


if __name__ == "__main__":
    torch.set_num_threads(1)
    result = TASKS[sys.argv[2]](*sys.argv[3:])
    print(f"\n{json.dumps(result)}")
