"""Which operators of a network TensorRT takes, without compiling: torch-tensorrt's own dry run.

torch-tensorrt lowers the network, asks its registry for a converter of each operator, and splits
the graph into what becomes engines and what PyTorch would run. No GPU is needed.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from archspec.compile import exported
from archspec.compile.errors import CompileError, first_line
from archspec.compile.settings import Settings
from archspec.program import Pointwise

if TYPE_CHECKING:
    from archspec.compile.network import Network

SHOWN = 3
"""Places of an operator that a message names."""


@dataclass(frozen=True)
class Unconverted:
    """An operator that torch-tensorrt has no converter for."""

    operator: str
    """`torch.ops.aten.stft.default`."""
    count: int
    places: tuple[str, ...]
    """Where in the spec, as far as PyTorch remembers it."""

    def __str__(self) -> str:
        times = "" if self.count == 1 else f" ({self.count} times)"
        more = ", …" if len(self.places) > SHOWN else ""
        where = f" at {', '.join(self.places[:SHOWN])}{more}" if self.places else ""
        return f"{self.operator}{times}{where}"


@dataclass(frozen=True)
class Coverage:
    """What a dry run found."""

    operators: int
    """Of the network as torch-tensorrt lowers it."""
    converted: int
    unconverted: tuple[Unconverted, ...]
    engines: int
    breaks: int
    """Parts of the graph that PyTorch would run."""
    batch: str
    """The batch sizes that were asked for."""

    @property
    def is_complete(self) -> bool:
        """Whether the whole network becomes one engine."""
        return self.converted == self.operators and self.engines == 1 and self.breaks == 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "operators": self.operators, "converted": self.converted,
            "unconverted": [
                {"operator": one.operator, "count": one.count, "places": list(one.places)}
                for one in self.unconverted
            ],
            "engines": self.engines, "breaks": self.breaks, "batch": self.batch,
            "is_complete": self.is_complete,
        }  # fmt: skip

    def check(self) -> None:
        """Refuse a network that would not become one engine.

        Raises:
            CompileError: with the operators that have no converter.
        """
        if self.is_complete:
            return
        if self.unconverted:
            names = "; ".join(map(str, self.unconverted))
            raise CompileError(f"torch-tensorrt has no converter for {names}", hint=_INSTEAD)
        raise CompileError(
            f"torch-tensorrt makes {self.engines} engines of the network and leaves {self.breaks} "
            "parts to PyTorch, though it converts every operator; expected one engine",
            hint=_INSTEAD,
        )


_INSTEAD = "other backends take it: --backend inductor, --backend aoti"


def dry_run(network: Network, settings: Settings, pointwise: Pointwise = "conv") -> Coverage:
    """What torch-tensorrt makes of a network; torch-tensorrt and TensorRT must be installed.

    Raises:
        CompileError: torch.export or torch-tensorrt cannot take the network at all.
    """
    if not torch.cuda.is_available():
        settings = replace(settings, device="cpu")
    program = program_of(exported.module_of(network, settings, pointwise), settings)
    return coverage(program, settings, network.places)


def program_of(module: nn.Module, settings: Settings) -> ExportedProgram:
    """The program of a module, without the one operator that torch-tensorrt has no converter for.

    Raises:
        CompileError: torch.export refuses the module.
    """
    program = exported.export(module, settings)
    graph = program.graph
    for node in list(graph.nodes):
        if node.target is not torch.ops.aten.baddbmm.default or node.kwargs:
            continue
        bias, left_BIJ, right_BJK = node.args
        with graph.inserting_before(node):
            product = graph.call_function(torch.ops.aten.bmm.default, (left_BIJ, right_BJK))
            total = graph.call_function(torch.ops.aten.add.Tensor, (product, bias))
        product.meta = dict(node.meta)  # of the same shape and type
        total.meta = dict(node.meta)
        node.replace_all_uses_with(total)
        graph.erase_node(node)
    program.graph_module.recompile()
    return program


def coverage(
    program: ExportedProgram, settings: Settings, places: Mapping[str, str] | None = None
) -> Coverage:
    """The same for an exported program, whose graph may be changed by this.

    Args:
        places: the name of a submodule → where it stands in the spec.

    Raises:
        CompileError: torch-tensorrt cannot lower the program.
    """
    with quiet(), _without_gpu():
        torch_tensorrt: Any = importlib.import_module("torch_tensorrt")
        compiler: Any = importlib.import_module("torch_tensorrt.dynamo._compiler")
        trackers: list[Any] = []
        shown = compiler.dryrun_stats_display
        # the only place where the figures come out; the alternative is to parse printed text
        compiler.dryrun_stats_display = lambda tracker, _: trackers.append(tracker)
        try:
            split = torch_tensorrt.dynamo.compile(
                program, inputs=[inputs(settings)], dryrun=True, min_block_size=1,
                device=torch_tensorrt.Device(gpu_id=gpu(settings)),
                # which spares asking a GPU for its memory, and moves the module's own weights
                offload_module_to_cpu=not torch.cuda.is_available(),
            )  # fmt: skip
            if not trackers:  # nothing can be converted: it stops before it counts
                return _nothing(split, settings, places or {})
        except Exception as error:
            reason = _complex(program) or first_line(error)
            raise CompileError(
                f"torch-tensorrt cannot lower the network: {reason}", hint=_INSTEAD
            ) from error
        finally:
            compiler.dryrun_stats_display = shown
    (tracker,) = trackers
    left = [name for name, _ in split.named_children() if "_run_on_acc" not in name]
    counts: Mapping[str, int] = tracker.unsupported_ops
    return Coverage(
        tracker.total_ops_in_graph, tracker.supported_ops_in_graph,
        tuple(
            Unconverted(name, count, _places(name, tracker.to_run_in_torch, places or {}))
            for name, count in counts.items()
        ),
        tracker.tensorrt_graph_count, len(left), str(settings.batch),
    )  # fmt: skip


def gpu(settings: Settings) -> int:
    """The number of the GPU; 0 where there is none."""
    return torch.device(settings.device).index or 0


def _complex(program: ExportedProgram) -> str | None:
    """That it computes with complex numbers, which often is why lowering fails."""
    names: dict[str, None] = {}
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "call_function" and isinstance(value, Tensor) and value.is_complex():
            names[f"torch.ops.{node.target}"] = None
    return f"it computes with complex numbers in {', '.join(names)}" if names else None


def inputs(settings: Settings) -> Any:
    """Images as torch-tensorrt describes them."""
    Input: Any = importlib.import_module("torch_tensorrt").Input  # noqa: N806 - it is a class
    batch, image = settings.batch, settings.image
    if batch.is_fixed:
        return Input(shape=(batch.opt, *image), dtype=torch.float32)
    return Input(
        min_shape=(batch.min, *image), opt_shape=(batch.opt, *image),
        max_shape=(batch.max, *image), dtype=torch.float32,
    )  # fmt: skip


def _nothing(graph: Any, settings: Settings, places: Mapping[str, str]) -> Coverage:
    tracker: Any = importlib.import_module("torch_tensorrt.dynamo._DryRunTracker")
    nodes = tracker.parse_non_trt_nodes(graph)
    names = [node.removeprefix("Node: ").partition(", ")[0] for node in nodes]
    found = tuple(
        Unconverted(name, names.count(name), _places(name, nodes, places))
        for name in dict.fromkeys(names)
    )
    return Coverage(len(names), 0, found, 0, 1, str(settings.batch))


def _places(operator: str, nodes: list[str], places: Mapping[str, str]) -> tuple[str, ...]:
    """Where an operator stands: from `Node: NAME, with layer location: MODULE/NODE`."""
    found: dict[str, None] = {}
    for node in nodes:
        name, _, location = node.removeprefix("Node: ").partition(", with layer location: ")
        if name != operator:
            continue
        # of `network.stage1_row/fft_fft`, the submodule; of `row_2`, the variable
        module = location.partition("/")[0].rpartition(".")[2]
        if module in places:
            found[places[module]] = None
    return tuple(found)


@contextlib.contextmanager
def quiet() -> Iterator[list[str]]:
    """Without the warnings and prints of torch-tensorrt; the errors that it logs, line by line."""
    said: list[str] = []
    keeper = logging.Handler(logging.ERROR)
    keeper.emit = lambda record: said.extend(record.getMessage().strip().splitlines()[:1])  # type: ignore[method-assign]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    logging.root.addHandler(keeper)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield said
    finally:
        logging.root.removeHandler(keeper)
        logging.disable(before)


@contextlib.contextmanager
def _without_gpu() -> Iterator[None]:
    """Answer what torch-tensorrt asks of the GPU, where there is none: a dry run needs no more."""
    if torch.cuda.is_available():
        yield
        return
    answers = {"current_device": lambda: 0, "get_device_capability": lambda *_: (0, 0)}
    before = {name: getattr(torch.cuda, name) for name in answers}
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)
    try:
        compiler: Any = importlib.import_module("torch_tensorrt.dynamo._compiler")
        move = compiler.to_torch_device
        compiler.to_torch_device = lambda _: torch.device("cpu")
        try:
            yield
        finally:
            compiler.to_torch_device = move
    finally:
        for name, function in before.items():
            setattr(torch.cuda, name, function)
