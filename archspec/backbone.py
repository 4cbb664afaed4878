"""What each stage of a network puts out, for networks that detect or segment on top of it.

The modules are those of the built network; which tokens are which patches is read off its graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from archspec.errors import SpecError
from archspec.graph import CallNode, Graph, Ref
from archspec.interpolate import token_grid
from archspec.lower import entry
from archspec.module import to_module
from archspec.shape import CHANNELS, HEIGHT, TOKENS, WIDTH, Shape

HEAD = "head"
NO_STAGES = ("stem", HEAD)
"""Sections of a network that are no stages."""


@dataclass(frozen=True)
class Patches:
    """Where among tokens a grid lies."""

    before: int
    height: int
    width: int


@dataclass(frozen=True)
class StageOutput:
    """One stage's output as a grid."""

    name: str
    shape: Shape
    """Channels, height and width."""
    patches: Patches | None
    """Of a network on tokens."""


def stage_outputs(graph: Graph) -> tuple[StageOutput, ...]:
    """The outputs of a network's stages, in order.

    Raises:
        SpecError: there is no stage, or one has no grid of positions at its end.
    """
    stages = [node for node in sections(graph) if node.id not in NO_STAGES]
    if not stages:
        raise SpecError(
            f"{graph.name} has no stages whose outputs could be had",
            hint="put its layers under 'stages'; a stem and a head are none",
        )
    return tuple(_output(graph, node) for node in stages)


def sections(graph: Graph) -> tuple[CallNode, ...]:
    """Stem, stages and head of a network: each reads the one before it."""
    return tuple(node for node in graph.nodes if isinstance(node, CallNode))


def _output(graph: Graph, stage: CallNode) -> StageOutput:
    (shape,) = stage.outputs
    if shape.is_grid:
        return StageOutput(stage.id, shape, None)
    found = token_grid(graph, Ref(stage.id)) if set(shape) == {CHANNELS, TOKENS} else None
    if found is None:
        raise SpecError(
            f"stage {stage.id!r} of {graph.name} ends in {shape}, which is no grid of positions",
            hint="stage outputs need height and width, or tokens that are the patches of a grid",
        )
    before, (height, width), _ = found
    grid = Shape({CHANNELS: shape[CHANNELS], HEIGHT: height, WIDTH: width})
    return StageOutput(stage.id, grid, Patches(before, height, width))


class FeatureInfo:
    """What the outputs are, as timm's FeatureInfo says it.

    Each entry has `num_chs`, `reduction` (image height over the output's), `module` (the stage's
    name) and `index`. Methods without an argument speak of the outputs that were asked for, in
    their order; with an index or several, of those stages.
    """

    def __init__(self, info: Iterable[dict[str, Any]], out_indices: Sequence[int]) -> None:
        self.info = list(info)
        self.out_indices = tuple(out_indices)

    def get(self, key: str, idx: int | Sequence[int] | None = None) -> Any:
        """One thing of each output."""
        if isinstance(idx, int):
            return self.info[idx][key]
        return [self.info[index][key] for index in (self.out_indices if idx is None else idx)]

    def channels(self, idx: int | Sequence[int] | None = None) -> Any:
        """How many channels each output has."""
        return self.get("num_chs", idx)

    def reduction(self, idx: int | Sequence[int] | None = None) -> Any:
        """How many pixels of the image one position of each output stands for, on a side."""
        return self.get("reduction", idx)

    def module_name(self, idx: int | Sequence[int] | None = None) -> Any:
        """The stage of each output."""
        return self.get("module", idx)

    def get_dicts(
        self, keys: Sequence[str] | None = None, idx: int | Sequence[int] | None = None
    ) -> Any:
        """Several things, or all, of each output."""
        if isinstance(idx, int):
            return self._dict(idx, keys)
        return [self._dict(index, keys) for index in (self.out_indices if idx is None else idx)]

    def _dict(self, index: int, keys: Sequence[str] | None) -> dict[str, Any]:
        found = self.info[index]
        return found if keys is None else {key: found[key] for key in keys}

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.info[index]

    def __len__(self) -> int:
        return len(self.info)


def feature_info(graph: Graph) -> list[dict[str, Any]]:
    """One dictionary per stage, as in timm."""
    height = int(graph.inputs[0][HEIGHT])
    return [
        {
            "num_chs": int(output.shape[CHANNELS]),
            "reduction": round(height / int(output.shape[HEIGHT])),
            "module": output.name,
            "index": index,
        }
        for index, output in enumerate(stage_outputs(graph))
    ]


class Sections(nn.Module):
    """Stem, stages and head of a built network, one after the other, under their own names."""

    def __init__(self, network: nn.Module, graph: Graph, last: str) -> None:
        """Take the sections up to `last` from the module of `graph`.

        Raises:
            SpecError: a stage has the name of something that this class needs.
        """
        super().__init__()
        self._entry = to_module(entry(graph))
        """From images to what the first section reads; without parameters."""
        self._sections: list[str] = []
        for section in sections(graph):
            if hasattr(self, section.id):
                raise SpecError(
                    f"stage {section.id!r} of {graph.name} has a name with a meaning of its own "
                    "where stage outputs are had",
                    hint="pick another name",
                )
            self.add_module(section.id, network.get_submodule(section.id))
            self._sections.append(section.id)
            if section.id == last:
                break


class Backbone(Sections):
    """A network without its head: images in, a list of stage outputs out.

    Its parameters have the names that they have in the network; what no output needs is left out.
    """

    feature_info: FeatureInfo | None = None
    """What the outputs are."""

    def __init__(
        self, network: nn.Module, graph: Graph, out_indices: int | Sequence[int] | None = None
    ) -> None:
        """Take the stages of a built network.

        Args:
            network: the module of `graph`.
            out_indices: which stages, counted from 0, or from the end if negative; a number of
                last stages; all if None.

        Raises:
            SpecError: there is no such stage, or it has no grid of positions.
        """
        outputs = stage_outputs(graph)
        chosen = _indices(graph, len(outputs), out_indices)
        super().__init__(network, graph, outputs[max(chosen)].name)
        self.feature_info = FeatureInfo(feature_info(graph), chosen)
        self._patches = {outputs[index].name: outputs[index].patches for index in chosen}

    def forward(self, x: Tensor) -> list[Tensor]:
        """(batch, channels, height, width) in; for each output the same at its own size."""
        x = self._entry(x)
        found: dict[str, Tensor] = {}
        for name in self._sections:
            x = self.get_submodule(name)(x)
            if name in self._patches:
                found[name] = to_grid(x, self._patches[name])
        return [found[name] for name in self._patches]


def to_grid(x: Tensor, patches: Patches | None) -> Tensor:
    """A section's output, in the order in which modules hand tensors on, as NCHW (a view)."""
    if patches is not None:
        count = patches.height * patches.width
        x = x.narrow(1, patches.before, count)
        x = torch.unflatten(x, 1, (patches.height, patches.width))
    return x.permute(0, 3, 1, 2)


def _indices(graph: Graph, count: int, wanted: int | Sequence[int] | None) -> tuple[int, ...]:
    names = f"{graph.name} has {count} stage{'s' if count > 1 else ''}"
    if isinstance(wanted, int):
        if not 0 < wanted <= count:
            raise SpecError(
                f"{names}, so that a number of last ones is 1 to {count}, found {wanted}"
            )
        return tuple(range(count - wanted, count))
    chosen = tuple(range(count)) if wanted is None else tuple(wanted)
    for index in chosen:
        if not -count <= index < count:
            raise SpecError(
                f"{names}, counted from 0: out_indices cannot have {index}",
                hint="the stem is no stage",
            )
    chosen = tuple(index % count for index in chosen)
    if not chosen or len(set(chosen)) != len(chosen):
        raise SpecError(f"out_indices must name stages, each once, found {list(wanted or ())}")
    return chosen
